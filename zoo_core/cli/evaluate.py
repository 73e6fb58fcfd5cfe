"""`zoo evaluate`: measure weights or a folder of images; print each number with its protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.drawing import TRUNCATION
from zoo_core.cli.measuring import (
    READING,
    Options,
    as_protocol,
    counting,
    made_images,
    read_settings,
    real_features,
    real_images,
    real_images_of_size,
    with_settings_of_run,
)
from zoo_core.cli.numbers import read_numbers, show_numbers
from zoo_core.cli.output import (
    JSON_OPTION,
    complete_weights,
    loaded_plugins,
    log_to_stderr,
    warn,
)
from zoo_core.config import EXTRACTOR, BadPictures
from zoo_core.data.decoding import Fit
from zoo_core.filesystem import typed_path
from zoo_core.metrics.protocol import DEFAULT_COUNT, DEFAULT_METRICS, METRICS, needs_any

if TYPE_CHECKING:
    from zoo_core.interfaces import Classifier, Generator
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import Metric


METRICS_OPTION = typer.Option(
    None,
    "--metrics",
    "-m",
    help=f"Any of {','.join(METRICS)}, comma-separated [default: {','.join(DEFAULT_METRICS)}].",
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
    data: str = typer.Option(
        None, "--data", "-d", help="Real images to compare with [default: the run's training data]."
    ),
    split: str = typer.Option(
        None, "--split", help="Split [default: as in the run, or train; test for a classifier]."
    ),
    metrics: str = METRICS_OPTION,
    count: int = typer.Option(DEFAULT_COUNT, "--count", min=2, help="Images to generate."),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the first generated image."),
    truncation: float = TRUNCATION,
    extractor: str = typer.Option(EXTRACTOR, "--extractor", help="Network to compare features of."),
    fit: Fit = FIT_OPTION,
    bad_pictures: BadPictures = typer.Option(
        None, "--bad-pictures", help="For unusable images [default: as in the run, or refuse]."
    ),
    reverse_pairs: bool = typer.Option(
        None, "--reverse-pairs", help="Use side B of each pair as input [default: as in the run]."
    ),
    assignments: list[str] = SET_OPTION,
    earlier: Path = typer.Option(
        None, "--compare", help="File with earlier --json output; show the change of each number."
    ),
    device: str = typer.Option("cpu", "--device", help="cpu, cuda, mps or auto."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Evaluate generated images, or test a classifier.

    Generated images are compared with real ones; a classifier is tested on held-out images.
    """
    log_to_stderr()
    plugins = loaded_plugins()
    names = None if metrics is None else tuple(name.strip() for name in metrics.split(","))
    short: dict[str, Any] = {"data": data, "split": split, "fit": fit}
    short |= {"bad_pictures": bad_pictures, "reverse_pairs": reverse_pairs}
    reading = read_settings(assignments) | {k: v for k, v in short.items() if v is not None}
    options = Options(names, extractor, device, count, seed, truncation, reading)
    before = read_numbers(earlier) if earlier else []
    from zoo_core.runtime import Runtime

    Runtime.detect(device, "fp32").keep_freed_memory()  # makes this twice as fast
    if _is_pictures(target, plugins):
        numbers = _of_pictures(typed_path(target), options, plugins)
    else:
        numbers = _of_weights(target, options, plugins)
    show_numbers(numbers, before, as_json, plugins)


def _is_pictures(target: str, plugins: Plugins) -> bool:
    """Whether `target` is a folder or a file of images, not a run."""
    from zoo_core.data.datasets import FILES
    from zoo_core.weights.header import is_run
    from zoo_core.weights.registry import check_only_path, load_registry

    path = typed_path(target)
    is_pictures = path.suffix.lower() in FILES or (path.is_dir() and not is_run(path))
    if is_pictures:
        check_only_path(target, load_registry(plugins))
    return is_pictures


def _of_weights(target: str, options: Options, plugins: Plugins) -> list[Metric]:
    """Evaluate a classifier, or a generator by the images it generates."""
    from zoo_core.interfaces import Classifier
    from zoo_core.weights.loading import load_main

    network = load_main(target, device=options.device, plugins=plugins)
    if isinstance(network, Classifier):
        held_out = options._replace(reading={"split": "test"} | options.reading)
        return _of_classifier(network, with_settings_of_run(target, held_out), plugins)
    return _of_generator(network, with_settings_of_run(target, options), plugins)


def _of_generator(generator: Generator, options: Options, plugins: Plugins) -> list[Metric]:
    from zoo_core.metrics.checks import check_counts, check_extractor, check_metrics, check_seed
    from zoo_core.metrics.evaluation import evaluate_generator
    from zoo_core.metrics.picture_sets import num_generated
    from zoo_core.weights.loading import load_features

    wanted, conditional = options.wanted, generator.num_classes or generator.source_shape
    check_metrics(wanted, generator, options.truncation)
    check_seed(wanted, options.seed, options.count)
    compared = needs_any(wanted, "statistics", "features")
    extractor = data = reference = None
    if compared or needs_any(wanted, "logits", "latents"):
        extractor = load_features(options.extractor, device=options.device, plugins=plugins)
        check_extractor(wanted, extractor)
    protocol = as_protocol(options)
    if conditional or compared or needs_any(wanted, "pairs"):
        data, protocol = real_images(options, generator, plugins)
    if extractor is not None:
        count = num_generated(generator, data, options.count)
        num_real = 0 if data is None else len(data)
        check_counts(wanted, extractor, count, num_real, is_count=True)
        if compared and data is not None:
            reference = real_features(options, data, extractor)
    with counting("generating and measuring") as on_progress:
        return evaluate_generator(generator, data, protocol, extractor, reference, on_progress)


def _of_pictures(path: Path, options: Options, plugins: Plugins) -> list[Metric]:
    """Evaluate existing images."""
    from zoo_core.metrics.checks import check_counts, check_extractor, check_metrics, check_seed
    from zoo_core.metrics.evaluation import evaluate_pictures
    from zoo_core.metrics.picture_sets import packed_pictures
    from zoo_core.weights.loading import load_features

    wanted = options.wanted
    check_metrics(wanted, None, options.truncation)
    check_seed(wanted, options.seed, 0)
    extractor = load_features(options.extractor, device=options.device, plugins=plugins)
    check_extractor(wanted, extractor)
    fake, side, fitted = made_images(path, options, plugins)
    protocol, data, reference = as_protocol(options, fitted=fitted), None, None
    if needs_any(wanted, "statistics", "features"):
        data, protocol = real_images_of_size(options, side, fitted, plugins)
    check_counts(wanted, extractor, len(fake), 0 if data is None else len(data))
    if data is not None:
        reference = real_features(options, data, extractor)
    with counting("measuring") as on_progress:
        return evaluate_pictures(packed_pictures(fake), protocol, extractor, reference, on_progress)


def _of_classifier(network: Classifier, options: Options, plugins: Plugins) -> list[Metric]:
    from zoo_core.errors import InputError
    from zoo_core.metrics.evaluation import classify
    from zoo_core.spec import Metric

    if options.metrics is not None or options.truncation != 1:
        raise InputError(
            "a classifier is evaluated only by its accuracy and its loss",
            hint="omit --metrics and --truncation",
        )
    held_out, measured = real_images(options, network, plugins)
    if measured.split == "all":
        warn("your own images have no held-out split, so they may include training images")
    protocol = {"data": measured.data, "split": measured.split, "num_real": len(held_out)}
    return [
        Metric(name=name, value=value, protocol=protocol, command=measured.command)
        for name, value in classify(network, held_out).items()
    ]
