"""ProGAN: Karras, Aila, Laine and Lehtinen, "Progressive growing of GANs for improved quality,
stability, and variation", ICLR 2018, arXiv:1710.10196.

Section 2 and figure 2: both networks start at 4 x 4 pixels and gain one stage of twice the
resolution at a time, which is faded in. Section 3: the minibatch standard deviation as an extra
feature map at the discriminator's end. Section 4.1: equalized learning rate, with He's constant, in
every layer. Section 4.2: pixel normalization after every 3 x 3 and 4 x 4 convolution of the
generator. Table 2: two 3 x 3 convolutions per stage, leaky ReLU with slope 0.2, nearest-neighbor
upsampling, average pooling, and 1 x 1 convolutions from and to RGB; the one to RGB is linear.

`GrowingGenerator` and `GrowingDiscriminator` are functions of (stage, alpha): stage is the number
of doublings, alpha the weight of its resolution against the one below. `ProGANGenerator` and
`ProGANDiscriminator` derive both from the number of images seen.

Departures:
- The two 4 x 4 convolutions, from and to 1 x 1 pixels, are written as the equivalent matrix
  products, and a 3 x 3 convolution of doubled pixels as the equivalent transposed convolution.
- The minibatch standard deviation is taken over groups of 4 images, not over the whole minibatch.
- A generator that has not fully grown enlarges its images to full size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from zoo_core import Discriminator, Generator
from zoo_core.nn import (
    EqualizedConv2d,
    EqualizedLinear,
    Growing,
    average2d,
    average_to,
    minibatch_stddev,
    pixel_norm,
    upsample_conv2d,
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
        """Two layers, each with activation and pixel normalization."""
        features = activate_and_normalize(self.project(latents).unflatten(1, (-1, 4, 4)))
        return activate_and_normalize(self.conv(features))


class GeneratorStage(nn.Module):
    """Features [N, before, H, W] to [N, width, 2 H, 2 W]."""

    def __init__(self, before: int, width: int):
        super().__init__()
        self.conv0 = EqualizedConv2d(before, width, 3, gain=HE)
        self.conv1 = EqualizedConv2d(width, width, 3, gain=HE)

    def forward(self, features: Tensor) -> Tensor:
        """Double the size, then two layers, each with activation and pixel normalization."""
        features = activate_and_normalize(upsample_conv2d(features, self.conv0))
        return activate_and_normalize(self.conv1(features))


class GrowingGenerator(nn.Module):
    """Normalized latents [N, L] to images, with `widths` feature maps from 4 x 4 pixels up."""

    def __init__(self, latent_size: int, widths: Sequence[int], channels: int):
        super().__init__()
        later = [GeneratorStage(before, width) for before, width in pairwise(widths)]
        self.stages = nn.ModuleList([GeneratorStart(latent_size, widths[0]), *later])
        self.to_rgb = nn.ModuleList(EqualizedConv2d(w, channels, 1, gain=HE) for w in widths)

    def forward(self, latents: Tensor, stage: int, alpha: float) -> Tensor:
        """Images [N, C, R, R], R = 4 * 2**stage; later stages are not computed."""
        below = features = latents
        for block in self.stages[: stage + 1]:
            below, features = features, block(features)
        images = self.to_rgb[stage](features)
        if alpha < 1:
            smaller = self.to_rgb[stage - 1](below)
            images = torch.lerp(interpolate(smaller, scale_factor=2), images, alpha)
        return images


class DiscriminatorStage(nn.Module):
    """Features [N, width, H, W] to [N, below, H / 2, W / 2]."""

    def __init__(self, width: int, below: int):
        super().__init__()
        self.conv0 = EqualizedConv2d(width, width, 3, gain=HE)
        self.conv1 = EqualizedConv2d(width, below, 3, gain=HE)

    def forward(self, features: Tensor) -> Tensor:
        """Two layers, then average pooling to half the size."""
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
        """Minibatch standard deviation, then three layers; the last is linear."""
        if self.stddev_group:
            features = self.with_spread(features)
        features = activate(self.conv(features)).flatten(1)
        return self.judge(activate(self.dense(features)))

    def with_spread(self, features: Tensor) -> Tensor:
        """Append the minibatch standard deviation: [N, W + 1, 4, 4]."""
        return minibatch_stddev(features, self.stddev_group)


class GrowingDiscriminator(nn.Module):
    """Images to logits, with `widths` feature maps from 4 x 4 pixels up."""

    def __init__(self, widths: Sequence[int], channels: int, stddev_group: int):
        super().__init__()
        later = [DiscriminatorStage(width, below) for below, width in pairwise(widths)]
        self.stages = nn.ModuleList([DiscriminatorEnd(widths[0], stddev_group), *later])
        self.from_rgb = nn.ModuleList(EqualizedConv2d(channels, w, 1, gain=HE) for w in widths)

    def forward(self, images: Tensor, stage: int, alpha: float) -> Tensor:
        """Logits [N, 1] of images [N, C, R, R], R = 4 * 2**stage."""
        features = activate(self.from_rgb[stage](images))
        if alpha < 1:
            smaller = activate(self.from_rgb[stage - 1](average2d(images)))
            features = torch.lerp(smaller, self.stages[stage](features), alpha)
            stage -= 1
        for block in self.stages[stage::-1]:
            features = block(features)
        return features


class ProGANGenerator(Growing, Generator):
    """Normalized latents [N, latent_size] (appendix A.1) to images [N, C, R, R] around -1..1."""

    def __init__(self, config: ProGANConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.latent_shape, self.latent_distribution = (config.latent_size,), "sphere"
        self.config = config
        self.network = GrowingGenerator(config.latent_size, config.widths(), config.channels)

    def forward(
        self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Images [N, C, R, R]; those of earlier stages are enlarged.

        `truncation` scales the latents toward 0. Pixel normalization follows, so it has little
        effect unless it is near 0.
        """
        stage, _ = reached(self.config, self.seen)
        images, factor = self.grown(latents * truncation), self.config.resolution >> stage + 2
        return images if factor == 1 else interpolate(images, scale_factor=factor)

    def grown(self, latents: Tensor) -> Tensor:
        """Images [N, C, r, r] at the resolution r that training has reached."""
        return self.network(latents, *reached(self.config, self.seen))


class ProGANDiscriminator(Growing, Discriminator):
    """Images [N, C, R, R], or at the resolution that training has reached, to logits [N]."""

    def __init__(self, config: ProGANConfig):
        super().__init__()
        self.config, self.stddev_group = config, max(1, config.stddev_group)
        self.network = GrowingDiscriminator(config.widths(), config.channels, config.stddev_group)

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits [N]; higher is more real."""
        stage, alpha = reached(self.config, self.seen)
        return self.network(average_to(images, 4 << stage), stage, alpha).float().flatten()

    def layers(self) -> list[nn.Module]:
        """The layers before the last one, from the image on."""
        return [
            nn.ModuleList([colors, stage])
            for colors, stage in zip(self.network.from_rgb, self.network.stages, strict=True)
        ][:0:-1]


def reached(config: ProGANConfig, images: int) -> tuple[int, float]:
    """Stage and alpha after so many images."""
    first, num_stages = config.first_resolution.bit_length() - 3, len(config.widths())
    stage, alpha = growth(images, num_stages - first, config.fade_images, config.stable_images)
    return first + stage, alpha


def activate(features: Tensor) -> Tensor:
    """Leaky ReLU (appendix A.1)."""
    return leaky_relu(features, 0.2)


def activate_and_normalize(features: Tensor) -> Tensor:
    """Leaky ReLU, then pixel normalization (section 4.2)."""
    return pixel_norm(leaky_relu(features, 0.2))
