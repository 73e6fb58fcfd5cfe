"""Torch's fused Adam and AdamW, for channels-last weights.

On a CPU, torch's kernel goes through weight, gradient and moments each in its own memory order. It
first copies every gradient that is not contiguous and never reads the copy, which takes half the
time of a step (see docs/log.md). If the memory order of a gradient differs from its weight's, it
mixes up their elements. Given contiguous views in the weight's order, it does neither.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _MemoryOrder(torch.optim.Optimizer):
    """Passes all tensors of a weight to the step as views in the weight's memory order."""

    def _init_group(
        self,
        group: dict[str, Any],
        weights: list[Tensor],
        gradients: list[Tensor],
        *states: list[Tensor],
    ) -> Any:
        """Torch's own hook, which collects the tensors for a step."""
        result = super()._init_group(group, weights, gradients, *states)
        for tensors in states:
            if tensors:  # empty for a state that this variant does not keep
                tensors[:] = map(_in_memory_order, tensors, weights)
        gradients[:] = [
            _in_memory_order(gradient, weight).contiguous()
            for gradient, weight in zip(gradients, weights, strict=True)
        ]
        weights[:] = map(_in_memory_order, weights, weights)
        return result


class Adam(_MemoryOrder, torch.optim.Adam):
    """Like torch's; only useful with `fused=True`."""


class AdamW(_MemoryOrder, torch.optim.AdamW):
    """Like torch's; only useful with `fused=True`."""


def _in_memory_order(tensor: Tensor, weight: Tensor) -> Tensor:
    """`tensor` [A, B, C, D] viewed as [A, C, D, B] if `weight` is channels last."""
    if tensor.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor
