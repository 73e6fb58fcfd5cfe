"""The metrics, which values are better, and the evaluation protocol; imports no metric library.

    fd          Frechet distance of features, and `diversity`, the variance of the images relative
                to real ones; called "fid" on the one network that defines FID
    kd          kernel distance, unbiased, for few images; "kid" on that network
    pr, dc      precision and recall; density and coverage
    is          Inception score of the extractor, which must be a classifier
    ppl         perceptual path length of a latent generator
    l1 psnr ssim lpips    on pairs of a translated image and its target

To add a metric, add a line to METRICS and a function to evaluation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo_core.errors import InputError
from zoo_core.spec import Metric

if TYPE_CHECKING:
    from torch import nn


class MetricKind(NamedTuple):
    """What a metric needs, and for each number it returns whether higher is better."""

    needs: Literal["statistics", "features", "logits", "latents", "pairs"]
    higher_is_better: Mapping[str, bool]


METRICS: Mapping[str, MetricKind] = {  # in display order
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
NEIGHBORS = {"pr": 3, "dc": 5}  # nearest neighbors that a metric counts
DEFAULT_METRICS = ("fd", "kd", "pr")
DEFAULT_COUNT = 5_000  # generated images
PER_REAL = 5  # generated images by default for each real one, at most

# Every number with a better direction. `diversity` has none: real images have 1.
HIGHER_IS_BETTER: Mapping[str, bool] = {"accuracy": True, "loss": False} | {
    name: higher for kind in METRICS.values() for name, higher in kind.higher_is_better.items()
}


def needs_any(wanted: Sequence[str], *kinds: str) -> bool:
    """Whether any of the wanted metrics needs one of these kinds of input."""
    return any(METRICS[name].needs in kinds for name in wanted)


def is_better(name: str, value: float, than: float) -> bool:
    """Whether `value` is better than `than`; raises InputError if the metric has no direction."""
    check_direction(name)
    return value > than if HIGHER_IS_BETTER[name] else value < than


def check_direction(name: str) -> None:
    """Raise InputError for a metric of which it is unknown whether higher is better."""
    if name not in HIGHER_IS_BETTER:
        raise InputError(
            "it is unknown whether higher is better for this metric",
            given=name,
            allowed=", ".join(sorted(HIGHER_IS_BETTER)),
        )


def improves_on(metric: Metric, other: Metric) -> bool:
    """Whether `metric` is better than `other`; raises InputError if they cannot be compared."""
    metric.difference(other)  # raises if the protocols differ
    return is_better(metric.name, metric.value, other.value)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How to measure; recorded with every number."""

    data: str  # name and fingerprint of the real images; "" if there are none
    split: str
    metrics: Sequence[str]
    command: str
    count: int = DEFAULT_COUNT
    seed: int = 0  # of the first image, and of a metric's random draws
    truncation: float = 1.0
    resolution: int | None = None  # to which generated images are scaled; None: as they are
    fitted: Mapping[str, Any] = field(default_factory=dict)  # how images that exist were prepared


@dataclass(frozen=True)
class Evaluation:
    """A measurement of the EMA network, repeated during a run.

    Raises InputError for a criterion of which it is unknown whether higher is better.
    """

    measure: Callable[[nn.Module], Mapping[str, float]]  # values by name
    criterion: str  # selects the best network; a key of HIGHER_IS_BETTER
    protocol: str = ""  # values of different protocols are not compared

    def __post_init__(self) -> None:
        check_direction(self.criterion)  # now, not at the second evaluation of a run
