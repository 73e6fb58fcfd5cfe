"""`zoo export`: a network for other runtimes."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zoo_core.cli.output import (
    JSON_OPTION,
    complete_weights,
    finite,
    loaded_plugins,
    log_to_stderr,
    note,
    print_json,
)

if TYPE_CHECKING:
    from zoo_core.weights.exporting import Exported


def _finite(value: float | None) -> float | None:
    return None if value is None else finite(value)


LARGEST = 4096  # images of a call, and pixels a side


NAME = typer.Argument(
    help="Registered weights, a .safetensors file, a run folder, or a feature extractor.",
    autocompletion=complete_weights,
)
BATCH = typer.Option(
    None, "--batch", min=1, max=LARGEST, help="Images of every call [default: any number]."
)
FREE_SIZE = typer.Option(
    False, "--free-size", help="Sources of any height and width, if the network can."
)
FIXED_TRUNCATION = typer.Option(
    None, "--truncation", callback=_finite, help="A fixed truncation [default: an input]."
)
FEATURES = typer.Option(
    False, "--features", help="The features of a classifier instead of its logits."
)
IMAGE_SIZE = typer.Option(
    None,
    "--image-size",
    min=1,
    max=LARGEST,
    help="Pixels a side of the images that an extractor is given [default: its own size].",
)
UINT8 = typer.Option(
    False, "--uint8", help="An extractor is given uint8 in 0..255, not float32 in -1..1."
)
HALF = typer.Option(
    False, "--half", help="float16 inside, as for browsers; inputs and outputs stay float32."
)
SPEED = typer.Option(True, "--speed/--no-speed", help="Measure images per second.")


def export_network(
    name: str = NAME,
    out: Path = typer.Argument(help="File to write."),
    to: str = typer.Option("onnx", "--to", help="onnx, torchscript or pt2."),
    batch: int = BATCH,
    free_size: bool = FREE_SIZE,
    truncation: float = FIXED_TRUNCATION,
    features: bool = FEATURES,
    image_size: int = IMAGE_SIZE,
    uint8: bool = UINT8,
    half: bool = HALF,
    speed: bool = SPEED,
    as_json: bool = JSON_OPTION,
) -> None:
    """Export a network for other runtimes.

    The file is run on fixed seeds and compared with torch. It is written only if they agree, and
    says in itself what it holds and what it is given.
    """
    log_to_stderr()
    plugins = loaded_plugins()

    from zoo_core.cli.progress import receiving
    from zoo_core.weights.exporting import export

    with receiving(name) as on_progress, contextlib.redirect_stdout(sys.stderr):
        done = export(
            name,
            out,
            to=to,
            batch=batch,
            free_size=free_size,
            truncation=truncation,
            features=features,
            image_size=image_size,
            uint8=uint8,
            half=half,
            speed=speed,
            plugins=plugins,
            on_progress=on_progress,
        )
    note(_described(done))
    if done.test_mode:
        note(f"test mode: {done.test_mode}")
    if as_json:
        print_json("exported", [done._asdict()], plugins.problems)
    else:
        typer.echo(done.path)


def _described(done: Exported) -> str:
    """One line: what goes in, how far it is from torch, its size, and the speed of both."""
    given = ", ".join(f"{name} {_shape(shape)}" for name, shape in done.inputs.items())
    parts = [
        f"{given} -> {done.output}",
        f"largest difference {done.difference:.1e} (allowed: {done.tolerance:g})",
        f"{done.size / 1e6:.1f} MB",
    ]
    for count in next(iter(done.speed.values()), {}):
        each = ", ".join(f"{runtime} {by[count]:.0f}" for runtime, by in done.speed.items())
        parts.append(f"img/s at batch {count}: {each}")
    return "; ".join(parts)


def _shape(shape: list[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"
