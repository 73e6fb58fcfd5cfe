"""Pictures decoded, fitted and packed into one array of bytes, the first time they are used.

That finds every bad file before training rather than in the middle of it, and makes a step's data a
copy of a few kilobytes. The array lies in the cache folder, named by what it was made from;
deleting it costs only the time to make it again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from zoo_core.data.decoding import Fit, fit
from zoo_core.errors import DataError, PictureError, RunError, first_few
from zoo_core.filesystem import cache_folder
from zoo_core.pictures import BadPicture, Picture, PictureDataset

ABANDONED = 24 * 3600  # seconds after which nobody is packing any more
PACK_VERSION = 2  # raise when the same pictures would be packed into other bytes


@dataclass(frozen=True)
class PackedData:
    """All pictures of a data set at one size. Arrays are mapped from disk, not read."""

    folder: Path
    images: NDArray[np.uint8]  # [N, H, W, C], the order that a step computes in
    source: NDArray[np.uint8] | None  # [N, H, W, C]
    labels: NDArray[np.int64] | None  # [N]
    classes: tuple[str, ...]
    skipped: tuple[BadPicture, ...]
    fingerprint: str  # of the pixels, labels and classes, whatever the files are called

    def __len__(self) -> int:
        return len(self.images)

    def names(self, ids: Sequence[int]) -> list[str]:
        """What the pictures with these ids are called."""
        every = json.loads((self.folder / "names.json").read_text(encoding="utf-8"))
        return [every[index] for index in ids]


def pack(
    dataset: PictureDataset,
    resolution: int,  # pixels a side
    channels: int,  # 1 or 3
    mode: Fit = "crop",
    skip_bad: bool = False,  # leave bad pictures out instead of refusing the data set
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cache: Path | None = None,  # None: the cache folder of this user
    source_channels: int | None = None,  # of the source of a pair; None: as many as `channels`
) -> PackedData:
    """The packed pictures of `dataset`, from the cache if they were packed before.

    Raises DataError that names the first bad pictures and counts them, unless they are to be
    skipped; RunError when the cache folder cannot be written.
    """
    source_channels = channels if source_channels is None else source_channels
    planes = channels if source_channels == channels else f"{channels}+{source_channels}"
    key = f"{dataset.fingerprint}:{resolution}:{planes}:{mode}:{skip_bad}:{PACK_VERSION}"
    folder = (cache or cache_folder()) / "data" / hashlib.sha256(key.encode()).hexdigest()[:24]
    if not (folder / "index.json").is_file():
        packer = _Packer(
            dataset, resolution, channels, source_channels, mode, skip_bad, on_progress
        )
        try:
            packer.pack_into(folder)
        except OSError as error:
            raise RunError(
                f"cannot pack pictures into {folder.parent}: {error.strerror}",
                hint="set ZOO_CACHE to a folder with room",
            ) from None
    return open_packed(folder)


def open_packed(folder: Path) -> PackedData:
    """Map what `pack` wrote."""
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))

    def mapped(name: str) -> NDArray[np.uint8]:
        return np.memmap(folder / name, dtype=np.uint8, mode="r", shape=tuple(index[name]))

    return PackedData(
        folder=folder,
        images=mapped("images"),
        source=mapped("source") if "source" in index else None,
        labels=np.asarray(index["labels"], dtype=np.int64) if index["labels"] else None,
        classes=tuple(index["classes"]),
        skipped=tuple(BadPicture(*bad) for bad in index["skipped"]),
        fingerprint=index["fingerprint"],
    )


@dataclass(frozen=True)
class _Packer:
    """What to pack, and how; the arguments of `pack`."""

    dataset: PictureDataset
    resolution: int
    channels: int
    source_channels: int
    mode: Fit
    skip_bad: bool
    on_progress: Callable[[int, int], None]

    def pack_into(self, folder: Path) -> None:
        """Write to a temporary folder and rename it: a half-packed one is never found."""
        _sweep(folder.parent)
        temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
        temporary.mkdir(parents=True)
        try:
            index = json.dumps(self._write_arrays(temporary))
            (temporary / "index.json").write_text(index, encoding="utf-8")
            try:
                temporary.rename(folder)
            except OSError as error:  # another process was faster: its pictures are the same
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _write_arrays(self, folder: Path) -> dict[str, Any]:
        names, labels, bad = [], [], []
        digest = hashlib.sha256()
        with (folder / "images").open("wb") as images, (folder / "source").open("wb") as sources:
            for done, item in enumerate(self._read_all(), start=1):
                if isinstance(item, BadPicture):
                    bad.append(item)
                else:
                    _write_row(item, images, sources, digest)
                    names.append(item.name)
                    labels.append(item.label)
                self.on_progress(done, len(self.dataset))
        if bad and not self.skip_bad:
            raise _refusal(bad, len(self.dataset))
        if not names:
            first = f"{bad[0].name}: {bad[0].reason}"
            raise DataError(f"none of {len(self.dataset)} pictures can be read", given=first)
        (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
        shape = [len(names), self.resolution, self.resolution]
        index = {
            "images": [*shape, self.channels],
            **({"source": [*shape, self.source_channels]} if self.dataset.paired else {}),
            "labels": labels if self.dataset.classes else [],
            "classes": self.dataset.classes,
        }
        digest.update(json.dumps(index).encode())
        return index | {"skipped": bad, "fingerprint": digest.hexdigest()[:24]}

    def _read_all(self) -> Iterator[Picture | BadPicture]:
        """Every picture fitted, in order, read by as many threads as there are cores.

        Pillow's decoders release the interpreter's lock, so photos are read in parallel.
        """
        workers = os.cpu_count() or 1
        ahead = 64 * workers  # bounds what is decoded but not yet written
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(self.dataset), ahead):
                yield from pool.map(self._read, range(start, min(start + ahead, len(self.dataset))))

    def _read(self, index: int) -> Picture | BadPicture:
        try:
            picture = self.dataset[index]
            start = picture.source
            if start is not None:
                start = fit(start, self.resolution, self.source_channels, self.mode, picture.name)
            pixels = fit(picture.pixels, self.resolution, self.channels, self.mode, picture.name)
        except PictureError as error:
            return BadPicture(error.name, error.reason)
        return picture._replace(pixels=pixels, source=start)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed have left half packed."""
    for leftover in folder.glob(".*-*"):
        with contextlib.suppress(OSError):  # another process was faster
            written = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
            if time.time() - written > ABANDONED:
                shutil.rmtree(leftover)


def _write_row(picture: Picture, images: IO[bytes], sources: IO[bytes], digest: Any) -> None:
    """Write the pixels of a picture, and of its source, and add them to the digest."""
    for pixels, file in ((picture.pixels, images), (picture.source, sources)):
        if pixels is not None:
            row = pixels.transpose(1, 2, 0).tobytes()
            file.write(row)
            digest.update(row)


def _refusal(bad: Sequence[BadPicture], count: int) -> DataError:
    named = first_few((f"{name} ({reason})" for name, reason in bad), "; ")
    hint = "zoo data check PATH to see all"
    if len(bad) < count:
        hint += (
            "; to leave them out, --set bad_pictures=skip when training, "
            "--bad-pictures skip when evaluating"
        )
    return DataError(f"{len(bad)} of {count} pictures cannot be used: {named}", hint=hint)
