"""Building blocks of training: losses, penalties, optimizers, schedules, augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core.lazy import public

if TYPE_CHECKING:  # for editors and type checkers
    from zoo_core.training.ada import ADA, COLORING, COLUMNS, GEOMETRY
    from zoo_core.training.augment import Augment, DiffAugment
    from zoo_core.training.ema import EMA
    from zoo_core.training.losses import LOSSES, AdversarialLoss
    from zoo_core.training.optimizers import Adam, AdamW
    from zoo_core.training.regularizers import gradient_penalty, r1_of_logits, r1_penalty
    from zoo_core.training.schedules import cosine, flat_then_linear, growth

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        # losses and penalties
        "LOSSES": "losses",  # adversarial losses by name
        "AdversarialLoss": "losses",  # discriminator loss and generator loss
        "r1_penalty": "regularizers",  # R1 on real images, R2 on generated ones
        "r1_of_logits": "regularizers",  # the same, from logits already computed
        "gradient_penalty": "regularizers",  # WGAN-GP
        # optimizers and schedules
        "Adam": "optimizers",  # like torch's, fast for channels-last weights
        "AdamW": "optimizers",  # likewise
        "cosine": "schedules",  # half a cosine from one value to another
        "flat_then_linear": "schedules",  # 1, then linearly down to 0
        "growth": "schedules",  # stage and alpha of a progressively grown network
        "EMA": "ema",  # moving average of a network's weights
        # augmentation of the discriminator's input
        "Augment": "augment",  # base class
        "DiffAugment": "augment",  # Zhao et al. 2020
        "ADA": "ada",  # Karras et al. 2020
        "GEOMETRY": "ada",  # its geometric operations
        "COLORING": "ada",  # its color operations
        "COLUMNS": "ada",  # the random draws that each operation uses
    },
)
