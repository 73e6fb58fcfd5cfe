"""An exponential moving average of a network's weights, with its half-life counted in images."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class EMA:
    """Keeps `network`, an averaged copy of a live network, in evaluation mode and without gradients.

    After `half_life` images a weight of today counts half. Early on the half-life is at most `rampup` times the
    images seen, or the average would remember the random start (Karras et al. 2020, StyleGAN2-ADA). Buffers are
    averaged where they are floating point (batch normalization's statistics belong to the averaged weights) and
    copied where they are not; StyleGAN2-ADA copies them all.
    """

    def __init__(self, live: nn.Module, half_life: int, rampup: float):
        self.live, self.half_life, self.rampup = live, half_life, rampup
        self.network = copy.deepcopy(live).eval().requires_grad_(False)
        averaged = [(a, b) for a, b in self._pairs() if a.is_floating_point()]
        self._average, self._live = map(list, zip(*averaged, strict=True))
        self._copied = [(a, b) for a, b in self._pairs() if not a.is_floating_point()]

    @torch.no_grad()
    def update(self, images: int, batch_size: int) -> None:
        """Move towards the live network, `images` images into the run, the last `batch_size` of them new."""
        weight = 1 - decay(images, batch_size, self.half_life, self.rampup)
        torch._foreach_lerp_(self._average, self._live, weight)
        for average, live in self._copied:
            average.copy_(live)

    def _pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return list(zip(self.network.state_dict().values(), self.live.state_dict().values(), strict=True))


def decay(images: int, batch_size: int, half_life: int, rampup: float) -> float:
    """How much of the average an update keeps: 0.5 ** (batch_size / half-life), 0 without a half-life."""
    current = min(half_life, images * rampup) if rampup > 0 else half_life
    return 0.5 ** (batch_size / current) if current > 0 else 0.0
