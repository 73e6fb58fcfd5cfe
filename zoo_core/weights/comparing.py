"""An exported graph beside the network itself: the largest difference, and the speed of both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zoo_core.errors import WeightsError
from zoo_core.generators import sample_batch
from zoo_core.weights.functions import Function, Inputs
from zoo_core.weights.graphs import Run

TOLERANCE = 1e-3  # times the largest number of a result, where that is above 1
HALF_TOLERANCE = 0.1  # of float16: 13 of 256 levels
COUNTS = (1, 3)  # images to compare, where any number will do
LARGE_BATCH = 64  # whose speed is measured, beside that of a single image
SECONDS = 0.3  # of each measurement of speed


def trials(function: Function, count: int | None) -> Iterator[Inputs]:
    """Inputs to compare: other seeds, counts, truncations and sizes than were recorded."""
    first = 1
    for size in function.sizes():
        for rows in (count,) if count else COUNTS:
            yield function.inputs(range(first, first + rows), size)
            first += rows


@torch.no_grad()
def largest_difference(function: Function, run: Run, count: int | None) -> float:
    """The largest difference of any number in the results.

    Where results exceed 1, as logits do, it is divided by the largest. Raises WeightsError for a
    result of another shape.
    """
    largest = 0.0
    for inputs in trials(function, count):
        expected, found = function(**inputs), run(inputs)
        if found.shape != expected.shape:
            raise WeightsError(
                "the exported file gives a result of another shape than torch",
                given=tuple(found.shape),
                allowed=str(tuple(expected.shape)),
            )
        far = float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))
        largest = max(largest, far if math.isfinite(far) else math.inf)
    return largest


def batches(function: Function, count: int | None) -> tuple[int, ...]:
    """Numbers of images whose speed is measured."""
    shape = getattr(function.network, "image_shape", None)
    most = LARGE_BATCH if shape is None else min(LARGE_BATCH, sample_batch(shape))
    return (count,) if count else tuple(sorted({1, most}))


@torch.no_grad()
def speeds(function: Function, run: Run, count: int | None) -> dict[int, float]:
    """Images per second, by the number of images at once."""
    found = {}
    for rows in batches(function, count):
        inputs = function.inputs(range(rows), function.sizes()[-1])
        found[rows] = rows / _seconds(lambda inputs=inputs: run(inputs))
    return found


def _seconds(call: Callable[[], Tensor]) -> float:
    """The median of the seconds that a call takes, after one to warm up."""
    call()
    taken: list[float] = []
    while sum(taken) < SECONDS or len(taken) < 3:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]
