"""What training is made of."""

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
        "AdversarialLoss": "losses",  # a discriminator's and a generator's loss
        "r1_penalty": "regularizers",  # R1 on real pictures, R2 on generated ones
        "r1_of_logits": "regularizers",  # the same of logits that are there already
        "gradient_penalty": "regularizers",  # WGAN-GP
        # optimizers and schedules
        "Adam": "optimizers",  # torch's, fast for weights that lie channels last
        "AdamW": "optimizers",  # likewise
        "cosine": "schedules",  # from one value to another along half a cosine
        "flat_then_linear": "schedules",  # 1, then down to 0
        "growth": "schedules",  # stage and alpha of a network that grows
        "EMA": "ema",  # an average of a network's weights
        # augmentation of what a discriminator sees
        "Augment": "augment",  # base of all of them
        "DiffAugment": "augment",  # Zhao et al. 2020
        "ADA": "ada",  # Karras et al. 2020
        "GEOMETRY": "ada",  # its operations on geometry
        "COLORING": "ada",  # its operations on color
        "COLUMNS": "ada",  # which draws each operation takes
    },
)
