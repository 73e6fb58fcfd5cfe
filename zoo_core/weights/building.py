"""Build a network whose weights a file is about to replace, without drawing random ones, which
takes longer than all the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_DRAWING = frozenset({  # in place; a mode sees these of nn.init as a whole, others by their parts
    torch.Tensor.normal_, torch.Tensor.uniform_,
    nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_,
})  # fmt: skip
_ENOUGH = 8  # times that a parameter is left as it lies; who draws until it pleases him ends, too


def build_to_fill(build: Callable[[], nn.Module]) -> nn.Module:
    """A network all of whose parameters and saved buffers have to be replaced.

    A network that uses random parameters for anything else is built as always.
    """
    try:
        with _Undrawn() as undrawn:
            network = build()
    except Exception:  # a plugin's or torch's, of numbers that are not random
        return build()
    saved = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    return network if undrawn.times.keys() <= saved else build()


class _Undrawn(TorchFunctionMode):
    """Leaves parameters as they lie in memory, unless a generator of its own draws them."""

    def __init__(self) -> None:
        super().__init__()
        self.times = Counter[int]()  # by the parameters' ids
        self._left: list[nn.Parameter] = []  # held, so that no other gets such an id

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _DRAWING and kwargs.get("generator") is None:
            parameter = args[0] if args else kwargs["tensor"]
            if isinstance(parameter, nn.Parameter) and self.times[id(parameter)] < _ENOUGH:
                self._left.append(parameter)
                self.times[id(parameter)] += 1
                return parameter
        return function(*args, **kwargs)
