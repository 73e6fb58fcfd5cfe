"""Hints of `zoo export`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hints.places import judge, run, translator
from hints.scenario import Row, World
from zoo_core.weights.graphs import FORMATS


def forward(change: Callable[..., Any]) -> Callable[[World], None]:
    """A toy whose `forward` does something else: `change(plain, network, start, ...)`."""

    def given(w: World) -> None:
        from toys import ToyGenerator

        plain = ToyGenerator.forward
        w.patch.setattr(ToyGenerator, "forward", lambda *inputs: change(plain, *inputs))

    return given


def by_truncation(plain: Any, network: Any, start: Any, labels: Any, truncation: Any) -> Any:
    return plain(network, start) if truncation == 1 else plain(network, -start)


def by_count(plain: Any, network: Any, start: Any, *more: Any) -> Any:
    return plain(network, start if len(start) > 2 else -start, *more)


def whole_only(plain: Any, network: Any, start: Any, *more: Any) -> Any:
    """Like a library without half precision."""
    import torch

    return plain(network, start @ torch.ones(1), *more) if start.dtype.itemsize == 2 else start


def one_size(plain: Any, network: Any, start: Any, *more: Any) -> Any:
    return plain(network, start.reshape(-1, 3, 16, 16), *more)


def by_row(plain: Any, network: Any, start: Any, *more: Any) -> Any:
    return plain(network, start * len([row for row in range(start.shape[2]) if row]), *more)


def by_size(plain: Any, network: Any, start: Any, *more: Any) -> Any:
    return plain(network, start if start.shape[2] > 16 else -start, *more)


def strict(w: World) -> None:
    w.patch.setattr("zoo_core.weights.exporting.HALF_TOLERANCE", 0.0)


EXPORT = "zoo export run out.pt2 --to pt2 --no-speed"
TRANSLATE = "zoo export translator out.pt2 --to pt2 --no-speed --free-size"
OPTION = "weights/exportable.py _check_options"
WRITE = "weights/exporting.py _write"
WAY = "weights/exporting.py _way_out"

ROWS = (
    Row("weights/exportable.py open_network", f"{EXPORT} --features", run),
    Row(OPTION, f"{EXPORT} --free-size", run),
    Row(OPTION, f"{EXPORT} --image-size 8", run),
    Row(OPTION, "zoo export judge out.pt2 --to pt2 --no-speed --truncation 0.5", judge),
    Row(
        "weights/exporting.py _checked",
        "zoo export run out --to tflite --no-speed",
        run,
        steps=tuple(f"zoo export run out --to {each} --no-speed" for each in FORMATS),
    ),
    Row("weights/exporting.py _checked 2", "zoo export run out.pt2 --no-speed", run),
    Row((WRITE, WAY), EXPORT, (run, forward(by_count))),
    Row((WRITE, f"{WAY} 2"), EXPORT, (run, forward(by_truncation))),
    Row((WRITE, f"{WAY} 3"), f"{EXPORT} --half", (run, forward(whole_only))),
    Row(
        (WRITE, f"{WAY} 4"),
        TRANSLATE,
        (translator, forward(by_row)),
    ),
    Row("weights/exporting.py _running", TRANSLATE, (translator, forward(by_size))),
    Row("weights/exporting.py _check_difference", f"{EXPORT} --half", (run, strict)),
    Row(
        "weights/functions.py _step",
        TRANSLATE,
        (translator, forward(one_size)),
    ),
)
