"""Training of Projected GAN: a discriminator step and a generator step on the same fake images.

The hinge loss is the mean over the patches of all scales, as in the public code. With an extractor
whose strides double, all scales have the same number of patches, so this is the paper's sum over
scales (eq. 2) divided by their number, a factor to which Adam is invariant.

The penalty is an addition; the paper has none. R1 and R2 (Mescheder et al. 2018, eqs. 9 and 10) are
the gradients of the mean logit with respect to the projected maps, not the image, which avoids the
second derivative of the extractor. Each map is measured in units of its root mean square, because
the magnitudes of an extractor's maps differ widely. Without the penalty the discriminators win at
small batch sizes, and the generator cycles through colors.

Departures: both networks use the same fake images in a step, and the discriminators use the
generator's learning rate and beta2 (the public code lowers theirs by 16 / 17, a leftover of a
removed lazy penalty).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.training import LOSSES, Adam
from zoo_projected.config import ProjectedConfig

LOSS = LOSSES["hinge"]


class ProjectedLoss:
    """The losses.

    Fake images are generated once per step. The discriminators' loss scores them detached; the
    generator's loss scores them again after the discriminators' update.
    """

    def __init__(self, networks: Networks, config: ProjectedConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.config = config
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of real and fake images with the same labels, plus the penalties."""
        self._fake = self.generator.generate(progress.noise, labels=batch.labels)
        pictures, weight = (batch.images, self._fake.detach()), self.config.penalty / 2
        maps: list[list[Tensor] | None] = [[], []] if weight else [None, None]
        real, fake = (
            self.discriminator(images, labels=batch.labels, judged=judged)
            for images, judged in zip(pictures, maps, strict=True)
        )
        terms = LOSS.discriminator_terms(real, fake)
        if weight:
            r1, r2 = map(relative_slope, (real, fake), maps)
            terms |= {"loss": terms["loss"] + weight * (r1 + r2), "r1": r1, "r2": r2}
        return terms

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of the same fake images under the updated discriminators."""
        assert self._fake is not None
        fake, self._fake = self.discriminator(self._fake, labels=batch.labels), None
        return {"loss": LOSS.generator(fake, fake)}


def relative_slope(logits: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Squared gradient of the mean logit with respect to each map, times the map's mean square.

    Summed over maps and averaged over images: a differentiable scalar.
    """
    slopes = torch.autograd.grad(logits.mean(1).sum(), maps, create_graph=True)
    squares = (
        slope.float().square().flatten(1).sum(1).mean() * seen.detach().float().square().mean()
        for slope, seen in zip(slopes, maps, strict=True)
    )
    return torch.stack(list(squares)).sum()


def build_phases(networks: Networks, config: ProjectedConfig) -> list[Phase]:
    """The discriminator and generator phases."""

    def adam(network: nn.Module) -> Adam:
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        betas = (config.beta1, config.beta2)
        return Adam(trained, lr=config.learning_rate, betas=betas, fused=True)

    losses = ProjectedLoss(networks, config)
    generator, discriminator = losses.generator, losses.discriminator
    return [
        Phase("discriminator", discriminator, adam(discriminator), losses.discriminator_loss),
        Phase("generator", generator, adam(generator), losses.generator_loss),
    ]
