"""A step on slices of its batch, with the gradients of all slices added up: `micro_batch`.

Every slice has its own set of losses, so what a loss hands on to a later phase of the step, such as
the images that it generated, stays with its slice. Random numbers and augmentation are those that
each image has in the whole batch. The result then equals that of the whole batch to rounding,
except for noise inside a network, such as dropout, which is drawn anew.

That takes a loss that is a mean over images, and networks in which no image affects another:

- Batch normalization in training mode mixes all images: refused.
- So does a phase with a state of its own, such as a running mean of the batch: refused.
- A minibatch standard deviation mixes the images of a group: each slice gets whole groups.
- A buffer that a loss moves, such as an average w, is moved by the mean over the slices.

Memory: a phase needs that of one slice, plus what a loss keeps for a later phase. A GAN whose
generator is trained on the images that its discriminator was shown keeps their graph, for all
slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from zoo_core.errors import ConfigError
from zoo_core.interfaces import Batch, Networks, Phase, Progress
from zoo_core.noise import SeededNoise
from zoo_core.training.augment import Augment

Rows = Sequence[slice]  # parts of a batch, which together are one slice of it


class Part(NamedTuple):
    """One part of a phase: the loss of one slice of the batch, or of all of it."""

    phase: Phase
    batch: Batch
    progress: Progress
    share: float = 1.0  # of the batch


def mean_terms(terms: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """The mean of every term over parts of equal size."""
    if len(terms) == 1:
        return terms[0]
    return {name: torch.stack([each[name] for each in terms]).mean(0) for name in terms[0]}


@dataclass(frozen=True)
class Slices:
    """How the steps of a run are sliced."""

    rows: list[Rows]  # of each slice
    phases: list[list[Phase]]  # of each slice; only their losses are used
    networks: Networks
    augment: Augment | None

    def parts(self, number: int, batch: Batch, progress: Progress, seed: int) -> Iterator[Part]:
        """The parts that phase `number` of a step consists of, each to be used before the next."""
        buffers = _Buffers(self.networks)
        calls = 0 if self.augment is None else self.augment.calls
        for rows, phases in zip(self.rows, self.phases, strict=True):
            part = _progress_of(rows, progress, seed)
            if self.augment is not None:
                self.augment.begin(part.noise, calls)
            yield Part(phases[number], _rows_of(rows, batch), part, 1 / len(self.rows))
            buffers.rewind()
        buffers.settle()


def sliced(
    batch_size: int,
    micro_batch: int,
    networks: Networks,
    augment: Augment | None,
    build_phases: Callable[[], list[Phase]],
) -> Slices:
    """The slices of a batch. Raises ConfigError if one image of it affects another."""
    phases = [build_phases() for _ in range(batch_size // micro_batch)]
    group = checked_group(batch_size, micro_batch, networks, phases[0])
    return Slices(rows_of_slices(batch_size, micro_batch, group), phases, networks, augment)


def checked_group(
    batch_size: int, micro_batch: int, networks: Networks, phases: Sequence[Phase]
) -> int:
    """The images of a batch that have to stay together. Raises ConfigError where all have to, or
    where slices would split them.
    """
    if mixing := next(_mixing(networks, phases), None):
        raise ConfigError(
            f"micro_batch cannot slice a batch whose images affect each other: {mixing}",
            hint="micro_batch=0, with a smaller batch_size if memory is short",
        )
    group = 1 if networks.discriminator is None else networks.discriminator.stddev_group
    if batch_size % group:
        group = batch_size  # a minibatch standard deviation then takes the whole batch
    if micro_batch % group:
        raise ConfigError(
            "micro_batch cannot split a group of the discriminator's minibatch standard deviation",
            given=micro_batch,
            allowed=f"0, or a multiple of {group} that divides {batch_size}",
            hint=f"micro_batch={group if group < batch_size else 0}",
        )
    return group


def rows_of_slices(batch_size: int, micro_batch: int, group: int = 1) -> list[Rows]:
    """The rows of each slice, as parts of the batch.

    The members of a group are `batch_size` / `group` rows apart, as `minibatch_stddev` takes them;
    in the slice they are `micro_batch` / `group` apart, and so are a group again.
    """
    part, stride = micro_batch // group, batch_size // group
    return [
        [slice(start, start + part) for start in range(first, batch_size, stride)]
        for first in range(0, stride, part)
    ]


def _mixing(networks: Networks, phases: Sequence[Phase]) -> Iterator[str]:
    """What lets one image of a batch affect another, in words."""
    for role, network in networks.named():
        if any(isinstance(part, _BatchNorm) and part.training for part in network.modules()):
            yield f"batch normalization in the {role}"
    for phase in phases:
        if phase.state is not None:
            yield f"the phase {phase.name!r} keeps a running statistic of the batch"


def _progress_of(rows: Rows, progress: Progress, seed: int) -> Progress:
    """The progress of a slice, with the noise that its images have in the whole batch."""
    first = progress.images_seen
    positions = [first + row for part in rows for row in range(part.start, part.stop)]
    return replace(progress, noise=SeededNoise(seed, positions))


def _rows_of(rows: Rows, batch: Batch) -> Batch:
    def taken(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or len(rows) == 1:
            return tensor if tensor is None else tensor[rows[0]]
        return torch.cat([tensor[part] for part in rows])  # keeps the memory format

    return Batch(*map(taken, (batch.images, batch.labels, batch.source, batch.ids)))


@dataclass
class _Buffers:
    """The buffers of networks in training, each moved once for all slices."""

    networks: Networks
    found: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        parts = (part for _, network in self.networks.named() for part in network.modules())
        buffers = (each for part in parts if part.training for each in part.buffers(recurse=False))
        self.found = list(dict.fromkeys(buffers))
        self.before = [buffer.clone() for buffer in self.found]
        self.versions = [buffer._version for buffer in self.found]
        self.sums: dict[int, tuple[Tensor, int]] = {}

    @torch.no_grad()
    def rewind(self) -> None:
        """Put the buffers that a slice has moved back to where they were before."""
        for number, buffer in enumerate(self.found):
            if buffer._version != self.versions[number]:
                total, count = self.sums.get(number, (0.0, 0))
                self.sums[number] = (total + buffer, count + 1)
                buffer.copy_(self.before[number])
                self.versions[number] = buffer._version

    @torch.no_grad()
    def settle(self) -> None:
        """Move each to the mean of where the slices have moved it."""
        for number, (total, count) in self.sums.items():
            self.found[number].copy_(total / count)
