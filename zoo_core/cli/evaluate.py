"""`zoo evaluate`: how good weights are, or a folder of pictures, with each number's protocol."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from zoo_core.cli.output import (
    JSON_OPTION,
    complete_weights,
    finite,
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
from zoo_core.metrics.protocol import DEFAULT_COUNT, DEFAULT_METRICS, METRICS, need

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
    """What the command was told; None where it was told nothing."""

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
        """The metrics, of generated pictures."""
        return self.metrics or DEFAULT_METRICS


OF_A_RUN = ("data", "split", "fit", "bad_pictures", "reverse_pairs")  # a run knows how it read them


def evaluate(
    target: str = typer.Argument(
        help="Registered weights, a .safetensors file, a run folder, or a folder of pictures.",
        autocompletion=complete_weights,
    ),
    data: str = typer.Option(
        None, "--data", "-d", help="The real pictures [default: those that the run learned]."
    ),
    split: str = typer.Option(
        None,
        "--split",
        help="Which part [default: that of the run, train; test for a classifier].",
    ),
    metrics: str = typer.Option(
        None,
        "--metrics",
        "-m",
        help=f"Some of {','.join(METRICS)} [default: {','.join(DEFAULT_METRICS)}].",
    ),
    count: int = typer.Option(
        DEFAULT_COUNT, "--count", min=2, help="Pictures that a generator draws."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Of the first of them."),
    truncation: float = typer.Option(1.0, "--truncation", callback=finite, help="1: all variety."),
    extractor: str = typer.Option(EXTRACTOR, "--extractor", help="Whose features are compared."),
    fit: Fit = typer.Option(
        None, "--fit", help="How real pictures become square [default: as in the run, or crop]."
    ),
    bad_pictures: BadPictures = typer.Option(
        None,
        "--bad-pictures",
        help="What to do with those that cannot be used [default: as in the run, or refuse].",
    ),
    reverse_pairs: bool = typer.Option(
        None, "--reverse-pairs", help="Swap the sides of pairs [default: as in the run]."
    ),
    earlier: Path = typer.Option(
        None, "--compare", help="An earlier answer of --json, to show what changed."
    ),
    device: str = typer.Option("cpu", "--device", help="cpu, cuda, mps or auto."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Measure pictures against real ones, or a classifier on pictures it has not seen."""
    plugins = loaded_plugins()
    names = None if metrics is None else tuple(name.strip() for name in metrics.split(","))
    reading = {"fit": fit, "bad_pictures": bad_pictures, "reverse_pairs": reverse_pairs}
    drawing = {"count": count, "seed": seed, "truncation": truncation}
    options = Options(names, data, split, extractor, device, **drawing, **reading)
    before = _read(earlier) if earlier else []
    from zoo_core.runtime import Runtime

    Runtime.detect(device, "fp32").keep_freed_memory()  # twice as fast
    if _is_pictures(target):
        numbers = _of_pictures(typed_path(target), options, plugins)
    else:
        numbers = _of_weights(target, options, plugins)
    _show(numbers, before, as_json, plugins)


def _is_pictures(target: str) -> bool:
    """Whether it is a folder or a zip of pictures, and not a run."""
    from zoo_core.weights.header import WEIGHTS, is_path

    path = typed_path(target)
    if not is_path(target) or path.suffix == ".safetensors":
        return False
    return path.suffix == ".zip" or (
        path.is_dir() and not any((path / name).exists() for name in (*WEIGHTS, "config.json"))
    )


def _of_weights(target: str, options: Options, plugins: Plugins) -> list[Metric]:
    """A classifier, or a generator, which is asked for pictures."""
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
    if need(options.wanted, "statistics", "features", "logits", "latents"):
        extractor = load_features(options.extractor, device=options.device, plugins=plugins)
    data, protocol = _real(options, network, plugins)
    reference = None if extractor is None else _reference(options, data, extractor)
    with _counting("drawing and measuring") as on_progress:
        return evaluate_generator(network, data, protocol, reference, on_progress)


def _of_pictures(path: Path, options: Options, plugins: Plugins) -> list[Metric]:
    """Pictures that somebody has made; they all have to be of one size."""
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
            "a classifier is measured by its accuracy and its loss",
            hint="leave --metrics and --truncation out",
        )
    held_out, measured = _real(options, network, plugins)
    if measured.split == "all":
        warn("own pictures have no held-out split: those that it learned may be among them")
    protocol = {"data": measured.data, "split": measured.split, "num_real": len(held_out)}
    return [
        Metric(name=name, value=value, protocol=protocol, command=measured.command)
        for name, value in classify(network, held_out).items()
    ]


def _with_settings_of_the_run(target: str, options: Options) -> Options:
    """What was not said is what a run was trained with."""
    settings = settings_of_run(target)
    unsaid = [name for name in OF_A_RUN if getattr(options, name) is None]
    return options._replace(**{name: settings[name] for name in unsaid if name in settings})


def _real(
    options: Options, network: Generator | Classifier, plugins: Plugins
) -> tuple[PackedData, Protocol]:
    """The real pictures as the network makes or takes them, and how they are measured with."""
    from zoo_core.data.preparation import prepare

    resolution, paired = network.image_shape[2], network.source_shape is not None
    opened = _opened(options, resolution, plugins, paired)
    with _preparing(opened, resolution) as on_progress:
        packed = prepare(opened.dataset, network, _reading(options), on_progress)
    return packed, _protocol(options, opened, resolution, packed)


def _real_of_size(
    options: Options, resolution: int, plugins: Plugins
) -> tuple[PackedData, Protocol]:
    """The same for pictures that no network has made."""
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
        raise InputError("real pictures are needed to compare with", hint="--data NAME_OR_FOLDER")
    return open_dataset(options.data, resolution, options.split or "train", plugins, paired)


def _reading(options: Options) -> RunConfig:
    """How the real pictures are read, as settings of a run."""
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
    """The real pictures as an extractor sees them, measured if they will be compared with."""
    from zoo_core.metrics.feature_sets import ReferenceFeatures

    reference = ReferenceFeatures(data, extractor)
    if need(options.wanted, "statistics", "features"):
        with _counting(f"measuring {options.data}") as on_progress:
            reference.measure(keep=need(options.wanted, "features"), on_progress=on_progress)
    return reference


def _counting(what: str) -> Any:
    from zoo_core.cli.progress import counting

    return counting(what)


def _read(path: Path) -> list[Metric]:
    """What `--json` printed earlier."""
    import msgspec

    from zoo_core.errors import InputError
    from zoo_core.spec import Metric

    try:
        answer = msgspec.json.decode(path.read_bytes())
        return msgspec.convert(answer["metrics"], list[Metric])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, KeyError, TypeError):
        raise InputError(f"{path} is no answer of `zoo evaluate --json`") from None


def _show(
    numbers: Sequence[Metric], before: Sequence[Metric], as_json: bool, plugins: Plugins
) -> None:
    """The numbers, and how they changed; then what they have in common."""
    import msgspec

    old = {metric.name: metric for metric in before}
    changes = {m.name: m.difference(old[m.name]) for m in numbers if m.name in old}
    if before and not changes:
        warn(f"nothing to compare with: before, {', '.join(old)} was measured")
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
    """What of a protocol is not that of every number."""
    return {
        key: value
        for key, value in metric.protocol.items()
        if any(other.protocol.get(key) != value for other in numbers)
    }
