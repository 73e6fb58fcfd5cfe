"""Adversarial losses on logits, for the discriminator and for the generator.

    minimax         Goodfellow et al. 2014, eq. 1: G minimizes log(1 - D(G(z)))
    non-saturating  Goodfellow et al. 2014, section 3: G maximizes log D(G(z)) instead
    least-squares   Mao et al. 2017, eq. 9, with a = 0, b = c = 1
    hinge           Lim and Ye 2017; Miyato et al. 2018, eqs. 16 and 17
    wasserstein     Arjovsky et al. 2017, eq. 2; only valid with a penalty or weight clipping
    relativistic    Jolicoeur-Martineau 2019, section 4.2 (RpGAN), as in Huang et al. 2024 (R3GAN),
                    eq. 2: each generated image is compared with the real one in the same row

All are written with softplus or relu, so that no logit overflows; log(sigmoid(x)) would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class AdversarialLoss:
    """Two functions from logits (real, fake) of the same shape to the mean loss, a scalar.

    `paired` means that the generator's loss depends on the real logits too, so they have to be
    computed for it.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    paired: bool = False

    def discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """What a discriminator's phase returns: its loss, the mean logits, and `real_signs`.

        `real_signs`, the mean sign of the real logits, measures how much a discriminator overfits
        to its training images (r_t of Karras et al. 2020a, eq. 1): 0 is not at all, 1 completely.
        Adaptive augmentation follows it. Paired losses only see differences: theirs is called
        `pair_signs`, and a high value only means that pairs are told apart.
        """
        signs = {"pair_signs": real - fake} if self.paired else {"real_signs": real}
        return {
            "loss": self.discriminator(real, fake),
            "real_logits": real.mean(),
            "fake_logits": fake.mean(),
            **{name: logits.detach().sign().mean() for name, logits in signs.items()},
        }


def _bce_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


LOSSES: Mapping[str, AdversarialLoss] = {
    "minimax": AdversarialLoss(_bce_discriminator, lambda real, fake: -softplus(fake).mean()),
    "non-saturating": AdversarialLoss(
        _bce_discriminator, lambda real, fake: softplus(-fake).mean()
    ),
    "least-squares": AdversarialLoss(
        lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
        lambda real, fake: (fake - 1).square().mean() / 2,
    ),
    "hinge": AdversarialLoss(
        lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        lambda real, fake: -fake.mean(),
    ),
    "wasserstein": AdversarialLoss(
        lambda real, fake: fake.mean() - real.mean(),
        lambda real, fake: -fake.mean(),
    ),
    "relativistic": AdversarialLoss(
        lambda real, fake: softplus(fake - real).mean(),
        lambda real, fake: softplus(real - fake).mean(),
        paired=True,
    ),
}
