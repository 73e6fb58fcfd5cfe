"""Fold batch normalization into the preceding convolution where this does not change the outputs.

In a frozen network in evaluation mode, batch normalization scales and shifts each channel by
constants, which the preceding convolution can do for free. Module names do not tell which
convolution that is, so the network runs once with every operation traced. A pair is folded only if
the convolution's output goes into that normalization and nowhere else, and both are used once. The
outputs are compared afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo_timm.names import import_timm

TOLERANCE = 1e-3  # relative to the largest output; rounding gives about 1e-6, a wrong fold about 1

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


def fold(network: nn.Module, *calls: Callable[[], Any]) -> None:
    """Fold what can be folded in `network`; `calls` run it in every way it will be used.

    If the outputs differ afterwards, all folds are undone.
    """
    pairs = adjacent(network, calls)
    if not pairs:
        return
    with torch.no_grad():
        before = tree_leaves([call() for call in calls])
        undo = [step for pair in pairs for step in _fold(network, *pair)]
        after = tree_leaves([call() for call in calls])
    if not all(map(_close, before, after)):
        for module, name, value in reversed(undo):
            setattr(module, name, value)


def adjacent(network: nn.Module, calls: Sequence[Callable[[], Any]]) -> list[Pair]:
    """Pairs of a convolution and the normalization that is its only consumer, in all calls."""
    watches = []
    for call in calls:
        watch = _Tracer(network)
        with torch.no_grad(), watch:
            result = call()
        watches.append((watch, watch.pairs(result)))
    found = {pair for _, pairs in watches for pair in pairs}
    return [
        pair
        for pair in found
        if all(pair in pairs or watch.unused(*pair) for watch, pairs in watches)
    ]


class _Tracer(TorchDispatchMode):
    """Trace which operations use a convolution's weights, a normalization's mean, or its input."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.owners: dict[int, nn.Module] = {}  # by the id of a tensor that only they own
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                self.owners[id(module.weight)] = module
            elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                self.owners[id(module.running_mean)] = module
        self.num_uses: dict[nn.Module, int] = {}
        self.outputs: dict[int, tuple[Tensor, nn.Conv2d]] = {}
        self.takers: dict[int, list[nn.Module | None]] = {}  # consumers of an output, by its id

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        owners = [self.owners[id(tensor)] for tensor in tensors if id(tensor) in self.owners]
        for owner in owners:
            self.num_uses[owner] = self.num_uses.get(owner, 0) + 1
        for tensor in tensors:
            if id(tensor) in self.outputs:
                normalization = owners[0] if owners and tensor is args[0] else None
                self.takers[id(tensor)].append(normalization)
        if function is torch.ops.aten.convolution.default and owners:
            self.outputs[id(result)] = result, owners[0]  # kept alive so that its id is not reused
            self.takers[id(result)] = []
        return result

    def pairs(self, result: Any) -> set[Pair]:
        """The pairs that may be folded, given that `result` is the output of the traced call."""
        used = {id(leaf) for leaf in tree_leaves(result)}
        found = set()
        for key, (_, convolution) in self.outputs.items():
            match self.takers[key]:
                case [nn.BatchNorm2d() as normalization] if key not in used:
                    if self.num_uses[convolution] == self.num_uses[normalization] == 1:
                        found.add((convolution, normalization))
        return found

    def unused(self, *modules: nn.Module) -> bool:
        return not any(module in self.num_uses for module in modules)


def _fold(
    network: nn.Module, convolution: nn.Conv2d, normalization: nn.BatchNorm2d
) -> list[tuple[nn.Module, str, Any]]:
    """Fold one pair; returns the assignments that undo it."""
    rest = _without(normalization)
    if rest is None:
        return []
    parent, name = next(
        (parent, name)
        for parent in network.modules()
        for name, child in parent.named_children()
        if child is normalization
    )
    undo = [
        (convolution, "weight", convolution.weight),
        (convolution, "bias", convolution.bias),
        (parent, name, normalization),
    ]
    fused = fuse_conv_bn_eval(convolution, normalization)
    convolution.weight, convolution.bias = fused.weight, fused.bias
    setattr(parent, name, rest)
    return undo


def _without(normalization: nn.BatchNorm2d) -> nn.Module | None:
    """What remains of a layer without its normalization; None for an unknown kind of layer."""
    if type(normalization) is nn.BatchNorm2d:
        return nn.Identity()
    if type(normalization) is import_timm().layers.BatchNormAct2d:
        return nn.Sequential(normalization.drop, normalization.act)
    return None


def _close(before: Tensor, after: Tensor) -> bool:
    return bool((before - after).abs().max() <= TOLERANCE * before.abs().max())
