"""Training of StyleGAN: discriminator step with R1 and generator step on the same fake images, at
the resolution that both networks have reached.

The loss is the non-saturating one with R1, which the paper uses for FFHQ (section 2 and
appendix C).

Departures:
- The discriminator's step and the generator's step share their latents.
- R1 can be a step of its own, every few steps (Karras et al. 2020, section 3.1); Adam is not
  corrected for it.
- Learning rate and batch size are the same at every resolution; at higher resolutions the paper
  raises the former and reduces the latter.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.nn import average_to, fade
from zoo_core.training import LOSSES, Adam, r1_penalty
from zoo_stylegan.config import StyleGANConfig
from zoo_stylegan.networks import reached

LOSS = LOSSES["non-saturating"]


class StyleGANLoss:
    """Losses of all phases, on one set of fake images per step.

    Real images are downsampled and fakes generated once per step. The discriminator's losses use
    the fakes detached; the generator's loss scores them again after the discriminator's update.
    """

    def __init__(self, networks: Networks, config: StyleGANConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.config = config
        self.penalty = config.penalty * config.penalty_every / 2
        self._real: Tensor | None = None
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on real and fake images, plus R1 if it applies in every step."""
        for network in (self.generator, self.discriminator):
            network.images_seen.fill_(progress.images_seen)
        stage, alpha = reached(self.config, self.discriminator.seen)
        self._real = fade(average_to(batch.images, self.config.first_resolution << stage), alpha)
        self._fake = self.generator.synthesize_grown(self.generator.sample_ws(progress.noise))
        real, fake = self.discriminator(self._real), self.discriminator(self._fake.detach())
        terms = LOSS.discriminator_terms(real, fake)
        if self.penalty and self.config.penalty_every == 1:
            penalty = self.penalty_loss(batch, progress)
            terms |= {"loss": terms["loss"] + penalty["loss"], "r1": penalty["r1"]}
        return terms

    def penalty_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """gamma / 2 times R1, times the interval between penalties."""
        assert self._real is not None
        r1 = r1_penalty(self.discriminator, self._real)
        return {"loss": self.penalty * r1, "r1": r1}

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on the same fake images, scored by the updated discriminator."""
        assert self._fake is not None
        fake = self.discriminator(self._fake)
        self._real = self._fake = None
        return {"loss": LOSS.generator(fake, fake)}


def build_phases(networks: Networks, config: StyleGANConfig) -> list[Phase]:
    """Discriminator, its penalty if it is lazy, generator."""

    def adam(module: torch.nn.Module) -> Adam:
        betas = (config.beta1, config.beta2)
        return Adam(module.parameters(), lr=config.learning_rate, betas=betas, fused=True)

    losses = StyleGANLoss(networks, config)
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
