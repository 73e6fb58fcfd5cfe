"""StyleGAN2: Karras et al., "Analyzing and improving the image quality of StyleGAN", 2020,
arXiv:1912.04958, with the class conditioning and the settings of Karras et al., "Training
generative adversarial networks with limited data", 2020, arXiv:2006.06676 (StyleGAN2-ADA).

The mapping network turns the latent z [N, Z] into w [N, W]. The synthesis network turns a w per
layer into the image: modulated convolutions (section 2.2) at 4 x 4, 8 x 8 and so on, with RGB
outputs that are upsampled and summed (figure 7, "skip" generator). The discriminator is residual
(figure 7) or one of two plainer variants, with the minibatch standard deviation at its end.

The modulated convolution shares its weight among all images of a batch. Equations 1 and 3,

    w'[o, i, k] = s[i] w[o, i, k] / sqrt(sum over i, k of (s[i] w[o, i, k])^2 + 1e-8),

are the same function as scaling the input channels by s, applying one ordinary convolution, and
dividing the output channels by the square root. A grouped convolution with a weight per image (the
paper's appendix B) is several times slower on a CPU.

Departures:
- The crossover layer of style mixing is drawn for each image.
- Noise inputs of a trained generator are fixed; the paper draws new ones.
- There is no 16-bit clamping, since bfloat16 has the range of float32. In bfloat16 runs every layer
  except the mapping network computes in bfloat16; the public code uses 16 bits at the four largest
  resolutions only.
- Gains of activations are folded into weights and biases, which leaky ReLU allows.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, one_hot

from zoo_core import Discriminator, SeededNoise, StyleGenerator
from zoo_core.nn import (
    EqualizedLinear,
    conv2d,
    conv_transpose2d,
    downsample2d,
    filter2d,
    fir,
    full_precision,
    minibatch_stddev,
    pixel_norm,
    scaled,
    standard_normal,
    upsample2d,
)
from zoo_stylegan2.config import StyleGAN2Config

SLOPE = 0.2  # of leaky ReLU
GAIN = math.sqrt(2)  # preserves the variance through leaky ReLU
AVERAGE_DECAY = 0.995  # of the average w, per step
MAPPING_LR_MULTIPLIER = 0.01


class MappingNetwork(nn.Module):
    """Latents [N, Z] and classes [N, K] to w [N, W] in float32; Z or K may be 0."""

    def __init__(self, latent_size: int, num_classes: int, style_size: int, num_layers: int):
        super().__init__()
        self.embed = EqualizedLinear(num_classes, style_size) if num_classes else None
        sizes = [latent_size + (style_size if num_classes else 0)]
        sizes += [style_size] * num_layers
        self.layers = nn.ModuleList(
            EqualizedLinear(before, after, lr_multiplier=MAPPING_LR_MULTIPLIER)
            for before, after in itertools.pairwise(sizes)
        )

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """w [N, W]; `classes` is one-hot."""
        with full_precision(latents.device):
            features = pixel_norm(latents)
            if self.embed is not None:
                assert classes is not None
                features = torch.cat([features, pixel_norm(self.embed(classes))], dim=1)
            for layer in self.layers:
                features = leaky_relu(layer(features), SLOPE) * GAIN
            return features


class ModulatedLayer(nn.Module):
    """[N, in, H, W] to [N, out, H, W], or twice as large: modulated convolution, noise, leaky ReLU.

    Figure 2 (d) of the paper.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, style_size: int, up: bool):
        super().__init__()
        # `up` uses the layout of torch's transposed convolution, to avoid a transpose at every step
        shape = (in_channels, out_channels) if up else (out_channels, in_channels)
        self.weight = standard_normal(*shape, 3, 3)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.affine = EqualizedLinear(style_size, in_channels, bias=1.0)
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise", torch.randn(size, size))  # used in evaluation mode
        self.register_buffer("taps", fir(), persistent=False)
        self.up = up

    def forward(self, features: Tensor, w: Tensor) -> Tensor:
        """Features at the layer's size, styled by w [N, W]."""
        styles = self.affine(w)  # [N, in]
        features = features * columns(styles, features.dtype)
        if self.up:
            features = upsampling_conv(features, self.weight, self.taps)
        else:
            features = conv2d(features, self.weight, padding=1)
        scale = columns(demodulation(self.weight, styles, self.up) * GAIN, features.dtype)
        bias = (self.bias * GAIN).to(features.dtype)[:, None, None]
        features = torch.addcmul(bias, features, scale)
        features += (self._noise(features) * (self.noise_strength * GAIN)).to(features.dtype)
        return leaky_relu(features, SLOPE, inplace=True)

    def _noise(self, features: Tensor) -> Tensor:
        if not self.training:
            return self.noise
        count, _, height, width = features.shape
        return torch.randn(count, 1, height, width, device=features.device)


class ToRGB(nn.Module):
    """[N, in, H, W] to RGB [N, C, H, W], float32: modulated 1 x 1 convolution, no demodulation."""

    def __init__(self, in_channels: int, channels: int, style_size: int):
        super().__init__()
        self.weight = standard_normal(channels, in_channels, 1, 1)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.affine = EqualizedLinear(style_size, in_channels, bias=1.0)
        self.scale = 1 / math.sqrt(in_channels)

    def forward(self, features: Tensor, w: Tensor) -> Tensor:
        """Colors, styled by w [N, W]."""
        styles = self.affine(w) * self.scale
        features = features * columns(styles, features.dtype)
        return conv2d(features, self.weight, self.bias).to(self.weight.dtype)


class SynthesisBlock(nn.Module):
    """All layers of one resolution; the first block starts from a learned constant."""

    def __init__(self, in_channels: int, out_channels: int, size: int, config: StyleGAN2Config):
        super().__init__()
        style_size, first = config.style_size, in_channels == 0
        self.constant = standard_normal(out_channels, size, size) if first else None
        self.conv0 = (
            None if first else ModulatedLayer(in_channels, out_channels, size, style_size, up=True)
        )
        self.conv1 = ModulatedLayer(out_channels, out_channels, size, style_size, up=False)
        self.to_rgb = ToRGB(out_channels, config.channels, style_size)
        self.register_buffer("taps", fir(), persistent=False)

    def forward(
        self, features: Tensor | None, images: Tensor | None, ws: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Features and accumulated colors at this block's size; `ws` has a w [N, W] per layer of
        the block.
        """
        if self.constant is not None:
            features = self.constant.expand(ws[0].shape[0], -1, -1, -1)
        else:
            features = self.conv0(features, ws[0])
        features = self.conv1(features, ws[-2])
        colors = self.to_rgb(features, ws[-1])
        if images is not None:
            with full_precision(images.device):
                colors = upsample2d(images, self.taps) + colors
        return features, colors


class StyleGAN2Generator(StyleGenerator):
    """Latents [N, latent_size] to images [N, C, R, R] around -1..1."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.num_classes = config.num_classes
        self.latent_shape, self.style_size = (config.latent_size,), config.style_size
        self.config = config
        self.mapping = MappingNetwork(
            config.latent_size, config.num_classes, config.style_size, config.num_mapping_layers
        )
        self.register_buffer("average_w", torch.zeros(config.style_size))
        sizes = block_sizes(config.resolution)
        widths = [config.width(size) for size in sizes]
        self.blocks = nn.ModuleList(
            SynthesisBlock(before, width, size, config)
            for before, width, size in zip([0, *widths], widths, sizes, strict=False)
        )
        self.num_ws = 2 * len(self.blocks)

    def ws(self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """A w for every layer [N, num_ws, W]."""
        ws = self._map(latents, labels)[:, None].expand(-1, self.num_ws, -1)
        return self.average_w.lerp(ws, truncation)

    def sample_ws(
        self, noise: SeededNoise, *, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """The ws of `noise`; in training, some images mix two styles (StyleGAN, section 3.1)."""
        if not self.training or not self.config.mixing_prob:
            return super().sample_ws(noise, labels=labels, truncation=truncation)
        ws = self._mixed(super().sample_ws(noise, labels=labels), noise, labels)
        return ws if truncation == 1 else self.average_w.lerp(ws, truncation)

    def synthesize(self, ws: Tensor) -> Tensor:
        """Images [N, C, R, R] of ws [N, num_ws, W]."""
        features = images = None
        for number, block in enumerate(self.blocks):
            # A block takes three ws (conv0, conv1, toRGB); toRGB's is also the next block's first.
            first = max(0, 2 * number - 1)
            features, images = block(features, images, ws[:, first : 2 * number + 2].unbind(1))
        return images

    @torch.no_grad()
    def track_average(self, w: Tensor) -> None:
        """Update the average w, the target of truncation, with the w [N, W] of one step."""
        self.average_w.lerp_(w.float().mean(0), 1 - AVERAGE_DECAY)

    def _map(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """w [N, W]."""
        if labels is None:
            return self.mapping(latents)
        return self.mapping(latents, one_hot(labels, self.num_classes).to(latents.dtype))

    def _mixed(self, ws: Tensor, noise: SeededNoise, labels: Tensor | None) -> Tensor:
        """With probability `mixing_prob`, give an image another style from a random layer on."""
        device = ws.device
        layers = torch.arange(self.num_ws, device=device)
        first = 1 + noise.integers("mixing.layer", self.num_ws - 1).to(device)
        chosen = (noise.uniform("mixing") < self.config.mixing_prob).to(device)
        other = chosen[:, None] & (layers >= first[:, None])
        second = self._map(self.latents_of(noise, "latents.mixed"), labels)
        return torch.where(other[:, :, None], second[:, None], ws)


class ConvLayer(nn.Module):
    """[N, in, H, W] to [N, out, H, W], or half as large: equalized convolution, leaky ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        down: bool = False,
        gain: float = GAIN,  # of the output
    ):
        super().__init__()
        self.weight = standard_normal(out_channels, in_channels, kernel_size, kernel_size)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("taps", fir(), persistent=False)
        self.scale = gain / math.sqrt(in_channels * kernel_size**2)
        self.down, self.gain, self.padding = down, gain, kernel_size // 2

    def forward(self, features: Tensor) -> Tensor:
        """Features at the layer's size."""
        bias = self.bias * self.gain
        features, weight = scaled(features, self.weight, self.scale)
        if self.down:
            features = downsampling_conv(features, weight, self.taps, bias)
        else:
            features = conv2d(features, weight, bias, padding=self.padding)
        return leaky_relu(features, SLOPE, inplace=True)


class Shortcut(nn.Module):
    """[N, in, H, W] to [N, out, H / 2, W / 2]: filtered downsampling, 1 x 1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, gain: float):
        super().__init__()
        self.weight = standard_normal(out_channels, in_channels, 1, 1)
        self.register_buffer("taps", fir(), persistent=False)
        self.scale = gain / math.sqrt(in_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features at half the size."""
        return conv2d(*scaled(downsample2d(features, self.taps), self.weight, self.scale))


class DiscriminatorBlock(nn.Module):
    """One resolution of the discriminator (figure 7): [N, in, H, W] to [N, out, H / 2, W / 2]."""

    def __init__(self, in_channels: int, out_channels: int, config: StyleGAN2Config, first: bool):
        super().__init__()
        kind = config.discriminator
        half = math.sqrt(0.5)  # gain of either branch, so that their sum preserves the variance
        colors = first or kind == "skip"
        self.from_rgb = ConvLayer(config.channels, in_channels, 1) if colors else None
        self.conv0 = ConvLayer(in_channels, in_channels)
        gain = GAIN * half if kind == "resnet" else GAIN
        self.conv1 = ConvLayer(in_channels, out_channels, down=True, gain=gain)
        self.shortcut = Shortcut(in_channels, out_channels, half) if kind == "resnet" else None

    def forward(self, features: Tensor | None, images: Tensor) -> Tensor:
        """Features at half the size; `images` [N, C, H, W] are used if the block has `from_rgb`."""
        features = with_colors(self.from_rgb, features, images)
        main = self.conv1(self.conv0(features))
        return main if self.shortcut is None else main + self.shortcut(features)


class StyleGAN2Discriminator(Discriminator):
    """Images [N, C, R, R] to logits [N].

    Values that no published configuration changes are keywords here, not settings.
    """

    def __init__(
        self,
        config: StyleGAN2Config,
        *,
        num_mapping_layers: int = 8,  # for the classes; the generator's setting does not apply
        direction_size: int | None = None,  # length of a class's direction; None: last width
        stddev_channels: int = 1,  # of the minibatch standard deviation
    ):
        super().__init__()
        self.config, self.stddev_channels = config, stddev_channels
        self.stddev_group = config.group_size if stddev_channels else 1
        sizes = block_sizes(config.resolution)[::-1]
        widths = [config.width(size) for size in sizes]
        last = widths[-1]
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(width, after, config, first=size == config.resolution)
            for width, after, size in zip(widths, widths[1:], sizes, strict=False)
        )
        self.from_rgb = (
            ConvLayer(config.channels, last, 1) if config.discriminator == "skip" else None
        )
        self.conv = ConvLayer(last + stddev_channels, last)
        self.linear = EqualizedLinear(last * 16, last)
        size = direction_size or last
        self.out = EqualizedLinear(last, size if config.num_classes else 1)
        self.mapping = (
            MappingNetwork(0, config.num_classes, size, num_mapping_layers)
            if config.num_classes
            else None
        )
        self.register_buffer("taps", fir(), persistent=False)

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits [N]; higher is more real."""
        classes = None if labels is None else one_hot(labels, self.config.num_classes).float()
        return self.logits(images, classes)

    def layers(self) -> list[nn.Module]:
        """The layers before the last one, from the image on."""
        return [*self.blocks, self.conv, self.linear]

    def logits(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Logits [N] of images; `classes` is one-hot [N, K]."""
        features = None
        for block in self.blocks:
            features = block(features, images)
            if self.config.discriminator == "skip":
                images = downsample2d(images, self.taps)
        features = with_colors(self.from_rgb, features, images)
        if self.stddev_channels:
            features = minibatch_stddev(features, self.config.group_size, self.stddev_channels)
        features = self.conv(features)
        features = leaky_relu(self.linear(features.flatten(1)), SLOPE) * GAIN
        logits = self.out(features).float()
        if self.mapping is None:
            return logits.flatten()
        # Projection (Miyato and Koyama 2018): the direction of a class is learned.
        direction = self.mapping(logits.new_empty(len(logits), 0), classes)
        return (logits * direction).sum(1) / math.sqrt(direction.shape[1])


def with_colors(from_rgb: ConvLayer | None, features: Tensor | None, images: Tensor) -> Tensor:
    """Input features of a block: those so far, plus those of the images if it has `from_rgb`."""
    if from_rgb is None:
        assert features is not None
        return features
    colors = from_rgb(images)
    return colors if features is None else features + colors


def upsampling_conv(features: Tensor, weight: Tensor, taps: Tensor) -> Tensor:
    """[N, in, H, W] to [N, out, 2 H, 2 W] by weight [in, out, 3, 3]: insert zeros between pixels,
    apply a true convolution (with the kernel flipped), then the filter with gain 4.
    """
    features = conv_transpose2d(features, weight, stride=2)  # 2 H + 1
    return filter2d(features, taps * 2, padding=len(taps) - 2)


def downsampling_conv(
    features: Tensor, weight: Tensor, taps: Tensor, bias: Tensor | None = None
) -> Tensor:
    """[N, in, H, W] to [N, out, H / 2, W / 2] by weight [out, in, 3, 3]: apply the filter, then the
    convolution with stride 2.
    """
    features = filter2d(features, taps, padding=len(taps))  # H + 1
    return conv2d(features, weight, bias, stride=2)


def demodulation(weight: Tensor, styles: Tensor, transposed: bool = False) -> Tensor:
    """Reciprocal standard deviations [N, out] of the modulated convolution's outputs, for
    independent inputs of unit variance (eq. 3), in float32.

    `weight` is [out, in, k, k], or [in, out, k, k] if `transposed`; `styles` is [N, in].
    """
    with full_precision(styles.device):
        energy = weight.square().sum((2, 3))
        energy = energy if transposed else energy.t()  # [in, out]
        return torch.rsqrt(styles.to(energy.dtype).square() @ energy + 1e-8)


def columns(values: Tensor, dtype: torch.dtype) -> Tensor:
    """[N, C] as [N, C, 1, 1]."""
    return values.to(dtype)[:, :, None, None]


def block_sizes(resolution: int) -> list[int]:
    """4, 8, and so on up to `resolution`."""
    return [1 << power for power in range(2, resolution.bit_length())]
