"""Perceptual path length: how smoothly images change along a path through latent space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError
from zoo_core.generators import Generator, StyleGenerator, evaluating, sample_batch
from zoo_core.interfaces import FeatureExtractor
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
    epsilon: float = 1e-4,  # step length, as a share of the path
    seed: int = 0,
    labels: Sequence[int] | Tensor | None = None,  # one per pair, if class-conditional
    truncation: float = 1.0,
) -> float:
    """Compute the perceptual path length, eqs. 2 and 3 of Karras et al. 2019.

    It is the mean squared feature distance between two points of a path that are `epsilon` apart,
    divided by `epsilon` squared. The lowest and highest 1 % of the distances are left out, as in
    the authors' numbers.

    Path i goes from noise 2 i of `seed` to noise 2 i + 1 and is measured at a uniformly drawn
    point. It is a straight line in W for a StyleGenerator; otherwise all noise is rotated along
    circles. Distances are between pooled features, not LPIPS, so they are comparable only within
    one extractor. Latents do not come from torchmetrics, which would use torch's global generator.
    Raises InputError for an image-to-image model.
    """
    if generator.source_shape is not None:
        raise InputError(
            f"{type(generator).__name__} is an image-to-image model and has no latents",
            hint="--metrics l1,psnr,ssim",
        )
    if num_pairs < 2 or not 0 < epsilon < 1:
        raise InputError(
            "the path length cannot be measured with these settings",
            given=f"{num_pairs} pairs, epsilon {epsilon}",
            allowed="2 or more pairs, epsilon between 0 and 1",
        )
    mean, _, _ = torchmetrics.functional.image.perceptual_path_length(
        _PathAdapter(generator, seed, generator.checked_labels(labels, num_pairs), truncation),
        num_pairs,
        batch_size=sample_batch(generator.image_shape),
        epsilon=float(epsilon),
        sim_net=_FeatureDistance(extractor),
        device=next(generator.parameters()).device,
    )
    return float(mean)


class _PathAdapter(nn.Module):
    """Adapter of a generator for torchmetrics.

    A "latent" [row, share] is a point on the path of that row, so that torchmetrics' own
    interpolation moves along the path.
    """

    def __init__(self, generator: Generator, seed: int, labels: Tensor | None, truncation: float):
        super().__init__()
        self.generator, self.seed, self.labels = generator, seed, labels
        self.truncation = truncation
        self.ends = count()  # torchmetrics samples the starts first, then the ends

    def sample(self, num_samples: int) -> Tensor:
        """Return a point on each row's path, float64 [rows, 2]; the next call adds 1 to `share`."""
        shares = SeededNoise(self.seed, range(num_samples)).uniform("path").double()
        return torch.stack([torch.arange(num_samples), shares + next(self.ends)], dim=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images in 0..255, as torchmetrics expects; float64, so that nothing is rounded."""
        rows, shares = latents[:, 0].long().cpu(), latents[:, 1].float()
        start, goal = (SeededNoise(self.seed, (2 * rows + end).tolist()) for end in (0, 1))
        labels = None if self.labels is None else self.labels[rows]
        pictures = _interpolate(self.generator, start, goal, shares, labels, self.truncation)
        return (pictures.double() + 1) * 127.5


def _interpolate(
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
    return generator.draw_ws(first.lerp(last, shares[:, None, None].to(first)))


class _FeatureDistance(nn.Module):
    """Squared distance between the features of two batches of images: float64 [N]."""

    def __init__(self, extractor: FeatureExtractor):
        super().__init__()
        self.extractor = extractor
        self.seen = 0

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Compare images in -1..1."""
        names = [f"pair {self.seen + row}" for row in range(len(one))]
        self.seen += len(one)
        first, second = (
            checked_features(self.extractor(side.float()), names).double() for side in (one, other)
        )
        return (first - second).square().sum(1)
