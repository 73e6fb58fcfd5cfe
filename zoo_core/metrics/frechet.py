"""Streaming mean and covariance of features, and the Frechet distance between two sets.

Everything is float64: in float32 the covariance of features with mean 3 and standard deviation 0.01
comes out at half its value. No matrix square root is computed: for rank-deficient covariances it is
inexact or even complex, and only its trace is needed, which is a sum over the eigenvalues of a
symmetric matrix. Non-finite values are rejected before they reach an eigensolver: torchmetrics' own
distance kills the process on them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from zoo_core.errors import ConstantError, DataError, InputError, OfflineError, PictureError


def not_installed(error: ImportError) -> OfflineError:
    """Build the error to raise if a library that the metrics need is missing."""
    package = (error.name or str(error)).partition(".")[0]
    return OfflineError(f"{package} is not installed", hint="pip install 'zoo-core[metrics]'")


try:
    from torchmetrics import Metric
except ImportError as error:
    raise not_installed(error) from None

logger = logging.getLogger("zoo")

Names = int | Sequence[object]  # one name per image, or the number of the first

# Features that vary by less, relative to their mean, are equal up to float32 rounding.
ROUNDING = 4 * torch.finfo(torch.float32).eps


class Statistics:
    """Mean [D] and unbiased covariance [D, D] of the features of some images: float64, on the CPU.

    Raises InputError if no distance can be measured: fewer than two images, non-finite values, or
    images that are all the same.
    """

    def __init__(self, num_pictures: int, mean: Tensor, covariance: Tensor):
        width = len(mean)
        if covariance.shape != (width, width):
            raise InputError(
                "the shapes of mean and covariance do not match",
                given=f"{list(mean.shape)} and {list(covariance.shape)}",
            )
        self.num_pictures = num_pictures
        self.mean, self.covariance = mean.cpu(), covariance.cpu()
        if not (self.mean.isfinite().all() and self.covariance.isfinite().all()):
            raise InputError("the statistics are damaged: some values are not finite")
        check_set(num_pictures, self.mean, self.covariance.trace())

    @classmethod
    def of(cls, features: Tensor, names: Names = 0) -> Statistics:
        """Compute them from features [N, D]. Raises PictureError as `Moments.update` does."""
        features = checked_features(features, names).to("cpu", torch.float64)
        count, mean = len(features), features.sum(0) / max(1, len(features))
        deviations = (features - mean) / max(1, count - 1) ** 0.5
        statistics = cls(count, mean, deviations.T @ deviations)
        if statistics.is_rank_deficient:
            statistics.factor = deviations
        return statistics

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Statistics:
        """Rebuild them from what `tensors` returned. Raises InputError for anything else."""
        try:
            count, mean, covariance = (tensors[name] for name in _TENSORS)
            return cls(int(count), mean.double(), covariance.double())
        except (KeyError, RuntimeError, TypeError, ValueError):
            given = ", ".join(f"{key} {list(tensor.shape)}" for key, tensor in tensors.items())
            raise InputError("these tensors are not feature statistics", given=given) from None

    def tensors(self) -> dict[str, Tensor]:
        """Return the contents as tensors for a safetensors file."""
        count = torch.tensor(self.num_pictures)
        return dict(zip(_TENSORS, (count, self.mean, self.covariance), strict=True))

    @property
    def width(self) -> int:
        """Number of features D."""
        return len(self.mean)

    @property
    def is_rank_deficient(self) -> bool:
        """Whether the covariance is singular: there are no more images than features."""
        return self.num_pictures <= self.width

    @cached_property
    def factor(self) -> Tensor:
        """A matrix A [R, D] with A^T A = C.

        For a singular covariance it is the deviations from the mean if the features were available,
        else from an eigendecomposition. Otherwise it is the Cholesky factor, in a tenth of the
        time.
        """
        if not self.is_rank_deficient:
            lower, failed = torch.linalg.cholesky_ex(self.covariance)
            if not failed:
                return lower.T
        values, vectors = torch.linalg.eigh(self.covariance)
        rank = min(self.num_pictures - 1, self.width)  # the rest is rounding
        return (vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()).T


_TENSORS = ("num_pictures", "mean", "covariance")


class Moments(Metric):
    """Collects features batch by batch; `compute` returns the Statistics of all of them.

    Memory does not depend on the number of images. Under torch.distributed `compute` merges all
    processes (torchmetrics gathers the state); `merge_state` merges two collections. Order, batch
    size and the split over processes change the result only by float64 rounding: each batch is
    centered on its own mean and merged as in Chan et al. 1979.
    """

    full_state_update = False
    higher_is_better = None
    update_called = True  # without images our error is raised instead of torchmetrics' warning

    table: Tensor

    def __init__(self, width: int, **options: Any):
        # torchmetrics would keep a cached result even after `merge_state`.
        super().__init__(compute_with_cache=False, **options)
        # A single state, since its parts can only be merged together: the count at [0, 0], the mean
        # at [0, 1:], the sum of the outer products of deviations from it at [1:, 1:].
        table = torch.zeros(width + 1, width + 1, dtype=torch.float64)
        self.add_state("table", table, dist_reduce_fx=_joined)

    def update(self, features: Tensor, names: Names = 0) -> None:
        """Add features [N, D] of any float type; `names` are the image names for messages.

        Raises PictureError naming the first image with a non-finite feature, and InputError for
        features of another width. In both cases nothing is added.
        """
        features = checked_features(features, names).to(self.table)
        if features.shape[1] != len(self.table) - 1:
            raise different_widths(len(self.table) - 1, features.shape[1])
        if not len(features):
            return
        own = features.mean(0)
        counts = torch.stack([self.table[0, 0], own.new_tensor(float(len(features)))])
        count, mean, between = _joint_mean(counts, torch.stack([self.table[0, 1:], own]))
        rows = torch.cat([features - own, between])
        self.table[1:, 1:].addmm_(rows.T, rows)
        self.table[0, 0], self.table[0, 1:] = count, mean

    def compute(self) -> Statistics:
        """Return the statistics of all features so far; raises InputError if there are none."""
        count = int(self.table[0, 0])
        covariance = self.table[1:, 1:] / max(1, count - 1)
        return Statistics(count, self.table[0, 1:].clone(), covariance)


def _joined(tables: Tensor) -> Tensor:
    """Merge tables [K, D + 1, D + 1] into one."""
    count, mean, between = _joint_mean(tables[:, 0, 0], tables[:, 0, 1:])
    table = torch.zeros_like(tables[0])
    table[0, 0], table[0, 1:] = count, mean
    table[1:, 1:] = tables[:, 1:, 1:].sum(0).addmm_(between.T, between)
    return table


def _joint_mean(counts: Tensor, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Merge counts [K] and means [K, D].

    Returns the joint count and mean, and rows whose outer products correct for the differences
    between the means.
    """
    count = counts.sum()
    mean = counts @ means / count.clamp(min=1)
    return count, mean, counts.sqrt()[:, None] * (means - mean)


def frechet_distance(real: Statistics, fake: Statistics) -> float:
    """Compute |m_r - m_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^1/2), eq. 6 of Heusel et al. 2017.

    It is FID only on features of the 2015 Inception network. With fewer images than features it is
    biased, and a warning is logged. Raises InputError for different widths.
    """
    if real.width != fake.width:
        raise different_widths(real.width, fake.width)
    for side, statistics in (("real", real), ("generated", fake)):
        if statistics.num_pictures < statistics.width:
            logger.warning(
                "%d %s images for %d features: the Frechet distance is too large, by a bias that "
                "grows with %d / %d; use more images, or the kernel distance (KID), which is "
                "unbiased",
                statistics.num_pictures, side, statistics.width,
                statistics.width, statistics.num_pictures,
            )  # fmt: skip
    between = (real.mean - fake.mean).square().sum()
    within = real.covariance.trace() + fake.covariance.trace() - 2 * _trace_of_root(real, fake)
    return float((between + within).clamp(min=0))  # negative only by rounding


def _trace_of_root(real: Statistics, fake: Statistics) -> Tensor:
    """Compute tr (C_r C_f)^1/2, the sum of the roots of the eigenvalues of C_r C_f.

    They are also the eigenvalues of the symmetric A C_r A^T with A^T A = C_f, or with the two sides
    swapped; that matrix is as small as the smaller factor. For two rank-deficient sides they are
    the squared singular values of A_r A_f^T (Mathiasen and Hvilshoj 2020), which is exact.
    """
    one, other = (fake, real) if fake.is_rank_deficient else (real, fake)
    if one.is_rank_deficient and other.is_rank_deficient:
        return torch.linalg.svdvals(one.factor @ other.factor.T).sum()
    squares = torch.linalg.eigvalsh(one.factor @ other.covariance @ one.factor.T)
    return squares.clamp(min=0).sqrt().sum()


def checked_features(features: Tensor, names: Names = 0) -> Tensor:
    """Detach features [N, D]; raises PictureError naming an image with non-finite features."""
    if features.dim() != 2 or not features.is_floating_point():
        raise InputError(
            "features must have one row of numbers per image",
            given=f"{features.dtype} {list(features.shape)}",
            allowed="float [N, D]",
        )
    if not isinstance(names, int) and len(names) != len(features):
        raise ValueError(f"{len(features)} images, but {len(names)} names")
    unusable = (~features.isfinite().all(1)).nonzero().flatten().tolist()
    if unusable:
        first = unusable[0]
        name = f"image {names + first}" if isinstance(names, int) else str(names[first])
        others = f", nor are those of {len(unusable) - 1} more" if unusable[1:] else ""
        raise PictureError(name, f"its features are not finite{others}")
    return features.detach()


def check_set(num_pictures: int, mean: Tensor, variance: Tensor) -> None:
    """Raise DataError for a set that cannot be compared: fewer than two images, or all the same.

    `mean` [D] is the mean of the features, `variance` the sum of their variances; both float64.
    """
    if num_pictures < 2:
        raise DataError("too few images to compare", given=num_pictures, allowed="2 or more")
    if variance <= mean.square().sum() * ROUNDING**2:
        raise ConstantError(
            f"all {num_pictures} images are the same to the extractor: the covariance of their "
            "features is 0, so there is no distribution to compare",
            hint="look at the images; a collapsed generator draws only one",
        )


def different_widths(one: int, other: int) -> InputError:
    """Build the error to raise for features of two different extractors."""
    return InputError(
        "features of different widths cannot be compared",
        given=f"{one} and {other}",
        hint="use the same extractor for both sides",
    )
