"""Export networks for other runtimes: record, write, compare with torch, and only then rename.

exportable.py   what a name stands for, and what is recorded about it
functions.py    networks as functions of named tensors
graphs.py       files of each format: written, and run
comparing.py    the largest difference from torch, and the speed of both
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from zoo_core.data.progress import OnProgress
from zoo_core.errors import InputError, UnknownNameError, WeightsError
from zoo_core.filesystem import mkdir_with_rollback, replacing, typed_path
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.weights.comparing import HALF_TOLERANCE, TOLERANCE, largest_difference, speeds
from zoo_core.weights.exportable import Opened, Options, open_network
from zoo_core.weights.functions import Function
from zoo_core.weights.graphs import FORMATS, Recording, Run, check_onnx, exported, first_line

MAX_BATCH, MAX_SIDE = 4096, 8192  # images of a call, pixels a side: the trial needs memory for them


class Exported(NamedTuple):
    """What was written, and how far it is from torch."""

    path: Path
    format: str
    inputs: dict[str, list[int | str]]  # name -> shape; a text for a free axis
    output: str  # its name
    test_mode: str  # of a network that has several; else empty
    size: int  # bytes
    difference: float  # the largest from torch in float32, on fixed seeds
    tolerance: float  # above which nothing would have been written
    speed: dict[str, dict[int, float]]  # runtime -> images at once -> images per second; or empty


def export(
    name: str | Path,  # what `load` or `load_features` takes
    path: str | Path,  # file to write; its folder is made
    *,
    to: str = "onnx",  # or torchscript, pt2
    batch: int | None = None,  # images of every call; None: any number
    free_size: bool = False,  # any height and width, for an image-to-image model that can
    truncation: float | None = None,  # a fixed one; None: an input
    features: bool = False,  # of a classifier: its features instead of its logits
    image_size: int | None = None,  # pixels a side of an extractor's images; None: its own size
    uint8: bool = False,  # an extractor's images are in 0..255; else float32 in [-1, 1]
    half: bool = False,  # weights and activations in float16; inputs and outputs stay float32
    speed: bool = False,  # measure the speed of the file and of torch
    plugins: Plugins | None = None,  # None: all that are installed
    on_progress: OnProgress | None = None,  # of a download, as in `load`
) -> Exported:
    """Write a network for other runtimes. The file is there only if it agrees with torch.

    Inputs are tensors with names. A generator takes `latents` float32 [N, *latent_shape] of its
    `latent_distribution`, `labels` int64 [N] if it has classes, and `truncation` float32 [], if
    that changes anything; an image-to-image model takes `source` [N, C, H, W] in [-1, 1]. Both give
    `images` float32 [N, C, H, W] in [-1, 1], those of `sample` without noise other than latents.
    `images` are given to a classifier, for `logits` [N, K], and to a feature extractor, for
    `features` [N, D].

    The file is run on fixed seeds and compared with torch in float32: no number may be more than
    1e-3 away (0.1 with `half`), relative to the largest number where that is above 1. It records
    model, name, licence, sha256 and ranges: in ONNX as the property "zoo", else as "zoo.json".

    Raises what `load` raises, UnknownNameError for a format, InputError for options that do not
    suit the network, a network that cannot be recorded and a file that cannot be written,
    WeightsError for a file that differs from torch, and OfflineError if ONNX is not installed.
    """
    options = Options(
        batch=batch, free_size=free_size, truncation=truncation, features=features,
        image_size=image_size, uint8=uint8, half=half,
    )  # fmt: skip
    target = _checked(path, to, options)
    opened = open_network(name, options, plugins or load_plugins(), on_progress)
    function = opened.function(options)
    recording = opened.recording(function, options)
    with _written(target) as temporary:
        _write(opened, recording, to, options, temporary)
        with _running(options):
            run = FORMATS[to].open(temporary)
            difference = largest_difference(function, run, options.batch)
        _check_difference(difference, options)
        measured = _speeds(function, run, to, options) if speed else {}
        size = temporary.stat().st_size
    about = recording.about
    return Exported(
        target, to, about["inputs"], function.output, about["test_mode"], size, difference,
        _tolerance(options), measured,
    )  # fmt: skip


def _checked(path: str | Path, to: str, options: Options) -> Path:
    """The file to write. Raises for a format or an option that is wrong whatever the network is."""
    if to not in FORMATS:
        raise UnknownNameError(
            "format", to, FORMATS, hint=" or ".join(f"--to {each}" for each in FORMATS)
        )
    target = typed_path(str(path))
    if target.is_dir():
        raise InputError(f"{target} is a folder", allowed="a file")
    other = next((each for each in FORMATS if FORMATS[each].suffix == target.suffix), to)
    if other != to:
        raise InputError(f"{target} would not hold {other}, but {to}", hint=f"--to {other}")
    for what, number, most in (
        ("batch", options.batch, MAX_BATCH),
        ("image size", options.image_size, MAX_SIDE),
    ):
        if number is not None and not 1 <= number <= most:
            raise InputError(f"invalid {what}", given=number, allowed=f"1 to {most:,}")
    if options.truncation is not None and not math.isfinite(options.truncation):
        raise InputError("invalid truncation", given=options.truncation, allowed="a finite number")
    if to == "onnx":
        check_onnx()
    return target


@contextmanager
def _written(target: Path) -> Iterator[Path]:
    """A temporary file beside `target`, renamed at the end. Nothing is left of what fails."""
    try:
        with mkdir_with_rollback(target.parent), replacing(target) as temporary:
            yield temporary
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {target}: {reason}", allowed="another file") from None


def _write(
    opened: Opened, recording: Recording, to: str, options: Options, temporary: Path
) -> None:
    """Write the file. The error of a network that cannot be recorded says what to try."""
    try:
        FORMATS[to].write(recording, temporary)
    except InputError as error:
        hint = "" if to == "torchscript" else _way_out(opened, recording, options)
        raise InputError(error.what, hint=hint) from error.__cause__


def _way_out(opened: Opened, recording: Recording, options: Options) -> str:
    """The first of these options with which the network can be recorded; empty if none helps, and
    if the network can be recorded, but not written in the format.
    """
    if _is_recorded(opened, options):
        return ""
    ways = {"--batch 1": replace(options, batch=1)} if options.batch is None else {}
    if "truncation" in recording.inputs:
        ways["--truncation 1"] = replace(options, truncation=1.0)
    ways |= {"omit --half": replace(options, half=False)} if options.half else {}
    ways |= {"omit --free-size": replace(options, free_size=False)} if options.free_size else {}
    return next((way for way, other in ways.items() if _is_recorded(opened, other)), "")


def _is_recorded(opened: Opened, options: Options) -> bool:
    try:
        exported(opened.recording(opened.function(options), options))
    except InputError:
        return False
    return True


def _tolerance(options: Options) -> float:
    return HALF_TOLERANCE if options.half else TOLERANCE


@contextmanager
def _running(options: Options) -> Iterator[None]:
    """Raise WeightsError for a file that its runtime refuses."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:  # torch and onnxruntime raise anything
        raise WeightsError(
            f"the exported file cannot be run: {first_line(error)}",
            hint="omit --free-size" if options.free_size else "",
        ) from error


def _check_difference(difference: float, options: Options) -> None:
    """Raise WeightsError if a file is too far from torch."""
    if not difference <= _tolerance(options):
        raise WeightsError(
            f"the exported file differs from torch by {difference:.2g}",
            allowed=f"up to {_tolerance(options):g}",
            hint="omit --half" if options.half else "",
        )


def _speeds(function: Function, run: Run, to: str, options: Options) -> dict[str, Any]:
    itself = speeds(function, lambda inputs: function(**inputs), options.batch)
    return {"torch": itself, FORMATS[to].runtime: speeds(function, run, options.batch)}
