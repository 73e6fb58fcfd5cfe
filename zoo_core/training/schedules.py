"""What changes while training, as pure functions of the images seen: nothing to save, nothing to
restore.
"""

from __future__ import annotations

import math


def cosine(images: int, start: float, end: float, over: int) -> float:
    """From `start` to `end` along half a cosine over so many images, then `end`."""
    share = min(images / over, 1.0) if over else 1.0
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def flat_then_linear(images: int, flat: int, decay: int) -> float:
    """A factor: 1 for `flat` images, then down to 0 along a line over `decay` images."""
    if images < flat:
        return 1.0
    return max(0.0, 1 - (images - flat) / decay) if decay else 1.0


def growth(images: int, num_stages: int, fade: int, stable: int) -> tuple[int, float]:
    """Stage and alpha of a network that grows (Karras et al. 2018, section 2 and figure 2).

    Stage 0 lasts `stable` images. Every later one is faded in over `fade` images, alpha, the weight
    of the new resolution, rising from 0 to 1 along a line, and then trained for `stable` images;
    the last stage has no end.
    """
    if images < stable or num_stages == 1:
        return 0, 1.0
    stage, into = divmod(images - stable, max(1, fade + stable))
    if stage + 1 >= num_stages:
        return num_stages - 1, 1.0
    return stage + 1, min(1.0, into / fade) if fade else 1.0
