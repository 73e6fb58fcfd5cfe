"""An exponential moving average of a network's weights, with its half-life counted in images."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class EMA:
    """Keeps `network`, an averaged copy of a live network, in evaluation mode, without gradients.

    After `half_life` images, today's weights count half. Early on the half-life is at most `rampup`
    times the images seen, because otherwise the average would remember the random start (Karras et
    al. 2020, StyleGAN2-ADA). Floating-point buffers are averaged (batch normalization's statistics
    belong to the averaged weights), others are copied; StyleGAN2-ADA copies them all.
    """

    def __init__(self, live: nn.Module, half_life: int, rampup: float):
        self.live, self.half_life, self.rampup = live, half_life, rampup
        self.network = copy.deepcopy(live).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, images: int, batch_size: int) -> None:
        """Move toward the live network after `images` images, the last `batch_size` of them new."""
        weight = 1 - decay(images, batch_size, self.half_life, self.rampup)
        averaged: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        # Looked up every time, because moving a network to a device replaces its tensors.
        for average, live in zip(_tensors(self.network), _tensors(self.live), strict=True):
            if average.is_floating_point():
                averaged[0].append(average)
                averaged[1].append(live)
            else:
                average.copy_(live)
        torch._foreach_lerp_(*averaged, weight)


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers, shared ones once."""
    return [*network.parameters(), *network.buffers()]


def decay(images: int, batch_size: int, half_life: int, rampup: float) -> float:
    """The share of the average that an update keeps.

    It is 0.5 ** (batch_size / half-life), or 0 if the half-life is 0.
    """
    current = min(half_life, images * rampup) if rampup > 0 else half_life
    return 0.5 ** (batch_size / current) if current > 0 else 0.0
