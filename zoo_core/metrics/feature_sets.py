"""Features of the two sides of a comparison: real and generated images.

Generated images are rounded to 8 bits, as in saved files.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.data.batches import gather, to_uint8
from zoo_core.data.packing import PackedData
from zoo_core.errors import CheckpointError, WeightsError
from zoo_core.filesystem import cache_folder
from zoo_core.interfaces import FeatureExtractor, Generator
from zoo_core.metrics.frechet import Moments, Statistics
from zoo_core.runtime import Runtime
from zoo_core.weights.tensors import Tensors, read_tensors, write_tensors

BATCH = 64  # images per extractor call

OnProgress = Callable[[int, int], None]  # images done, images in total


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class PictureSet:
    """One side of a comparison: the names of the images, and the images in batches."""

    names: Sequence[str]
    batches: Callable[[], Iterator[Tensor]]  # uint8 [n, C, H, W], in the order of `names`

    def __len__(self) -> int:
        return len(self.names)


def packed_pictures(data: PackedData, count: int | None = None) -> PictureSet:
    """Images of a packed data set: all, or `count` spread evenly over it."""
    rows = spread(data, count)

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(rows), BATCH):
            yield gather(data.images, rows[start : start + BATCH])

    return PictureSet(data.names(rows.tolist()), batches)


def spread(data: PackedData, count: int | None) -> NDArray[np.int64]:
    """Indices of `count` images spread evenly over the data, with repeats if it has fewer."""
    if count is None:
        return np.arange(len(data))
    return np.linspace(0, len(data) - 1, count).round().astype(np.int64)


def generated_pictures(
    generator: Generator,
    count: int,
    data: PackedData,  # its labels and source images are the conditions
    *,
    seed: int = 0,  # of the first image
    truncation: float = 1.0,
) -> PictureSet:
    """Images of `count` seeds, with labels and source images spread evenly over the data."""
    rows = spread(data, count)
    device = next(generator.parameters()).device
    runtime = Runtime(device, torch.float32, torch.contiguous_format)

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            labels = source = None
            if generator.num_classes:
                assert data.labels is not None
                labels = data.labels[some].tolist()
            if generator.source_shape is not None:
                assert data.source is not None
                source = runtime.place_images(gather(data.source, some))
            seeds = range(seed + start, seed + start + len(some))
            made = generator.sample(seeds, labels=labels, source=source, truncation=truncation)
            yield torch.from_numpy(to_uint8(made))

    return PictureSet([f"the image of seed {seed + row}" for row in range(len(rows))], batches)


@dataclass(frozen=True)
class FeatureSet:
    """Features of a set of images; `rows` [N, D] is set only if the features were kept."""

    statistics: Statistics
    rows: Tensor | None = None


@torch.no_grad()
def extract(
    pictures: PictureSet,
    extractor: FeatureExtractor,
    *,
    keep: bool,
    on_progress: OnProgress = no_progress,
) -> FeatureSet:
    """Extract the features of all images and compute their statistics.

    The features themselves are returned if `keep` is set, or if there are so few images that exact
    distances need them. Raises what `Moments` and `Statistics` raise; the error names the image
    whose features are not finite.
    """
    device = next(extractor.parameters()).device
    moments, kept, done = Moments(extractor.width), [], 0
    if device.type == "cuda":  # some other devices lack float64
        moments = moments.to(device)
    few = len(pictures) <= extractor.width
    for images in pictures.batches():
        features = extractor(images.to(device))
        names = pictures.names[done : done + len(images)]
        moments.update(features, names)
        if keep or few:
            kept.append(features.cpu())
        done += len(images)
        on_progress(done, len(pictures))
    rows = torch.cat(kept) if kept else None
    if few and rows is not None:
        return FeatureSet(Statistics.of(rows, pictures.names), rows)
    return FeatureSet(moments.compute(), rows)


@dataclass
class ReferenceFeatures:
    """Features of the real images.

    They are cached as safetensors, under a file name derived from the fingerprints of the data and
    the extractor.
    """

    data: PackedData
    extractor: FeatureExtractor
    cache: Path | None = None  # None: the user's cache folder
    _found: FeatureSet | None = None

    def measure(self, *, keep: bool = False, on_progress: OnProgress = no_progress) -> FeatureSet:
        """Return the statistics of all features, and the features themselves if `keep` is set."""
        if self._found is None or (keep and self._found.rows is None):
            self._found = self._remembered(keep) or self._extracted(keep, on_progress)
        return self._found

    def _remembered(self, keep: bool) -> FeatureSet | None:
        """Return cached features, or None if the cache does not hold what is needed."""
        few = len(self.data) <= self.extractor.width
        statistics, rows = self._read("statistics"), None
        if keep or few:
            rows = (self._read("features") or {}).get("features")
        if rows is not None and (few or statistics is None):
            return FeatureSet(Statistics.of(rows), rows)
        if statistics is not None and (rows is not None or not keep) and not few:
            return FeatureSet(Statistics.from_tensors(statistics), rows)
        return None

    def _extracted(self, keep: bool, on_progress: OnProgress) -> FeatureSet:
        pictures = packed_pictures(self.data)
        found = extract(pictures, self.extractor, keep=keep, on_progress=on_progress)
        self._write("statistics", found.statistics.tensors())
        if found.rows is not None:
            self._write("features", {"features": found.rows})
        return found

    def _path(self, what: str) -> Path:
        key = f"{what}:{self.data.fingerprint}:{self.extractor.fingerprint}"
        name = hashlib.sha256(key.encode()).hexdigest()[:24]
        return (self.cache or cache_folder()) / "features" / f"{name}.safetensors"

    def _read(self, what: str) -> Tensors | None:
        path = self._path(what)
        try:
            return read_tensors(path.read_bytes(), str(path))
        except (OSError, WeightsError):  # missing or damaged
            return None

    def _write(self, what: str, tensors: Tensors) -> None:
        path = self._path(what)
        about = {"extractor": self.extractor.fingerprint, "data": self.data.fingerprint}
        with contextlib.suppress(OSError, CheckpointError):  # may be read-only; it only saves time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors, about)
