"""StyleGAN: Karras, Laine and Aila, "A style-based generator architecture for generative
adversarial networks", 2019, arXiv:1812.04948.

Section 2 and figure 1b: a mapping network turns latents z into w. A learned 4 x 4 constant grows
through two layers per resolution; each adds noise, then gives every feature map the mean and the
standard deviation set by its style, an affine function of w (AdaIN, equation 1). Section 3.1: style
mixing. Appendix B: truncation. Appendix C: weights start from N(0, 1) with an equalized learning
rate, a hundred times lower in the mapping network; biases and noise scales start at 0, the constant
and the style biases for standard deviations at 1; leaky ReLU has slope 0.2.

The discriminator and the growth are those of Karras et al. 2018 (ProGAN, arXiv:1710.10196): each
new resolution is faded in (section 2, figure 2), and the discriminator ends with the minibatch
standard deviation (section 3). New in StyleGAN: growth starts at 8 x 8 pixels, and a binomial
filter [1, 2, 1] follows each upsampling and precedes each downsampling.

Both networks keep the number of images seen in a buffer; stage and alpha are pure functions of it.

Departures:
- The minibatch standard deviation is taken over groups of 4 images, as in the public code; the
  paper takes it over the whole minibatch.
- The crossover layer of style mixing is drawn for each image.
- Noise inputs are fixed in evaluation mode, so that an image is a function of its seed.
- Each resampling is fused with its convolution; the paper does so from 128 pixels on. A 3 x 3
  convolution of doubled pixels is a transposed convolution with four times the mean of the kernel's
  four shifts; one followed by averaging 2 x 2 pixels is a strided convolution with that mean. Both
  are exact.
- Layers from and to RGB below the first resolution are left out, since they would never learn. The
  published totals at 1024 pixels, 26,219,627 and 23,087,249, include those at 4 x 4, which have
  1,539 and 2,048 parameters.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, interpolate, leaky_relu

from zoo_core import Discriminator, SeededNoise, StyleGenerator
from zoo_core.nn import (
    EqualizedConv2d,
    EqualizedLinear,
    Growing,
    average2d,
    average_to,
    conv2d_downsample,
    filter2d,
    fir,
    full_precision,
    minibatch_stddev,
    pixel_norm,
    upsample_conv2d,
)
from zoo_core.training import growth
from zoo_stylegan.config import StyleGANConfig

SLOPE = 0.2  # of leaky ReLU
GAIN = 2**0.5  # preserves the variance through leaky ReLU, He et al. 2015
TAPS = (1.0, 2.0, 1.0)
AVERAGE_DECAY = 0.995  # of the average w, per step
STDDEV_GROUP = 4


class MappingNetwork(nn.Module):
    """Latents z [N, latent_size] to w [N, style_size]; f in figure 1b."""

    def __init__(self, config: StyleGANConfig):
        super().__init__()
        sizes = [config.latent_size] + [config.style_size] * config.num_mapping_layers
        self.layers = nn.ModuleList(
            EqualizedLinear(before, size, gain=GAIN, lr_multiplier=0.01)
            for before, size in pairwise(sizes)
        )

    def forward(self, latents: Tensor) -> Tensor:
        """w [N, style_size], float32."""
        with full_precision(latents.device):
            features = pixel_norm(latents)
            for layer in self.layers:
                features = leaky_relu(layer(features), SLOPE, inplace=True)
            return features


class UpsamplingConv2d(nn.Module):
    """[N, in, H, W] to [N, out, 2 H, 2 W]: doubled pixels, 3 x 3 convolution, blur."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.convolution = EqualizedConv2d(in_channels, out_channels, 3, gain=GAIN, bias=None)
        self.register_buffer("taps", fir(TAPS), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Upsample and convolve, without bias or activation."""
        return filter2d(upsample_conv2d(features, self.convolution), self.taps)


class StyledLayer(nn.Module):
    """Noise, bias, leaky ReLU and AdaIN: follows the constant and each convolution (figure 1b)."""

    def __init__(self, channels: int, resolution: int, style_size: int):
        super().__init__()
        self.register_buffer("noise_const", torch.randn(1, 1, resolution, resolution))
        self.noise_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.style = EqualizedLinear(style_size, 2 * channels)
        nn.init.ones_(self.style.bias[:channels])

    def forward(self, features: Tensor, w: Tensor) -> Tensor:
        """Features of the same shape; in training, each call draws new noise."""
        noise = self.noise_const
        if self.training:
            noise = torch.randn_like(features[:, :1])
        dtype = features.dtype
        features = torch.addcmul(features, noise.to(dtype), self.noise_scale.to(dtype))
        features = leaky_relu(features.add_(self.bias.to(dtype)), SLOPE, inplace=True)
        style = self.style(w)
        return adain(features, style.to(torch.promote_types(style.dtype, torch.float32)))


class SynthesisBlock(nn.Module):
    """The two layers of one resolution; `enter` brings features up from the one below."""

    def __init__(self, enter: nn.Module, channels: int, resolution: int, style_size: int):
        super().__init__()
        self.enter = enter
        self.first = StyledLayer(channels, resolution, style_size)
        self.convolution = EqualizedConv2d(channels, channels, 3, gain=GAIN, bias=None)
        self.second = StyledLayer(channels, resolution, style_size)

    def forward(self, features: Tensor, ws: Tensor) -> Tensor:
        """Features [N, channels, resolution, resolution]; `ws` is [N, 2, style_size]."""
        features = self.first(self.enter(features), ws[:, 0])
        return self.second(self.convolution(features), ws[:, 1])


class StyleGANGenerator(Growing, StyleGenerator):
    """Latents to images [N, C, R, R] around -1..1, by way of w."""

    def __init__(self, config: StyleGANConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.latent_shape, self.style_size = (config.latent_size,), config.style_size
        self.config = config
        sizes = config.widths()
        self.num_ws = 2 * len(sizes)
        self.mapping = MappingNetwork(config)
        self.register_buffer("average_w", torch.zeros(config.style_size))
        self.constant = nn.Parameter(torch.ones(1, sizes[4], 4, 4))
        self.blocks = nn.ModuleList(
            SynthesisBlock(
                nn.Identity() if size == 4 else UpsamplingConv2d(sizes[size // 2], width),
                width,
                size,
                config.style_size,
            )
            for size, width in sizes.items()
        )
        self.to_rgb = nn.ModuleList(
            EqualizedConv2d(width, config.channels, 1)
            for size, width in sizes.items()
            if size >= config.first_resolution
        )

    def ws(self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """A w for every layer: [N, num_ws, style_size]."""
        w = self.mapping(latents)
        return self.truncated(w[:, None].expand(-1, self.num_ws, -1), truncation)

    def sample_ws(
        self, noise: SeededNoise, *, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """The ws of `noise`. In training, some mix two styles, and the average w is updated."""
        if not self.training:
            return super().sample_ws(noise, truncation=truncation)
        w = self.mapping(self.latents_of(noise))
        self.average_w.lerp_(w.detach().mean(0), 1 - AVERAGE_DECAY)
        mixed = self.mixed(w[:, None].expand(-1, self.num_ws, -1), noise)
        return self.truncated(mixed, truncation)

    def truncated(self, ws: Tensor, truncation: float) -> Tensor:
        """Move the first `truncation_layers` layers toward the average w (appendix B):
        w' = average + truncation (w - average).
        """
        shares = torch.ones(self.num_ws, 1, device=ws.device, dtype=ws.dtype)
        shares[: self.config.truncation_layers] = truncation
        return torch.lerp(self.average_w, ws, shares)

    def mixed(self, ws: Tensor, noise: SeededNoise) -> Tensor:
        """Use a second latent's style from a random layer on, in a share of the images."""
        stage, _ = reached(self.config, self.seen)
        num_layers = 2 * (first_block(self.config) + stage + 1)
        crossover = noise.integers("mixing.layer", num_layers - 1) + 1
        crossover[noise.uniform("mixing") >= self.config.mixing_prob] = self.num_ws
        is_second = torch.arange(self.num_ws) >= crossover[:, None]  # [N, num_ws]
        second = self.mapping(self.latents_of(noise, "latents.mixed"))
        return torch.where(is_second[:, :, None].to(ws.device), second[:, None], ws)

    def synthesize(self, ws: Tensor) -> Tensor:
        """Images [N, C, R, R] of ws [N, num_ws, style_size].

        Before full growth, pixels are repeated. Noise inputs are random in training and the same
        for all images in evaluation mode.
        """
        return interpolate(self.synthesize_grown(ws), size=self.image_shape[1:])

    def synthesize_grown(self, ws: Tensor) -> Tensor:
        """Images float32 [N, C, r, r] at the resolution r that training has reached."""
        stage, alpha = reached(self.config, self.seen)
        features = below = self.constant.expand(ws.shape[0], -1, -1, -1)
        for number, block in enumerate(self.blocks[: first_block(self.config) + stage + 1]):
            below, features = features, block(features, ws[:, 2 * number : 2 * number + 2])
        images = self.to_rgb[stage](features).float()
        if alpha < 1:
            smaller = self.to_rgb[stage - 1](below).float()
            images = torch.lerp(interpolate(smaller, scale_factor=2.0), images, alpha)
        return images


class DiscriminatorBlock(nn.Module):
    """[N, in, H, W] to [N, out, H / 2, W / 2]: convolution, blur, convolution, average pooling."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.convolution = EqualizedConv2d(in_channels, in_channels, 3, gain=GAIN)
        self.down = EqualizedConv2d(in_channels, out_channels, 3, gain=GAIN)
        self.register_buffer("taps", fir(TAPS), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features at half the size."""
        features = leaky_relu(self.convolution(features), SLOPE, inplace=True)
        features = conv2d_downsample(filter2d(features, self.taps), self.down)
        return leaky_relu(features, SLOPE, inplace=True)


class StyleGANDiscriminator(Growing, Discriminator):
    """Images to logits [N]."""

    stddev_group = STDDEV_GROUP

    def __init__(self, config: StyleGANConfig):
        super().__init__()
        self.config = config
        sizes = config.widths()
        self.from_rgb = nn.ModuleList(
            EqualizedConv2d(config.channels, width, 1, gain=GAIN)
            for size, width in sizes.items()
            if size >= config.first_resolution
        )
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(width, sizes[size // 2]) for size, width in sizes.items() if size > 4
        )
        self.convolution = EqualizedConv2d(sizes[4] + 1, sizes[4], 3, gain=GAIN)
        self.linear = EqualizedLinear(16 * sizes[4], sizes[4], gain=GAIN)
        self.logit = EqualizedLinear(sizes[4], 1)

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits [N] of images at the resolution that training has reached; larger images are
        averaged down to it.
        """
        stage, alpha = reached(self.config, self.seen)
        images = average_to(images, self.config.first_resolution << stage)
        blocks = list(self.blocks[: first_block(self.config) + stage])
        features = self.enter(images, stage)
        if alpha < 1:
            smaller = self.enter(average2d(images), stage - 1)
            features = torch.lerp(smaller, blocks.pop()(features), alpha)
        for block in reversed(blocks):
            features = block(features)
        features = minibatch_stddev(features, STDDEV_GROUP)
        features = leaky_relu(self.convolution(features), SLOPE, inplace=True).flatten(1)
        features = leaky_relu(self.linear(features), SLOPE, inplace=True)
        return self.logit(features).float().flatten()

    def layers(self) -> list[nn.Module]:
        """The layers before the last one, from the image on."""
        colors = list(self.from_rgb)  # none for sizes below the first resolution
        stages = [[*([colors.pop()] if colors else []), block] for block in reversed(self.blocks)]
        return [*map(nn.ModuleList, stages), self.convolution, self.linear]

    def enter(self, images: Tensor, stage: int) -> Tensor:
        """Features of images at the resolution of `stage`."""
        return leaky_relu(self.from_rgb[stage](images), SLOPE, inplace=True)


def first_block(config: StyleGANConfig) -> int:
    """Index of the block that makes the first resolution; block 0 makes 4 x 4."""
    return config.first_resolution.bit_length() - 3


def reached(config: StyleGANConfig, images: int) -> tuple[int, float]:
    """Stage (0 is the first resolution) and alpha, the weight of that stage's resolution."""
    num_stages = (config.resolution // config.first_resolution).bit_length()
    return growth(images, num_stages, config.fade_images, config.stable_images)


def adain(features: Tensor, style: Tensor) -> Tensor:
    """Give every feature map of [N, C, H, W] the standard deviation and mean in style [N, 2 C].

    Equation 1, with statistics in float32. Computed as batch normalization of one image with N * C
    feature maps: one kernel, where the written-out formula passes over the memory many times.
    """
    scale, shift = style.chunk(2, 1)
    maps = features.reshape(1, -1, *features.shape[2:])
    maps = batch_norm(maps, None, None, scale.flatten(), shift.flatten(), training=True, eps=1e-8)
    return maps.reshape(features.shape)
