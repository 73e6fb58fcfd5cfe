"""The two sides of a comparison, real pictures and others, as a feature extractor sees them.

Generated pictures are rounded to 8 bits, as the files are that they would be saved to.
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

BATCH = 64  # pictures that an extractor sees at once

OnProgress = Callable[[int, int], None]  # pictures done, and in all


def quiet(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class PictureSet:
    """One side of a comparison: what each picture is called, and all of them in batches."""

    names: Sequence[str]
    batches: Callable[[], Iterator[Tensor]]  # uint8 [n, C, H, W], in the order of the names

    def __len__(self) -> int:
        return len(self.names)


def packed_pictures(data: PackedData, count: int | None = None) -> PictureSet:
    """Pictures of a packed data set: all of them, or `count` from all over it."""
    rows = spread(data, count)

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(rows), BATCH):
            yield gather(data.images, rows[start : start + BATCH])

    return PictureSet(data.names(rows.tolist()), batches)


def spread(data: PackedData, count: int | None) -> NDArray[np.int64]:
    """Positions of `count` pictures from all over the data, some more than once if it has fewer."""
    if count is None:
        return np.arange(len(data))
    return np.linspace(0, len(data) - 1, count).round().astype(np.int64)


def generated_pictures(
    generator: Generator,
    count: int,
    data: PackedData,  # whose labels and source pictures are the conditions
    *,
    seed: int = 0,  # of the first picture
    truncation: float = 1.0,
) -> PictureSet:
    """The pictures of `count` seeds, under the labels and from the source pictures that `spread`
    finds.
    """
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

    return PictureSet([f"the picture of seed {seed + row}" for row in range(len(rows))], batches)


@dataclass(frozen=True)
class FeatureSet:
    """What an extractor sees in pictures. `rows` [N, D] are kept where somebody needs them."""

    statistics: Statistics
    rows: Tensor | None = None


@torch.no_grad()
def extract(
    pictures: PictureSet,
    extractor: FeatureExtractor,
    *,
    keep: bool,
    on_progress: OnProgress = quiet,
) -> FeatureSet:
    """Statistics of the features of all pictures, and the features themselves if they are to be
    kept, or are so few that a distance is exact with them only.

    Raises what `Moments` and `Statistics` raise: a picture is named that has no finite features.
    """
    device = next(extractor.parameters()).device
    moments, kept, done = Moments(extractor.width), [], 0
    if device.type == "cuda":  # not every other device has float64
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
    """Real pictures as an extractor sees them. It is kept as safetensors in the cache folder, under
    a name made of the data's fingerprint and the extractor's.
    """

    data: PackedData
    extractor: FeatureExtractor
    cache: Path | None = None  # None: the cache folder of this user
    _found: FeatureSet | None = None

    def measure(self, *, keep: bool = False, on_progress: OnProgress = quiet) -> FeatureSet:
        """Statistics of all features, and the features themselves if they are to be kept."""
        if self._found is None or (keep and self._found.rows is None):
            self._found = self._remembered(keep) or self._extracted(keep, on_progress)
        return self._found

    def _remembered(self, keep: bool) -> FeatureSet | None:
        """What an earlier process has measured, if it is enough."""
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
        except (OSError, WeightsError):  # never written, or damaged
            return None

    def _write(self, what: str, tensors: Tensors) -> None:
        path = self._path(what)
        about = {"extractor": self.extractor.fingerprint, "data": self.data.fingerprint}
        with contextlib.suppress(OSError, CheckpointError):  # read-only: it only saves time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors, about)
