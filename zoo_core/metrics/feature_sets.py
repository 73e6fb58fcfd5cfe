"""Features of the two sides of a comparison, and those of the real images in a cache."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zoo_core.data.packing import PackedData
from zoo_core.data.progress import OnProgress, no_progress
from zoo_core.errors import CheckpointError, InputError, WeightsError
from zoo_core.filesystem import cache_folder
from zoo_core.interfaces import FeatureExtractor
from zoo_core.metrics.frechet import Moments, Statistics
from zoo_core.metrics.picture_sets import (
    PictureSet,
    packed_pictures,
    visit,
)
from zoo_core.weights.header import parse_header
from zoo_core.weights.tensors import Tensors, read_tensors, write_tensors

logger = logging.getLogger("zoo")

SHA256 = "sha256"  # of the numbers in a file, in its metadata


@dataclass(frozen=True)
class FeatureSet:
    """Features of a set of images; `rows` [N, D] is set only if the features were kept."""

    statistics: Statistics
    rows: Tensor | None = None


class Rows:
    """A row of numbers for each image, collected batch by batch, in memory that is taken once."""

    def __init__(self, count: int):
        self.count, self.done = count, 0
        self.rows = torch.empty(0)

    def add(self, rows: Tensor) -> None:
        """Add the rows of the next images. Raises InputError if there is no memory for all."""
        if not self.done:
            shape = (self.count, *rows.shape[1:])
            try:
                self.rows = torch.empty(shape, dtype=rows.dtype)
            except (RuntimeError, MemoryError):
                raise InputError(
                    "there is no memory for the features of all images", given=f"{list(shape)}"
                ) from None
        self.rows[self.done : self.done + len(rows)] = rows
        self.done += len(rows)


class FeatureVisitor:
    """Collects the features of `count` images; see `extract`."""

    def __init__(self, extractor: FeatureExtractor, count: int, *, keep: bool):
        self.extractor = extractor
        self.device = next(extractor.parameters()).device
        self.few = count <= extractor.width
        self.kept = Rows(count) if keep or self.few else None
        self.moments = Moments(extractor.width)
        if self.device.type == "cuda":  # some other devices lack float64
            self.moments = self.moments.to(self.device)

    def __call__(self, images: Tensor, names: Sequence[str]) -> None:
        """Add a batch. Raises PictureError for an image whose features are not finite."""
        features = self.extractor(images.to(self.device))
        self.moments.update(features, names)
        if self.kept is not None:
            self.kept.add(features.cpu())

    def found(self) -> FeatureSet:
        """The features of all images."""
        rows = None if self.kept is None else self.kept.rows
        if self.few and rows is not None:
            return FeatureSet(Statistics.of(rows), rows)
        return FeatureSet(self.moments.compute(), rows)


class LogitVisitor:
    """Collects the logits of `count` images, float32 [N, K]."""

    def __init__(self, extractor: FeatureExtractor, count: int):
        self.extractor = extractor
        self.device = next(extractor.parameters()).device
        self.kept = Rows(count)

    def __call__(self, images: Tensor, names: Sequence[str]) -> None:
        """Add a batch."""
        self.kept.add(self.extractor.logits(images.to(self.device)).cpu())


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
    visitor = FeatureVisitor(extractor, len(pictures), keep=keep)
    visit(pictures, [visitor], on_progress)
    return visitor.found()


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
        """What is cached; None if nothing is, or if it is damaged, which is said."""
        path = self._path(what)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        try:
            expected = parse_header(data, len(data), "the file").metadata.get(SHA256)
            tensors = read_tensors(data, "the file")
            if expected not in (None, _sha256(tensors)):
                raise WeightsError("its numbers are not as they were written")
        except WeightsError as error:
            logger.warning("features in %s are damaged (%s); measuring again", path, error)
            return None
        return tensors if expected else None  # an older version wrote no hash

    def _write(self, what: str, tensors: Tensors) -> None:
        path = self._path(what)
        about = {"extractor": self.extractor.fingerprint, "data": self.data.fingerprint}
        about[SHA256] = _sha256(tensors)
        with contextlib.suppress(OSError, CheckpointError):  # may be read-only; it only saves time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors, about)


def _sha256(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().view(-1).numpy())
    return digest.hexdigest()
