"""The two sides of a comparison, real and generated images, and one pass over either.

Generated images are rounded to 8 bits, as in saved files. Nothing here grows with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.data.batches import gather, to_uint8
from zoo_core.data.decoding import fit
from zoo_core.data.packing import PackedData
from zoo_core.data.progress import OnProgress, no_progress
from zoo_core.generators import Generator
from zoo_core.runtime import Runtime

BATCH = 64  # images per extractor call

Visitor = Callable[[Tensor, Sequence[str]], None]  # uint8 [n, C, H, W], and the images' names


@dataclass(frozen=True)
class PictureSet:
    """One side of a comparison: the names of the images, and the images in batches."""

    names: Sequence[str]
    batches: Callable[[], Iterator[Tensor]]  # uint8 [n, C, H, W], in the order of `names`

    def __len__(self) -> int:
        return len(self.names)


@torch.no_grad()
def visit(
    pictures: PictureSet, visitors: Sequence[Visitor], on_progress: OnProgress = no_progress
) -> None:
    """Show every batch to all visitors, so that an image is drawn or read only once."""
    done = 0
    for images in pictures.batches():
        names = pictures.names[done : done + len(images)]
        for visitor in visitors:
            visitor(images, names)
        done += len(images)
        on_progress(done, len(pictures))


def packed_pictures(data: PackedData, count: int | None = None) -> PictureSet:
    """Images of a packed data set: all, or `count` spread evenly over it."""
    rows = np.arange(len(data)) if count is None else spread(len(data), count)

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(rows), BATCH):
            yield gather(data.images, rows[start : start + BATCH])

    return PictureSet(data.names(rows.tolist()), batches)


def spread(
    size: int,  # of the data
    count: int,
    start: int = 0,
    stop: int | None = None,
) -> NDArray[np.int64]:
    """Indices `start` to `stop` of `count` images spread evenly over the data, first and last
    included; they repeat if the data has fewer.
    """
    stop = count if stop is None else min(stop, count)
    places = np.arange(start, stop) * ((size - 1) / max(1, count - 1))
    return places.round().astype(np.int64).clip(max=size - 1)


def num_generated(generator: Generator, data: PackedData | None, count: int) -> int:
    """The images to generate out of `count`: a translator uses each source image at most once."""
    if generator.source_shape is None:
        return count
    assert data is not None
    return min(count, len(data))


def generated_pictures(
    generator: Generator,
    count: int,
    data: PackedData | None,  # its labels and source images are the conditions, if there are any
    *,
    seed: int = 0,  # of the first image
    truncation: float = 1.0,
    resolution: int | None = None,  # to scale them to; None: as they are
) -> PictureSet:
    """Images of `count` seeds, with labels and source images spread evenly over the data."""

    def batches() -> Iterator[Tensor]:
        for start in range(0, count, BATCH):
            stop = min(start + BATCH, count)
            seeds = range(seed + start, seed + stop)
            conditions = _conditions(generator, count, data, start, stop)
            made = generator.sample(seeds, truncation=truncation, **conditions)
            yield torch.from_numpy(_scaled(to_uint8(made), resolution))

    return PictureSet(_SeedNames(range(seed, seed + count)), batches)


def _scaled(images: NDArray[np.uint8], side: int | None) -> NDArray[np.uint8]:
    """Images [N, C, H, W] at that many pixels a side, scaled as real ones are."""
    if side in (None, images.shape[2]):
        return images
    assert side is not None
    planes = images.shape[1]
    return np.stack([fit(each.transpose(1, 2, 0), side, planes, "stretch", "") for each in images])


def _conditions(
    generator: Generator, count: int, data: PackedData | None, start: int, stop: int
) -> dict[str, Any]:
    """The labels and source images of generated images `start` to `stop`."""
    if not generator.num_classes and generator.source_shape is None:
        return {}
    assert data is not None
    rows = spread(len(data), count, start, stop)
    labels = source = None
    if generator.num_classes:
        assert data.labels is not None
        labels = data.labels[rows].tolist()
    if generator.source_shape is not None:
        assert data.source is not None
        device = next(generator.parameters()).device
        runtime = Runtime(device, torch.float32, torch.contiguous_format)
        source = runtime.place_images(gather(data.source, rows))
    return {"labels": labels, "source": source}


class _SeedNames(Sequence[str]):
    """The names of generated images, made when they are asked for."""

    def __init__(self, seeds: range):
        self.seeds = seeds

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return _SeedNames(self.seeds[index])
        return f"the image of seed {self.seeds[index]}"
