"""Decode, fit and pack images into one array of bytes, the first time they are used.

This finds every bad file before training rather than in the middle of it, and reduces loading a
batch to copying a few kilobytes. The array lies in the cache folder under a name derived from its
inputs; deleting it costs only the time to pack again. Where it would take too much of the disk, all
images are checked likewise, but decoded again whenever they are used. `packs.py` writes and reads
the files, and notices damage.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo_core.data.decoding import Fit
from zoo_core.data.packs import (
    ARRAYS,
    DAMAGED,
    content_text,
    made_from,
    mapped,
    read_index,
    remove,
    seal,
)
from zoo_core.data.progress import OnProgress, no_progress
from zoo_core.data.room import PIXEL_BYTES, ROOM
from zoo_core.data.streaming import Form, RowReader, StreamedImages
from zoo_core.errors import DataError, PictureError, RunError, first_few
from zoo_core.filesystem import as_argument, cache_folder, sync, sync_folder, write_synced
from zoo_core.pictures import BadPicture, Picture, PictureDataset, read_picture

logger = logging.getLogger("zoo")

Storage = Literal["auto", "always", "never"]  # whether the array is written

DISK_SHARE = 0.5  # of the free disk that an array takes at most, unless it is "always" written
LARGE = 1 << 30  # bytes of an array that are worth a word before they are written
STALE_AFTER = 24 * 3600  # seconds without a write after which a packing process is taken to be dead
AHEAD_BYTES = 1 << 28  # of fitted images that have to wait until one before them is written
PACK_VERSION = 3  # increase when the same images are packed into different files


@dataclass(frozen=True)
class PackedData:
    """All images of a data set at one size; the arrays are memory-mapped, or decoded on the way."""

    folder: Path
    images: NDArray[np.uint8]  # [N, H, W, C], the memory format of training; or StreamedImages
    source: NDArray[np.uint8] | None  # [N, H, W, C]
    labels: NDArray[np.int64] | None  # [N]
    classes: tuple[str, ...]
    skipped: tuple[BadPicture, ...]
    fingerprint: str  # of the pixels, labels and classes, not of file names
    remarks: Mapping[str, int] = field(default_factory=dict)  # what was done to images: how often

    def __len__(self) -> int:
        return len(self.images)

    def names(self, ids: Sequence[int]) -> list[str]:
        """The names of the images with these ids; their numbers if somebody removed the names."""
        try:
            every = json.loads((self.folder / "names.json").read_bytes())
            return [every[index] for index in ids]
        except (OSError, ValueError, IndexError):  # while images are mapped, they are still there
            return [f"image {index}" for index in ids]


def pack(
    dataset: PictureDataset,
    resolution: int,  # side length in pixels
    channels: int,  # 1 or 3
    mode: Fit = "crop",
    skip_bad: bool = False,  # leave out bad images instead of raising DataError
    on_progress: OnProgress = no_progress,
    cache: Path | None = None,  # None: the user's cache folder
    source_channels: int | None = None,  # of a pair's source; None: same as `channels`
    storage: Storage = "auto",
) -> PackedData:
    """Pack the images of `dataset`, or open them from the cache if they were packed before.

    With `storage` "never", or "auto" where the array would take more than half of the free disk,
    images are checked now and decoded whenever they are used: the same pixels, with the same
    fingerprint. Raises DataError, which counts the bad images and names the first ones, unless they
    are skipped; RunError if the cache folder cannot be written, or has no room.
    """
    source_channels = channels if source_channels is None else source_channels
    planes = channels if source_channels == channels else f"{channels}+{source_channels}"
    key = f"{dataset.fingerprint}:{resolution}:{planes}:{mode}:{skip_bad}:{PACK_VERSION}"
    folder = (cache or cache_folder()) / "data" / hashlib.sha256(key.encode()).hexdigest()[:24]
    form = Form(resolution, channels, source_channels, mode)
    packer = _Packer(dataset, form, skip_bad, on_progress)
    try:
        if packed := _opened(folder, packer):
            return packed
        if not packer.is_to_be_written(storage, folder.parent):
            folder = folder.with_name(f"{folder.name}-streamed")
            packer = replace(packer, streamed=True)
        return _opened(folder, packer) or packer.pack_into(folder)
    except OSError as error:
        raise RunError(
            f"cannot pack images into {folder.parent}: {error.strerror}",
            hint="set ZOO_CACHE to a writable folder with free space",
        ) from None


def _opened(folder: Path, packer: _Packer) -> PackedData | None:
    """What was packed before; None if nothing was, or if it is damaged, which is said."""
    if not folder.is_dir():
        return None
    try:
        packed = _open(folder, packer)
    except DAMAGED as error:
        logger.warning("packed images in %s are damaged (%s); packing again", folder, error)
        remove(folder)
        return None
    with contextlib.suppress(OSError):  # when it was used last, for `zoo data prune`
        os.utime(folder / "index.json")
    return packed


def _open(folder: Path, packer: _Packer) -> PackedData:
    """Memory-map what `pack` wrote, or decode it again. Raises one of DAMAGED."""
    index = read_index(folder)
    images, source = packer.streamed_from(index) if packer.streamed else mapped(folder, index)
    return PackedData(
        folder=folder,
        images=images,
        source=source,
        labels=np.asarray(index["labels"], dtype=np.int64) if index["labels"] else None,
        classes=tuple(index["classes"]),
        skipped=tuple(BadPicture(*bad) for bad in index["skipped"]),
        fingerprint=index["fingerprint"],
        remarks=index.get("remarks", {}),
    )


@dataclass(frozen=True)
class _Packer:
    """The arguments of `pack`, and the packing itself."""

    dataset: PictureDataset
    form: Form
    skip_bad: bool
    on_progress: OnProgress
    streamed: bool = False  # images are checked, not written

    def is_to_be_written(self, storage: Storage, folder: Path) -> bool:
        """Whether the array is written. RunError where it must be, and does not fit on the disk."""
        if storage == "never":
            return False
        planes = self.form.channels + (self.form.source_channels if self.dataset.paired else 0)
        size = len(self.dataset) * self.form.resolution**2 * planes
        free = _free(folder)
        said = f"{len(self.dataset):,} images take {size / 1e9:.1f} GB when packed"
        room = f"{free / 1e9:.1f} GB are free in {folder}"
        if storage == "always" and size > free:
            raise RunError(f"{said}, and {room}", hint="set ZOO_CACHE to a larger disk")
        if storage == "auto" and size > DISK_SHARE * free:
            logger.warning(
                "%s, and %s: they are decoded while they are used instead "
                "(--set workers=N helps in training; --set pack=always packs all the same)",
                *(said, room),
            )
            return False
        if size > LARGE:
            logger.warning("%s; %s (zoo data cache lists, zoo data prune removes)", said, room)
        return True

    def streamed_from(self, index: dict[str, Any]) -> tuple[Any, Any]:
        """The images, and the sources of pairs, decoded when they are used."""
        reader = RowReader(self.dataset, np.asarray(index["rows"], dtype=np.int64), self.form)
        images = StreamedImages(reader, "pixels", tuple(index["images"]))
        if not self.dataset.paired:
            return images, None
        return images, StreamedImages(reader, "source", tuple(index["source"]))

    def pack_into(self, folder: Path) -> PackedData:
        """Write to a temporary folder, then rename it, so that no half-packed one is ever found."""
        _sweep(folder.parent)
        temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
        temporary.mkdir(parents=True)
        try:
            seal(temporary, self._write_arrays(temporary))
            try:
                temporary.rename(folder)
            except OSError as error:  # another process was faster, with the same result
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return _open(folder, self)

    def _write_arrays(self, folder: Path) -> dict[str, Any]:
        names, labels, rows, bad = [], [], [], []
        digest = hashlib.sha256()
        with _written(folder, self.streamed) as (images, sources):
            for row, item in enumerate(self._read_all()):
                if isinstance(item, BadPicture):
                    bad.append(item)
                else:
                    _write_row(item, images, sources, digest)
                    names.append(item.name)
                    labels.append(item.label)
                    rows.append(row)
                self.on_progress(row + 1, len(self.dataset))
        if bad and not self.skip_bad:
            raise _refusal(bad, self.dataset)
        if not names:
            first = f"{bad[0].name}: {bad[0].reason}" if bad else None
            raise DataError(f"none of {len(self.dataset)} images can be read", given=first)
        write_synced(folder / "names.json", json.dumps(names).encode())
        shape = [len(names), self.form.resolution, self.form.resolution]
        index = {
            "images": [*shape, self.form.channels],
            **({"source": [*shape, self.form.source_channels]} if self.dataset.paired else {}),
            "labels": labels if self.dataset.classes else [],
            "classes": self.dataset.classes,
        }
        digest.update(content_text(index))
        more = {"rows": rows} if self.streamed else {}
        remarks = dict(self.dataset.remarks)
        return index | more | {
            "skipped": bad, "fingerprint": digest.hexdigest()[:24], "remarks": remarks,
            "made_from": made_from(self.dataset),
        }  # fmt: skip

    def _read_all(self) -> Iterator[Picture | BadPicture]:
        """Yield every image, fitted, in order, read by one thread per core.

        Pillow's decoders release the GIL, so files are decoded in parallel.
        """
        workers = os.cpu_count() or 1
        waiting: deque[Future[Picture | BadPicture]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for index in range(len(self.dataset)):
                    waiting.append(pool.submit(self._read, index))
                    if len(waiting) >= self._ahead(workers):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _ahead(self, workers: int) -> int:
        """How many images may be fitted and not yet written, or on the way there."""
        size = self.form.resolution**2 * (self.form.channels + self.form.source_channels)
        return max(1, min(64 * workers, AHEAD_BYTES // size))

    def _read(self, index: int) -> Picture | BadPicture:
        try:
            with ROOM.borrowed():
                ROOM.take(self.form.resolution**2 * PIXEL_BYTES)  # for what it is made into
                return read_picture(self.dataset, index, self.form.fit)
        except PictureError as error:
            return BadPicture(error.name, error.reason)


def _free(folder: Path) -> int:
    """Free bytes on the disk that a folder is on, or will be."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free


@contextlib.contextmanager
def _written(folder: Path, streamed: bool) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The files of both arrays, on the disk at the end; nowhere for images only checked."""
    places = [Path(os.devnull) if streamed else folder / name for name in ARRAYS]
    with places[0].open("wb") as images, places[1].open("wb") as sources:
        yield images, sources
        for file in () if streamed else (images, sources):
            sync(file)


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


def _refusal(bad: Sequence[BadPicture], dataset: PictureDataset) -> DataError:
    named = first_few((f"{name} ({reason})" for name, reason in bad), "; ")
    place = as_argument(dataset.path) if hasattr(dataset, "path") else "PATH"
    hint = f"zoo data check {place}{' --pairs' * dataset.paired} to see all"
    if len(bad) < len(dataset):
        hint += (
            "; --set bad_pictures=skip with zoo train, --bad-pictures skip with zoo evaluate, "
            "to skip them"
        )
    return DataError(f"{len(bad)} of {len(dataset)} images cannot be used: {named}", hint=hint)
