"""R3GAN: Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A modern
GAN baseline", 2024, arXiv:2501.05441.

Section 3: generator and discriminator are plain residual networks that mirror each other. A block
is a 1 x 1 convolution to more feature maps, a grouped 3 x 3 convolution and a 1 x 1 convolution
back, with leaky ReLUs of slope 0.2 in between: an inverted ResNeXt block, without normalization,
noise or styles. The resolution changes through the filter [1, 3, 3, 1]; the width changes through a
1 x 1 convolution at the lower of the two resolutions. The generator starts from learned 4 x 4
feature maps, scaled by a linear function of the latents; the discriminator ends with inner products
with such maps. The label embedding is appended to the latents in the generator, and used for a
projection in the discriminator (Miyato and Koyama 2018). Blocks are initialized as in Fixup (Zhang
et al. 2019), everything else from a normal distribution scaled by fan-in.

Details that the paper leaves open follow reference tensors: no gains at run time, the padding of
the filter, the order of latents and embedding, no final tanh.

Departures: any resolution from 8, and free widths, block counts, groups and kernel sizes;
embeddings start from N(0, 1) in the generator and from N(0, 1 / size) in the discriminator, since
only one input of a one-hot label is nonzero; bfloat16, if used, applies to all sizes, not only to
the last ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu_

from zoo_core import Discriminator, Generator
from zoo_core.nn import conv2d, downsample2d, fir, standard_normal, upsample2d
from zoo_r3gan.config import R3GANConfig, Stage


class Conv2d(nn.Conv2d):
    """Size-preserving convolution of stride 1 with fast second derivatives, for R1 and R2."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        gain: float = 1.0,  # weights start from N(0, gain^2 / fan-in), biases from 0
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
    """Residual block, [N, C, H, W] to the same shape."""

    def __init__(self, stage: Stage, kernel_size: int, gain: float):
        super().__init__()
        width, hidden, groups, _ = stage
        self.expand = Conv2d(width, hidden, bias=True, gain=gain)
        self.mix = Conv2d(hidden, hidden, kernel_size, groups=groups, bias=True, gain=gain)
        self.project = Conv2d(hidden, width, gain=0.0)

    def forward(self, features: Tensor) -> Tensor:
        """Add the block's output to its input."""
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
        """Change the width, then upsample."""
        return upsample2d(self.conv(features), self.taps)


class Downsample(nn.Module):
    """[N, before, H, W] to [N, after, H / 2, W / 2]."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv = nn.Identity() if before == after else Conv2d(before, after)
        self.register_buffer("taps", fir(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Downsample, then change the width."""
        return self.conv(downsample2d(features, self.taps))


class FromVector(nn.Module):
    """The generator's first layer: [N, size] to [N, width, 4, 4]."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.basis = standard_normal(width, 4, 4)
        self.linear = fan_in_normal(nn.Linear(size, width, bias=False))

    def forward(self, vectors: Tensor) -> Tensor:
        """Scale each feature map of the basis."""
        return self.linear(vectors)[:, :, None, None] * self.basis


class ToVector(nn.Module):
    """The discriminator's last layer: [N, width, 4, 4] to [N, size]."""

    def __init__(self, width: int, size: int):
        super().__init__()
        self.basis = standard_normal(width, 4, 4)
        self.basis.data /= 4
        self.linear = fan_in_normal(nn.Linear(width, size, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Inner products with the basis (a depthwise 4 x 4 convolution), then a linear layer."""
        return self.linear((features * self.basis).sum((2, 3)))


class R3GANGenerator(Generator):
    """Latents [N, latent_size] to images [N, C, R, R], roughly in -1..1."""

    def __init__(self, config: R3GANConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.num_classes = config.num_classes
        self.latent_shape = (config.latent_size,)
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

    def forward(
        self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Images [N, C, R, R] for latents [N, latent_size], with int64 labels [N] if there are
        classes; `truncation` scales the latents towards 0, their mean.
        """
        latents = latents * truncation
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels)], dim=1)
        return self.to_images(self.stages(latents))


class R3GANDiscriminator(Discriminator):
    """Images [N, C, R, R] to logits [N]."""

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
        """Logits [N]: the larger, the more real; int64 labels [N] if there are classes."""
        features = self.stages(self.from_images(images)).float()
        if self.embedding is not None:
            features = (features * self.embedding(labels)).sum(1)
        return features.flatten()

    def layers(self) -> list[nn.Module]:
        """The layers before the last one, from the image on."""
        return [self.from_images, *self.stages[:-1]]


def blocks(stage: Stage, config: R3GANConfig) -> list[ResidualBlock]:
    """The residual blocks of one size, initialized as identities.

    The gain is He's for a leaky ReLU times L^(-1 / (2 m - 2)), with L blocks in total and m = 3
    layers per block, so that the size of an update does not depend on depth (Fixup, section 3).
    """
    depth = sum(stage.num_blocks for stage in config.stages)
    gain = nn.init.calculate_gain("leaky_relu", 0.2) * depth**-0.25
    return [ResidualBlock(stage, config.kernel_size, gain) for _ in range(stage.num_blocks)]


def fan_in_normal(layer: nn.Linear) -> nn.Linear:
    """Initialize the weights from N(0, 1 / fan-in); returns the layer."""
    nn.init.normal_(layer.weight, 0.0, 1 / math.sqrt(layer.in_features))
    return layer
