"""Images that somebody has made: of what sizes they are, and at which both sides are compared.

Images of one size that are square are compared as they are. All others, and with them the real
ones, have to be fitted to a square first: its side is the median of the shorter sides of the made
images, so that half of them are not enlarged, and a few small ones decide nothing.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from zoo_core.data.progress import OnProgress, no_progress
from zoo_core.errors import PictureError, first_few
from zoo_core.pictures import Picture, PictureDataset, read_picture

AHEAD = 256  # images whose reading is planned at once

Sizes = Counter[tuple[int, int]]  # how many images have a width and height


class NotedSizes(PictureDataset):
    """A data set that counts the sizes of the images that are read from it, from any thread."""

    def __init__(self, dataset: PictureDataset):
        self.dataset, self.sizes, self._lock = dataset, Sizes(), Lock()
        self.fingerprint, self.classes = dataset.fingerprint, dataset.classes
        self.paired, self.ignored = dataset.paired, dataset.ignored
        self.summary, self.remarks = dataset.summary, dataset.remarks
        self.path = getattr(dataset, "path", type(dataset).__name__)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Picture:
        picture = self.dataset[index]
        height, width = picture.pixels.shape[:2]
        with self._lock:
            self.sizes[width, height] += 1
        return picture


def count_sizes(pictures: PictureDataset, on_progress: OnProgress = no_progress) -> Sizes:
    """Read all images for their sizes; unusable ones are left out."""
    noted, count = NotedSizes(pictures), len(pictures)

    def read(index: int) -> None:
        with contextlib.suppress(PictureError):
            read_picture(noted, index)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, count, AHEAD):
            stop = min(start + AHEAD, count)
            list(pool.map(read, range(start, stop)))
            on_progress(stop, count)
    return noted.sizes


def square_side(sizes: Iterable[tuple[int, int]]) -> int | None:
    """The side if all images are squares of one size, else None."""
    match [*sizes]:
        case [(width, height)] if width == height:
            return width
    return None


def fitted_side(sizes: Sizes) -> int:
    """The side of the square that images of these sizes are fitted to; 1 if there are none."""
    return statistics.median_low([min(size) for size in sizes.elements()] or [1])


def describe_sizes(sizes: Sizes) -> str:
    """The most common sizes, each with the number of images: `400 x 300 (58), 16 x 16 (2)`."""
    common = sizes.most_common()
    return first_few(f"{width} x {height} ({count})" for (width, height), count in common)
