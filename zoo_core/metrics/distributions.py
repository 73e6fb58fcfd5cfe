"""Metrics of image quality, built on torchmetrics and torch-fidelity.

    Frechet distance            Heusel et al. 2017             zoo_core/metrics/frechet.py
    kernel distance             Binkowski et al. 2018          here, on torch-fidelity's subsets
    precision, recall           Kynkaanniemi et al. 2019       torch-fidelity, in float64
    density, coverage           Naeem et al. 2020              here: neither library has them
    Inception score             Salimans et al. 2016           torch-fidelity, any classifier
    perceptual path length      Karras et al. 2019             torchmetrics, latents from seeds
    L1, PSNR, SSIM, LPIPS       on image pairs                 torchmetrics

Features are float [N, D], one row per image, as a FeatureExtractor returns them. Functions take the
real features first. Input that cannot be measured raises a one-line InputError; no number is
returned. Metrics that draw random subsets depend on the order of the rows: sort them by file name
or seed first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_core.metrics.frechet import (
    check_set,
    checked_features,
    different_widths,
    not_installed,
)
from zoo_core.nn.features import exact_float32

try:
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric
except ImportError as error:
    raise not_installed(error) from None

CHUNK, CELLS = 1024, 1 << 24  # rows and entries of a distance matrix in memory at once, at most
BLOCK = 256  # rows of the kernel matrix in memory at once
MANY = 256  # images in a subset from which on rounding to float32 averages out


def kernel_distance(
    real: Tensor,
    fake: Tensor,
    *,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,  # draws the subsets; below 2**32
) -> tuple[float, float]:
    """Compute the unbiased squared maximum mean discrepancy with the kernel (x y / D + 1)^3.

    This is eq. 3 of Gretton et al. 2012 on random subsets, those that torch-fidelity draws, too;
    returns its mean and standard deviation over them. It is KID only on features of the 2015
    Inception network. Raises InputError for features that cannot be compared, or if either set is
    smaller than a subset.
    """
    real, fake = _both(real, fake)
    most = min(len(real), len(fake))
    if not 2 <= subset_size <= most or num_subsets < 1:
        raise InputError(
            "the subsets cannot be drawn",
            given=f"{num_subsets} subsets of {subset_size} images",
            allowed=f"1 or more subsets of 2 to {most} images",
        )
    drawn = _draw_subsets((len(fake), len(real)), num_subsets, subset_size, seed)
    in_fake, in_real = (rows.to(real.device) for rows in drawn)
    one, other = _centered(fake, real, torch.float64 if subset_size < MANY else torch.float32)
    with exact_float32(real.device):
        within = _kernel_sums(one, one, in_fake, in_fake) + _kernel_sums(
            other, other, in_real, in_real
        )
        between = _kernel_sums(one, other, in_fake, in_real)
    distances = within / (subset_size * (subset_size - 1)) - 2 * between / subset_size**2
    if not distances.isfinite().all():
        largest = max(float(side.abs().max()) for side in (real, fake))
        raise InputError("the features are too large for the kernel", given=f"{largest:g}")
    return float(distances.mean()), float(distances.std(correction=0))


def _draw_subsets(
    counts: tuple[int, int], num_subsets: int, size: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Draw the rows of every subset, int64 [num_subsets, size], of two sets of `counts` images."""
    random = np.random.RandomState(_seed(seed))
    drawn = [[random.choice(n, size, replace=False) for n in counts] for _ in range(num_subsets)]
    one, other = (torch.from_numpy(np.stack(rows)) for rows in zip(*drawn, strict=True))
    return one, other


@dataclass(frozen=True)
class _Centered:
    """Features x as deviations d from a center, and offsets c: x y / D + 1 = d_x d_y + c_x + c_y.

    So float32 rounds only products of deviations, and these errors average out over the pairs of a
    subset: for 1000 images they change the distance by less than 1e-6 of itself, even where it is
    3e-5 (docs/log.md). It takes half the time of float64.
    """

    deviations: Tensor  # [N, D], float32 or float64
    offsets: Tensor  # float64 [N]

    def __len__(self) -> int:
        return len(self.offsets)

    def pick(self, rows: Tensor) -> _Centered:
        """Only these images."""
        return _Centered(self.deviations[rows], self.offsets[rows])

    def members(self, subsets: Tensor) -> Tensor:
        """1 where a subset holds an image, else 0: float64 [num_subsets, N]."""
        return self.offsets.new_zeros(len(subsets), len(self)).scatter_(1, subsets, 1)


def _centered(one: Tensor, other: Tensor, dtype: torch.dtype) -> tuple[_Centered, _Centered]:
    scale = one.shape[1] ** -0.5
    center = (one.mean(0) + other.mean(0)) * (scale / 2)

    def shifted(features: Tensor) -> _Centered:
        deviations = (features * scale).sub_(center)
        return _Centered(deviations.to(dtype), deviations @ center + (center @ center + 1) / 2)

    return shifted(one), shifted(other)


def _kernel_sums(one: _Centered, other: _Centered, rows: Tensor, columns: Tensor) -> Tensor:
    """Sum the kernel over the pairs of every subset: float64 [num_subsets].

    `rows` and `columns` are the images of the subsets in either set. Subsets overlap: 100 of 1000
    images out of 5000 hold every pair four times on average. So the kernel of all pairs is computed
    once, unless there are more of them than the subsets hold together.
    """
    if len(one) * len(other) <= rows.numel() * rows.shape[1]:
        return _pair_sums(one, other, one.members(rows), other.members(columns))
    every = one.offsets.new_ones(1, rows.shape[1])
    sums = []
    for picked, others in zip(rows, columns, strict=True):
        first = one.pick(picked)
        second = first if other is one else other.pick(others)
        sums.append(_pair_sums(first, second, every, every))
    return torch.cat(sums)


def _pair_sums(one: _Centered, other: _Centered, in_one: Tensor, in_other: Tensor) -> Tensor:
    """Sum the kernel over all pairs of images, one from each set, that a subset holds.

    `in_one` and `in_other` are 1 where a subset [num_subsets, N] holds an image, else 0. Within a
    set (`other` is `one`) an image makes no pair with itself, and of the symmetric kernel only the
    blocks on and above the diagonal are computed.
    """
    within, sums = other is one, one.offsets.new_zeros(len(in_one))
    for start in range(0, len(one), BLOCK):
        rows, columns = slice(start, start + BLOCK), slice(start if within else 0, None)
        kernel = (one.deviations[rows] @ other.deviations[columns].T).double()
        kernel.add_(one.offsets[rows, None]).add_(other.offsets[columns]).pow_(3)
        if within:
            kernel.diagonal().zero_()
            kernel[:, len(kernel) :].mul_(2)
        sums += (in_one[:, rows] @ kernel).mul_(in_other[:, columns]).sum(1)
    return sums


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> tuple[float, float]:
    """Compute precision and recall.

    Precision is the share of generated images inside the manifold of the real ones; recall is the
    share of real images inside the manifold of the generated ones. A manifold is the union of balls
    around its images, each reaching to the k-th nearest image of the same set. Raises InputError
    for features that cannot be compared, or if either set has k images or fewer.
    """
    real, fake = _both(real, fake)
    _check_neighbors(k, min(len(real), len(fake)))
    # torch-fidelity takes the generated features first; `save_cpu_ram` works in chunks.
    chunk = _rows_at_once(max(len(real), len(fake)))
    options = {"prc_neighborhood": k, "prc_batch_size": chunk, "save_cpu_ram": True}
    result = prc_features_to_metric(fake, real, **options, verbose=False)
    return result["precision"], result["recall"]


def density_coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> tuple[float, float]:
    """Compute density and coverage, section 3 of Naeem et al. 2020.

    Every real image has an open ball that reaches to its k-th nearest real neighbor. Density is the
    mean number of balls that contain a generated image, divided by k: 1 for equal distributions,
    possibly more. Coverage is the share of balls that contain any generated image. Raises
    InputError for features that cannot be compared, or for k real images or fewer.
    """
    real, fake = _both(real, fake)
    _check_neighbors(k, len(real))
    held, covered = 0, 0
    for rows in real.split(_rows_at_once(max(len(real), len(fake)))):
        radii = torch.cdist(rows, real).kthvalue(k + 1).values  # k + 1: the nearest is itself
        inside = torch.cdist(rows, fake) < radii[:, None]
        held += int(inside.sum())
        covered += int(inside.any(1).sum())
    return held / (k * len(fake)), covered / len(real)


def inception_score(logits: Tensor, *, num_splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Compute exp E KL(p(y|x) || p(y)) from a classifier's logits [N, K].

    Returns its mean and standard deviation over splits of the shuffled images. It is comparable
    with published Inception scores only if the classifier is that network. Raises InputError for
    logits of fewer than two classes, or for fewer images than splits.
    """
    logits = checked_features(logits).double()
    if logits.shape[1] < 2:
        raise InputError("the score needs logits of two or more classes", given=logits.shape[1])
    if not 1 <= num_splits <= len(logits):
        raise InputError(
            f"{len(logits)} images cannot be split this way",
            given=f"{num_splits} splits",
            allowed=f"1 to {len(logits)}",
        )
    # torch-fidelity returns NaN if a class has probability exactly 0 in every image of a split.
    logits = logits.clamp(min=logits.max(1, keepdim=True).values - 700)
    result = isc_features_to_metric(logits, num_splits, shuffle=True, rng_seed=_seed(seed))
    return tuple(result[f"inception_score_{part}"] for part in ("mean", "std"))


def _both(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in float64; raises InputError if the two sets cannot be compared."""
    sides = []
    for side, features in (("real", real), ("generated", fake)):
        names = [f"{side} image {row}" for row in range(len(features))]
        wide = checked_features(features, names).double()
        mean = wide.mean(0)
        squares = (part.sub(mean).square_().sum() for part in wide.split(CHUNK // 4))
        check_set(len(wide), mean, sum(squares, wide.new_zeros(())) / max(1, len(wide)))
        sides.append(wide)
    if sides[0].shape[1] != sides[1].shape[1]:
        raise different_widths(sides[0].shape[1], sides[1].shape[1])
    return sides[0], sides[1]


def _rows_at_once(columns: int) -> int:
    return max(1, min(CHUNK, CELLS // columns))


def _check_neighbors(k: int, pictures: int) -> None:
    if not 1 <= k < pictures:
        raise InputError(
            f"no k-th nearest neighbor among {pictures} images",
            given=f"k = {k}",
            allowed=f"1 to {pictures - 1}",
        )


def _seed(seed: int) -> int:
    if not 0 <= seed < 1 << 32:
        raise InputError("the seed is out of range", given=seed, allowed="0 to 2**32 - 1")
    return seed
