"""Which pictures, and in which order: names and paths to sources, packed pictures to batches."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.config import RunConfig
from zoo_core.errors import AmbiguousNameError, DataError
from zoo_core.interfaces import Batch, Generator
from zoo_core.noise import SeededNoise, permutation
from zoo_core.packing import PackedData
from zoo_core.pictures import FileSource, PictureSource
from zoo_core.plugins import Plugins
from zoo_core.runtime import Runtime

logger = logging.getLogger("zoo")


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
