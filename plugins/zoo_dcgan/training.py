"""Training of DCGAN: discriminator step, lazy penalty and generator step on the same fake images.

The penalty is an addition to the paper; unlike in Karras et al. 2020 (section 3.1), Adam is not
corrected for the lazy steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.training import LOSSES, Adam, r1_penalty
from zoo_dcgan.config import DCGANConfig


class DCGANLoss:
    """Losses of all phases, on one set of fake images per step.

    The discriminator's losses use the fakes detached; the generator's loss scores them again after
    the discriminator's update.
    """

    def __init__(self, networks: Networks, config: DCGANConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.loss = LOSSES[config.loss]
        self.penalty = config.penalty * config.penalty_every / 2
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on real and fake images."""
        self._fake = self.generator.generate(progress.noise)
        real, fake = self.discriminator(batch.images), self.discriminator(self._fake.detach())
        return self.loss.discriminator_terms(real, fake)

    def penalty_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """gamma / 2 times (R1 + R2), times the interval between penalties."""
        assert self._fake is not None
        r1 = r1_penalty(self.discriminator, batch.images)
        r2 = r1_penalty(self.discriminator, self._fake)
        return {"loss": self.penalty * (r1 + r2), "r1": r1, "r2": r2}

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on the same fake images, scored by the updated discriminator."""
        assert self._fake is not None
        fake, self._fake = self.discriminator(self._fake), None
        real = fake
        if self.loss.paired:
            with torch.no_grad():
                real = self.discriminator(batch.images)
        return {"loss": self.loss.generator(real, fake)}


def build_phases(networks: Networks, config: DCGANConfig) -> list[Phase]:
    """Discriminator, its penalty every `penalty_every` steps, generator."""

    def adam(module: torch.nn.Module) -> Adam:
        betas = (config.beta1, config.beta2)
        return Adam(module.parameters(), lr=config.learning_rate, betas=betas, fused=True)

    losses = DCGANLoss(networks, config)
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
