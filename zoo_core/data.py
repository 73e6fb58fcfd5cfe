"""From pictures to batches: packed once, then read in an order that is a function of the seed.

Every source is decoded, fitted and packed into one array of bytes the first time it is used. That
finds every bad file before training rather than in the middle of it, and makes a step's data a copy
of a few kilobytes. The packed array lies in the cache folder, named by what it was made from;
deleting it costs only the time to redo it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.config import RunConfig
from zoo_core.errors import AmbiguousNameError, DataError, PictureError, RunError
from zoo_core.hub import cache_folder
from zoo_core.interfaces import Batch, Generator
from zoo_core.noise import SeededNoise, permutation
from zoo_core.pictures import BadPicture, FileSource, Fit, Picture, PictureSource, fit
from zoo_core.plugins import Plugins
from zoo_core.runtime import Runtime

logger = logging.getLogger("zoo")

PACK_VERSION = 1  # raise when the same pictures would be packed into other bytes


@dataclass(frozen=True)
class PackedData:
    """All pictures of a data set at one size. Arrays are mapped from disk, not read."""

    folder: Path
    images: NDArray[np.uint8]  # [N, H, W, C], the order that a step computes in
    source: NDArray[np.uint8] | None  # [N, H, W, C]
    labels: NDArray[np.int64] | None  # [N]
    classes: tuple[str, ...]
    skipped: tuple[BadPicture, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)

    def names(self, ids: Sequence[int]) -> list[str]:
        """What the pictures with these ids are called."""
        every = json.loads((self.folder / "names.json").read_text())
        return [every[index] for index in ids]


@dataclass(frozen=True)
class OpenedSource:
    """Pictures by name or path, and what weights trained on them have to say."""

    name: str  # as it stands in a tag
    source: PictureSource
    licence: str
    description: str


def open_source(name: str, resolution: int, split: str, plugins: Plugins) -> OpenedSource:
    """The data set called `name`, or the pictures in the folder or zip file at that path.

    A path has a slash, a leading dot or a suffix of .zip, or is the name of no data set. Raises
    UnknownNameError, AmbiguousNameError (a data set and a folder of that name), DataError (no
    pictures there).
    """
    path = Path(name).expanduser()
    known = bool(plugins.datasets.claimants(name))
    looks_like_path = name.startswith(("~", ".", "/")) or "\\" in name or name.endswith(".zip")
    if known and not looks_like_path:
        if path.exists():
            raise AmbiguousNameError(
                f"{name!r} is a data set and also a folder here",
                allowed=f"./{name} for the folder; remove or rename the folder for the data set",
            )
        spec = plugins.datasets.get(name)
        if split not in spec.splits:
            raise DataError(
                f"data set {name!r} has no split {split!r}", allowed=", ".join(spec.splits)
            )
        described = f"{spec.name}, {split} split: {spec.source}"
        return OpenedSource(spec.name, spec.open(resolution, split), spec.licence, described)
    if not looks_like_path and "/" not in name and not path.exists():
        plugins.datasets.get(name)  # raises, naming the nearest
    source = FileSource(path)
    slug = re.sub(r"[^a-z0-9]+", "-", path.resolve().stem.lower()).strip("-") or "pictures"
    return OpenedSource(slug, source, "LicenseRef-own-pictures", f"{len(source)} own pictures")


def pack(
    source: PictureSource,
    resolution: int,  # pixels a side
    channels: int,  # 1 or 3
    how: Fit = "crop",
    skip_bad: bool = False,  # leave bad pictures out instead of refusing the data set
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cache: Path | None = None,  # None: the cache folder of this user
) -> PackedData:
    """The packed pictures of `source`, from the cache if they were packed before.

    Raises DataError that names the first bad pictures and counts them, unless they are to be
    skipped; RunError when the cache folder cannot be written.
    """
    key = f"{source.fingerprint}:{resolution}:{channels}:{how}:{skip_bad}:{PACK_VERSION}"
    fingerprint = hashlib.sha256(key.encode()).hexdigest()[:24]
    folder = (cache or cache_folder()) / "data" / fingerprint
    if not (folder / "index.json").is_file():
        try:
            _pack_into(folder, source, resolution, channels, how, skip_bad, on_progress)
        except OSError as error:
            raise RunError(
                f"cannot pack pictures into {folder.parent}: {error.strerror}",
                hint="set ZOO_CACHE to a folder with room",
            ) from None
    return open_packed(folder)


def open_packed(folder: Path) -> PackedData:
    """Map what `pack` wrote."""
    index = json.loads((folder / "index.json").read_text())

    def mapped(name: str) -> NDArray[np.uint8]:
        return np.memmap(folder / name, dtype=np.uint8, mode="r", shape=tuple(index[name]))

    return PackedData(
        folder=folder,
        images=mapped("images"),
        source=mapped("source") if "source" in index else None,
        labels=np.asarray(index["labels"], dtype=np.int64) if index["labels"] else None,
        classes=tuple(index["classes"]),
        skipped=tuple(BadPicture(*bad) for bad in index["skipped"]),
        fingerprint=folder.name,
    )


def check_enough(count: int, batch_size: int) -> None:
    """Raise DataError unless there are two pictures, and a full batch of different ones."""
    if count < 2:
        raise DataError("training needs at least two pictures", given=count)
    if count < batch_size:
        raise DataError(
            f"{count} pictures are fewer than one batch of {batch_size}",
            hint=f"--set batch_size={count}",
        )


def check_fits(generator: Generator, data: PackedData) -> None:
    """Raise DataError unless the generator can learn these pictures; warn of unused labels."""
    if generator.num_classes and data.labels is None:
        raise DataError(
            "the model is class-conditional and the pictures have no labels",
            hint="put each class into a sub-folder of its own",
        )
    if generator.num_classes and generator.num_classes != len(data.classes):
        raise DataError(
            "the model has another number of classes than the pictures",
            given=generator.num_classes,
            allowed=str(len(data.classes)),
        )
    if generator.source_shape is not None and data.source is None:
        raise DataError("the model needs pairs of pictures", hint="zoo data list")
    if data.labels is not None and not generator.num_classes:
        logger.warning(
            "the pictures have %d classes, which this model does not use", len(data.classes)
        )


def batches(data: PackedData, run: RunConfig, runtime: Runtime, images: int) -> Iterator[Batch]:
    """Endless batches from global position `images` on, in the order of `Order`.

    Worker processes change nothing but the speed.
    """
    order = Order(data, run)
    positions = range(images, 1 << 62, run.batch_size)
    if run.workers == 0:
        raw: Iterator[_Raw] = map(order.__getitem__, positions)
    else:
        raw = iter(
            torch.utils.data.DataLoader(
                order,
                sampler=positions,
                batch_size=None,
                num_workers=run.workers,  # type: ignore[arg-type]
            )
        )
    for pictures, source, labels, ids in raw:
        yield Batch(
            images=runtime.place_images(pictures),
            labels=None if labels is None else labels.to(runtime.device),
            source=None if source is None else runtime.place_images(source),
            ids=ids,
        )


_Raw = tuple[Tensor, Tensor | None, Tensor | None, Tensor]


class Order(torch.utils.data.Dataset[_Raw]):
    """What is shown when: `order[p]` is the batch whose first picture has global position p.

    Each epoch is another shuffle, a function of (seed, epoch); whether a picture is mirrored, of
    (seed, position).
    """

    def __init__(self, data: PackedData, run: RunConfig):
        self.data, self.run = data, run
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def ids(self, start: int) -> NDArray[np.int64]:
        """Positions in the data set of one batch."""
        size = len(self.data)
        positions = np.arange(start, start + self.run.batch_size)
        return np.array([self._epoch(int(p) // size)[int(p) % size] for p in positions])

    def __getitem__(self, start: int) -> _Raw:
        ids = self.ids(start)
        pictures = gather(self.data.images, ids)
        source = None if self.data.source is None else gather(self.data.source, ids)
        labels = None if self.data.labels is None else torch.from_numpy(self.data.labels[ids])
        if self.run.mirror:
            noise = SeededNoise(self.run.seed, range(start, start + len(ids)))
            flip = (noise.uniform("mirror") < 0.5).view(-1, 1, 1, 1)
            pictures = torch.where(flip, pictures.flip(3), pictures)
            source = None if source is None else torch.where(flip, source.flip(3), source)
        return pictures, source, labels, torch.from_numpy(ids)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs = {  # a batch is never larger than the data set: it touches two epochs
                e: shuffle for e, shuffle in self._epochs.items() if e >= epoch - 1
            }
            self._epochs[epoch] = permutation(self.run.seed, "order", epoch, len(self.data))
        return self._epochs[epoch]


def gather(pictures: NDArray[np.uint8], ids: NDArray[np.int64]) -> Tensor:
    """A copy of some packed pictures: uint8 [N, C, H, W], channels last in memory."""
    return torch.from_numpy(pictures[ids]).permute(0, 3, 1, 2)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float [N, C, H, W] in [-1, 1] to uint8 in 0..255 on the CPU, rounded to the nearest."""
    scaled = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return scaled.to("cpu", torch.uint8).contiguous().numpy()


def _pack_into(
    folder: Path,
    source: PictureSource,
    resolution: int,
    channels: int,
    how: Fit,
    skip_bad: bool,
    on_progress: Callable[[int, int], None],
) -> None:
    """Write to a temporary folder and rename it, so that a half-packed one is never found."""
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        index = _write_arrays(temporary, source, resolution, channels, how, skip_bad, on_progress)
        (temporary / "index.json").write_text(json.dumps(index))
        try:
            temporary.rename(folder)
        except OSError as error:  # another process was faster: its pictures are the same
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_arrays(
    folder: Path,
    source: PictureSource,
    resolution: int,
    channels: int,
    how: Fit,
    skip_bad: bool,
    on_progress: Callable[[int, int], None],
) -> dict[str, Any]:
    names, labels, bad = [], [], []
    with (folder / "images").open("wb") as images, (folder / "source").open("wb") as sources:
        for done, item in enumerate(_read_all(source, resolution, channels, how), start=1):
            if isinstance(item, BadPicture):
                bad.append(item)
            else:
                _write_row(item, images, sources)
                names.append(item.name)
                labels.append(item.label)
            on_progress(done, len(source))
    if bad and not skip_bad:
        raise _refusal(bad, len(source))
    if not names:
        raise DataError(
            f"none of {len(source)} pictures can be read", given=f"{bad[0].name}: {bad[0].reason}"
        )
    (folder / "names.json").write_text(json.dumps(names))
    shape = [len(names), resolution, resolution, channels]
    paired = {"source": shape} if source.paired else {}
    return {"images": shape, **paired} | {
        "labels": labels if source.classes else [],
        "classes": source.classes,
        "skipped": bad,
    }


def _read_all(
    source: PictureSource, resolution: int, channels: int, how: Fit
) -> Iterator[Picture | BadPicture]:
    """Every picture fitted, in order, read by as many threads as there are cores.

    Pillow's decoders release the interpreter's lock, so photos are read in parallel.
    """

    def read(index: int) -> Picture | BadPicture:
        try:
            picture = source[index]
            name = picture.name
            pixels = fit(picture.pixels, resolution, channels, how, name)
            start = picture.source
            start = None if start is None else fit(start, resolution, channels, how, name)
        except PictureError as error:
            return BadPicture(error.name, error.reason)
        return picture._replace(pixels=pixels, source=start)

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(
            0, len(source), 64 * workers
        ):  # bounds what is decoded but not yet written
            yield from pool.map(read, range(start, min(start + 64 * workers, len(source))))


def _write_row(picture: Picture, images: IO[bytes], sources: IO[bytes]) -> None:
    images.write(picture.pixels.transpose(1, 2, 0).tobytes())
    if picture.source is not None:
        sources.write(picture.source.transpose(1, 2, 0).tobytes())


def _refusal(bad: Sequence[BadPicture], count: int) -> DataError:
    named = "; ".join(f"{name} ({reason})" for name, reason in bad[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return DataError(
        f"{len(bad)} of {count} pictures cannot be used: {named}{more}",
        hint="zoo data check PATH to see all, --set bad_pictures=skip to train without them",
    )
