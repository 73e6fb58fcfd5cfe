"""Networks as functions of named tensors, which a graph can hold, and inputs to try them with.

Every input is a tensor with a name, also labels and truncation; the result is one tensor, float32.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier, FeatureExtractor
from zoo_core.noise import SeededNoise
from zoo_core.weights.trial import made_up

Inputs = dict[str, Tensor]
Size = tuple[int, int]  # height, width

TRUNCATIONS = (0.7, 1.0, 0.4)  # that a graph is recorded and tried with, in turn


class Function(nn.Module, ABC):
    """A network as a function of named tensors; a subclass sets `output`, the name of the result.

    Inputs may have another dtype than the weights; they are cast.
    """

    output: str
    step = 0  # pixels: heights and widths are its multiples; 0: they are fixed

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    @abstractmethod
    def inputs(self, seeds: range, size: Size | None = None) -> Inputs:
        """Inputs made from seeds, one row each; of another `size` only where `step` is set."""

    def sizes(self) -> tuple[Size | None, ...]:
        """Sizes to try, of which a graph is recorded with the first; None: the only one."""
        return (None,)

    def halved(self) -> Function:
        """A copy whose weights are float16."""
        return copy.deepcopy(self).half()

    def cast(self, values: Tensor) -> Tensor:
        """Values in the dtype of the weights."""
        return values.to(next(self.network.parameters()).dtype)


class Drawing(Function):
    """Latents, labels and truncation to images: float32 [N, C, H, W] in [-1, 1], as `sample` draws.

    There are labels if the generator has classes, and a truncation unless it is fixed or does
    nothing.
    """

    output = "images"

    def __init__(self, generator: Generator, truncation: float | None):
        super().__init__(generator)
        self.num_classes, self.truncation = generator.num_classes, truncation
        if truncation is None and not self._truncates():
            self.truncation = 1.0

    def forward(
        self,
        latents: Tensor,  # [N, *latent_shape]
        labels: Tensor | None = None,  # int64 [N]
        truncation: Tensor | None = None,  # []
    ) -> Tensor:
        """Images, clamped."""
        share = self.truncation if truncation is None else self.cast(truncation)
        return self.network(self.cast(latents), labels, share).float().clamp(-1, 1)

    def inputs(self, seeds: range, size: Size | None = None) -> Inputs:
        """Latents of seeds, their numbers as classes, and a truncation."""
        given: Inputs = {"latents": self.network.latents(seeds).float()}
        if self.num_classes:
            given["labels"] = torch.tensor(seeds) % self.num_classes
        if self.truncation is None:
            given["truncation"] = torch.tensor(TRUNCATIONS[seeds.start % len(TRUNCATIONS)])
        return given

    @torch.no_grad()
    def _truncates(self) -> bool:
        """Whether truncation changes the image."""
        given = self.inputs(range(1))
        given.pop("truncation")
        images = [self(**given, truncation=torch.tensor(share)) for share in TRUNCATIONS[:2]]
        return not torch.equal(*images)


class Translating(Function):
    """Source images [N, C, H, W] in [-1, 1] and labels to images, float32 in [-1, 1]."""

    output = "images"

    def __init__(self, generator: Generator, free_size: bool):
        super().__init__(generator)
        assert generator.source_shape is not None
        self.shape, self.num_classes = generator.source_shape, generator.num_classes
        if free_size:
            self.step = self._step()

    def forward(self, source: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images, clamped."""
        return self.network(self.cast(source), labels).float().clamp(-1, 1)

    def inputs(self, seeds: range, size: Size | None = None) -> Inputs:
        """Made-up sources, and the numbers of the seeds as classes."""
        shape = (self.shape[0], *(size or self.shape[1:]))
        given = {"source": made_up(SeededNoise(seeds), shape)}
        if self.num_classes:
            given["labels"] = torch.tensor(seeds) % self.num_classes
        return given

    def sizes(self) -> tuple[Size | None, ...]:
        """Beside the own size some that are no squares, the first of them for recording: torch
        would take a single step for fixed.
        """
        if not self.step:
            return (None,)
        steps = max(2, self.shape[1] // self.step)
        return (
            (steps * self.step, (steps + 1) * self.step),
            ((steps + 1) * self.step, steps * self.step),
            None,
        )

    def _step(self) -> int:
        """The smallest power of two whose multiples the network takes as heights and widths."""
        height, width = self.shape[1:]
        for step in (1 << power for power in range(min(height, width).bit_length())):
            fits = height % step == 0 and width % step == 0
            if fits and self._takes((height + step, width + step)):
                return step
        raise InputError(
            f"{type(self.network).__name__} translates only sources of {height} x {width}",
            hint="omit --free-size",
        )

    @torch.no_grad()
    def _takes(self, size: Size) -> bool:
        try:
            images = self(**self.inputs(range(1), size))
        except RuntimeError:  # of torch: sizes that do not match
            return False
        except ValueError:  # of normalization over a single pixel
            return False
        return tuple(images.shape[2:]) == size


class Seeing(Function):
    """Images [N, C, H, W] to a row for each: logits of a classifier, features of an extractor.

    An extractor is given images of one size, which it resizes itself, as float32 in [-1, 1] or,
    with `uint8`, in 0..255.
    """

    def __init__(
        self,
        network: Classifier | FeatureExtractor,
        shape: tuple[int, int, int],  # C, H, W of an image
        uint8: bool = False,
    ):
        super().__init__(network)
        self.shape, self.uint8 = shape, uint8
        self.output = "logits" if isinstance(network, Classifier) else "features"
        with torch.no_grad():
            self(**self.inputs(range(1)))  # the resize finds its matrices, which are recorded

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, K] or features [N, D]."""
        return self.network(images if self.uint8 else self.cast(images)).float()

    def inputs(self, seeds: range, size: Size | None = None) -> Inputs:
        """Made-up images."""
        images = made_up(SeededNoise(seeds), self.shape)
        return {"images": images.add(1).mul(127.5).round().byte() if self.uint8 else images}


def axes(function: Function, count: int | None) -> Mapping[str, dict[int, object] | None]:
    """The free axes of each input, for `torch.export`; None for one without.

    The number of images is free unless there is a `count`.
    """
    rows = {} if count else {0: torch.export.Dim("batch")}
    sides = {}
    if function.step:
        height, width = (torch.export.Dim(side) for side in ("height", "width"))
        sides = {2: function.step * height, 3: function.step * width}
    names = function.inputs(range(1))
    free = {name: rows | sides if name == "source" else rows for name in names}
    return {name: None if name == "truncation" else found or None for name, found in free.items()}
