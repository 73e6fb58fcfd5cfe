"""How Projected GAN is trained: a discriminator step and a generator step on the same fake
pictures.

The hinge loss is the mean over the patches of all scales, as in the public code. Where strides
double, all scales have as many patches, so that it is the paper's sum over scales (eq. 2) divided
by their number: a factor that Adam does not see.

The penalty is ours; the paper has none. R1 and R2 (Mescheder et al. 2018, eqs. 9 and 10) are taken
of the mean logit by the projected maps, not by the picture, which spares the second derivative of
the extractor. Each map is measured in units of its root mean square, because extractors' maps are
of very different sizes. Without it the discriminators of a small batch win, and the generator goes
from color to color.

Departures: one set of fake pictures a step serves both networks, and the discriminators' learning
rate and beta2 are those of the generator (in the public code they are lowered by 16 / 17, a rest of
a lazy penalty that is gone).
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
    """The losses. Fake pictures are made once a step: judged detached by the discriminators' loss,
    and once more, after they have moved, for the generator's.
    """

    def __init__(self, networks: Networks, config: ProjectedConfig):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.config = config
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The adversarial loss of real and fake pictures of the same classes, and the penalties."""
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
        """The adversarial loss of the same fake pictures under the discriminators as they are."""
        assert self._fake is not None
        fake, self._fake = self.discriminator(self._fake, labels=batch.labels), None
        return {"loss": LOSS.generator(fake, fake)}


def relative_slope(logits: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """The squared gradient of the mean logit by each map, times the map's mean square, summed over
    maps, averaged over pictures: a scalar, itself differentiable.
    """
    slopes = torch.autograd.grad(logits.mean(1).sum(), maps, create_graph=True)
    squares = (
        slope.float().square().flatten(1).sum(1).mean() * seen.detach().float().square().mean()
        for slope, seen in zip(slopes, maps, strict=True)
    )
    return torch.stack(list(squares)).sum()


def build_phases(networks: Networks, config: ProjectedConfig) -> list[Phase]:
    """Discriminator, generator."""

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
