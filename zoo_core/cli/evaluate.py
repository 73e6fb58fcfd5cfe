"""`zoo evaluate`: measure weights or a folder of images; print each number with its protocol."""

from __future__ import annotations

import contextlib
import shlex
import sys
from typing import Any

import typer

from zoo_core.cli.drawing import TRUNCATION
from zoo_core.cli.numbers import NUMBERS, parse_count, read_numbers, show_numbers
from zoo_core.cli.output import (
    JSON_OPTION,
    complete_weights,
    loaded_plugins,
    log_to_stderr,
)
from zoo_core.config import EXTRACTOR, BadPictures
from zoo_core.data.decoding import Fit
from zoo_core.data.reading import READING, read_assignments
from zoo_core.metrics.protocol import DEFAULT_COUNT, DEFAULT_METRICS, METRICS, PER_REAL

METRICS_OPTION = typer.Option(
    None,
    "--metrics",
    "-m",
    help=f"Any of {','.join(METRICS)}, comma-separated [default: {','.join(DEFAULT_METRICS)}].",
)
DATA_OPTION = typer.Option(
    None, "--data", "-d", help="Real images to compare with [default: the run's training data]."
)
SPLIT_OPTION = typer.Option(
    None, "--split", help="Split [default: as in the run, or train; test for a classifier]."
)
COUNT_OPTION = typer.Option(
    None,
    "--count",
    metavar="N",
    parser=parse_count,
    help=f"Images to generate, such as 2k [default: {DEFAULT_COUNT}, at most {PER_REAL} for "
    "each real one].",
)
RESOLUTION_OPTION = typer.Option(
    None,
    "--resolution",
    min=8,
    max=4096,
    help="Scale both sides to this many pixels [default: as generated].",
)
COMPARE_OPTION = typer.Option(
    None,
    "--compare",
    help=f"File with earlier --json output, run with such a {NUMBERS}, publication or "
    "registered weights; show the change of each number.",
    autocompletion=complete_weights,
)
FIT_OPTION = typer.Option(
    None,
    "--fit",
    help="How to make real images square, and those of TARGET if they are not squares of one size "
    "[default: as in the run, or crop].",
)
SET_OPTION = typer.Option(
    [],
    "--set",
    "-s",
    metavar="KEY=VALUE",
    help=f"Change how images are read [default: as in the run]: {', '.join(READING)}.",
)


def evaluate(
    target: str = typer.Argument(
        help="Registered weights, a .safetensors file, a run folder, or a folder or zip of images.",
        autocompletion=complete_weights,
    ),
    data: str = DATA_OPTION,
    split: str = SPLIT_OPTION,
    metrics: str = METRICS_OPTION,
    count: int = COUNT_OPTION,
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the first generated image."),
    truncation: float = TRUNCATION,
    resolution: int = RESOLUTION_OPTION,
    extractor: str = typer.Option(
        EXTRACTOR, "--extractor", help="Network to compare features of: see zoo list --features."
    ),
    fit: Fit = FIT_OPTION,
    bad_pictures: BadPictures = typer.Option(
        None, "--bad-pictures", help="For unusable images [default: as in the run, or refuse]."
    ),
    reverse_pairs: bool = typer.Option(
        None, "--reverse-pairs", help="Use side B of each pair as input [default: as in the run]."
    ),
    assignments: list[str] = SET_OPTION,
    earlier: str = COMPARE_OPTION,
    device: str = typer.Option("cpu", "--device", help="cpu, cuda, mps or auto."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Evaluate generated images, or test a classifier.

    Generated images are compared with real ones; a classifier is tested on held-out images.
    """
    log_to_stderr()
    plugins = loaded_plugins()
    before = read_numbers(earlier, plugins) if earlier else []
    short: dict[str, Any] = {"data": data, "split": split, "fit": fit}
    short |= {"bad_pictures": bad_pictures, "reverse_pairs": reverse_pairs}
    from zoo_core.cli.progress import counting, receiving
    from zoo_core.metrics.measuring import HELP, measure
    from zoo_core.metrics.sides import Options

    reading = read_assignments(assignments, HELP)
    options = Options(
        metrics=None if metrics is None else tuple(name.strip() for name in metrics.split(",")),
        extractor=extractor,
        device=device,
        count=count,
        seed=seed,
        truncation=truncation,
        resolution=resolution,
        reading=reading | {key: value for key, value in short.items() if value is not None},
        command=shlex.join(["zoo", *sys.argv[1:]]),
        counting=counting,
        receiving=receiving,
    )
    with contextlib.redirect_stdout(sys.stderr):  # a plugin may print
        measured = measure(target, options, plugins)
    show_numbers(measured, before, as_json, plugins)
