"""How DCGAN is trained: one discriminator step, a lazy penalty, one generator step, on the same
fake pictures. The penalty is an addition to the paper; Adam is not corrected for its being lazy, as
Karras et al. 2020 (section 3.1) do.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.training import LOSSES, Adam, r1_penalty
from zoo_dcgan.config import DCGANConfig


class DCGANLoss:
    """The losses. Fake pictures are made once a step: judged detached by the discriminator's
    losses, and once more, after it has moved, for the generator's.
    """

    def __init__(self, networks: Networks, config: DCGANConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.loss = LOSSES[config.loss]
        self.penalty = config.penalty * config.penalty_every / 2
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of real and fake pictures."""
        self._fake = self.generator.generate(progress.noise)
        real, fake = self.discriminator(batch.images), self.discriminator(self._fake.detach())
        return self.loss.discriminator_terms(real, fake)

    def penalty_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """gamma / 2 times R1 + R2, times the interval at which it is applied."""
        assert self._fake is not None
        r1 = r1_penalty(self.discriminator, batch.images)
        r2 = r1_penalty(self.discriminator, self._fake)
        return {"loss": self.penalty * (r1 + r2), "r1": r1, "r2": r2}

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of the same fake pictures under the discriminator as it is now."""
        assert self._fake is not None
        fake, self._fake = self.discriminator(self._fake), None
        real = fake
        if self.loss.paired:
            with torch.no_grad():
                real = self.discriminator(batch.images)
        return {"loss": self.loss.generator(real, fake)}


def build_phases(networks: Networks, config: DCGANConfig) -> list[Phase]:
    """Discriminator, its penalty every few steps, generator."""

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
