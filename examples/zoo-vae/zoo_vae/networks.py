"""The variational autoencoder: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014,
arXiv:1312.6114.

Latents z have the prior N(0, I); the decoder's picture is the mean of p(x|z), a Gaussian in every
pixel; the encoder gives mean and variance of q(z|x), a Gaussian with a diagonal covariance matrix
(equation 9).

Departures: convolutions of stride 2 with group normalization (Wu and He 2018, arXiv:1803.08494)
take the place of the fully connected layers of appendix C, and the spread of p(x|z) is a setting
instead of an output.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from zoo_core import Generator, SeededNoise

from zoo_vae.config import VAEConfig


class VAEGenerator(Generator):
    """Latents [N, latent_size] to pictures [N, C, R, R] in -1..1.

    The encoder lives in here although `generate` never runs it. So one phase moves both networks,
    the average covers both, and a checkpoint and a weights file hold both: `zoo.load` gives
    `encode` as well. The price is a weights file twice as large as sampling alone would need.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.latent_size = config.latent_size
        self.encoder = encoder(config)
        self.decoder = decoder(config)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), float32 [N, latent_size] each, of pictures [N, C, R, R]
        in -1..1.
        """
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """The mean of p(x|z): float32 [N, C, R, R] in -1..1."""
        return self.decoder(latents).float().tanh()

    def generate(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Pictures [N, C, R, R] of latents from the prior; `truncation` scales these towards 0.

        The decoder's picture is returned as it is: a sample of p(x|z) would only add white noise.
        """
        latents = noise.normal("latents", (self.latent_size,)) * truncation
        return self.decode(latents.to(self.decoder[0].weight.device))


def encoder(config: VAEConfig) -> nn.Sequential:
    """Pictures [N, C, R, R] to means and log-variances [N, 2 * latent_size]."""
    widths = stage_widths(config)
    layers: list[nn.Module] = []
    for before, width in zip([config.channels, *widths], widths, strict=False):
        layers += [nn.Conv2d(before, width, 4, 2, 1), normalization(width), nn.SiLU()]  # half size
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(widths[-1] * 4 * 4, 2 * config.latent_size)
    )


def decoder(config: VAEConfig) -> nn.Sequential:
    """Latents [N, latent_size] to pictures [N, C, R, R] before their tanh."""
    widths = stage_widths(config)[::-1]
    layers: list[nn.Module] = [
        nn.Linear(config.latent_size, widths[0] * 4 * 4),
        nn.Unflatten(1, (widths[0], 4, 4)),
    ]
    for width, narrower in zip(widths, [*widths[1:], config.channels], strict=True):
        layers += [normalization(width), nn.SiLU()]
        layers += [nn.ConvTranspose2d(width, narrower, 4, 2, 1)]  # twice the size
    return nn.Sequential(*layers)


def normalization(width: int) -> nn.GroupNorm:
    """Of `width` feature maps, in as many groups of 16 or more as divide them evenly."""
    return nn.GroupNorm(math.gcd(width, max(1, width // 16)), width)


def stage_widths(config: VAEConfig) -> list[int]:
    """Feature maps at half the resolution, at a quarter, and so on down to 4 x 4."""
    stages = config.resolution.bit_length() - 3
    return [config.width << stage for stage in range(stages)]
