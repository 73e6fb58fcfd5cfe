"""DCGAN: Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional
generative adversarial networks", 2015, arXiv:1511.06434.

Section 3: strided and transposed convolutions instead of pooling; batch normalization everywhere
except on the generator's output and the discriminator's input; ReLU in the generator with tanh at
its end, leaky ReLU with slope 0.2 in the discriminator. Section 4: weights start from N(0, 0.02).

Departures:
- Any power of two from 16 as resolution, with one stage of 4 x 4 kernels per doubling; the paper
  has 64.
- Widths are a setting. At half the resolution, the paper's figure 1 has 128 feature maps, the
  public reference code 64.
- The discriminator returns logits.
- Normalization is optional. Without it the convolutions have biases, except the discriminator's
  last: a relativistic loss depends on differences of logits, in which a bias cancels.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo_core import Discriminator, Generator
from zoo_core.nn import layer_groups
from zoo_dcgan.config import DCGANConfig


class DCGANGenerator(Generator):
    """Latents [N, latent_size] to images [N, C, R, R] in -1..1."""

    def __init__(self, config: DCGANConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.latent_shape, self.latent_distribution = (config.latent_size,), config.latents
        widths = stage_widths(config.resolution, config.generator_width, config.max_width)[::-1]
        norm = config.generator_norm
        bias = norm == "none"
        layers: list[nn.Module] = [  # figure 1: project and reshape to [N, W, 4, 4]
            nn.Linear(config.latent_size, widths[0] * 16, bias=bias),
            nn.Unflatten(1, (widths[0], 4, 4)),
        ]
        for width, narrower in zip(widths, [*widths[1:], config.channels], strict=True):
            layers += [*normalization(norm, width), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(width, narrower, 4, 2, 1, bias=bias)]  # doubles the size
        self.main = nn.Sequential(*layers, nn.Tanh())
        self.apply(initialize)

    def forward(
        self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Images [N, C, R, R]; `truncation` scales the latents toward 0, their mean."""
        return self.main(latents * truncation)


class DCGANDiscriminator(Discriminator):
    """Images [N, C, R, R] to logits [N]."""

    def __init__(self, config: DCGANConfig):
        super().__init__()
        widths = stage_widths(config.resolution, config.discriminator_width, config.max_width)
        norm = config.discriminator_norm
        bias = norm == "none"
        layers: list[nn.Module] = []
        for number, (before, width) in enumerate(
            zip([config.channels, *widths], widths, strict=False)
        ):
            layers += [nn.Conv2d(before, width, 4, 2, 1, bias=bias)]  # halves the size
            layers += normalization(norm, width) if number else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.main = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, bias=False))  # [N, 1, 1, 1]
        self.apply(initialize)

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits [N]; higher is more real."""
        return self.main(images).float().flatten()

    def layers(self) -> list[nn.Module]:
        """The layers before the last one, from the image on."""
        return layer_groups(self.main)


def stage_widths(resolution: int, width: int, max_width: int) -> list[int]:
    """Feature maps at half the resolution, at a quarter, and so on down to 4 x 4."""
    stages = resolution.bit_length() - 3
    return [min(width << stage, max_width) for stage in range(stages)]


def normalization(kind: str, width: int) -> list[nn.Module]:
    """Normalization layers for `width` feature maps; an empty list if `kind` is "none"."""
    return [nn.BatchNorm2d(width)] if kind == "batch" else []


def initialize(module: nn.Module) -> None:
    """Weights from N(0, 0.02) (section 4); scales from N(1, 0.02), biases 0 (public code)."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    if getattr(module, "bias", None) is not None:
        nn.init.zeros_(module.bias)
