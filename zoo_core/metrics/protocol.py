"""How a number is measured; needs none of the libraries that measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Protocol:
    """How to measure, which every number carries."""

    data: str  # name and fingerprint of the real pictures
    split: str
    metrics: Sequence[str]
    command: str
    count: int = 5_000  # pictures that a generator draws
    seed: int = 0  # of the first of them, and of whatever a metric draws
    truncation: float = 1.0


@dataclass(frozen=True)
class Evaluation:
    """A measurement of the averaged network that is repeated during a run."""

    measure: Callable[[nn.Module], Mapping[str, float]]  # numbers by name
    criterion: str  # the one by which the best network is kept
    lower_is_better: bool
    protocol: str = ""  # numbers of another one are not compared with these
