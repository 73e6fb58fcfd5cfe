"""`zoo evaluate`: measure weights or a folder of images; print each number with its protocol."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from zoo_core.cli.drawing import TRUNCATION
from zoo_core.cli.output import (
    JSON_OPTION,
    complete_weights,
    loaded_plugins,
    print_json,
    print_table,
    settings_of_run,
    warn,
    warn_left_out,
)
from zoo_core.config import EXTRACTOR, BadPictures
from zoo_core.data.decoding import Fit
from zoo_core.filesystem import typed_path
from zoo_core.metrics.protocol import DEFAULT_COUNT, DEFAULT_METRICS, METRICS, needs_any

if TYPE_CHECKING:
    from zoo_core.config import RunConfig
    from zoo_core.data.datasets import OpenedDataset
    from zoo_core.data.packing import PackedData
    from zoo_core.interfaces import Classifier, FeatureExtractor, Generator
    from zoo_core.metrics.feature_sets import ReferenceFeatures
    from zoo_core.metrics.protocol import Protocol
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import Metric


class Options(NamedTuple):
    """Options of the command; None where an option was not given."""

    metrics: tuple[str, ...] | None
    data: str | None
    split: str | None
    extractor: str
    device: str
    count: int
    seed: int
    truncation: float
    fit: Fit | None
    bad_pictures: BadPictures | None
    reverse_pairs: bool | None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The metrics for generated images, by default DEFAULT_METRICS."""
        return self.metrics or DEFAULT_METRICS


RUN_SETTINGS = ("data", "split", "fit", "bad_pictures", "reverse_pairs")  # by default as in the run


METRICS_OPTION = typer.Option(
    None,
    "--metrics",
    "-m",
    help=f"Any of {','.join(METRICS)}, comma-separated [default: {','.join(DEFAULT_METRICS)}].",
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
    fit: Fit = typer.Option(
        None, "--fit", help="How to make real images square [default: as in the run, or crop]."
    ),
    bad_pictures: BadPictures = typer.Option(
        None, "--bad-pictures", help="For unusable images [default: as in the run, or refuse]."
    ),
    reverse_pairs: bool = typer.Option(
        None, "--reverse-pairs", help="Use side B of each pair as input [default: as in the run]."
    ),
    earlier: Path = typer.Option(
        None, "--compare", help="File with earlier --json output; show the change of each number."
    ),
    device: str = typer.Option("cpu", "--device", help="cpu, cuda, mps or auto."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Evaluate generated images, or test a classifier.

    Generated images are compared with real ones; a classifier is tested on held-out images.
    """
    plugins = loaded_plugins()
    names = None if metrics is None else tuple(name.strip() for name in metrics.split(","))
    reading = {"fit": fit, "bad_pictures": bad_pictures, "reverse_pairs": reverse_pairs}
    drawing = {"count": count, "seed": seed, "truncation": truncation}
    options = Options(names, data, split, extractor, device, **drawing, **reading)
    before = _read(earlier) if earlier else []
    from zoo_core.runtime import Runtime

    Runtime.detect(device, "fp32").keep_freed_memory()  # makes this twice as fast
    if _is_pictures(target):
        numbers = _of_pictures(typed_path(target), options, plugins)
    else:
        numbers = _of_weights(target, options, plugins)
    _show(numbers, before, as_json, plugins)


def _is_pictures(target: str) -> bool:
    """Whether `target` is a folder or zip file of images, not a run."""
    from zoo_core.weights.header import WEIGHTS_FILES, is_path

    path = typed_path(target)
    if not is_path(target) or path.suffix == ".safetensors":
        return False
    return path.suffix == ".zip" or (
        path.is_dir()
        and not any((path / name).exists() for name in (*WEIGHTS_FILES, "config.json"))
    )


def _of_weights(target: str, options: Options, plugins: Plugins) -> list[Metric]:
    """Evaluate a classifier, or a generator by the images it generates."""
    from zoo_core.interfaces import Classifier
    from zoo_core.metrics.evaluation import check_metrics, evaluate_generator
    from zoo_core.weights.loading import load_features, load_main

    network = load_main(target, device=options.device, plugins=plugins)
    if isinstance(network, Classifier):
        held_out = options._replace(split=options.split or "test")
        return _of_classifier(network, _with_settings_of_the_run(target, held_out), plugins)
    options = _with_settings_of_the_run(target, options)
    check_metrics(options.wanted, network, options.truncation)
    extractor = None
    if needs_any(options.wanted, "statistics", "features", "logits", "latents"):
        extractor = load_features(options.extractor, device=options.device, plugins=plugins)
    data, protocol = _real(options, network, plugins)
    reference = None if extractor is None else _reference(options, data, extractor)
    with _counting("generating and measuring") as on_progress:
        return evaluate_generator(network, data, protocol, reference, on_progress)


def _of_pictures(path: Path, options: Options, plugins: Plugins) -> list[Metric]:
    """Evaluate existing images, which must all have the same size."""
    from zoo_core.data.files import PictureFiles
    from zoo_core.data.packing import pack
    from zoo_core.metrics.evaluation import check_metrics, evaluate_pictures
    from zoo_core.metrics.feature_sets import packed_pictures
    from zoo_core.pictures import BadPicture, read_every
    from zoo_core.weights.loading import load_features

    check_metrics(options.wanted, None, options.truncation)
    extractor = load_features(options.extractor, device=options.device, plugins=plugins)
    made = PictureFiles(path)
    readable = (item for item in read_every(made) if not isinstance(item, BadPicture))
    side = next((picture.pixels.shape[0] for picture in readable), 1)
    with _counting(f"reading {path.name}") as on_progress:
        skip = options.bad_pictures == "skip"
        fake = pack(made, side, 3, "exact", skip, on_progress)
    warn_left_out(fake)
    data, protocol = _real_of_size(options, side, plugins)
    reference = _reference(options, data, extractor)
    with _counting("measuring") as on_progress:
        return evaluate_pictures(packed_pictures(fake), reference, protocol, on_progress)


def _of_classifier(network: Classifier, options: Options, plugins: Plugins) -> list[Metric]:
    from zoo_core.errors import InputError
    from zoo_core.metrics.evaluation import classify
    from zoo_core.spec import Metric

    if options.metrics is not None or options.truncation != 1:
        raise InputError(
            "a classifier is evaluated only by its accuracy and its loss",
            hint="omit --metrics and --truncation",
        )
    held_out, measured = _real(options, network, plugins)
    if measured.split == "all":
        warn("your own images have no held-out split, so they may include training images")
    protocol = {"data": measured.data, "split": measured.split, "num_real": len(held_out)}
    return [
        Metric(name=name, value=value, protocol=protocol, command=measured.command)
        for name, value in classify(network, held_out).items()
    ]


def _with_settings_of_the_run(target: str, options: Options) -> Options:
    """Fill in options that were not given with the settings of the run."""
    settings = settings_of_run(target)
    unsaid = [name for name in RUN_SETTINGS if getattr(options, name) is None]
    return options._replace(**{name: settings[name] for name in unsaid if name in settings})


def _real(
    options: Options, network: Generator | Classifier, plugins: Plugins
) -> tuple[PackedData, Protocol]:
    """Return the real images, prepared for the network, and the protocol of the measurement."""
    from zoo_core.data.preparation import prepare

    resolution, paired = network.image_shape[2], network.source_shape is not None
    opened = _opened(options, resolution, plugins, paired)
    with _preparing(opened, resolution) as on_progress:
        packed = prepare(opened.dataset, network, _reading(options), on_progress)
    return packed, _protocol(options, opened, resolution, packed)


def _real_of_size(
    options: Options, resolution: int, plugins: Plugins
) -> tuple[PackedData, Protocol]:
    """Return the same for images that come without a network: RGB at this resolution."""
    from zoo_core.data.preparation import check_enough, pack_shapes

    opened = _opened(options, resolution, plugins)
    shape, settings = (3, resolution, resolution), _reading(options)
    check_enough(len(opened.dataset), settings.batch_size)
    with _preparing(opened, resolution) as on_progress:
        packed = pack_shapes(opened.dataset, shape, None, settings, on_progress)
    return packed, _protocol(options, opened, resolution, packed)


def _opened(
    options: Options, resolution: int, plugins: Plugins, paired: bool = False
) -> OpenedDataset:
    from zoo_core.data.datasets import open_dataset
    from zoo_core.errors import InputError

    if options.data is None:
        raise InputError("there are no real images to compare with", hint="--data NAME_OR_FOLDER")
    return open_dataset(options.data, resolution, options.split or "train", plugins, paired)


def _reading(options: Options) -> RunConfig:
    """Run settings for reading the real images."""
    from zoo_core.config import RunConfig

    return RunConfig(
        fit=options.fit or "crop",
        bad_pictures=options.bad_pictures or "refuse",
        reverse_pairs=bool(options.reverse_pairs),
        batch_size=2,
    )


def _preparing(opened: OpenedDataset, resolution: int) -> Any:
    return _counting(f"preparing {opened.name} at {resolution} px")


def _protocol(
    options: Options, opened: OpenedDataset, resolution: int, packed: PackedData
) -> Protocol:
    from zoo_core.metrics.protocol import Protocol

    warn_left_out(packed)
    return Protocol(
        data=f"{opened.name}, {resolution} px, {packed.fingerprint[:12]}",
        split=opened.split,
        metrics=options.wanted,
        command=shlex.join(["zoo", *sys.argv[1:]]),
        count=options.count,
        seed=options.seed,
        truncation=options.truncation,
    )


def _reference(
    options: Options, data: PackedData, extractor: FeatureExtractor
) -> ReferenceFeatures:
    """Features of the real images, computed now if a metric compares them."""
    from zoo_core.metrics.feature_sets import ReferenceFeatures

    reference = ReferenceFeatures(data, extractor)
    if needs_any(options.wanted, "statistics", "features"):
        with _counting(f"measuring {options.data}") as on_progress:
            reference.measure(keep=needs_any(options.wanted, "features"), on_progress=on_progress)
    return reference


def _counting(what: str) -> Any:
    from zoo_core.cli.progress import counting

    return counting(what)


def _read(path: Path) -> list[Metric]:
    """Read the output of an earlier `zoo evaluate --json`."""
    import msgspec

    from zoo_core.errors import InputError
    from zoo_core.spec import Metric

    try:
        answer = msgspec.json.decode(path.read_bytes())
        return msgspec.convert(answer["metrics"], list[Metric])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, KeyError, TypeError):
        raise InputError(f"{path} is not the output of `zoo evaluate --json`") from None


def _show(
    numbers: Sequence[Metric], before: Sequence[Metric], as_json: bool, plugins: Plugins
) -> None:
    """Print the numbers and their changes, then the part of the protocol that they share."""
    import msgspec

    old = {metric.name: metric for metric in before}
    changes = {m.name: m.difference(old[m.name]) for m in numbers if m.name in old}
    if before and not changes:
        warn(f"nothing to compare with: the earlier evaluation has only {', '.join(old)}")
    if as_json:
        records = [msgspec.to_builtins(metric) for metric in numbers]
        for record in records:
            if record["name"] in changes:
                record["change"] = changes[record["name"]]
        print_json("metrics", records, plugins.problems)
        return
    print_table(
        ("METRIC", "VALUE", "CHANGE", "MEASURED WITH"),
        [
            (
                metric.name,
                f"{metric.value:.6g}",
                f"{changes[metric.name]:+.4g}" if metric.name in changes else "-",
                ", ".join(f"{key} {value}" for key, value in _own(metric, numbers).items()) or "-",
            )
            for metric in numbers
        ],
    )
    typer.echo()
    for key, value in numbers[0].protocol.items():
        if key not in _own(numbers[0], numbers):
            typer.echo(f"{key:10} {value}")


def _own(metric: Metric, numbers: Sequence[Metric]) -> dict[str, Any]:
    """The part of a protocol that differs between the numbers."""
    return {
        key: value
        for key, value in metric.protocol.items()
        if any(other.protocol.get(key) != value for other in numbers)
    }
