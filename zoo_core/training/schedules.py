"""Schedules as pure functions of the images seen, so there is nothing to save or restore."""

from __future__ import annotations

import math


def cosine(images: int, start: float, end: float, over: int) -> float:
    """From `start` to `end` along half a cosine over `over` images, then `end`."""
    share = min(images / over, 1.0) if over else 1.0
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def flat_then_linear(images: int, flat: int, decay: int) -> float:
    """A factor: 1 for `flat` images, then linearly down to 0 over `decay` images."""
    if images < flat:
        return 1.0
    return max(0.0, 1 - (images - flat) / decay) if decay else 1.0


def growth(images: int, num_stages: int, fade: int, stable: int) -> tuple[int, float]:
    """Stage and alpha of a progressively grown network (Karras et al. 2018, section 2, figure 2).

    Stage 0 lasts `stable` images. Every later stage is faded in over `fade` images, while alpha,
    the weight of the new resolution, rises linearly from 0 to 1. It is then trained for `stable`
    images; the last stage has no end.
    """
    if images < stable or num_stages == 1:
        return 0, 1.0
    stage, into = divmod(images - stable, max(1, fade + stable))
    if stage + 1 >= num_stages:
        return num_stages - 1, 1.0
    return stage + 1, min(1.0, into / fade) if fade else 1.0
