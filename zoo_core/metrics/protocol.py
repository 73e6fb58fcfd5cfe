"""What can be measured, how, and which values are better; needs none of the libraries that measure.

    fd          Frechet distance of features, and `diversity`, how much the pictures vary beside
                real ones; "fid" on the one network it is called so for
    kd          kernel distance, unbiased, for few pictures; "kid" there
    pr, dc      precision and recall; density and coverage
    is          Inception score of the extractor, which has to be a classifier
    ppl         perceptual path length of a latent generator
    l1 psnr ssim lpips    of pairs: a translator's pictures and those they should be

A new metric is a line in METRICS and a function in evaluation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from zoo_core.errors import InputError
from zoo_core.spec import Metric

if TYPE_CHECKING:
    from torch import nn


class MetricKind(NamedTuple):
    """What a metric looks at, and the numbers it gives, each with whether higher is better."""

    needs: Literal["statistics", "features", "logits", "latents", "pairs"]
    higher_is_better: Mapping[str, bool]


METRICS: Mapping[str, MetricKind] = {  # in the order in which numbers are shown
    "fd": MetricKind("statistics", {"fd": False, "fid": False}),
    "kd": MetricKind("features", {"kd": False, "kid": False}),
    "pr": MetricKind("features", {"precision": True, "recall": True}),
    "dc": MetricKind("features", {"density": True, "coverage": True}),
    "is": MetricKind("logits", {"is": True}),
    "ppl": MetricKind("latents", {"ppl": False}),
    "l1": MetricKind("pairs", {"l1": False}),
    "psnr": MetricKind("pairs", {"psnr": True}),
    "ssim": MetricKind("pairs", {"ssim": True}),
    "lpips": MetricKind("pairs", {"lpips": False}),
}
DEFAULT_METRICS = ("fd", "kd", "pr")
DEFAULT_COUNT = 5_000  # pictures that a generator draws

HIGHER_IS_BETTER: Mapping[str, bool] = {"accuracy": True} | {
    name: higher for kind in METRICS.values() for name, higher in kind.higher_is_better.items()
}


def need(wanted: Sequence[str], *kinds: str) -> bool:
    """Whether any of the metrics looks at something of those kinds."""
    return any(METRICS[name].needs in kinds for name in wanted)


def is_better(name: str, value: float, than: float) -> bool:
    """Whether a number called `name` is the better one; InputError if that cannot be said."""
    if name not in HIGHER_IS_BETTER:
        raise InputError(
            "it is not known which values of this metric are better",
            given=name,
            allowed=", ".join(sorted(HIGHER_IS_BETTER)),
        )
    return value > than if HIGHER_IS_BETTER[name] else value < than


def improves_on(metric: Metric, other: Metric) -> bool:
    """Whether the first is the better one; InputError if that cannot be said."""
    metric.difference(other)  # refuses numbers of different protocols
    return is_better(metric.name, metric.value, other.value)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How to measure, which every number carries."""

    data: str  # name and fingerprint of the real pictures
    split: str
    metrics: Sequence[str]
    command: str
    count: int = DEFAULT_COUNT
    seed: int = 0  # of the first picture, and of whatever a metric draws
    truncation: float = 1.0


@dataclass(frozen=True)
class Evaluation:
    """A measurement of the averaged network that is repeated during a run."""

    measure: Callable[[nn.Module], Mapping[str, float]]  # numbers by name
    criterion: str  # the one by which the best network is kept, of HIGHER_IS_BETTER
    protocol: str = ""  # numbers of another one are not compared with these
