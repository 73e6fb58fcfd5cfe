"""Training of pix2pix: a discriminator step and a generator step on the same fake images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.training import LOSSES, Adam, flat_then_linear
from zoo_pix2pix.config import Pix2PixConfig


class Pix2PixLoss:
    """The losses (eq. 4).

    Fake images are generated once per step. The discriminator's loss scores them detached; the
    generator's loss scores them again after the discriminator's update. Real and fake images are
    scored in separate passes, because batch normalization would mix their statistics.
    """

    def __init__(self, networks: Networks, config: Pix2PixConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.loss = LOSSES[config.loss]
        self.l1 = config.l1
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Half of the adversarial loss, to slow the discriminator down (section 3.3)."""
        self._fake = self.generator.generate(progress.noise, source=batch.source)
        real = self.discriminator(batch.images, source=batch.source)
        fake = self.discriminator(self._fake.detach(), source=batch.source)
        terms = self.loss.discriminator_terms(real, fake)
        return {**terms, "loss": terms["loss"] / 2}

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss of the same fake images under the updated discriminator, plus their
        weighted L1 distance to the real ones.
        """
        assert self._fake is not None
        pictures, self._fake = self._fake, None
        fake = self.discriminator(pictures, source=batch.source)
        real = fake
        if self.loss.paired:
            with torch.no_grad():
                real = self.discriminator(batch.images, source=batch.source)
        adversarial, l1 = self.loss.generator(real, fake), l1_loss(pictures, batch.images)
        return {"loss": adversarial + self.l1 * l1, "adversarial": adversarial, "l1": l1}


def build_phases(networks: Networks, config: Pix2PixConfig) -> list[Phase]:
    """The discriminator and generator phases; both share one learning rate schedule."""

    def adam(module: nn.Module) -> Adam:
        betas = (config.beta1, config.beta2)
        return Adam(module.parameters(), lr=config.learning_rate, betas=betas, fused=True)

    def schedule(images: int) -> dict[str, float]:
        factor = flat_then_linear(images, config.flat_images, config.decay_images)
        return {"lr": config.learning_rate * factor}

    losses = Pix2PixLoss(networks, config)
    return [
        Phase(name, module, adam(module), loss, schedule=schedule if config.decay_images else None)
        for name, module, loss in (
            ("discriminator", losses.discriminator, losses.discriminator_loss),
            ("generator", losses.generator, losses.generator_loss),
        )
    ]
