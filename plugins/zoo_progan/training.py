"""Training of ProGAN: discriminator step, penalty and generator step on the same fake images, at
the resolution that training has reached.

Lazy penalties (every few steps) are an addition to the paper; unlike in Karras et al. 2020
(section 3.1), Adam is not corrected for them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.nn import average_to, fade
from zoo_core.training import LOSSES, Adam, gradient_penalty, r1_penalty
from zoo_progan.config import ProGANConfig
from zoo_progan.networks import reached


class ProGANLoss:
    """Losses of all phases, on one set of fake images per step.

    Real images are downsampled and fakes generated once per step. The discriminator's losses use
    the fakes detached; the generator's loss scores them again after the discriminator's update.
    """

    def __init__(self, networks: Networks, config: ProGANConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.config = config
        self.loss = LOSSES[config.loss]
        self._real: Tensor | None = None
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on real and fake images, plus the drift term that keeps logits near 0
        (appendix A.1) and, if it applies in every step, the penalty.
        """
        for network in (self.generator, self.discriminator):
            network.images_seen.fill_(progress.images_seen)
        stage, alpha = reached(self.config, self.discriminator.seen)
        self._real = fade(average_to(batch.images, 4 << stage), alpha)
        self._fake = self.generator.grown(self.generator.latents_of(progress.noise))
        real, fake = self.discriminator(self._real), self.discriminator(self._fake.detach())
        terms = self.loss.discriminator_terms(real, fake)
        terms["loss"] = terms["loss"] + self.config.drift * real.square().mean()
        if self.config.penalty and self.config.penalty_every == 1:
            penalty = self.penalty_loss(batch, progress)
            terms |= {"loss": terms["loss"] + penalty["loss"], "penalty": penalty["penalty"]}
        return terms

    def penalty_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """lambda times the gradient penalty, or gamma / 2 times R1, times the penalty interval."""
        assert self._real is not None and self._fake is not None
        weight = self.config.penalty * self.config.penalty_every
        if self.config.loss == "wasserstein":
            mix = progress.noise.uniform("mix")
            penalty = gradient_penalty(self.discriminator, self._real, self._fake, mix)
        else:
            penalty, weight = r1_penalty(self.discriminator, self._real), weight / 2
        return {"loss": weight * penalty, "penalty": penalty}

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on the same fake images, scored by the updated discriminator."""
        assert self._fake is not None
        fake = self.discriminator(self._fake)
        self._real = self._fake = None
        return {"loss": self.loss.generator(fake, fake)}  # neither loss uses real logits


def build_phases(networks: Networks, config: ProGANConfig) -> list[Phase]:
    """Discriminator, its penalty if it is lazy, generator."""

    def adam(module: torch.nn.Module) -> Adam:
        betas = (config.beta1, config.beta2)
        return Adam(module.parameters(), lr=config.learning_rate, betas=betas, fused=True)

    losses = ProGANLoss(networks, config)
    generator, discriminator = losses.generator, losses.discriminator
    d_optimizer = adam(discriminator)
    phases = [Phase("discriminator", discriminator, d_optimizer, losses.discriminator_loss)]
    if config.penalty and config.penalty_every > 1:
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
