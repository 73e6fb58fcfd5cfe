"""ProGAN: Karras, Aila, Laine and Lehtinen, "Progressive growing of GANs for improved quality,
stability, and variation", ICLR 2018, arXiv:1710.10196.

Section 2 and figure 2 in code: both networks start at 4 x 4 pixels and are given a stage of twice
the resolution at a time, which is faded in. Section 3: the spread of the minibatch as one more
feature map at the discriminator's end. Section 4.1: the learning rate is equalized, with He's
constant, in every layer. Section 4.2: pixel normalization after every 3 x 3 and 4 x 4 convolution
of the generator. Table 2: two 3 x 3 convolutions a stage, leaky ReLU of slope 0.2, nearest
neighbors up, averages down, 1 x 1 convolutions from and to RGB, of which the last is linear.

`GrowingGenerator` and `GrowingDiscriminator` are functions of (stage, alpha); a stage is the number
of doublings, alpha the weight of its resolution against the one below. `ProGANGenerator` and
`ProGANDiscriminator` know from `images_seen`, a buffer, where a run stands.

Departures: the two 4 x 4 convolutions, of a 1 x 1 and to a 1 x 1 picture, are written as the matrix
products that they are, and a 3 x 3 kernel on doubled pixels as the transposed convolution that it
is; the spread is measured in groups of 4 pictures, not over the minibatch; a
generator that has not fully grown enlarges its pictures to full size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from zoo_core import Discriminator, Generator, SeededNoise
from zoo_core.nn import (
    EqualizedConv2d,
    EqualizedLinear,
    average2d,
    average_to,
    double_and_convolve,
    minibatch_stddev,
    pixel_norm,
)
from zoo_core.training import growth
from zoo_progan.config import ProGANConfig

HE = math.sqrt(2)  # the gain of He et al. 2015 for ReLU


class GeneratorStart(nn.Module):
    """Latents [N, L] to features [N, W, 4, 4]."""

    def __init__(self, latent_size: int, width: int):
        super().__init__()
        self.project = EqualizedLinear(latent_size, width * 16, gain=HE)
        self.conv = EqualizedConv2d(width, width, 3, gain=HE)

    def forward(self, latents: Tensor) -> Tensor:
        """Two layers, each activated and normalized."""
        features = activate_and_normalize(self.project(latents).unflatten(1, (-1, 4, 4)))
        return activate_and_normalize(self.conv(features))


class GeneratorStage(nn.Module):
    """Features [N, B, H, W] to [N, W, 2 H, 2 W], of another number of maps."""

    def __init__(self, before: int, width: int):
        super().__init__()
        self.conv0 = EqualizedConv2d(before, width, 3, gain=HE)
        self.conv1 = EqualizedConv2d(width, width, 3, gain=HE)

    def forward(self, features: Tensor) -> Tensor:
        """Twice the size, then two layers, each activated and normalized."""
        features = activate_and_normalize(double_and_convolve(features, self.conv0))
        return activate_and_normalize(self.conv1(features))


class GrowingGenerator(nn.Module):
    """Normalized latents [N, L] to pictures, with `widths` feature maps from 4 x 4 pixels up."""

    def __init__(self, latent_size: int, widths: Sequence[int], channels: int):
        super().__init__()
        later = [GeneratorStage(before, width) for before, width in pairwise(widths)]
        self.stages = nn.ModuleList([GeneratorStart(latent_size, widths[0]), *later])
        self.to_rgb = nn.ModuleList(EqualizedConv2d(w, channels, 1, gain=HE) for w in widths)

    def forward(self, latents: Tensor, stage: int, alpha: float) -> Tensor:
        """Pictures [N, C, R, R] of R = 4 * 2**stage; no later stage is computed."""
        below = features = latents
        for block in self.stages[: stage + 1]:
            below, features = features, block(features)
        images = self.to_rgb[stage](features)
        if alpha < 1:
            smaller = self.to_rgb[stage - 1](below)
            images = torch.lerp(interpolate(smaller, scale_factor=2), images, alpha)
        return images


class DiscriminatorStage(nn.Module):
    """Features [N, W, H, W] to [N, B, H / 2, W / 2], of another number of maps."""

    def __init__(self, width: int, below: int):
        super().__init__()
        self.conv0 = EqualizedConv2d(width, width, 3, gain=HE)
        self.conv1 = EqualizedConv2d(width, below, 3, gain=HE)

    def forward(self, features: Tensor) -> Tensor:
        """Two layers, then half the size."""
        return average2d(activate(self.conv1(activate(self.conv0(features)))))


class DiscriminatorEnd(nn.Module):
    """Features [N, W, 4, 4] to logits [N, 1]."""

    def __init__(self, width: int, stddev_group: int):
        super().__init__()
        self.stddev_group = stddev_group
        self.conv = EqualizedConv2d(width + (stddev_group > 0), width, 3, gain=HE)
        self.dense = EqualizedLinear(width * 16, width, gain=HE)
        self.judge = EqualizedLinear(width, 1, gain=HE)

    def forward(self, features: Tensor) -> Tensor:
        """The spread of the minibatch, then three layers, the last of them linear."""
        if self.stddev_group:
            features = self.with_spread(features)
        features = activate(self.conv(features)).flatten(1)
        return self.judge(activate(self.dense(features)))

    def with_spread(self, features: Tensor) -> Tensor:
        """[N, W + 1, 4, 4]."""
        return minibatch_stddev(features, self.stddev_group)


class GrowingDiscriminator(nn.Module):
    """Pictures to logits, with `widths` feature maps from 4 x 4 pixels up."""

    def __init__(self, widths: Sequence[int], channels: int, stddev_group: int):
        super().__init__()
        later = [DiscriminatorStage(width, below) for below, width in pairwise(widths)]
        self.stages = nn.ModuleList([DiscriminatorEnd(widths[0], stddev_group), *later])
        self.from_rgb = nn.ModuleList(EqualizedConv2d(channels, w, 1, gain=HE) for w in widths)

    def forward(self, images: Tensor, stage: int, alpha: float) -> Tensor:
        """Logits [N, 1] of pictures [N, C, R, R], R = 4 * 2**stage."""
        features = activate(self.from_rgb[stage](images))
        if alpha < 1:
            smaller = activate(self.from_rgb[stage - 1](average2d(images)))
            features = torch.lerp(smaller, self.stages[stage](features), alpha)
            stage -= 1
        for block in self.stages[stage::-1]:
            features = block(features)
        return features


class ProGANGenerator(Generator):
    """Normalized latents [N, latent_size] to pictures [N, C, R, R] around -1..1."""

    images_seen: Tensor  # int64 []

    def __init__(self, config: ProGANConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.config = config
        self.network = GrowingGenerator(config.latent_size, config.widths(), config.channels)
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    def forward(self, latents: Tensor) -> Tensor:
        """Pictures [N, C, r, r] of the resolution r that training has reached."""
        return self.network(latents, *reached(self.config, self.images_seen))

    def latents(self, noise: SeededNoise) -> Tensor:
        """Latents [N, latent_size], a row of `noise` each, of mean square 1 (appendix A.1)."""
        latents = pixel_norm(noise.normal("latents", (self.config.latent_size,)))
        return latents.to(self.images_seen.device)

    def generate(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Pictures [N, C, R, R]; those of an earlier stage are enlarged.

        `truncation` scales the latents towards 0. The features are normalized again behind them, so
        that it changes little unless it is near 0.
        """
        images = self(self.latents(noise) * truncation)
        factor = self.config.resolution // images.shape[2]
        return images if factor == 1 else interpolate(images, scale_factor=factor)


class ProGANDiscriminator(Discriminator):
    """Pictures [N, C, R, R], or of the resolution that training has reached, to logits [N]."""

    images_seen: Tensor  # int64 []

    def __init__(self, config: ProGANConfig):
        super().__init__()
        self.config = config
        self.network = GrowingDiscriminator(config.widths(), config.channels, config.stddev_group)
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits [N]: the larger, the more real."""
        stage, alpha = reached(self.config, self.images_seen)
        return self.network(average_to(images, 4 << stage), stage, alpha).float().flatten()


def reached(config: ProGANConfig, images_seen: Tensor) -> tuple[int, float]:
    """Stage and alpha after so many images; without memory to tell it in, the end of growth."""
    num_stages = len(config.widths())
    if images_seen.is_meta:
        return num_stages - 1, 1.0
    return growth(int(images_seen), num_stages, config.fade_images, config.stable_images)


def activate(features: Tensor) -> Tensor:
    """Leaky ReLU (appendix A.1)."""
    return leaky_relu(features, 0.2)


def activate_and_normalize(features: Tensor) -> Tensor:
    """Leaky ReLU, then pixel normalization (section 4.2)."""
    return pixel_norm(leaky_relu(features, 0.2))
