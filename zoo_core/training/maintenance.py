"""What a run does besides training: log, draw, evaluate, save, and come back from what it saved."""

from __future__ import annotations

import threading
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
from zoo_core.data.saving import save_grid
from zoo_core.errors import CheckpointError, InputError
from zoo_core.interfaces import FeatureExtractor
from zoo_core.metrics.protocol import Evaluation
from zoo_core.runtime import Runtime
from zoo_core.spec import RunInfo
from zoo_core.training.checkpoint import Checkpoints, optimizer_tensors, restore_optimizer
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.state import Training
from zoo_core.weights.header import About, images_seen
from zoo_core.weights.tensors import Tensors, save_weights

Notify = Callable[..., None]  # (name of an observer hook, **its arguments), as Plugins.notify

GRID_COLUMNS = 8
GRID_PIXELS = 1024  # a sample grid is at most this wide


@dataclass(frozen=True)
class Run:
    """Everything that does not change during a run."""

    resolved: Resolved
    data: PackedData
    folder: RunFolder
    checkpoints: Checkpoints
    runtime: Runtime
    about: About
    info: RunInfo
    notify: Notify
    stop_requested: threading.Event
    evaluation: Evaluation | None = None


def save(training: Training, run: Run) -> None:
    """Write a checkpoint, then the weights file that belongs to it."""
    optim: Tensors = {}
    for name, optimizer in training.optimizers():
        optim |= optimizer_tensors(name, optimizer)
    state = {
        "images": training.images,
        "log_bytes": run.folder.sync_log(),
        "terms": {name: [float(total), count] for name, (total, count) in training.terms.items()},
        "best": training.best,
        "data": run.data.fingerprint,
        "extractors": _extractors(training),
        "zoo_version": version("zoo-core"),
        "torch_version": torch.__version__,
    }
    path = run.checkpoints.save(training.images, training.tensors(), optim, state)
    publish(training, run)
    run.notify("zoo_checkpoint_saved", run=run.info, images=training.images, path=path)


def publish(training: Training, run: Run) -> None:
    """Write the averaged network as a weights file."""
    _save_averaged(training, run, run.folder.weights(run.about.role))


def restore(training: Training, run: Run) -> bool:
    """Set everything to the newest checkpoint that verifies; whether there was one.

    Raises CheckpointError where there is none any more, and InputError for other pictures or
    another extractor.
    """
    loaded = run.checkpoints.load()
    if loaded is None:
        _check_untrained(run)
        run.folder.cut_log(0)
        return False
    weights, optim, state = loaded
    check_pictures(run.folder, run.data, state["data"])
    extractors = _extractors(training)
    if state.get("extractors", extractors) != extractors:
        raise InputError(
            f"the feature extractor has changed since the run in {run.folder.path} began",
            given=", ".join(extractors),
            allowed=", ".join(state["extractors"]),
            hint="--run-dir NEW_FOLDER, or put the extractor back",
        )
    own = training.tensors()
    if own.keys() != weights.keys() or any(own[key].shape != weights[key].shape for key in own):
        raise CheckpointError(
            f"the checkpoints in {run.folder.path} do not fit this version of {run.info.model}",
            given=f"zoo-core {state['zoo_version']}",
            hint="--run-dir NEW_FOLDER",
        )
    with torch.no_grad():
        for key, tensor in own.items():
            tensor.copy_(weights[key])
    for name, optimizer in training.optimizers():
        restore_optimizer(name, optimizer, optim)
    training.images = state["images"]
    training.terms = {name: (total, count) for name, (total, count) in state["terms"].items()}
    training.best = state.get("best")
    run.folder.cut_log(state["log_bytes"])
    for line in run.folder.read_log():
        training.alarms.observe(line)
    publish(training, run)  # a kill may have come between the checkpoint and its weights file
    return True


def check_pictures(folder: RunFolder, data: PackedData, began_with: str = "") -> None:
    """Raise InputError if the run began with pictures of another fingerprint; by default, of the
    one in its newest checkpoint, if there is any.
    """
    began_with = began_with or Checkpoints(folder.checkpoints).pictures() or data.fingerprint
    if began_with != data.fingerprint:
        raise InputError(
            f"the pictures are not those that the run in {folder.path} began with",
            hint="--run-dir NEW_FOLDER, or put the pictures back",
        )


def _check_untrained(run: Run) -> None:
    """Raise CheckpointError if there are trained weights, which a new start would overwrite.

    A run that was killed before its first checkpoint has none, or those of image 0.
    """
    for path in (run.folder.weights(run.about.role), run.folder.best):
        if images := images_seen(path):
            raise CheckpointError(
                f"no checkpoint is left in {run.checkpoints.folder} to go on from",
                given=f"{path.name} of {images} images",
                allowed="a run with its checkpoints, or a new folder",
                hint="--run-dir NEW_FOLDER, or put the checkpoints back",
            )


def _extractors(training: Training) -> list[str]:
    """Fingerprints of what the networks look through; it is no part of a checkpoint."""
    networks = (training.networks.generator, training.networks.discriminator)
    parts = chain.from_iterable(network.modules() for network in networks if network is not None)
    return [part.fingerprint for part in parts if isinstance(part, FeatureExtractor)]


def log(training: Training, run: Run, clock: Clock) -> dict[str, float]:
    """Write the mean of every term since the last line and, in another file, how long it took."""
    means = {name: float(total) / count for name, (total, count) in training.terms.items()}
    training.terms = {}
    _write(training, run, means)
    run.folder.append(run.folder.timing, {"images": training.images, **clock.lap(training.images)})
    return means


def evaluate(training: Training, run: Run, wanted: Evaluation) -> None:
    """Measure the averaged network, write the numbers into the log, and keep it if it is the best
    so far.
    """
    numbers = dict(wanted.measure(training.averaged))
    line = {f"evaluation/{name}": value for name, value in numbers.items()}
    _write(training, run, line | {"evaluation/protocol": wanted.protocol})
    run.notify("zoo_evaluation", run=run.info, images=training.images, numbers=numbers)
    value, best = numbers.get(wanted.criterion), training.best
    if value is None:
        return
    if best is not None and best.get("protocol") == wanted.protocol:
        improvement = best["value"] - value if wanted.lower_is_better else value - best["value"]
        if improvement <= 0:
            return
    training.best = {"images": training.images, "value": value, "protocol": wanted.protocol}
    _save_averaged(training, run, run.folder.best)


def draw_samples(training: Training, run: Run) -> None:
    """A grid of the same seeds every time, drawn by the averaged generator, if there is one."""
    if training.networks.generator is None:
        return
    generator = training.averaged
    columns = max(1, min(GRID_COLUMNS, GRID_PIXELS // generator.image_shape[2]))
    count = columns * columns
    source = None
    if run.data.source is not None and generator.source_shape is not None:
        count = min(count, len(run.data))
        ids = np.linspace(0, len(run.data) - 1, count).astype(np.int64)  # from all over the set
        jitter = run.resolved.run.jitter
        source = run.runtime.place_images(gather(run.data.source, ids, jitter))
    labels = [i % generator.num_classes for i in range(count)] if generator.num_classes else None
    pictures = generator.sample(range(count), labels=labels, source=source)
    save_grid(run.folder.samples / f"{training.images:012d}.png", to_uint8(pictures), columns)
    run.notify("zoo_samples", run=run.info, images=training.images, pictures=pictures)


def _write(training: Training, run: Run, numbers: Mapping[str, Any]) -> None:
    """A line of the log; one more for every alarm that it raises."""
    line = {"images": training.images, **numbers}
    run.folder.append(run.folder.log, line)
    for alarm in training.alarms.observe(line):
        record = {"alarm": alarm.name, "what": alarm.what, "try": alarm.hint}
        run.folder.append(run.folder.log, {"images": training.images, **record})
        run.notify("zoo_alarm", run=run.info, images=training.images, alarm=alarm)


def _save_averaged(training: Training, run: Run, path: Path) -> None:
    about = msgspec.structs.replace(run.about, images=training.images)
    save_weights(path, training.averaged, about)


class Clock:
    """Seconds and images a second since the last lap."""

    def __init__(self, images: int):
        self.images, self.time = images, time.perf_counter()

    def lap(self, images: int) -> dict[str, float]:
        """What `timing.jsonl` says of the images since the last one."""
        now = time.perf_counter()
        seconds, seen = now - self.time, images - self.images
        self.images, self.time = images, now
        return {"seconds": round(seconds, 3), "images_per_second": round(seen / seconds, 2)}
