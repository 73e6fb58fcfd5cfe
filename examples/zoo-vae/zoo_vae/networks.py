"""The variational autoencoder: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014,
arXiv:1312.6114.

Latents z have the prior N(0, I). The decoder outputs the mean of p(x|z), a Gaussian in every
pixel. The encoder outputs mean and log-variance of q(z|x), a Gaussian with diagonal covariance
(equation 9).

Departures: convolutions of stride 2 with group normalization (Wu and He 2018, arXiv:1803.08494)
replace the fully connected layers of appendix C, and the standard deviation of p(x|z) is a setting
instead of an output.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from zoo_core import Generator

from zoo_vae.config import VAEConfig


class VAEGenerator(Generator):
    """Latents [N, latent_size] to images [N, C, R, R] in -1..1.

    The encoder is part of this module although `forward` never runs it. That way one phase trains
    both networks, the EMA covers both, and checkpoints and weights files contain both, so a loaded
    model can `encode` too. The price is a weights file twice as large as sampling alone needs.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.latent_shape = (config.latent_size,)
        self.encoder = encoder(config)
        self.decoder = decoder(config)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), float32 [N, latent_size] each.

        Images are [N, C, R, R] in -1..1.
        """
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """The mean of p(x|z): float32 [N, C, R, R] in -1..1."""
        return self.decoder(latents).float().tanh()

    def forward(
        self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Images [N, C, R, R] for latents of the prior; `truncation` scales them towards 0.

        Returns the mean of p(x|z); sampling from it would only add white noise.
        """
        return self.decode(latents * truncation)


def encoder(config: VAEConfig) -> nn.Sequential:
    """The encoder: images [N, C, R, R] to means and log-variances [N, 2 * latent_size]."""
    widths = stage_widths(config)
    layers: list[nn.Module] = []
    for before, width in zip([config.channels, *widths], widths, strict=False):
        layers += [nn.Conv2d(before, width, 4, 2, 1), normalization(width), nn.SiLU()]  # half size
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(widths[-1] * 4 * 4, 2 * config.latent_size)
    )


def decoder(config: VAEConfig) -> nn.Sequential:
    """The decoder: latents [N, latent_size] to images [N, C, R, R], before the tanh."""
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
    """Group normalization with as many groups of at least 16 maps as divide `width` evenly."""
    return nn.GroupNorm(math.gcd(width, max(1, width // 16)), width)


def stage_widths(config: VAEConfig) -> list[int]:
    """Feature maps at 1/2 of the resolution, 1/4, and so on down to 4 x 4."""
    stages = config.resolution.bit_length() - 3
    return [config.width << stage for stage in range(stages)]
