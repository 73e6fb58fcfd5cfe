"""Metrics of image quality, built on torchmetrics and torch-fidelity.

    Frechet distance            Heusel et al. 2017             zoo_core/metrics/frechet.py
    kernel distance             Binkowski et al. 2018          torch-fidelity, in float64
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

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_core.metrics.frechet import (
    check_set,
    checked_features,
    different_widths,
    not_installed,
)

try:
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric
except ImportError as error:
    raise not_installed(error) from None

CHUNK = 1024  # rows of the distance matrix in memory at once


def kernel_distance(
    real: Tensor,
    fake: Tensor,
    *,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,  # draws the subsets; below 2**32
) -> tuple[float, float]:
    """Compute the unbiased squared maximum mean discrepancy with the kernel (x y / D + 1)^3.

    Returns its mean and standard deviation over subsets. It is KID only on features of the 2015
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
    result = kid_features_to_metric(
        fake,
        real,
        kid_subsets=num_subsets,
        kid_subset_size=subset_size,
        rng_seed=_seed(seed),
        verbose=False,
    )
    return tuple(result[f"kernel_inception_distance_{part}"] for part in ("mean", "std"))


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
    options = {"prc_neighborhood": k, "prc_batch_size": CHUNK, "save_cpu_ram": True}
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
    for rows in real.split(CHUNK):
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
        check_set(len(wide), mean, (wide - mean).square().mean(0).sum())
        sides.append(wide)
    if sides[0].shape[1] != sides[1].shape[1]:
        raise different_widths(sides[0].shape[1], sides[1].shape[1])
    return sides[0], sides[1]


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
