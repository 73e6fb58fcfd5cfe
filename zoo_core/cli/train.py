"""`zoo train`: train a model; the same command again resumes the run."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.output import (
    complete_model,
    loaded_plugins,
    log_to_stderr,
    note,
    warn,
    warn_ignored,
    warn_left_out,
)
from zoo_core.errors import Interrupted, first_few
from zoo_core.filesystem import as_argument, spelled

if TYPE_CHECKING:
    from zoo_core.config import Resolved, RunConfig
    from zoo_core.data.datasets import OpenedDataset
    from zoo_core.data.packing import PackedData
    from zoo_core.interfaces import Classifier, Generator
    from zoo_core.metrics.protocol import Evaluation
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import ModelSpec
    from zoo_core.training.changes import History
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
    changes: list[str] = typer.Option(
        [],
        "--change",
        metavar="KEY=VALUE,...",
        help="Go on from the last checkpoint with other settings; data=accept: with other images.",
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
    change = _parsed(changes)
    if dry_run:
        _dry_run(spec, resolved, change, plugins)
    else:
        _train(spec, resolved, change, tag or "", run_dir, preset, plugins)


def _train(
    spec: ModelSpec,
    resolved: Resolved,
    change: dict[str, Any],
    tag: str,
    run_dir: Path | None,
    preset: str,
    plugins: Plugins,
) -> None:
    """Start or resume the run, or say that it is finished."""
    from zoo_core.data.datasets import with_absolute_paths
    from zoo_core.training.amend import accepts_data, planned
    from zoo_core.training.maintenance import check_data
    from zoo_core.training.run_folder import RunFolder
    from zoo_core.training.state import blueprint
    from zoo_core.weights.header import trained_classes, trained_images

    log_to_stderr()
    network = blueprint(spec, resolved.config)
    opened = _open(network, resolved.run, plugins)
    tag = tag or _tag(opened.name, network.image_shape[2], preset)
    folder = RunFolder(run_dir or Path("runs", f"{spec.name}.{tag}"))
    learned = trained_classes(folder.weights(spec.role))
    if resolved.auto_classes:
        resolved = _with_classes(resolved, learned or opened.dataset.classes)
        network = blueprint(spec, resolved.config)
    resolved = with_absolute_paths(resolved, plugins)
    history, wanted = planned(spec, folder, resolved, change)
    wanted = with_absolute_paths(wanted, plugins)
    change |= {"evaluate_data": wanted.run.evaluate_data} if "evaluate_data" in change else {}
    is_known = set(opened.dataset.classes) <= set(learned)
    network.classes = learned if is_known or not accepts_data(change) else ()  # others: accepted
    packed = _prepare(opened, network, wanted.run)
    is_finished = (before := trained_images(folder.weights(spec.role))) >= wanted.run.images
    if is_finished and wanted == history.now:
        check_data(folder, packed, history.accepted, more=f" --images {2 * before}")
        folder.follow(wanted)
        _say_finished(spec, folder, before, "already finished", wanted, network)
        return
    _say_changes(history, wanted)
    evaluation = _evaluation(spec, wanted, network, plugins)
    seen = _run(spec, resolved, change, opened, packed, folder, evaluation, plugins)
    _say_finished(spec, folder, seen, "finished", wanted, network)


def _run(
    spec: ModelSpec,
    resolved: Resolved,
    change: dict[str, Any],
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
                change=change,
            )
    except (Interrupted, KeyboardInterrupt) as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left that Ctrl-C could stop
        if isinstance(stop, KeyboardInterrupt):
            note("stopped at once; the same command goes on from the last checkpoint")
        raise
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


def _open(network: Generator | Classifier, run: RunConfig, plugins: Plugins) -> OpenedDataset:
    from zoo_core.data.datasets import open_dataset

    paired = network.source_shape is not None
    return open_dataset(run.data, network.image_shape[2], run.split, plugins, paired, run)


def _with_classes(resolved: Resolved, classes: Sequence[str]) -> Resolved:
    """Put the number of classes where the settings say auto."""
    if classes:
        note(f"num_classes=auto: {len(classes)} classes ({first_few(classes)})")
    else:
        note("num_classes=auto: the images have no classes")
    return resolved.with_classes(len(classes))


def _prepare(opened: OpenedDataset, network: Generator | Classifier, run: RunConfig) -> PackedData:
    from zoo_core.cli.progress import counting
    from zoo_core.data.preparation import prepare

    resolution = network.image_shape[2]
    if opened.dataset.summary:
        note(f"{opened.name}: {opened.dataset.summary}")
    warn_ignored(opened.dataset)
    with counting(f"preparing {opened.name} at {resolution} px") as on_progress:
        packed = prepare(opened.dataset, network, run, on_progress, new=True)
    warn_left_out(packed)
    network.classes = packed.classes  # evaluation data must have the same classes
    return packed


def _evaluation(
    spec: ModelSpec, resolved: Resolved, network: Generator | Classifier, plugins: Plugins
) -> Evaluation | None:
    """Set up evaluation during training; None if it is off or there is no data for it."""
    import msgspec

    run = msgspec.structs.replace(resolved.run, jitter=0, batch_size=2, micro_batch=0)
    if not run.evaluate_every:
        return None
    run = msgspec.structs.replace(run, data=run.evaluate_data or run.data)
    held_out = spec.role == "classifier" and not resolved.run.evaluate_data
    opened = _open(
        network, msgspec.structs.replace(run, split="test") if held_out else run, plugins
    )
    if held_out and opened.split == "all":
        warn(
            "no evaluation: your own images have no held-out split; "
            "try: --set holdout=0.1 in a new run, or --set evaluate_data=FOLDER"
        )
        return None
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
    what = "" if network.num_classes else " --seeds 0-63"  # without seeds, a row per class
    if network.source_shape is not None:
        what = " --source FOLDER"
    use = {
        "generator": f"zoo sample {as_argument(folder.path)}{what}",
        "classifier": f"zoo_core.load_features({spelled(folder.path)!r})",
    }
    typer.echo(
        f"{status}: {images:,} images; weights, samples, log and checkpoints are in {folder.path}\n"
        f"next: {use[spec.role]}    "
        f"or train longer: --images {2 * max(images, resolved.run.images)}"
    )


def _parsed(changes: list[str]) -> dict[str, Any]:
    """The settings of all `--change` options; a comma inside a value is none before `key=`."""
    from zoo_core.config import parse_assignments

    parts = [part for option in changes for part in re.split(r",(?=\s*\w+\s*=)", option)]
    return dict(parse_assignments(parts, "--change"))


def _say_changes(history: History, wanted: Resolved) -> None:
    """Name the settings that changed in the run, and those that are about to."""
    from zoo_core.training.changes import flat

    for change in history.changes:
        note(f"changed: {change}")
    before, now = flat(history.now), flat(wanted)
    if about := [f"{key}={now[key]} ({before[key]} before)" for key in now
                 if now[key] != before[key]]:  # fmt: skip
        note(f"changing: {', '.join(about)}")


def _dry_run(spec: ModelSpec, resolved: Resolved, change: dict[str, Any], plugins: Plugins) -> None:
    """Print the resolved settings and the estimated cost of the run on this machine."""
    import json

    from zoo_core.training.amend import settings_of
    from zoo_core.training.changes import with_settings
    from zoo_core.training.estimate import estimate
    from zoo_core.training.state import blueprint

    resolved = with_settings(resolved, settings_of(change), "--change")
    if resolved.auto_classes:
        opened = _open(blueprint(spec, resolved.config), resolved.run, plugins)
        resolved = _with_classes(resolved, opened.dataset.classes)
    note("timing a few training steps on random images")
    typer.echo(json.dumps(resolved.to_json() | {"estimate": estimate(spec, resolved)}, indent=2))
