"""Training of R3GAN (section 2 of the paper): a discriminator step whose loss includes R1 and R2,
and a generator step. Learning rate, beta2 and gamma follow half a cosine.

Departures: both steps use the same real and fake batch, where the paper draws fresh ones for each;
the penalties may be applied lazily; and the EMA half-life, which the paper raises along the same
cosine, grows linearly with the images seen (`ema_rampup`) up to `ema_half_life`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.training import LOSSES, Adam, cosine, r1_of_logits
from zoo_r3gan.config import R3GANConfig

LOSS = LOSSES["relativistic"]


class R3GANLoss:
    """The losses.

    Fake images are generated once per step, with the labels of the real ones. The discriminator's
    loss scores them detached; the generator's loss scores them again after the discriminator's
    update.
    """

    def __init__(self, networks: Networks, config: R3GANConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.config = config
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The relativistic loss and, in the steps where they are due, the weighted R1 + R2.

        As in the paper, both share one forward pass and one optimizer step.
        """
        self._fake = self.generator.generate(progress.noise, labels=batch.labels)
        weight = self.penalty_weight(progress.images_seen, progress.step)
        images = [x.detach().requires_grad_(weight > 0) for x in (batch.images, self._fake)]
        logits = [self.discriminator(x, labels=batch.labels) for x in images]
        terms = LOSS.discriminator_terms(*logits)
        if weight:
            r1, r2 = map(r1_of_logits, logits, images)
            terms |= {"loss": terms["loss"] + weight * (r1 + r2), "r1": r1, "r2": r2}
        return terms

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The relativistic loss of the same pairs under the updated discriminator."""
        assert self._fake is not None
        fake, self._fake = self.discriminator(self._fake, labels=batch.labels), None
        with torch.no_grad():
            real = self.discriminator(batch.images, labels=batch.labels)
        return {"loss": LOSS.generator(real, fake)}

    def penalty_weight(self, images: int, step: int) -> float:
        """gamma / 2 * `penalty_every` in every `penalty_every`-th step, otherwise 0."""
        config = self.config
        if step % config.penalty_every:
            return 0.0
        gamma = cosine(images, config.penalty, config.penalty_end, config.schedule_images)
        return config.penalty_every * gamma / 2

    def optimizer_settings(self, images: int) -> dict[str, Any]:
        """Learning rate and betas after `images` images."""
        config = self.config
        over = config.schedule_images
        beta2 = cosine(images, config.beta2, config.beta2_end, over)
        return {
            "lr": cosine(images, config.learning_rate, config.learning_rate_end, over),
            "betas": (config.beta1, beta2),
        }


def build_phases(networks: Networks, config: R3GANConfig) -> list[Phase]:
    """The discriminator and generator phases."""
    losses = R3GANLoss(networks, config)
    generator, discriminator = losses.generator, losses.discriminator
    schedule = losses.optimizer_settings

    def adam(network: torch.nn.Module) -> Adam:
        return Adam(network.parameters(), fused=True, **schedule(0))

    return [
        Phase(
            "discriminator",
            discriminator,
            adam(discriminator),
            losses.discriminator_loss,
            schedule=schedule,
        ),
        Phase("generator", generator, adam(generator), losses.generator_loss, schedule=schedule),
    ]
