"""pix2pix: Isola, Zhu, Zhou and Efros, "Image-to-image translation with conditional adversarial
networks", 2017, arXiv:1611.07004.

Sections 3.2.1 and 6.1.1 in code: a generator that halves its source picture down to 1 x 1 and
doubles it up again, every size handed over to the way back (U-Net). Sections 3.2.2 and 6.1.2: a
discriminator that sees source and picture together and judges every patch by itself (PatchGAN, or
PixelGAN where a patch is a pixel). Section 6.2: weights from N(0, 0.02). The other generator, a
ResNet, is that of Johnson, Alahi and Fei-Fei 2016, arXiv:1603.08155, as in Zhu, Park, Isola and
Efros 2017 (CycleGAN), arXiv:1703.10593, section 7.2.

The paper tests one picture at a time, with dropout and with the statistics of that picture (section
3.3). `inference` chooses: under `paper` a picture is normalized by its own statistics and its seed
says what is dropped, whatever else is in the batch; under `eval` statistics are running ones and
nothing is dropped.

Departures: any resolution from 32 (the U-Net is as deep as that takes; the paper has 256), and
logits instead of probabilities. Where the public reference code differs from the paper, this
follows the code, so that its weights fit. There is no normalization at 1 x 1, where it would leave
nothing of a single picture (the paper's errata, section 6.3). Dropout comes after the steps up to 4
x 4, 8 x 8 and 16 x 16 pixels (the paper: 2, 4 and 8); at other resolutions after those from 4 x 4
to a 16th of it, and after the first of them in any case. Hidden convolutions have biases with
instance normalization only.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, dropout, pad

from zoo_core import Discriminator, Generator, SeededNoise
from zoo_pix2pix.config import Pix2PixConfig
from zoo_pix2pix.strided import DoublingConv2d, HalvingConv2d


def normalize_each(
    features: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Each picture of [N, C, H, W] by its own statistics: batch normalization of batches of one.

    The same as torch's instance normalization, but in channels-last order: twice as fast on a CPU.
    """
    if len(features) > 1:
        return torch.cat([normalize_each(one, weight, bias) for one in features.split(1)])
    return batch_norm(features, None, None, weight, bias, training=True)


class InstanceNorm(nn.Module):
    """Normalizes each picture [N, C, H, W] by its own statistics; it has no weights."""

    def forward(self, features: Tensor) -> Tensor:
        """Every feature map of every picture with mean 0 and variance 1."""
        return normalize_each(features)


class BatchNorm(nn.BatchNorm2d):
    """Normalizes by the statistics of the batch; in evaluation mode by running ones, or by each
    picture's `own`, which are those of a batch of one (section 3.3).
    """

    def __init__(self, width: int, own: bool):
        super().__init__(width)
        self.own = own

    def forward(self, features: Tensor) -> Tensor:
        """Normalized, scaled and shifted."""
        if self.own and not self.training:
            return normalize_each(features, self.weight, self.bias)
        return super().forward(features)


class Dropout(nn.Module):
    """Sets half of the features to 0 and doubles the rest: the only noise there is (section 3.1).

    While training torch's generator says which; in evaluation mode, if `always`, the row of `noise`
    that belongs to the picture.
    """

    def __init__(self, always: bool):
        super().__init__()
        self.always = always

    def forward(self, features: Tensor, noise: SeededNoise, purpose: str) -> Tensor:
        """[N, C, H, W], as its input."""
        if self.training:
            return dropout(features, 0.5)
        if not self.always:
            return features
        kept = noise.uniform(purpose, features.shape[1:]) < 0.5
        return features * kept.to(features.device) * 2


class ReflectionPad(nn.Module):
    """Pads [N, C, H, W] on all sides with what a mirror at the edge would show.

    One axis at a time: so a gradient has at most two summands, which atomic additions on a GPU may
    take in any order without changing the result.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H + 2 size, W + 2 size]."""
        wide = pad(features, (self.size, self.size, 0, 0), mode="reflect")
        return pad(wide, (0, 0, self.size, self.size), mode="reflect")


class UNet(nn.Module):
    """Sources [N, source_channels, R, R] to pictures [N, C, R, R] in -1..1 (figure 3, right).

    Level l goes from R / 2^l pixels to half of that on the way down, and back on the way up. What
    comes out of a step down is joined, on the way up, with what was made of it further inside.
    """

    def __init__(self, config: Pix2PixConfig):
        super().__init__()
        depth = config.resolution.bit_length() - 1
        widths = [config.generator_width * min(1 << level, 8) for level in range(depth)]
        inputs, outputs = [config.source_channels, *widths], [config.channels, *widths]
        bias = config.norm == "instance"
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            outermost, innermost = level == 0, level == depth - 1
            # In place, though the input is also what is handed over: the ReLU that comes next
            # there leaves nothing of the difference.
            down: list[nn.Module] = [nn.Identity() if outermost else nn.LeakyReLU(0.2, True)]
            down += [HalvingConv2d(inputs[level], width, bias=bias)]
            if not outermost and not innermost:
                down += [normalization(config, width)]
            joined, output = width if innermost else 2 * width, outputs[level]
            up: list[nn.Module] = [nn.ReLU(True)]
            up += [DoublingConv2d(joined, output, bias=bias or outermost)]
            up += [nn.Tanh() if outermost else normalization(config, output)]
            self.downs.append(nn.Sequential(*down))
            self.ups.append(nn.Sequential(*up))
        self.dropout = Dropout(always=config.inference == "paper")
        self.dropped = range(min(4, depth - 2), depth - 1) if config.dropout else range(0)

    def forward(self, source: Tensor, noise: SeededNoise) -> Tensor:
        """Pictures of sources; of `noise` only dropout in evaluation mode takes anything."""
        features, skips = source, []
        for down in self.downs:
            features = down(features)
            skips.append(features)
        features = skips.pop()
        for level in reversed(range(len(self.ups))):
            features = self.ups[level](features)
            if level in self.dropped:
                features = self.dropout(features, noise, f"dropout.{level}")
            if skips:
                features = join(skips.pop(), features)
        return features


def join(skip: Tensor, features: Tensor) -> Tensor:
    """Both as one [N, A + B, H, W].

    The gradient of `features` is copied out of that of both: the normalization before it takes 16
    times as long over a part of a larger tensor (docs/log.md).
    """
    if features.requires_grad:
        features.register_hook(torch.clone)
    return torch.cat([skip, features], dim=1)


class ResidualBlock(nn.Module):
    """R of Zhu et al.: two 3 x 3 convolutions whose result is added to their input."""

    def __init__(self, config: Pix2PixConfig, width: int):
        super().__init__()
        bias = config.norm == "instance"
        first, second = (
            [
                ReflectionPad(1),
                nn.Conv2d(width, width, 3, bias=bias),
                normalization(config, width),
            ]
            for _ in range(2)
        )
        self.first, self.second = nn.Sequential(*first, nn.ReLU(True)), nn.Sequential(*second)
        self.dropout = Dropout(always=config.inference == "paper") if config.dropout else None

    def forward(self, features: Tensor, noise: SeededNoise, purpose: str) -> Tensor:
        """[N, width, H, W], as its input."""
        inner = self.first(features)
        if self.dropout is not None:
            inner = self.dropout(inner, noise, purpose)
        return self.second(inner).add_(features)


class ResNet(nn.Module):
    """Sources [N, source_channels, R, R] to pictures [N, C, R, R] in -1..1: to a quarter of the
    size, `num_blocks` residual blocks, and back.
    """

    def __init__(self, config: Pix2PixConfig, num_blocks: int):
        super().__init__()
        widths = [config.generator_width << stage for stage in range(3)]
        bias = config.norm == "instance"

        def normalized(convolution: nn.Module, width: int) -> list[nn.Module]:
            return [convolution, normalization(config, width), nn.ReLU(True)]

        first = nn.Conv2d(config.source_channels, widths[0], 7, bias=bias)
        encoder = [ReflectionPad(3), *normalized(first, widths[0])]
        for width, wider in pairwise(widths):
            encoder += normalized(nn.Conv2d(width, wider, 3, 2, 1, bias=bias), wider)
        decoder: list[nn.Module] = []
        for width, narrower in pairwise(widths[::-1]):
            double = nn.ConvTranspose2d(width, narrower, 3, 2, 1, output_padding=1, bias=bias)
            decoder += normalized(double, narrower)
        decoder += [ReflectionPad(3), nn.Conv2d(widths[0], config.channels, 7), nn.Tanh()]
        self.encoder = nn.Sequential(*encoder)
        self.blocks = nn.ModuleList(ResidualBlock(config, widths[-1]) for _ in range(num_blocks))
        self.decoder = nn.Sequential(*decoder)

    def forward(self, source: Tensor, noise: SeededNoise) -> Tensor:
        """Pictures of sources; of `noise` only dropout in evaluation mode takes anything."""
        features = self.encoder(source)
        for number, block in enumerate(self.blocks):
            features = block(features, noise, f"dropout.{number}")
        return self.decoder(features)


class Pix2PixGenerator(Generator):
    """Source pictures [N, source_channels, R, R] to pictures [N, C, R, R], both in -1..1."""

    def __init__(self, config: Pix2PixConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.source_shape = (config.source_channels, config.resolution, config.resolution)
        self.translator = (
            UNet(config)
            if config.generator == "unet"
            else ResNet(config, num_blocks=int(config.generator.removeprefix("resnet")))
        )
        self.apply(initialize)

    def generate(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Pictures [N, C, R, R] of `source`; there are no latents that `truncation` could move."""
        assert source is not None
        return self.translator(source, noise)


class PatchGAN(Discriminator):
    """Pairs of pictures to logits [N, 1, H, W], one for every patch of (16, 34, 70, ...) pixels a
    side, of which the halvings are 1, 2, 3, ...; without any, for every pixel.
    """

    def __init__(self, config: Pix2PixConfig):
        super().__init__()
        halvings = config.num_discriminator_layers
        kernel, padding = (4, 1) if halvings else (1, 0)
        num_hidden = max(halvings, 1) + 1
        widths = [config.discriminator_width * min(1 << stage, 8) for stage in range(num_hidden)]
        bias = config.norm == "instance"
        layers: list[nn.Module] = []
        for number, (before, width) in enumerate(
            pairwise([config.source_channels + config.channels, *widths])
        ):
            stride = 2 if number < halvings else 1
            layers += [nn.Conv2d(before, width, kernel, stride, padding, bias=bias or not number)]
            layers += [normalization(config, width)] if number else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, kernel, 1, padding))
        self.apply(initialize)

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits [N, 1, H, W]: the larger, the more real is `images`, as what `source` became."""
        assert source is not None
        return self.main(torch.cat([source, images], dim=1)).float()


def normalization(config: Pix2PixConfig, width: int) -> nn.Module:
    """The layer that normalizes `width` feature maps."""
    if config.norm == "batch":
        return BatchNorm(width, own=config.inference == "paper")
    return InstanceNorm() if config.norm == "instance" else nn.Identity()


def initialize(module: nn.Module) -> None:
    """Section 6.2: weights from N(0, 0.02). The public code's: scales from N(1, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.bias)
