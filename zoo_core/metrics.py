"""Numbers that say how good pictures are, on top of torchmetrics and torch-fidelity.

    Frechet distance            Heusel et al. 2017             zoo_core/moments.py
    kernel distance             Binkowski et al. 2018          torch-fidelity, in float64
    precision, recall           Kynkaanniemi et al. 2019       torch-fidelity, in float64
    density, coverage           Naeem et al. 2020              here: neither library has them
    Inception score             Salimans et al. 2016           torch-fidelity, of any classifier
    perceptual path length      Karras et al. 2019             torchmetrics, from seeds
    L1, PSNR, SSIM, LPIPS       of pairs of pictures           torchmetrics

Features are float [N, D], one row a picture, real ones first: FeatureExtractor(images). What cannot
be measured is an InputError in one line, never a number. Where rows are drawn at random the result
depends on their order: hand them in sorted by name or seed. Which values are better stands in
`zoo_core.spec.HIGHER_IS_BETTER`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError
from zoo_core.interfaces import (
    FeatureExtractor,
    Generator,
    StyleGenerator,
    evaluating,
    sample_batch,
)
from zoo_core.moments import (
    Moments,
    Statistics,
    check_set,
    checked_features,
    different_widths,
    frechet_distance,
    not_installed,
)
from zoo_core.noise import SeededNoise
from zoo_core.similarity import load_lpips, pair_distances

try:
    import torchmetrics.functional.image
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric
except ImportError as error:
    raise not_installed(error) from None

__all__ = [
    "Moments",
    "Statistics",
    "density_coverage",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "load_lpips",
    "pair_distances",
    "perceptual_path_length",
    "precision_recall",
]

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


def perceptual_path_length(
    generator: Generator,
    extractor: FeatureExtractor,
    *,
    num_pairs: int,
    epsilon: float = 1e-4,  # share of the way between two pictures
    seed: int = 0,
    labels: Sequence[int] | Tensor | None = None,  # of each pair, for a class-conditional generator
    truncation: float = 1.0,
) -> float:
    """How far, in squared distance of features, pictures move along the way from one latent to
    another, by `epsilon` squared: eqs. 2 and 3 of Karras et al. 2019, without the 1 % of distances
    at either end, as in the authors' numbers.

    A way starts at noise 2 i of `seed`, ends at noise 2 i + 1, and is measured at a point drawn
    uniformly: along a straight line in W for a generator with styles, else with all noise turned on
    circles. The distance is that of pooled features, not LPIPS, so it compares only within one
    extractor. torchmetrics' own latents would come from torch's global generator. Raises InputError
    for a generator that starts from other pictures.
    """
    if generator.source_shape is not None:
        raise InputError(
            f"{type(generator).__name__} starts from other pictures, not from latents",
            hint="--metrics l1,psnr,ssim",
        )
    if num_pairs < 2 or not 0 < epsilon < 1:
        raise InputError(
            "no path length can be measured so",
            given=f"{num_pairs} pairs, epsilon {epsilon}",
            allowed="2 pairs or more, epsilon in 0..1",
        )
    mean, _, _ = torchmetrics.functional.image.perceptual_path_length(
        _Way(generator, seed, generator.checked_labels(labels, num_pairs), truncation),
        num_pairs,
        batch_size=sample_batch(generator.image_shape),
        epsilon=float(epsilon),
        sim_net=_Distance(extractor),
        device=next(generator.parameters()).device,
    )
    return float(mean)


class _Way(nn.Module):
    """What torchmetrics takes for a generator. A "latent" [row, share] is a point on the way from
    one latent of the row to the other, so that it walks along the way by its own interpolation.
    """

    def __init__(self, generator: Generator, seed: int, labels: Tensor | None, truncation: float):
        super().__init__()
        self.generator, self.seed, self.labels = generator, seed, labels
        self.truncation = truncation
        self.ends = count()  # torchmetrics asks for the starts first, then for the ends

    def sample(self, num_samples: int) -> Tensor:
        """float64 [rows, 2]: each row's point, and when asked again, the point one way further."""
        shares = SeededNoise(self.seed, range(num_samples)).uniform("path").double()
        return torch.stack([torch.arange(num_samples), shares + next(self.ends)], dim=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Pictures in 0..255, as torchmetrics wants them; float64, so that nothing is rounded."""
        rows, shares = latents[:, 0].long().cpu(), latents[:, 1].float()
        start, goal = (SeededNoise(self.seed, (2 * rows + end).tolist()) for end in (0, 1))
        labels = None if self.labels is None else self.labels[rows]
        pictures = _between(self.generator, start, goal, shares, labels, self.truncation)
        return (pictures.double() + 1) * 127.5


def _between(
    generator: Generator,
    start: SeededNoise,
    goal: SeededNoise,
    shares: Tensor,
    labels: Tensor | None,
    truncation: float,
) -> Tensor:
    if not isinstance(generator, StyleGenerator):
        noise = start.toward(goal, shares.cpu())
        return generator.draw(noise, labels=labels, truncation=truncation)
    labels = None if labels is None else labels.to(shares.device)
    with evaluating(generator):
        first, last = (
            generator.styles(noise, labels=labels, truncation=truncation) for noise in (start, goal)
        )
    return generator.draw_styles(first.lerp(last, shares[:, None, None]))


class _Distance(nn.Module):
    """Squared distance of the features of two batches of pictures: float64 [N]."""

    def __init__(self, extractor: FeatureExtractor):
        super().__init__()
        self.extractor = extractor
        self.seen = 0

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Of pictures in -1..1."""
        names = [f"pair {self.seen + row}" for row in range(len(one))]
        self.seen += len(one)
        first, second = (
            checked_features(self.extractor(side.float()), names).double() for side in (one, other)
        )
        return (first - second).square().sum(1)
