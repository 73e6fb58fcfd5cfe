"""Training of the variational autoencoder: one phase with one loss for both networks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.optim import Adam
from zoo_core import Batch, Networks, Phase, Progress

from zoo_vae.config import VAEConfig
from zoo_vae.networks import VAEGenerator


class VAELoss:
    """The loss: the paper's negative lower bound, in nats per image."""

    def __init__(self, generator: VAEGenerator, config: VAEConfig):
        self.generator = generator
        self.precision = 1 / config.sigma**2

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Equation 10 with one latent sample per image, as in section 2.3:

        L(x) = -KL(q(z|x) || p(z)) + log p(x|z),  z = mean + exp(log_variance / 2) * epsilon

        The Gaussian's constant in log p(x|z) is left out. Epsilon depends only on the position in
        the run, so a resumed run draws the same values.
        """
        mean, log_variance = self.generator.encode(batch.images)
        epsilon = progress.noise.normal("posterior", mean.shape[1:]).to(mean.device)
        images = self.generator.decode(mean + (log_variance / 2).exp() * epsilon)
        squared_error = (images - batch.images).square().sum(dim=(1, 2, 3))
        reconstruction = (self.precision / 2 * squared_error).mean()
        kl = divergence(mean, log_variance).mean()
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, I)) in nats, [N, latent_size] each to [N] (appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)


def build_phases(networks: Networks, config: VAEConfig) -> list[Phase]:
    """The single phase; the generator holds the parameters of both networks."""
    generator = networks.generator
    assert isinstance(generator, VAEGenerator)
    optimizer = Adam(generator.parameters(), lr=config.learning_rate, fused=True)
    return [Phase("autoencoder", generator, optimizer, VAELoss(generator, config).loss)]
