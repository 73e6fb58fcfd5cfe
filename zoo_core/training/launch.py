"""Start a run or go on with it, given names: of a model, of a data set or folder, and settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from zoo_core.config import Resolved, RunConfig
from zoo_core.data.datasets import OpenedDataset, open_dataset, with_absolute_paths
from zoo_core.data.packing import PackedData
from zoo_core.data.preparation import prepare
from zoo_core.data.progress import Counting, silent
from zoo_core.data.reporting import say_what_it_is, warn_left_out
from zoo_core.errors import InputError, first_few
from zoo_core.filesystem import exists
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier
from zoo_core.metrics.evaluation import during_training, of_classifier
from zoo_core.metrics.feature_sets import ReferenceFeatures
from zoo_core.metrics.protocol import Evaluation
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec
from zoo_core.training import engine
from zoo_core.training.amend import accepts_data, planned
from zoo_core.training.changes import History, flat
from zoo_core.training.checkpoint import Checkpoints
from zoo_core.training.maintenance import check_data
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.starting import Start, read_start
from zoo_core.training.state import blueprint
from zoo_core.weights.header import RUNS, located, trained_classes, trained_images
from zoo_core.weights.loading import load_extractor
from zoo_core.weights.registry import load_registry, means_path
from zoo_core.weights.run_settings import resolve_run

logger = logging.getLogger("zoo")

NO_CHANGE: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Trained:
    """A run that has seen all its images."""

    folder: Path
    weights: Path  # of the averaged generator or classifier
    images: int  # seen
    was_finished: bool  # before, so that nothing was left to do
    settings: Resolved


def train(
    model: str,
    *,
    data: str | Path | None = None,
    preset: str = "",
    config: str | Path | None = None,
    tag: str = "",
    run_dir: str | Path | None = None,
    change: Mapping[str, Any] = NO_CHANGE,
    plugins: Plugins | None = None,
    **settings: Any,
) -> Trained:
    """Train `model` as `zoo train` does; the same call again resumes the run, also in a terminal.

    `data` is the name of a data set, or the path of a folder or file of images [default: the
    model's]; `config` is a YAML file with settings, `settings` are those that `--set` takes, such
    as `images=200_000`. The run is in `run_dir` [default: runs/MODEL.TAG]. `change` is what
    `--change` takes. `plugins`, all installed ones by default, are told of progress.

    Raises what the command reports: UnknownNameError for an unknown model or preset, ConfigError
    for a wrong setting, DataError for images that are missing or do not suit the model, InputError
    if the folder holds another run, RunError if training fails, Interrupted after Ctrl-C, when the
    run has been saved.
    """
    plugins = plugins or load_plugins()
    spec = plugins.models.get(model)
    place = Path(run_dir) if run_dir else None
    resolved = resolve_run(
        spec,
        preset,
        Path(config) if config else None,
        ("the arguments", settings if data is None else {**settings, "data": str(data)}),
        run_dir=place,
        plugins=plugins,
    )
    return launch(spec, resolved, plugins, tag=tag, run_dir=place, change=change)


def launch(
    spec: ModelSpec,
    resolved: Resolved,
    plugins: Plugins,
    *,
    tag: str = "",
    run_dir: Path | None = None,
    change: Mapping[str, Any] = NO_CHANGE,
    counting: Counting = silent,
    receiving: Counting = silent,
) -> Trained:
    """Start or resume the run of these settings, unless it is finished.

    `counting` and `receiving` show the progress of work on images, and of downloads in bytes.
    """
    network = blueprint(spec, resolved.config)
    opened = _open(network, resolved.run, plugins)
    tag = tag or _tag(opened.name, network.image_shape[2], resolved)
    folder = RunFolder(run_dir or RUNS / f"{spec.name}.{tag}")
    learned = trained_classes(folder.weights(spec.role))
    if resolved.auto_classes:
        resolved = with_classes(resolved, learned or opened.dataset.classes)
        network = blueprint(spec, resolved.config)
    resolved = _with_absolute_start(with_absolute_paths(resolved, plugins), plugins)
    history, wanted = planned(spec, folder, resolved, change)
    wanted = with_absolute_paths(wanted, plugins)
    if "evaluate_data" in change:
        change = {**change, "evaluate_data": wanted.run.evaluate_data}
    is_known = set(opened.dataset.classes) <= set(learned)
    network.classes = learned if is_known or not accepts_data(change) else ()  # others: accepted
    packed = _prepare(opened, network, wanted.run, counting)
    before = trained_images(folder.weights(spec.role))
    was_finished = before >= wanted.run.images and wanted == history.now
    if was_finished:
        check_data(folder, packed, history.accepted, more=f" --images {2 * before}")
        folder.follow(wanted)
    else:
        _say_changes(history, wanted)
        before = engine.train(
            spec,
            resolved,
            packed,
            folder,
            licence=opened.licence,
            trained_on=opened.description,
            notify=plugins.notify,
            evaluation=_evaluation(spec, wanted, network, plugins, counting),
            change=change,
            start=_start(spec, wanted, folder, plugins, receiving),
        )
    return Trained(folder.path, folder.weights(spec.role), before, was_finished, wanted)


def open_classes(spec: ModelSpec, resolved: Resolved, plugins: Plugins) -> Resolved:
    """The settings with the number of classes in the data, where they say auto."""
    if not resolved.auto_classes:
        return resolved
    opened = _open(blueprint(spec, resolved.config), resolved.run, plugins)
    return with_classes(resolved, opened.dataset.classes)


def with_classes(resolved: Resolved, classes: Sequence[str]) -> Resolved:
    """The settings with the number of these classes, where they say auto."""
    if classes:
        logger.info("num_classes=auto: %d classes (%s)", len(classes), first_few(classes))
    else:
        logger.info("num_classes=auto: the images have no classes")
    return resolved.with_classes(len(classes))


def _tag(data: str, resolution: int, resolved: Resolved) -> str:
    """Data and size, the preset, and whether the run starts from weights."""
    parts = [f"{data}{resolution}", resolved.preset, "tuned" if resolved.run.start_from else ""]
    return "-".join(filter(None, parts))


def _open(network: Generator | Classifier, run: RunConfig, plugins: Plugins) -> OpenedDataset:
    paired = network.source_shape is not None
    return open_dataset(run.data, network.image_shape[2], run.split, plugins, paired, run)


def _prepare(
    opened: OpenedDataset, network: Generator | Classifier, run: RunConfig, counting: Counting
) -> PackedData:
    """Prepare images for training on them, or for evaluating on them during training."""
    resolution = network.image_shape[2]
    say_what_it_is(opened)
    with counting(f"preparing {opened.name} at {resolution} px") as on_progress:
        packed = prepare(opened.dataset, network, run, on_progress, new=True)
    warn_left_out(packed)
    network.classes = packed.classes  # evaluation data must have the same classes
    return packed


def _evaluation(
    spec: ModelSpec,
    resolved: Resolved,
    network: Generator | Classifier,
    plugins: Plugins,
    counting: Counting,
) -> Evaluation | None:
    """Set up evaluation during training; None if it is off or there is no data for it."""
    run = replace(resolved.run, jitter=0, batch_size=2, micro_batch=0)
    if not run.evaluate_every:
        return None
    run = replace(run, data=run.evaluate_data or run.data)
    held_out = spec.role == "classifier" and not resolved.run.evaluate_data
    opened = _open(network, replace(run, split="test") if held_out else run, plugins)
    if held_out and opened.split == "all":
        logger.warning(
            "no evaluation: your own images have no held-out split; "
            "try: --set holdout=0.1 in a new run, or --set evaluate_data=FOLDER"
        )
        return None
    packed = _prepare(opened, network, run, counting)
    if spec.role == "classifier":
        return of_classifier(packed)
    Runtime.detect(run.device).keep_freed_memory()  # makes this twice as fast
    extractor = load_extractor(run.evaluate_with, device=run.device, plugins=plugins)
    reference = ReferenceFeatures(packed, extractor)
    with counting(f"measuring {opened.name}") as on_progress:
        reference.measure(on_progress=on_progress)
    return during_training(reference, run.evaluate_count)


def _with_absolute_start(resolved: Resolved, plugins: Plugins) -> Resolved:
    """The settings with an absolute path to the weights to start from, if that is a path."""
    name = resolved.run.start_from
    if not name or not means_path(name, load_registry(plugins)) or not exists(located(name)):
        return resolved
    path = located(name).resolve().as_posix()
    return replace(resolved, run=replace(resolved.run, start_from=path))


def _start(
    spec: ModelSpec, resolved: Resolved, folder: RunFolder, plugins: Plugins, receiving: Counting
) -> Start | None:
    """The weights to start from, unless the run has begun: then nothing is read again."""
    name = resolved.run.start_from
    if not name or Checkpoints(folder.checkpoints).list():
        return None
    with receiving(name) as on_progress:
        start = read_start(name, spec, plugins, on_progress)
    recorded = folder.started_from()
    if recorded is not UNSET and recorded.sha256 != start.origin.sha256:
        raise InputError(
            f"{name} is not what the run in {folder.path} started from: it has changed",
            given=f"sha256 {start.origin.sha256[:12]}…",
            allowed=f"sha256 {recorded.sha256[:12]}…",
            hint="--run-dir NEW_FOLDER",
        )
    first, size = (getattr(resolved.config, "first_resolution", 0), start.config)
    if 0 < first < getattr(size, "resolution", 0):
        logger.warning(
            "training begins at %d pixels, but %s has learned %d; to go on there: "
            "--set first_resolution=%d",
            first, name, size.resolution, size.resolution,
        )  # fmt: skip
    return start


def _say_changes(history: History, wanted: Resolved) -> None:
    """Name the settings that changed in the run, and those that are about to."""
    for change in history.changes:
        logger.info("changed: %s", change)
    before, now = flat(history.now), flat(wanted)
    if about := [f"{key}={now[key]} ({before[key]} before)" for key in now
                 if now[key] != before[key]]:  # fmt: skip
        logger.info("changing: %s", ", ".join(about))
