"""How StyleGAN is trained: one discriminator step with R1, one generator step, on the same fake
pictures, at the resolution that both networks have been grown to. The loss is the non-saturating
one with R1, which the paper has for FFHQ (section 2 and appendix C).

Departures: the discriminator's step and the generator's share their latents; R1 can be a step of
its own, every few steps (Karras et al. 2020, section 3.1), for which Adam is not corrected; the
learning rate stays the same at every resolution, where the paper raises it, and so does the batch
size, which the paper reduces.
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
    """The losses. Fake pictures are made and real ones reduced once a step: judged by the
    discriminator's losses, the fake ones again, after it has moved, for the generator's.
    """

    def __init__(self, networks: Networks, config: StyleGANConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.config = config
        self.penalty = config.penalty * config.penalty_every / 2
        self._real: Tensor | None = None
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of real and fake pictures, and R1 if it is due in every step."""
        for network in (self.generator, self.discriminator):
            network.images_seen.fill_(progress.images_seen)
        stage, alpha = reached(self.config, self.discriminator.images_seen)
        self._real = fade(average_to(batch.images, self.config.first_resolution << stage), alpha)
        self._fake = self.generator.synthesize_grown(self.generator.sample_ws(progress.noise))
        real, fake = self.discriminator(self._real), self.discriminator(self._fake.detach())
        terms = LOSS.discriminator_terms(real, fake)
        if self.penalty and self.config.penalty_every == 1:
            penalty = self.penalty_loss(batch, progress)
            terms |= {"loss": terms["loss"] + penalty["loss"], "r1": penalty["r1"]}
        return terms

    def penalty_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """gamma / 2 times R1, times the interval at which it is applied."""
        assert self._real is not None
        r1 = r1_penalty(self.discriminator, self._real)
        return {"loss": self.penalty * r1, "r1": r1}

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of the same fake pictures under the discriminator as it is now."""
        assert self._fake is not None
        fake = self.discriminator(self._fake)
        self._real = self._fake = None
        return {"loss": LOSS.generator(fake, fake)}


def build_phases(networks: Networks, config: StyleGANConfig) -> list[Phase]:
    """Discriminator, its penalty every few steps, generator."""

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
