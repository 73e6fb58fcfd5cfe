"""Networks as graphs: for `torch.export`, `torch.compile` and `torch.jit.trace`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def traced() -> bool:
    """Whether torch is recording this call as a graph.

    A graph serves batches of any size, so then nothing may be chosen by the number of images.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


class Growing(nn.Module):
    """A network that depends on how many images it has seen: `images_seen`, a buffer.

    A graph cannot depend on the value of a buffer. `seen` is that value as a number: read whenever
    no graph is recorded, and kept for when one is.
    """

    images_seen: Tensor  # int64 []
    FULLY_GROWN = 1 << 62  # images

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("images_seen", torch.zeros((), dtype=torch.int64))
        self._seen = 0

    @property
    def seen(self) -> int:
        """The number of images seen; on the meta device, where it has no value, a great many."""
        if not traced():
            self._seen = self.FULLY_GROWN if self.images_seen.is_meta else int(self.images_seen)
        return self._seen

    def train(self, mode: bool = True) -> Growing:
        """Set the mode, of this module and its parts."""
        _ = self.seen
        return super().train(mode)

    def _load_from_state_dict(self, *details: Any) -> None:
        super()._load_from_state_dict(*details)
        _ = self.seen
