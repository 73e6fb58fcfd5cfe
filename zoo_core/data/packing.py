"""Decode, fit and pack images into one array of bytes, the first time they are used.

This finds every bad file before training rather than in the middle of it, and reduces loading a
batch to copying a few kilobytes. The array lies in the cache folder under a name derived from its
inputs; deleting it costs only the time to pack again.
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

STALE_AFTER = 24 * 3600  # seconds without a write after which a packing process is taken to be dead
PACK_VERSION = 2  # increase when the same images are packed into different bytes


@dataclass(frozen=True)
class PackedData:
    """All images of a data set at one size; the arrays are memory-mapped."""

    folder: Path
    images: NDArray[np.uint8]  # [N, H, W, C], the memory format of training
    source: NDArray[np.uint8] | None  # [N, H, W, C]
    labels: NDArray[np.int64] | None  # [N]
    classes: tuple[str, ...]
    skipped: tuple[BadPicture, ...]
    fingerprint: str  # of the pixels, labels and classes, not of file names

    def __len__(self) -> int:
        return len(self.images)

    def names(self, ids: Sequence[int]) -> list[str]:
        """The names of the images with these ids."""
        every = json.loads((self.folder / "names.json").read_text(encoding="utf-8"))
        return [every[index] for index in ids]


def pack(
    dataset: PictureDataset,
    resolution: int,  # side length in pixels
    channels: int,  # 1 or 3
    mode: Fit = "crop",
    skip_bad: bool = False,  # leave out bad images instead of raising DataError
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cache: Path | None = None,  # None: the user's cache folder
    source_channels: int | None = None,  # of a pair's source; None: same as `channels`
) -> PackedData:
    """Pack the images of `dataset`, or open them from the cache if they were packed before.

    Raises DataError, which counts the bad images and names the first ones, unless they are
    skipped; RunError if the cache folder cannot be written.
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
                f"cannot pack images into {folder.parent}: {error.strerror}",
                hint="set ZOO_CACHE to a writable folder with free space",
            ) from None
    return open_packed(folder)


def open_packed(folder: Path) -> PackedData:
    """Memory-map what `pack` wrote."""
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
    """The arguments of `pack`, and the packing itself."""

    dataset: PictureDataset
    resolution: int
    channels: int
    source_channels: int
    mode: Fit
    skip_bad: bool
    on_progress: Callable[[int, int], None]

    def pack_into(self, folder: Path) -> None:
        """Write to a temporary folder, then rename it, so that no half-packed one is ever found."""
        _sweep(folder.parent)
        temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
        temporary.mkdir(parents=True)
        try:
            index = json.dumps(self._write_arrays(temporary))
            (temporary / "index.json").write_text(index, encoding="utf-8")
            try:
                temporary.rename(folder)
            except OSError as error:  # another process was faster, with the same result
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
            raise DataError(f"none of {len(self.dataset)} images can be read", given=first)
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
        """Yield every image, fitted, in order, read by one thread per core.

        Pillow's decoders release the GIL, so files are decoded in parallel.
        """
        workers = os.cpu_count() or 1
        ahead = 64 * workers  # bounds how many are decoded but not yet written
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
    """Remove half-packed folders that killed processes left behind."""
    for leftover in folder.glob(".*-*"):
        with contextlib.suppress(OSError):  # another process removed it first
            written = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
            if time.time() - written > STALE_AFTER:
                shutil.rmtree(leftover)


def _write_row(picture: Picture, images: IO[bytes], sources: IO[bytes], digest: Any) -> None:
    """Append the pixels of an image, and of its source, to the files and to the digest."""
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
            "; to skip them, --set bad_pictures=skip when training, "
            "--bad-pictures skip when evaluating"
        )
    return DataError(f"{len(bad)} of {count} images cannot be used: {named}", hint=hint)
