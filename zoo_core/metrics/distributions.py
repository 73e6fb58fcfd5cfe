"""Numbers that say how good pictures are, on top of torchmetrics and torch-fidelity.

    Frechet distance            Heusel et al. 2017             zoo_core/metrics/frechet.py
    kernel distance             Binkowski et al. 2018          torch-fidelity, in float64
    precision, recall           Kynkaanniemi et al. 2019       torch-fidelity, in float64
    density, coverage           Naeem et al. 2020              here: neither library has them
    Inception score             Salimans et al. 2016           torch-fidelity, of any classifier
    perceptual path length      Karras et al. 2019             torchmetrics, from seeds
    L1, PSNR, SSIM, LPIPS       of pairs of pictures           torchmetrics

Features are float [N, D], one row a picture, real ones first: FeatureExtractor(images). What cannot
be measured is an InputError in one line, never a number. Where rows are drawn at random the result
depends on their order: hand them in sorted by name or seed.
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

CHUNK = 1024  # rows of a matrix of distances that are held at once


def kernel_distance(
    real: Tensor,
    fake: Tensor,
    *,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,  # of the subsets, below 2**32
) -> tuple[float, float]:
    """Squared maximum mean discrepancy, unbiased, with the kernel (x y / D + 1)^3: mean and
    standard deviation over subsets. It is called KID only on features of the 2015 Inception.

    Raises InputError for features that cannot be compared, or fewer of them than a subset has.
    """
    real, fake = _both(real, fake)
    most = min(len(real), len(fake))
    if not 2 <= subset_size <= most or num_subsets < 1:
        raise InputError(
            "so many subsets of that size cannot be drawn",
            given=f"{num_subsets} of {subset_size} pictures",
            allowed=f"at least 1, of 2 to {most} pictures",
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
    """Precision, the share of generated pictures within the manifold of the real ones, and recall,
    the share of real ones within the manifold of the generated ones.

    A manifold is the union of balls around its pictures that reach to the k-th nearest of them.
    Raises InputError for features that cannot be compared, or no more of them than k.
    """
    real, fake = _both(real, fake)
    _check_neighbors(k, min(len(real), len(fake)))
    # In torch-fidelity the generated ones come first. "RAM" is the way that works in chunks.
    options = {"prc_neighborhood": k, "prc_batch_size": CHUNK, "save_cpu_ram": True}
    result = prc_features_to_metric(fake, real, **options, verbose=False)
    return result["precision"], result["recall"]


def density_coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> tuple[float, float]:
    """Density and coverage, section 3 of Naeem et al. 2020.

    Of the open balls around real pictures that reach to their k-th nearest real neighbor: how many
    hold a generated picture on average, in units of k (1 for equal distributions, it may be more),
    and the share of them that hold any. Raises InputError as `precision_recall` does.
    """
    real, fake = _both(real, fake)
    _check_neighbors(k, len(real))
    held, covered = 0, 0
    for rows in real.split(CHUNK):
        radii = torch.cdist(rows, real).kthvalue(k + 1).values  # nearest is the picture itself
        inside = torch.cdist(rows, fake) < radii[:, None]
        held += int(inside.sum())
        covered += int(inside.any(1).sum())
    return held / (k * len(fake)), covered / len(real)


def inception_score(logits: Tensor, *, num_splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """exp E KL(p(y|x) || p(y)) of a classifier's logits [N, K]: mean and standard deviation over
    splits of the shuffled pictures.

    It compares with published Inception scores only if the classifier is that network. Raises
    InputError for logits of less than two classes, or fewer pictures than splits.
    """
    logits = checked_features(logits).double()
    if logits.shape[1] < 2:
        raise InputError("a score needs the logits of at least two classes", given=logits.shape[1])
    if not 1 <= num_splits <= len(logits):
        raise InputError(
            f"{len(logits)} pictures cannot be split like that",
            given=f"{num_splits} splits",
            allowed=f"1 to {len(logits)}",
        )
    # A probability of exactly 0 in all pictures of a split would make torch-fidelity's score NaN.
    logits = logits.clamp(min=logits.max(1, keepdim=True).values - 700)
    result = isc_features_to_metric(logits, num_splits, shuffle=True, rng_seed=_seed(seed))
    return tuple(result[f"inception_score_{part}"] for part in ("mean", "std"))


def _both(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64; InputError if no distance between the two sets can be measured."""
    sides = []
    for side, features in (("real", real), ("generated", fake)):
        names = [f"{side} picture {row}" for row in range(len(features))]
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
            f"{pictures} pictures have no such nearest neighbor",
            given=f"k = {k}",
            allowed=f"1 to {pictures - 1}",
        )


def _seed(seed: int) -> int:
    if not 0 <= seed < 1 << 32:
        raise InputError("no such seed of subsets", given=seed, allowed="0 to 2**32 - 1")
    return seed
