"""Torch's fused Adam and AdamW, for weights that lie in memory channels last.

On a CPU torch's kernel walks through weight, gradient and moments as each lies in memory. First it
copies every gradient that is not contiguous, and then never reads the copy: half the time of a step
(docs/log.md). Where a gradient lies otherwise than its weight, it mixes up their elements. Shown
the same memory in the shape that is contiguous, it copies nothing and mixes up nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _InMemoryOrder(torch.optim.Optimizer):
    """Shows a step all tensors of a weight in the order in which the weight lies in memory."""

    def _init_group(
        self,
        group: dict[str, Any],
        weights: list[Tensor],
        gradients: list[Tensor],
        *states: list[Tensor],
    ) -> Any:
        """Torch's own hook, which gathers what a step works on."""
        result = super()._init_group(group, weights, gradients, *states)
        for tensors in states:
            if tensors:  # there are none of what a variant of Adam does not keep
                tensors[:] = map(_as_it_lies, tensors, weights)
        gradients[:] = [
            _as_it_lies(gradient, weight).contiguous()
            for gradient, weight in zip(gradients, weights, strict=True)
        ]
        weights[:] = map(_as_it_lies, weights, weights)
        return result


class Adam(_InMemoryOrder, torch.optim.Adam):
    """As torch's; worth it with `fused=True`."""


class AdamW(_InMemoryOrder, torch.optim.AdamW):
    """As torch's; worth it with `fused=True`."""


def _as_it_lies(tensor: Tensor, weight: Tensor) -> Tensor:
    """A view of `tensor` [A, B, C, D], where `weight` lies channels last as [A, C, D, B]."""
    if tensor.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor
