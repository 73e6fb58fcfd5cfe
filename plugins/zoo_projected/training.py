"""How Projected GAN is trained: a discriminator step and a generator step on the same fake
pictures, without any penalty.

The hinge loss is the mean over the patches of all scales, as in the public code. Where strides
double, all scales have as many patches, so that it is the paper's sum over scales (eq. 2) divided
by their number: a factor that Adam does not see.

Departures: one set of fake pictures a step serves both networks, and the discriminators' learning
rate and beta2 are those of the generator (in the public code they are lowered by 16 / 17, a rest of
a lazy penalty that is gone).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import Adam

from zoo_core.interfaces import Batch, Networks, Phase, Progress
from zoo_core.losses import LOSSES
from zoo_projected.config import ProjectedConfig

LOSS = LOSSES["hinge"]


class ProjectedTraining:
    """The losses. Fake pictures are made once a step: judged detached by the discriminators' loss,
    and once more, after they have moved, for the generator's.
    """

    def __init__(self, networks: Networks):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of real and fake pictures of the same classes."""
        self._fake = self.generator.generate(progress.noise, labels=batch.labels)
        real = self.discriminator(batch.images, labels=batch.labels)
        fake = self.discriminator(self._fake.detach(), labels=batch.labels)
        return LOSS.discriminator_terms(real, fake)

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of the same fake pictures under the discriminators as they are."""
        assert self._fake is not None
        fake, self._fake = self.discriminator(self._fake, labels=batch.labels), None
        return {"loss": LOSS.generator(fake, fake)}


def build_phases(networks: Networks, config: ProjectedConfig) -> list[Phase]:
    """Discriminator, generator."""

    def adam(network: nn.Module) -> Adam:
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        betas = (config.beta1, config.beta2)
        return Adam(trained, lr=config.learning_rate, betas=betas, fused=True)

    training = ProjectedTraining(networks)
    generator, discriminator = training.generator, training.discriminator
    return [
        Phase("discriminator", discriminator, adam(discriminator), training.discriminator_loss),
        Phase("generator", generator, adam(generator), training.generator_loss),
    ]
