"""What a run does besides training: log, draw samples, evaluate, save and restore."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from zoo_core.config import Resolved
from zoo_core.data.batches import gather, to_uint8
from zoo_core.data.packing import PackedData
from zoo_core.data.saving import grid_columns, save_grid
from zoo_core.errors import CheckpointError, InputError
from zoo_core.interfaces import FeatureExtractor
from zoo_core.metrics.protocol import Evaluation, is_better
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec, RunInfo
from zoo_core.training.carrying import carry_optimizers, carry_tensors
from zoo_core.training.changes import History
from zoo_core.training.checkpoint import (
    Checkpoint,
    Checkpoints,
    optimizer_tensors,
    restore_optimizer,
)
from zoo_core.training.data_record import describe, difference
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.signals import StopRequest
from zoo_core.training.starting import Start
from zoo_core.training.state import TrainState
from zoo_core.weights.header import WeightsMetadata, trained_images
from zoo_core.weights.tensors import Tensors, save_weights

Notify = Callable[..., None]  # (name of an observer hook, **its arguments), like Plugins.notify


@dataclass(frozen=True)
class Run:
    """Everything that does not change during a run, or between two changes of its settings."""

    spec: ModelSpec
    history: History
    resolved: Resolved  # the settings from here on, up to the next change
    data: PackedData
    folder: RunFolder
    checkpoints: Checkpoints
    runtime: Runtime
    metadata: WeightsMetadata
    notify: Notify
    stop_requested: StopRequest
    evaluation: Evaluation | None = None
    start: Start | None = None  # the weights that a new run starts from
    until: int | None = None  # images seen at the next change; None: there is none

    @property
    def info(self) -> RunInfo:
        """What observers learn about the run."""
        return RunInfo(
            name=self.folder.path.name,
            model=self.spec.name,
            directory=self.folder.path,
            config=self.resolved.config,
            settings=self.resolved.run,
        )


def save(state: TrainState, run: Run) -> None:
    """Write a checkpoint, then the weights file that goes with it."""
    optim: Tensors = {}
    for name, optimizer in state.optimizers():
        optim |= optimizer_tensors(name, optimizer)
    record = {
        "images": state.images_seen,
        "log_bytes": run.folder.sync_log(),
        "terms": {name: [float(total), count] for name, (total, count) in state.terms.items()},
        "best": state.best,
        "data": run.data.fingerprint,
        "extractors": _extractors(state),
        "zoo_version": version("zoo-core"),
        "torch_version": torch.__version__,
    }
    path = run.checkpoints.save(state.images_seen, state.tensors(), optim, record)
    publish(state, run)
    run.notify("zoo_checkpoint_saved", run=run.info, images=state.images_seen, path=path)


def publish(state: TrainState, run: Run) -> None:
    """Write the averaged network as a weights file."""
    _save_averaged(state, run, run.folder.weights(run.metadata.role))


def restore(state: TrainState, run: Run, loaded: Checkpoint | None) -> bool:
    """Load the newest intact checkpoint into `state`; return whether there is one.

    Raises CheckpointError if a trained run has no usable checkpoint left, InputError if the data or
    the feature extractors have changed.
    """
    if loaded is None:
        _check_untrained(run)
        run.folder.cut_log(0)
    else:
        _check_belongs(state, run, loaded)
        _load(state, run, loaded)
        run.folder.cut_log(loaded.record["log_bytes"])
    return loaded is not None


def reopen(state: TrainState, run: Run, restored: bool) -> None:
    """Tell weights and log of the changes made here, now that config.json does; replay alarms."""
    if restored:
        publish(state, run)  # also because a kill may have come between checkpoint and this file
    run.folder.log_changes(run.history.made_at(state.images_seen))
    for line in run.folder.read_log():
        state.alarms.observe(line)


def _check_belongs(state: TrainState, run: Run, loaded: Checkpoint) -> None:
    """Raise InputError or CheckpointError unless a checkpoint fits this run as it is now."""
    weights, record = loaded.weights, loaded.record
    check_data(run.folder, run.data, run.history.accepted or record["data"])
    extractors = _extractors(state)
    if record.get("extractors", extractors) != extractors:
        raise InputError(
            f"the feature extractor has changed since the run in {run.folder.path} began",
            given=", ".join(extractors),
            allowed=", ".join(record["extractors"]),
            hint="--run-dir NEW_FOLDER, or restore the previous extractor",
        )
    own = state.tensors()
    if run.history.made_at(record["images"]):  # then only networks have to be the same
        roles = tuple(f"{role}." for role, _ in state.networks.named())
        own, weights = (
            {key: tensor for key, tensor in tensors.items() if key.startswith(roles)}
            for tensors in (own, weights)
        )
    if own.keys() != weights.keys() or any(own[key].shape != weights[key].shape for key in own):
        raise CheckpointError(
            f"the checkpoints in {run.folder.path} do not fit this version of {run.info.model}",
            given=f"written by zoo-core {record['zoo_version']}",
            hint="--run-dir NEW_FOLDER",
        )


@torch.no_grad()
def _load(state: TrainState, run: Run, loaded: Checkpoint) -> None:
    """Copy a checkpoint into `state`."""
    weights, optim, record = loaded
    if run.history.made_at(record["images"]):
        before = run.history.before(record["images"])
        carry_tensors(state, weights, before.run, run.resolved.run, record["images"])
        carry_optimizers(state, optim, run.spec.build_phases(state.networks, before.config))
    else:
        for key, tensor in state.tensors().items():
            tensor.copy_(weights[key])
        for name, optimizer in state.optimizers():
            restore_optimizer(name, optimizer, optim)
    state.images_seen = record["images"]
    state.terms = {name: (total, count) for name, (total, count) in record["terms"].items()}
    state.best = record.get("best")


def check_data(
    folder: RunFolder, data: PackedData, trained_on: str = "", *, more: str = ""
) -> None:
    """Raise InputError, which says what differs, if the run was trained on other images.

    `trained_on` is their fingerprint, by default the one in the newest checkpoint, if there is one;
    `more` is what has to be typed as well to go on with these.
    """
    found = other_data(folder, data, trained_on)
    if found:
        raise InputError(
            f"these are not the images that the run in {folder.path} began with",
            given=found["difference"],
            hint=f"--change data=accept{more} to go on with these, --run-dir NEW_FOLDER, or "
            "restore the original data",
        )


def other_data(folder: RunFolder, data: PackedData, trained_on: str = "") -> dict[str, str]:
    """How the images differ from those that the run was trained on; empty if they do not."""
    before = trained_on or Checkpoints(folder.checkpoints).data_fingerprint() or data.fingerprint
    if before == data.fingerprint:
        return {}
    recorded = folder.recorded_data()
    said = "other images"
    if recorded.get("fingerprint") == before:  # else written by an older version, or damaged
        with contextlib.suppress(Exception):  # of the wrong types
            said = difference(recorded, describe(data))
    return {"fingerprint": data.fingerprint, "before": before, "difference": said}


def _check_untrained(run: Run) -> None:
    """Raise CheckpointError if there are trained weights, which a fresh start would overwrite.

    A run that was killed before its first checkpoint has no weights, or those of image 0.
    """
    for path in (run.folder.weights(run.metadata.role), run.folder.best):
        if images := trained_images(path):
            raise CheckpointError(
                f"no checkpoint is left in {run.checkpoints.folder} to resume from",
                given=f"{path.name} of {images} images",
                allowed="a run with its checkpoints, or a new folder",
                hint="--run-dir NEW_FOLDER, or restore the checkpoints",
            )


def _extractors(state: TrainState) -> list[str]:
    """Fingerprints of the networks' feature extractors, which checkpoints do not contain."""
    networks = (state.networks.generator, state.networks.discriminator)
    parts = chain.from_iterable(network.modules() for network in networks if network is not None)
    return [part.fingerprint for part in parts if isinstance(part, FeatureExtractor)]


def log(state: TrainState, run: Run, clock: Clock) -> dict[str, float]:
    """Log the mean of every term since the last line, and the time in `timing.jsonl`."""
    means = {name: float(total) / count for name, (total, count) in state.terms.items()}
    state.terms = {}
    _write(state, run, means)
    lap = {**clock.lap(state.images_seen), "device": run.runtime.device_name}
    run.folder.append(run.folder.timing, {"images": state.images_seen, **lap})
    return means


def evaluate(state: TrainState, run: Run, wanted: Evaluation) -> None:
    """Evaluate the averaged network, log the numbers, and save it if it is the best so far."""
    numbers = dict(wanted.measure(state.averaged))
    line = {f"evaluation/{name}": value for name, value in numbers.items()}
    _write(state, run, line | {"evaluation/protocol": wanted.protocol})
    run.notify("zoo_evaluation", run=run.info, images=state.images_seen, numbers=numbers)
    value, best = numbers.get(wanted.criterion), state.best
    if value is None:
        return
    comparable = best is not None and best.get("protocol") == wanted.protocol
    if comparable and not is_better(wanted.criterion, value, best["value"]):
        return
    state.best = {"images": state.images_seen, "value": value, "protocol": wanted.protocol}
    _save_averaged(state, run, run.folder.best)


def draw_samples(state: TrainState, run: Run) -> None:
    """Draw a grid of fixed seeds with the averaged generator, if there is one."""
    if state.networks.generator is None:
        return
    generator = state.averaged
    columns = grid_columns(generator.image_shape[2])
    count = columns * columns
    source = None
    if run.data.source is not None and generator.source_shape is not None:
        count = min(count, len(run.data))
        ids = np.linspace(0, len(run.data) - 1, count).astype(np.int64)  # spread over the data
        jitter = run.resolved.run.jitter
        source = run.runtime.place_images(gather(run.data.source, ids, jitter))
    labels = [i % generator.num_classes for i in range(count)] if generator.num_classes else None
    pictures = generator.sample(range(count), labels=labels, source=source)
    save_grid(run.folder.samples / f"{state.images_seen:012d}.png", to_uint8(pictures), columns)
    run.notify("zoo_samples", run=run.info, images=state.images_seen, pictures=pictures)


def _write(state: TrainState, run: Run, numbers: Mapping[str, Any]) -> None:
    """Write a log line, and one more for each alarm that it raises."""
    line = {"images": state.images_seen, **numbers}
    run.folder.append(run.folder.log, line)
    for alarm in state.alarms.observe(line):
        record = {"alarm": alarm.name, "what": alarm.what, "try": alarm.hint}
        run.folder.append(run.folder.log, {"images": state.images_seen, **record})
        run.notify("zoo_alarm", run=run.info, images=state.images_seen, alarm=alarm)


def _save_averaged(state: TrainState, run: Run, path: Path) -> None:
    metadata = msgspec.structs.replace(run.metadata, images=state.images_seen)
    if changes := run.history.made(state.images_seen):
        metadata = msgspec.structs.replace(metadata, changes=msgspec.to_builtins(changes))
    save_weights(path, state.averaged, metadata)


class Clock:
    """Measures seconds and images per second since the last lap."""

    def __init__(self, images: int):
        self.images, self.time = images, time.perf_counter()

    def lap(self, images: int) -> dict[str, float]:
        """Start a new lap; return what `timing.jsonl` records of the last one."""
        now = time.perf_counter()
        seconds, seen = now - self.time, images - self.images
        self.images, self.time = images, now
        return {"seconds": round(seconds, 3), "images_per_second": round(seen / seconds, 2)}
