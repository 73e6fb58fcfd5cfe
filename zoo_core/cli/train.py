"""`zoo train`: train a model; the same command again resumes the run."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.output import (
    complete_model,
    loaded_plugins,
    note,
    warn,
    warn_ignored,
    warn_left_out,
)

if TYPE_CHECKING:
    from zoo_core.config import Resolved, RunConfig
    from zoo_core.data.datasets import OpenedDataset
    from zoo_core.data.packing import PackedData
    from zoo_core.interfaces import Classifier, Generator
    from zoo_core.metrics.protocol import Evaluation
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import ModelSpec
    from zoo_core.training.run_folder import RunFolder


def train(
    model: str = typer.Argument(help="A model from `zoo list`.", autocompletion=complete_model),
    data: str = typer.Option(
        None, "--data", "-d", help="Data set, or path to a folder or zip file of images."
    ),
    preset: str = typer.Option(
        "", "--preset", "-p", help="Preset of the model; see `zoo show MODEL`."
    ),
    config: Path = typer.Option(
        None, "--config", "-c", help="YAML file with settings, or config.json of a run."
    ),
    assignments: list[str] = typer.Option(
        [],
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Change one setting; may be repeated. See `zoo show MODEL`.",
    ),
    images: int = typer.Option(
        None, "--images", help="Train until N images have been seen in total."
    ),
    evaluate_every: int = typer.Option(
        None, "--evaluate-every", help="Evaluate every N images; keep the best weights."
    ),
    tag: str = typer.Option(
        None, "--tag", help="Second part of the run's name, MODEL.TAG [default: data and preset]."
    ),
    run_dir: Path = typer.Option(None, "--run-dir", help="Run folder [default: runs/MODEL.TAG]."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Print settings and estimated cost; do not train."
    ),
) -> None:
    """Train a model; the same command again resumes the run."""
    plugins = loaded_plugins()
    spec = plugins.models.get(model)
    resolved = _resolve(
        spec,
        preset,
        config,
        assignments,
        {"data": data, "images": images, "evaluate_every": evaluate_every},
    )
    if dry_run:
        _dry_run(spec, resolved)
    else:
        _train(spec, resolved, tag or "", run_dir, preset, plugins)


def _train(
    spec: ModelSpec,
    resolved: Resolved,
    tag: str,
    run_dir: Path | None,
    preset: str,
    plugins: Plugins,
) -> None:
    """Start or resume the run, or say that it is finished."""
    from zoo_core.data.datasets import open_dataset, with_absolute_paths
    from zoo_core.training.maintenance import check_data
    from zoo_core.training.run_folder import RunFolder
    from zoo_core.training.state import blueprint
    from zoo_core.weights.header import trained_images

    _log_to_stderr()
    network = blueprint(spec, resolved.config)
    resolution, paired = network.image_shape[2], network.source_shape is not None
    opened = open_dataset(resolved.run.data, resolution, resolved.run.split, plugins, paired)
    folder = RunFolder(
        run_dir or Path("runs", f"{spec.name}.{tag or _tag(opened.name, resolution, preset)}")
    )
    resolved = with_absolute_paths(resolved, plugins)
    folder.check(resolved)
    packed = _prepare(opened, network, resolved.run)
    if (before := trained_images(folder.weights(spec.role))) >= resolved.run.images:
        check_data(folder, packed)
        folder.follow(resolved)
        _say_finished(spec, folder, before, "already finished", resolved, network)
        return
    evaluation = _evaluation(spec, resolved, network, plugins)
    seen = _run(spec, resolved, opened, packed, folder, evaluation, plugins)
    _say_finished(spec, folder, seen, "finished", resolved, network)


def _run(
    spec: ModelSpec,
    resolved: Resolved,
    opened: OpenedDataset,
    packed: PackedData,
    folder: RunFolder,
    evaluation: Evaluation | None,
    plugins: Plugins,
) -> int:
    """Train with a progress display, and warn about observers that failed."""
    from zoo_core.cli.progress import ProgressDisplay
    from zoo_core.training.engine import train

    plugins.register("progress display", ProgressDisplay())
    known = len(plugins.problems)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # for anything a model or an observer prints
            return train(
                spec,
                resolved,
                packed,
                folder,
                licence=opened.licence,
                trained_on=opened.description,
                notify=plugins.notify,
                evaluation=evaluation,
            )
    finally:
        for problem in plugins.problems[known:]:  # observers that raised; they were muted
            warn(str(problem))


def _resolve(
    spec: ModelSpec,
    preset: str,
    config: Path | None,
    assignments: list[str],
    short: dict[str, Any],
) -> Resolved:
    """Merge settings: defaults < preset < file < --set < `short`.

    `short` holds the options for single settings; None means not given.
    """
    from zoo_core.config import parse_assignments, read_settings_file, resolve
    from zoo_core.errors import ConfigError, UnknownNameError

    if preset and preset not in spec.presets:
        raise UnknownNameError("preset", preset, spec.presets, hint=f"zoo show {spec.name}")
    resolved = resolve(
        spec.name,
        spec.config,
        ("the model's defaults", spec.run),
        (f"preset {preset}", spec.presets.get(preset, {})),
        (str(config), read_settings_file(config) if config else {}),
        ("--set", parse_assignments(assignments)),
        ("the command line", {key: value for key, value in short.items() if value is not None}),
        preset=preset,
    )
    if not resolved.run.data:
        raise ConfigError(f"{spec.name} has no default data set", hint="--data NAME_OR_FOLDER")
    return resolved


def _prepare(opened: OpenedDataset, network: Generator | Classifier, run: RunConfig) -> PackedData:
    from zoo_core.cli.progress import counting
    from zoo_core.data.preparation import prepare

    resolution = network.image_shape[2]
    warn_ignored(opened.dataset)
    with counting(f"preparing {opened.name} at {resolution} px") as on_progress:
        packed = prepare(opened.dataset, network, run, on_progress)
    warn_left_out(packed)
    network.classes = packed.classes  # evaluation data must have the same classes
    return packed


def _evaluation(
    spec: ModelSpec, resolved: Resolved, network: Generator | Classifier, plugins: Plugins
) -> Evaluation | None:
    """Set up evaluation during training; None if it is off or there is no data for it."""
    import msgspec

    from zoo_core.data.datasets import open_dataset

    run = msgspec.structs.replace(resolved.run, jitter=0, batch_size=2)
    if not run.evaluate_every:
        return None
    name, resolution = run.evaluate_data or run.data, network.image_shape[2]
    split = run.split
    if spec.role == "classifier" and not run.evaluate_data:
        if not plugins.datasets.matches(name):
            warn(
                "no evaluation: your own images have no held-out split; "
                "try: --set evaluate_data=FOLDER"
            )
            return None
        split = "test"
    opened = open_dataset(name, resolution, split, plugins, network.source_shape is not None)
    packed = _prepare(opened, network, run)
    from zoo_core.metrics.evaluation import during_training, of_classifier

    if spec.role == "classifier":
        return of_classifier(packed)
    from zoo_core.cli.progress import counting
    from zoo_core.metrics.feature_sets import ReferenceFeatures
    from zoo_core.runtime import Runtime
    from zoo_core.weights.loading import load_features

    Runtime.detect(run.device).keep_freed_memory()  # makes this twice as fast
    extractor = load_features(run.evaluate_with, device=run.device, plugins=plugins)
    reference = ReferenceFeatures(packed, extractor)
    with counting(f"measuring {opened.name}") as on_progress:
        reference.measure(on_progress=on_progress)
    return during_training(reference, run.evaluate_count)


def _tag(data: str, resolution: int, preset: str) -> str:
    return f"{data}{resolution}" + (f"-{preset}" if preset else "")


def _say_finished(
    spec: ModelSpec,
    folder: RunFolder,
    images: int,
    status: str,
    resolved: Resolved,
    network: Generator | Classifier,
) -> None:
    start = "--seeds 0-63"
    if network.source_shape is not None:
        start = "--source FOLDER"
    elif network.num_classes:
        start += f" --label {shlex.quote(network.classes[0])}"
    use = {
        "generator": f"zoo sample {folder.path} {start}",
        "classifier": f'zoo_core.load_features("{folder.path}")',
    }
    typer.echo(
        f"{status}: {images:,} images; weights, samples, log and checkpoints are in {folder.path}\n"
        f"next: {use[spec.role]}    "
        f"or train longer: --images {2 * max(images, resolved.run.images)}"
    )


def _dry_run(spec: ModelSpec, resolved: Resolved) -> None:
    """Print the resolved settings and the estimated cost of the run on this machine."""
    import json

    from zoo_core.training.estimate import estimate

    note("timing a few training steps on random images")
    typer.echo(json.dumps(resolved.to_json() | {"estimate": estimate(spec, resolved)}, indent=2))


def _log_to_stderr() -> None:
    """Print warnings of the library in the same form as those of the commands."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warn(record.getMessage())

    logger = logging.getLogger("zoo")
    logger.addHandler(Handler(logging.WARNING))
    logger.propagate = False
