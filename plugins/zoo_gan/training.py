"""Training of the original GAN: discriminator step, lazy penalty and generator step on the same
fake images.

This is algorithm 1 of the paper with k = 1 and two departures: the generator's step reuses the
latents of the discriminator's step, and Adam replaces gradient descent with momentum. The lazy
penalty is an addition; unlike in Karras et al. 2020, Adam is not corrected for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.training import LOSSES, Adam, r1_penalty
from zoo_gan.config import GANConfig


class GANLoss:
    """Losses of all phases, on one set of fake images per step, with the labels of the real ones.

    The discriminator's losses use the fakes detached; the generator's loss scores them again after
    the discriminator's update.
    """

    def __init__(self, networks: Networks, config: GANConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.loss = LOSSES[config.loss]
        self.penalty = config.penalty * config.penalty_every / 2
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on real and fake images."""
        self._fake = self.generator.generate(progress.noise, labels=batch.labels)
        real = self.discriminator(batch.images, labels=batch.labels)
        fake = self.discriminator(self._fake.detach(), labels=batch.labels)
        return self.loss.discriminator_terms(real, fake)

    def penalty_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """gamma / 2 times (R1 + R2), times the interval between penalties."""
        assert self._fake is not None
        discriminate = partial(self.discriminator, labels=batch.labels)
        r1, r2 = r1_penalty(discriminate, batch.images), r1_penalty(discriminate, self._fake)
        return {"loss": self.penalty * (r1 + r2), "r1": r1, "r2": r2}

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on the same fake images, scored by the updated discriminator."""
        assert self._fake is not None
        fake, self._fake = self.discriminator(self._fake, labels=batch.labels), None
        real = fake
        if self.loss.paired:
            with torch.no_grad():
                real = self.discriminator(batch.images, labels=batch.labels)
        return {"loss": self.loss.generator(real, fake)}


def build_phases(networks: Networks, config: GANConfig) -> list[Phase]:
    """Discriminator, its penalty every `penalty_every` steps, generator."""

    def adam(module: torch.nn.Module) -> Adam:
        betas = (config.beta1, config.beta2)
        return Adam(module.parameters(), lr=config.learning_rate, betas=betas, fused=True)

    losses = GANLoss(networks, config)
    generator, discriminator = losses.generator, losses.discriminator
    d_optimizer = adam(discriminator)
    phases = [Phase("discriminator", discriminator, d_optimizer, losses.discriminator_loss)]
    if config.penalty:
        phases.append(
            Phase(
                "penalty",
                discriminator,
                d_optimizer,
                losses.penalty_loss,
                every=config.penalty_every,
            )
        )
    return [*phases, Phase("generator", generator, adam(generator), losses.generator_loss)]
