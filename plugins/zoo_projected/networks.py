"""Projected GAN: Sauer, Chitta, Müller and Geiger, "Projected GANs converge faster", 2021,
arXiv:2111.01007, with the generator of Liu, Zhu, Song and Elgammal, "Towards faster and stabilized
GAN training for high-fidelity few-shot image synthesis", 2021, arXiv:2101.04775 (FastGAN).

A frozen pretrained network turns images into feature maps at four scales. Frozen random 1 x 1
convolutions mix their channels (section 3.2, cross-channel mixing) and add the scales up from deep
to shallow (cross-scale mixing). A small discriminator scores each scale, patch by patch (eq. 2).
FastGAN (its section 3.1) grows an image from 4 x 4 by nearest-neighbor upsampling, convolution,
noise, batch normalization and gated linear units; small maps excite the channels of maps 16 times
as large.

Departures of the discriminators:
- The maps are the last four of any extractor, or all if there are fewer.
- Each mixture is upsampled to the size of the next map, and the shallowest to twice its own size.
  If the strides double, this is the paper's factor of two.
- Each discriminator downsamples to half the size of the deepest discriminator's input. For
  EfficientNet-lite0's strides this gives the published 4, 3, 2 and 1 halvings.
- The last kernel, 4 x 4 in the paper, is a setting, because it leaves small images a single patch.
  It is never larger than its input.
- Mixing precedes upsampling. Both are linear, so the function is the same at a quarter of the work.
- Kernels are 1 x 1 as in the public code; the paper has 3 x 3 between scales.
- The discriminators are conditioned on classes as in the public code; how the generator is
  conditioned is our choice.
- Batch normalization in the discriminators is a setting. Real and fake images are normalized
  separately, which hides what all images of a small batch share, such as a common color.

Departures of FastGAN: its own discriminator is left out, and with it the reconstruction loss and
the second, small output image; widths are a setting; resolutions start at 8; the first convolution
of an excitation narrows to the channels of the large map; the noise inputs of a trained generator
are fixed. `fastgan-lite` has one convolution per size, `fastgan` two. Weights are initialized by
torch's defaults, and convolutions with spectral normalization have no biases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, normalize

from zoo_core import (
    ConfigError,
    Discriminator,
    FeatureExtractor,
    Generator,
    ModelConfig,
    ModelSpec,
    fields,
    load_plugins,
    nearest,
    resolve,
)
from zoo_core.nn import full_precision, pixel_norm, resize_linear
from zoo_projected.config import ProjectedConfig

SLOPE = 0.2  # of the leaky ReLUs
NUM_SCALES = 4  # feature maps with a discriminator
EXCITED = (64, 128, 256, 512)  # sizes excited by the maps of 1/16 the size


class SpectralConv2d(nn.Conv2d):
    """Convolution without bias and with spectral normalization (Miyato et al. 2018, section 2.1).

    Each forward pass in training mode does one step of power iteration, in float32.
    """

    left: Tensor  # [out], the left singular vector, not necessarily of unit length

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.register_buffer("left", torch.randn(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        """Convolve, without activation."""
        return conv2d(features, self._normalized(), None, self.stride, self.padding)

    def _normalized(self) -> Tensor:
        with full_precision(self.weight.device):
            rows = self.weight.flatten(1)
            left = normalize(self.left, dim=0)  # its EMA is shorter than a unit vector
            if self.training:
                with torch.no_grad():  # power iteration
                    left = normalize(rows @ normalize(left @ rows, dim=0), dim=0)
                    self.left.copy_(left)
            return self.weight / torch.linalg.vector_norm(left @ rows)


class Noise(nn.Module):
    """Add noise of learned strength to maps [N, C, S, S], the same for all channels."""

    def __init__(self, size: int):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise", torch.randn(size, size))  # used in evaluation mode

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, S, S] to the same shape."""
        noise = self.noise
        if self.training:
            noise = torch.randn(len(features), 1, *noise.shape, device=noise.device)
        return features + (noise * self.strength).to(features.dtype)


class GatedLinear(nn.Module):
    """Gated linear units (Dauphin et al. 2017): half of the channels times the sigmoid of the rest.

    The gradient of torch's own GLU is three times as slow in channels-last order on a CPU.
    """

    def forward(self, features: Tensor) -> Tensor:
        """[N, 2 C, H, W] to [N, C, H, W]."""
        values, gates = features.chunk(2, dim=1)
        return values * gates.sigmoid()


class UpBlock(nn.Sequential):
    """[N, in, S / 2, S / 2] to [N, out, S, S]: nearest-neighbor upsampling, then `depth` times
    convolution, noise, batch normalization and gated linear units.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, depth: int):
        layers: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="nearest")]
        for before in [in_channels, *[out_channels] * (depth - 1)]:
            layers += [SpectralConv2d(before, 2 * out_channels, 3, padding=1), Noise(size)]
            layers += [nn.BatchNorm2d(2 * out_channels), GatedLinear()]
        super().__init__(*layers)


class Excitation(nn.Module):
    """Skip-layer excitation (FastGAN, eq. 1): small maps [N, low, s, s] to factors for the channels
    of large maps, [N, high, 1, 1] in 0..1; s is a multiple of 4.
    """

    def __init__(self, low_channels: int, high_channels: int, size: int):
        super().__init__()
        self.pooled = size // 4  # a number: older versions of torch trace no kernel size
        self.main = nn.Sequential(
            SpectralConv2d(low_channels, high_channels, 4),
            nn.LeakyReLU(SLOPE),
            SpectralConv2d(high_channels, high_channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, low: Tensor) -> Tensor:
        """Factors for the channels."""
        return self.main(avg_pool2d(low, self.pooled))


class FastGANGenerator(Generator):
    """Latents [N, latent_size] to images [N, C, R, R] in -1..1."""

    def __init__(self, config: ProjectedConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.latent_shape, self.latent_distribution = (config.latent_size,), "sphere"
        self.num_classes = config.num_classes
        sizes = [4 << doublings for doublings in range(config.resolution.bit_length() - 2)]
        widths = {size: config.width(size) for size in sizes}
        depth = 2 if config.generator == "fastgan" else 1
        start = 2 * widths[4]
        classes = config.num_classes
        self.embedding = nn.Embedding(classes, config.latent_size) if classes else None
        self.start = nn.Sequential(  # equals a transposed 4 x 4 convolution of one pixel
            SpectralConv2d((2 if classes else 1) * config.latent_size, start * 16, 1),
            nn.Flatten(),
            nn.Unflatten(1, (start, 4, 4)),
            nn.BatchNorm2d(start),
            GatedLinear(),
        )
        self.blocks = nn.ModuleList(
            UpBlock(widths[before], widths[size], size, depth) for before, size in pairwise(sizes)
        )
        self.excitations = nn.ModuleDict(
            {
                str(s): Excitation(widths[s // 16], widths[s], s // 16)
                for s in EXCITED
                if s in widths
            }
        )
        self.to_rgb = SpectralConv2d(widths[config.resolution], config.channels, 3, padding=1)

    def forward(
        self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Images [N, C, R, R] for z [N, latent_size]; `truncation` scales z towards 0, its mean.

        If there are classes, the embedding of the label is appended, with mean square 1.
        """
        vectors = latents * truncation
        if self.embedding is not None:
            vectors = torch.cat([vectors, pixel_norm(self.embedding(labels))], dim=1)
        maps = {4: self.start(vectors[:, :, None, None])}
        for doublings, block in enumerate(self.blocks):
            size = 8 << doublings
            features = block(maps[size // 2])
            if str(size) in self.excitations:
                features = features * self.excitations[str(size)](maps[size // 16])
            maps[size] = features
        return torch.tanh(self.to_rgb(features))


class RandomProjection(nn.Module):
    """Random, frozen mixing of feature maps across channels and scales (section 3.2).

    Takes and returns maps from shallow to deep. If strides double, each comes out twice as large.
    """

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        widths = [width << scale for scale in range(len(channels))]
        self.widths = [widths[0], *widths[:-1]]  # of the outputs
        self.cross_channel = nn.ModuleList(
            nn.Conv2d(given, mixed, 1) for given, mixed in zip(channels, widths, strict=True)
        )
        self.cross_scale = nn.ModuleList(
            nn.Conv2d(mixed, out, 1) for mixed, out in zip(widths, self.widths, strict=True)
        )
        self.requires_grad_(False)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """A map [N, widths[i], ...] for each of `maps`, in the same order."""
        height, width = maps[0].shape[2:]
        sizes = [(2 * height, 2 * width), *(larger.shape[2:] for larger in maps[:-1])]
        projected: list[Tensor] = []
        for scale in reversed(range(len(maps))):
            mixed = self.cross_channel[scale](maps[scale])
            if projected:
                mixed = mixed + projected[-1]
            mixed = self.cross_scale[scale](mixed)
            projected.append(
                resize_linear(mixed, sizes[scale], mode="bilinear", align_corners=True)
            )
        return projected[::-1]


class ScaleDiscriminator(nn.Module):
    """Maps [N, in, S, S] to logits [N, L]: after `num_halvings` halvings, one per position of the
    last kernel.
    """

    def __init__(self, in_channels: int, size: int, num_halvings: int, config: ProjectedConfig):
        super().__init__()
        end = config.discriminator_width
        widths = [end >> min(left, 3) for left in reversed(range(num_halvings))]
        layers: list[nn.Module] = []
        for before, width in pairwise([in_channels, *widths]):
            layers += [SpectralConv2d(before, width, 4, stride=2, padding=1)]
            if config.discriminator_norm == "batch":
                layers += [nn.BatchNorm2d(width)]
            layers += [nn.LeakyReLU(SLOPE, inplace=True)]
        outputs = config.class_size if config.num_classes else 1
        kernel_size = min(config.last_kernel, size >> num_halvings)
        self.main = nn.Sequential(*layers, SpectralConv2d(end, outputs, kernel_size))
        self.direction = (  # projection (Miyato and Koyama 2018)
            nn.Sequential(
                nn.Embedding(config.num_classes, config.embedding_size),
                nn.Linear(config.embedding_size, config.class_size),
            )
            if config.num_classes
            else None
        )

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits of the maps, given class labels [N] if there are classes."""
        judged = self.main(features).flatten(2).float()  # [N, 1 or class_size, L]
        if self.direction is None:
            return judged.squeeze(1)
        direction = self.direction(labels).float()[:, :, None]
        return (judged * direction).sum(1) / math.sqrt(direction.shape[1])


class ProjectedDiscriminator(Discriminator):
    """Images [N, C, H, W] to the logits [N, L] of all scales, shallowest first."""

    def __init__(self, config: ProjectedConfig, extractor: FeatureExtractor):
        super().__init__()
        extractor.reader = None  # what it is shown in training may have any range
        self.extractor = extractor
        sizes = projected_sizes(extractor)
        if not sizes or sizes[-1] < 2:
            raise ConfigError(
                f"{config.extractor} has no feature maps that are large enough for a discriminator",
                given=f"extractor_size={config.extractor_size}",
                hint="a larger extractor_size, or another extractor",
            )
        channels = extractor.channels[-NUM_SCALES:]
        self.projection = RandomProjection(channels, config.projection_width)
        self.scales = nn.ModuleList(
            ScaleDiscriminator(width, size, num_halvings(size, sizes[-1]), config)
            for width, size in zip(self.projection.widths, sizes, strict=True)
        )

    def forward(
        self,
        images: Tensor,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        judged: list[Tensor] | None = None,
    ) -> Tensor:
        """Logits [N, L]: the larger, the more real a patch looks at its scale.

        For a gradient penalty, pass a list as `judged`: the projected maps are appended to it, as
        leaves that require gradients. The logits then have no gradient with respect to the images.
        """
        maps = self.projection(self.extractor.feature_maps(images)[-NUM_SCALES:])
        if judged is not None:
            maps = [projected.detach().requires_grad_() for projected in maps]
            judged += maps
        scales = zip(self.scales, maps, strict=True)
        return torch.cat([scale(projected, labels) for scale, projected in scales], dim=1)


@torch.no_grad()
def projected_sizes(extractor: FeatureExtractor) -> list[int]:
    """Pixels per side of the projected maps, shallow to deep, measured by running the extractor."""
    maps = extractor.feature_maps(torch.zeros(1, 3, 32, 32))[-NUM_SCALES:]
    sizes = [features.shape[2] for features in maps]
    return [2 * sizes[0], *sizes[:-1]] if sizes else []


def num_halvings(size: int, deepest: int) -> int:
    """How many halvings bring a map of `size` to half the size of the deepest one."""
    return min(1 + round(math.log2(size / deepest)), size.bit_length() - 1)


def latent_generator(config: ProjectedConfig) -> Generator:
    """Build another model's generator at our resolution, with its own `generator_settings`.

    A progressively growing generator is fully grown from the start. Raises UnknownNameError if the
    model is not installed, and ConfigError if it has no latents or the settings do not fit.
    """
    spec = load_plugins().models.get(config.generator)
    if spec.build_generator is None or isinstance(config, spec.config):
        raise ConfigError(f"{config.generator} has no generator of its own")
    generator = spec.build_generator(generator_config(spec, config))
    if generator.source_shape is not None:
        raise ConfigError(f"{config.generator} generates from source images, not from latents")
    picture = (config.channels, config.resolution, config.resolution)
    for name, needed in (("image_shape", picture), ("num_classes", config.num_classes)):
        if (found := getattr(generator, name)) != needed:
            what = f"the generator of {config.generator} does not fit: {name} is {found}"
            raise ConfigError(what, allowed=str(needed))
    if isinstance(images_seen := getattr(generator, "images_seen", None), Tensor):
        images_seen.fill_(
            torch.iinfo(images_seen.dtype).max
        )  # it drives the growth of ProGAN and StyleGAN
    return generator


def generator_config(spec: ModelSpec, config: ProjectedConfig) -> ModelConfig:
    """The other model's configuration: `generator_settings` plus the settings that both share."""
    keys = fields(spec.config)
    ours = {"resolution", "channels", "num_classes"} & keys.keys()
    for key in config.generator_settings:
        if key not in keys or key in ours:
            raise ConfigError(
                f"generator_settings of {config.generator} cannot contain {key!r}",
                near=nearest(key, keys.keys() - ours),
                hint=f"zoo show {config.generator}",
            )
    shared = {key: getattr(config, key) for key in ours}
    layers = (("generator_settings", config.generator_settings), ("this model", shared))
    return resolve(spec.name, spec.config, *layers).config
