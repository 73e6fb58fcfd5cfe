"""pix2pix: Isola, Zhu, Zhou and Efros, "Image-to-image translation with conditional adversarial
networks", 2017, arXiv:1611.07004.

Generator (sections 3.2.1 and 6.1.1): a U-Net that downsamples the source to 1 x 1 and upsamples it
again, with a skip connection at every size. Discriminator (sections 3.2.2 and 6.1.2): a PatchGAN
that sees source and image together and scores each patch separately, or a PixelGAN, whose patches
are single pixels. Weights start from N(0, 0.02) (section 6.2). The alternative generator is the
ResNet of Johnson, Alahi and Fei-Fei 2016, arXiv:1603.08155, as in Zhu, Park, Isola and Efros 2017
(CycleGAN), arXiv:1703.10593, section 7.2.

The paper tests one image at a time, with dropout and with the statistics of that image (section
3.3). `inference=paper` does the same for any batch: each image is normalized by its own statistics,
and its seed determines its dropout. `inference=eval` uses running statistics and no dropout.

Departures: any resolution from 32 (the depth of the U-Net follows; the paper has 256), and logits
instead of probabilities. Where the public reference code differs from the paper, this module
follows the code, so that its weights fit. The 1 x 1 level is not normalized, because that would
erase a single image (the paper's errata, section 6.3). At 256 pixels dropout follows the decoder
steps that output 4 x 4, 8 x 8 and 16 x 16 pixels (the paper: 2, 4 and 8); at other resolutions,
those from 4 x 4 to 1/16 of the resolution, and always the one at 4 x 4. Hidden convolutions have
biases only with instance normalization.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, dropout, instance_norm, pad

from zoo_core import Discriminator, Generator, SeededNoise
from zoo_core.nn import layer_groups, traced
from zoo_pix2pix.config import Pix2PixConfig
from zoo_pix2pix.strided import DoublingConv2d, HalvingConv2d


def normalize_each(
    features: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Normalize each image of [N, C, H, W] by its own statistics, as a batch of one.

    Equal to torch's instance normalization, but keeps channels-last order: twice as fast on a CPU.
    """
    if traced():  # the number of images is not known
        return instance_norm(features, weight=weight, bias=bias)
    if len(features) > 1:
        return torch.cat([normalize_each(one, weight, bias) for one in features.split(1)])
    return batch_norm(features, None, None, weight, bias, training=True)


class InstanceNorm(nn.Module):
    """Instance normalization of [N, C, H, W] without weights."""

    def forward(self, features: Tensor) -> Tensor:
        """Give every feature map of every image mean 0 and variance 1."""
        return normalize_each(features)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalization that in evaluation mode uses running statistics or, if `own`, those of
    each image, as in a batch of one (section 3.3).
    """

    def __init__(self, width: int, own: bool):
        super().__init__(width)
        self.own = own

    def forward(self, features: Tensor) -> Tensor:
        """Normalize, scale and shift."""
        if self.own and not self.training:
            return normalize_each(features, self.weight, self.bias)
        return super().forward(features)


class Dropout(nn.Module):
    """Dropout with p = 0.5, the only source of noise in the network (section 3.1).

    In training mode the mask comes from torch's random generator. In evaluation mode it is applied
    only if `always`, and comes from the image's own row of `noise`; without noise there is none.
    """

    def __init__(self, always: bool):
        super().__init__()
        self.always = always

    def forward(self, features: Tensor, noise: SeededNoise | None, purpose: str) -> Tensor:
        """Drop features of [N, C, H, W]; the shape is kept."""
        if self.training:
            return dropout(features, 0.5)
        if not self.always or noise is None:
            return features
        kept = noise.uniform(purpose, features.shape[1:]) < 0.5
        return features * kept.to(features.device) * 2


class ReflectionPad(nn.Module):
    """Reflection padding of [N, C, H, W] on all sides, one axis at a time.

    That way each gradient sums at most two values, so the order of atomic additions on a GPU does
    not change the result.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H + 2 size, W + 2 size]."""
        wide = pad(features, (self.size, self.size, 0, 0), mode="reflect")
        return pad(wide, (0, 0, self.size, self.size), mode="reflect")


class UNet(nn.Module):
    """Sources [N, source_channels, R, R] to images [N, C, R, R] in -1..1 (figure 3, right).

    Level l halves R / 2^l pixels on the way down and doubles them back on the way up. The output of
    each down step is concatenated with the result of the levels below it.
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
            # In place, although the skip connection shares this tensor: it goes through a ReLU
            # next, and ReLU(LeakyReLU(x)) = ReLU(x).
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

    def forward(self, source: Tensor, noise: SeededNoise | None = None) -> Tensor:
        """Translate sources to images; only dropout in evaluation mode uses `noise`."""
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
    """Concatenate both to [N, A + B, H, W].

    The gradient of `features` is cloned, because the normalization before it takes 16 times as long
    on a slice of a larger tensor (docs/log.md).
    """
    if features.requires_grad and not traced():
        features.register_hook(torch.clone)
    return torch.cat([skip, features], dim=1)


class ResidualBlock(nn.Module):
    """Residual block with two 3 x 3 convolutions (R of Zhu et al.)."""

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

    def forward(self, features: Tensor, noise: SeededNoise | None, purpose: str) -> Tensor:
        """[N, width, H, W] to the same shape."""
        inner = self.first(features)
        if self.dropout is not None:
            inner = self.dropout(inner, noise, purpose)
        return self.second(inner).add_(features)


class ResNet(nn.Module):
    """Sources [N, source_channels, R, R] to images [N, C, R, R] in -1..1: downsampling to R / 4,
    `num_blocks` residual blocks, and upsampling.
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

    def forward(self, source: Tensor, noise: SeededNoise | None = None) -> Tensor:
        """Translate sources to images; only dropout in evaluation mode uses `noise`."""
        features = self.encoder(source)
        for number, block in enumerate(self.blocks):
            features = block(features, noise, f"dropout.{number}")
        return self.decoder(features)


class Pix2PixGenerator(Generator):
    """Sources [N, source_channels, R, R] to images [N, C, R, R], both in -1..1."""

    def __init__(self, config: Pix2PixConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.source_shape = (config.source_channels, config.resolution, config.resolution)
        self.translator = (
            UNet(config)
            if config.generator == "unet"
            else ResNet(config, num_blocks=int(config.generator.removeprefix("resnet")))
        )
        self.test_mode = test_mode(config)
        self.apply(initialize)

    def forward(
        self, source: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Translate `source`, without dropout in evaluation mode, even if `inference=paper`.

        That is what is exported; `sample` drops out features by each image's seed, as in the paper.
        """
        return self.translator(source)

    def generate(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Translate `source` to images [N, C, R, R]; there are no latents, so no truncation."""
        assert source is not None
        return self.translator(source, noise)


class PatchGAN(Discriminator):
    """Image pairs to logits [N, 1, H, W], one per patch.

    With 1, 2, 3, ... stride-2 layers a patch has 16, 34, 70, ... pixels per side; with none it is a
    single pixel.
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
        """Logits [N, 1, H, W]: the larger, the more real `images` look, given `source`."""
        assert source is not None
        return self.main(torch.cat([source, images], dim=1)).float()

    def layers(self) -> list[nn.Module]:
        """The layers before the last one, from the image on."""
        return layer_groups(self.main)


def test_mode(config: Pix2PixConfig) -> str:
    """What `forward` does in evaluation mode, in words."""
    if config.norm != "batch":
        return "without dropout"
    of_image = config.inference == "paper"
    return f"{'statistics of each image' if of_image else 'running statistics'}, without dropout"


def normalization(config: Pix2PixConfig, width: int) -> nn.Module:
    """The configured normalization layer for `width` feature maps."""
    if config.norm == "batch":
        return BatchNorm(width, own=config.inference == "paper")
    return InstanceNorm() if config.norm == "instance" else nn.Identity()


def initialize(module: nn.Module) -> None:
    """Weights from N(0, 0.02) (section 6.2); scales from N(1, 0.02) and biases 0 (public code)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.bias)
