"""Mean and covariance of features, batch by batch, and the Frechet distance between two of them.

Everything is float64: in float32 the covariance of features with mean 3 and standard deviation 0.01
comes out at half its value. No matrix square root is taken: of rank-deficient covariances it is
inexact or not even real, and the trace of it, which is all that is needed, is a sum over the
eigenvalues of a symmetric matrix. What is not finite is refused before an eigensolver sees it:
torchmetrics' own distance kills the process then.
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
    """What to raise without the libraries that metrics are built on."""
    package = (error.name or str(error)).partition(".")[0]
    return OfflineError(f"{package} is not installed", hint="pip install 'zoo-core[metrics]'")


try:
    from torchmetrics import Metric
except ImportError as error:
    raise not_installed(error) from None

logger = logging.getLogger("zoo")

Names = int | Sequence[object]  # of pictures: one each, or the number of the first

# Features that vary by less, beside their mean, are one feature and the rounding of float32.
ROUNDING = 4 * torch.finfo(torch.float32).eps


class Statistics:
    """Mean [D] and covariance [D, D] of the features of so many pictures: float64, on the CPU.

    The covariance is the unbiased one. Raises InputError for what no distance can be measured from:
    fewer than two pictures, values that are not finite, pictures that are all the same.
    """

    def __init__(self, num_pictures: int, mean: Tensor, covariance: Tensor):
        width = len(mean)
        if covariance.shape != (width, width):
            raise InputError(
                "mean and covariance do not fit each other",
                given=f"{list(mean.shape)} and {list(covariance.shape)}",
            )
        self.num_pictures = num_pictures
        self.mean, self.covariance = mean.cpu(), covariance.cpu()
        if not (self.mean.isfinite().all() and self.covariance.isfinite().all()):
            raise InputError("the statistics are damaged: they are not finite")
        check_set(num_pictures, self.mean, self.covariance.trace())

    @classmethod
    def of(cls, features: Tensor, names: Names = 0) -> Statistics:
        """Of features [N, D] that are all at hand. Raises PictureError as `Moments.update` does."""
        features = checked_features(features, names).to("cpu", torch.float64)
        count, mean = len(features), features.sum(0) / max(1, len(features))
        deviations = (features - mean) / max(1, count - 1) ** 0.5
        statistics = cls(count, mean, deviations.T @ deviations)
        if statistics.is_rank_deficient:
            statistics.factor = deviations
        return statistics

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Statistics:
        """What `tensors` returned, for instance read from a file. InputError if it is not that."""
        try:
            count, mean, covariance = (tensors[name] for name in _TENSORS)
            return cls(int(count), mean.double(), covariance.double())
        except (KeyError, RuntimeError, TypeError, ValueError):
            given = ", ".join(f"{key} {list(tensor.shape)}" for key, tensor in tensors.items())
            raise InputError("these are no statistics of features", given=given) from None

    def tensors(self) -> dict[str, Tensor]:
        """All of it, for a safetensors file."""
        count = torch.tensor(self.num_pictures)
        return dict(zip(_TENSORS, (count, self.mean, self.covariance), strict=True))

    @property
    def width(self) -> int:
        """The number D of features."""
        return len(self.mean)

    @property
    def is_rank_deficient(self) -> bool:
        """Whether there are no more pictures than features, so that the covariance is singular."""
        return self.num_pictures <= self.width

    @cached_property
    def factor(self) -> Tensor:
        """Some A [R, D] with A^T A = C: of few pictures their deviations from the mean, if these
        were at hand, or what the eigenvectors give; else Cholesky's, in a tenth of the time.
        """
        if not self.is_rank_deficient:
            lower, failed = torch.linalg.cholesky_ex(self.covariance)
            if not failed:
                return lower.T
        values, vectors = torch.linalg.eigh(self.covariance)
        rank = min(self.num_pictures - 1, self.width)  # what lies below is rounding
        return (vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()).T


_TENSORS = ("num_pictures", "mean", "covariance")


class Moments(Metric):
    """Collects features batch by batch; `compute` returns the Statistics of all of them.

    The memory taken does not depend on the number of pictures. Under torch.distributed `compute`
    joins the processes (torchmetrics gathers the state), and `merge_state` joins two collections.
    Neither order, nor batch size, nor the split over processes changes the result beyond float64's
    rounding: each batch is centered on its own mean, and joined as Chan et al. 1979 do.
    """

    full_state_update = False
    higher_is_better = None
    update_called = True  # no pictures are an error of ours, not a warning of torchmetrics

    table: Tensor

    def __init__(self, width: int, **options: Any):
        # What torchmetrics remembers of `compute` would outlive `merge_state`.
        super().__init__(compute_with_cache=False, **options)
        # One state, since none of its parts can be joined without the others: the count at [0, 0],
        # the mean at [0, 1:], the sum of the outer products of deviations from it at [1:, 1:].
        table = torch.zeros(width + 1, width + 1, dtype=torch.float64)
        self.add_state("table", table, dist_reduce_fx=_joined)

    def update(self, features: Tensor, names: Names = 0) -> None:
        """Add features [N, D] of any float type. `names` are those of the pictures, for messages.

        Raises PictureError, which names the first picture with a feature that is not finite, and
        InputError for another width; nothing was added then.
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
        """Statistics of all features so far; InputError if there are none of it."""
        count = int(self.table[0, 0])
        covariance = self.table[1:, 1:] / max(1, count - 1)
        return Statistics(count, self.table[0, 1:].clone(), covariance)


def _joined(tables: Tensor) -> Tensor:
    """The table of all from those of the parts, [K, D + 1, D + 1]."""
    count, mean, between = _joint_mean(tables[:, 0, 0], tables[:, 0, 1:])
    table = torch.zeros_like(tables[0])
    table[0, 0], table[0, 1:] = count, mean
    table[1:, 1:] = tables[:, 1:, 1:].sum(0).addmm_(between.T, between)
    return table


def _joint_mean(counts: Tensor, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count and mean of all from those of the parts, [K] and [K, D], and the rows whose outer
    products make up for the parts' different means.
    """
    count = counts.sum()
    mean = counts @ means / count.clamp(min=1)
    return count, mean, counts.sqrt()[:, None] * (means - mean)


def frechet_distance(real: Statistics, fake: Statistics) -> float:
    """|m_r - m_f|^2 + tr(C_r + C_f - 2 (C_r C_f)^1/2), eq. 6 of Heusel et al. 2017.

    It is called FID only if the features are those of the 2015 Inception network. Of fewer pictures
    than features it is biased, which is warned of. Raises InputError for different widths.
    """
    if real.width != fake.width:
        raise different_widths(real.width, fake.width)
    for side, statistics in (("real", real), ("generated", fake)):
        if statistics.num_pictures < statistics.width:
            logger.warning(
                "%d %s pictures for %d features: the Frechet distance comes out too large, by a "
                "bias that grows with %d / %d; take more pictures, or the kernel distance (KID), "
                "which has no such bias",
                statistics.num_pictures, side, statistics.width,
                statistics.width, statistics.num_pictures,
            )  # fmt: skip
    between = (real.mean - fake.mean).square().sum()
    within = real.covariance.trace() + fake.covariance.trace() - 2 * _trace_of_root(real, fake)
    return float((between + within).clamp(min=0))  # below 0 by rounding only


def _trace_of_root(real: Statistics, fake: Statistics) -> Tensor:
    """tr (C_r C_f)^1/2, the sum of the roots of the eigenvalues of C_r C_f.

    Those are the eigenvalues of the symmetric A C_r A^T, with A^T A = C_f or the other way round,
    as small as the smaller factor; between two small factors they are squared singular values of
    A_r A_f^T (Mathiasen and Hvilshoj 2020), which is exact.
    """
    one, other = (fake, real) if fake.is_rank_deficient else (real, fake)
    if one.is_rank_deficient and other.is_rank_deficient:
        return torch.linalg.svdvals(one.factor @ other.factor.T).sum()
    squares = torch.linalg.eigvalsh(one.factor @ other.covariance @ one.factor.T)
    return squares.clamp(min=0).sqrt().sum()


def checked_features(features: Tensor, names: Names = 0) -> Tensor:
    """Features [N, D] without gradients; PictureError names a picture whose are not finite."""
    if features.dim() != 2 or not features.is_floating_point():
        raise InputError(
            "features are a row of numbers a picture",
            given=f"{features.dtype} {list(features.shape)}",
            allowed="float [N, D]",
        )
    if not isinstance(names, int) and len(names) != len(features):
        raise ValueError(f"{len(features)} pictures have {len(names)} names")
    unusable = (~features.isfinite().all(1)).nonzero().flatten().tolist()
    if unusable:
        first = unusable[0]
        name = f"picture {names + first}" if isinstance(names, int) else str(names[first])
        others = f", nor are those of {len(unusable) - 1} others" if unusable[1:] else ""
        raise PictureError(name, f"its features are not finite{others}")
    return features.detach()


def check_set(num_pictures: int, mean: Tensor, variance: Tensor) -> None:
    """DataError if pictures are no set to compare with another one: fewer than two, or all the
    same. `mean` is that of their features [D], `variance` the sum over features, float64.
    """
    if num_pictures < 2:
        raise DataError("too few pictures to compare", given=num_pictures, allowed="2 or more")
    if variance <= mean.square().sum() * ROUNDING**2:
        raise ConstantError(
            f"all {num_pictures} pictures are the same to the extractor: the covariance of their "
            "features is 0, and no distribution is left to compare",
            hint="look at the pictures; a collapsed generator draws only one",
        )


def different_widths(one: int, other: int) -> InputError:
    """What to raise when two extractors meet."""
    return InputError(
        "features of different widths cannot be compared",
        given=f"{one} and {other}",
        hint="the same extractor for both sides",
    )
