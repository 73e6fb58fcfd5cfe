"""R3GAN: Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A modern
GAN baseline", 2024, arXiv:2501.05441.

Section 3 in code: generator and discriminator are plain residual networks that mirror each other.
A block is a 1 x 1 convolution to more feature maps, a grouped 3 x 3 one and a 1 x 1 one back, with
leaky ReLUs of slope 0.2 between them: ResNeXt's block turned inside out, and no normalization,
noise or styles. Sizes change through the filter [1, 3, 3, 1] and widths through a 1 x 1
convolution, on the side where the picture is smaller. The generator begins with learned 4 x 4
pictures, scaled by a linear function of the latents; the discriminator ends with inner products
with such pictures. The embedding of a label stands behind the latents in the generator, and is
projected on in the discriminator (Miyato and Koyama 2018). Blocks start as in Fixup (Zhang et al.
2019), all else from a normal distribution by its fan in.

What the paper leaves open was settled with reference tensors: no gains at run time, the filter's
padding, the order of latents and embedding, no tanh at the end.

Departures: any resolution from 8, and other widths, numbers of blocks, groups and kernels at each
size; embeddings start from N(0, 1) in the generator and from N(0, 1 / size) in the discriminator,
since one input of a one-hot label is not 0; bfloat16, where it is used, is used at every size, not
only at the last ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_

from zoo_core import Discriminator, Generator, SeededNoise
from zoo_core.nn import conv2d, downsample2d, fir, upsample2d
from zoo_r3gan.config import R3GANConfig, Stage


class Conv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps the size; R1 and R2 differentiate it fast."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        gain: float = 1.0,  # weights start from N(0, gain^2 / fan in), biases from 0
    ):
        super().__init__(in_channels, out_channels, kernel_size, groups=groups, bias=bias)
        nn.init.normal_(self.weight, 0.0, gain / math.sqrt(self.weight[0].numel()))
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, images: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, H, W]."""
        padding = self.kernel_size[0] // 2
        return conv2d(images, self.weight, self.bias, padding=padding, groups=self.groups)


class ResidualBlock(nn.Module):
    """[N, C, H, W] to the same shape."""

    def __init__(self, stage: Stage, kernel_size: int, gain: float):
        super().__init__()
        width, hidden, groups, _ = stage
        self.expand = Conv2d(width, hidden, bias=True, gain=gain)
        self.mix = Conv2d(hidden, hidden, kernel_size, groups=groups, bias=True, gain=gain)
        self.project = Conv2d(hidden, width, gain=0.0)

    def forward(self, features: Tensor) -> Tensor:
        """The input plus what the block adds to it."""
        hidden = leaky_relu_(self.expand(features), 0.2)
        hidden = leaky_relu_(self.mix(hidden), 0.2)
        return features + self.project(hidden)


class Upsample(nn.Module):
    """[N, before, H, W] to [N, after, 2 H, 2 W]."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv = nn.Identity() if before == after else Conv2d(before, after)
        self.register_buffer("taps", fir(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """First the width, then the size."""
        return upsample2d(self.conv(features), self.taps)


class Downsample(nn.Module):
    """[N, before, H, W] to [N, after, H / 2, W / 2]."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv = nn.Identity() if before == after else Conv2d(before, after)
        self.register_buffer("taps", fir(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """First the size, then the width."""
        return self.conv(downsample2d(features, self.taps))


class FromVector(nn.Module):
    """The generator's start: [N, size] to [N, width, 4, 4]."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(width, 4, 4))
        self.linear = fan_in_normal(nn.Linear(size, width, bias=False))

    def forward(self, vectors: Tensor) -> Tensor:
        """The basis, every feature map of it scaled."""
        return self.linear(vectors)[:, :, None, None] * self.basis


class ToVector(nn.Module):
    """The discriminator's end: [N, width, 4, 4] to [N, size]."""

    def __init__(self, width: int, size: int):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(width, 4, 4) / 4)
        self.linear = fan_in_normal(nn.Linear(width, size, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """A depthwise 4 x 4 convolution of 4 x 4 pixels, which is an inner product, then linear."""
        return self.linear((features * self.basis).sum((2, 3)))


class R3GANGenerator(Generator):
    """Latents [N, latent_size] to pictures [N, C, R, R] around -1..1."""

    def __init__(self, config: R3GANConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.num_classes = config.num_classes
        self.latent_size = config.latent_size
        size, self.embedding = config.latent_size, None
        if config.num_classes:
            self.embedding = nn.Embedding(config.num_classes, config.embedding_size)  # N(0, 1)
            size += config.embedding_size
        stages, widths = config.stages, config.widths
        starts = [FromVector(size, widths[0]), *map(Upsample, widths, widths[1:])]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(start, *blocks(stage, config))
                for start, stage in zip(starts, stages, strict=True)
            )
        )
        self.to_images = Conv2d(widths[-1], config.channels)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures of latents [N, latent_size]; int64 labels [N] where there are classes."""
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels)], dim=1)
        return self.to_images(self.stages(latents))

    def generate(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Pictures [N, C, R, R]; `truncation` scales the latents towards 0, the middle of their
        distribution.
        """
        latents = noise.normal("latents", (self.latent_size,)).to(self.to_images.weight.device)
        return self(latents * truncation, labels)


class R3GANDiscriminator(Discriminator):
    """Pictures [N, C, R, R] to logits [N]."""

    def __init__(self, config: R3GANConfig):
        super().__init__()
        size, self.embedding = 1, None
        if config.num_classes:
            size = config.projection_size
            self.embedding = nn.Embedding(config.num_classes, size)
            nn.init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(size))
        stages, widths = config.stages[::-1], config.widths[::-1]
        ends = [*map(Downsample, widths, widths[1:]), ToVector(widths[-1], size)]
        self.from_images = Conv2d(config.channels, widths[0])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(*blocks(stage, config), end)
                for stage, end in zip(stages, ends, strict=True)
            )
        )

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits [N]: the larger, the more real; int64 labels [N] where there are classes."""
        features = self.stages(self.from_images(images)).float()
        if self.embedding is not None:
            features = (features * self.embedding(labels)).sum(1)
        return features.flatten()


def blocks(stage: Stage, config: R3GANConfig) -> list[ResidualBlock]:
    """The residual blocks of one size, identities at the start.

    Their gain is He's for a leaky ReLU times L^(-1 / (2 m - 2)), for L blocks in all and m = 3
    layers in each, so that depth does not change the size of an update (Fixup, section 3).
    """
    depth = sum(stage.num_blocks for stage in config.stages)
    gain = nn.init.calculate_gain("leaky_relu", 0.2) * depth**-0.25
    return [ResidualBlock(stage, config.kernel_size, gain) for _ in range(stage.num_blocks)]


def fan_in_normal(layer: nn.Linear) -> nn.Linear:
    """The same layer, its weights from N(0, 1 / fan in)."""
    nn.init.normal_(layer.weight, 0.0, 1 / math.sqrt(layer.in_features))
    return layer
