"""Perceptual path length: how evenly pictures change along a way through the latent space."""

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
from zoo_core.metrics.frechet import checked_features, not_installed
from zoo_core.noise import SeededNoise

try:
    import torchmetrics.functional.image
except ImportError as error:
    raise not_installed(error) from None


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
        noise = start.interpolate(goal, shares.cpu())
        return generator.draw(noise, labels=labels, truncation=truncation)
    labels = None if labels is None else labels.to(shares.device)
    with evaluating(generator):
        first, last = (
            generator.sample_ws(noise, labels=labels, truncation=truncation)
            for noise in (start, goal)
        )
    return generator.draw_ws(first.lerp(last, shares[:, None, None]))


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
