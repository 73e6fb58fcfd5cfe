"""The training loop for every model family; it only knows phases.

Progress is counted in images seen. What a step does is a function of the configuration and of that
count: no random generator, loader or sampler has a state of its own. So k steps, a kill and n - k
steps leave the same bytes as n steps, and running the same command again resumes a run.

What happens between a kill and the next start is decided in seven files: noise.py, data/batches.py
and runtime.py derive the data order and all random numbers from the seed and the images seen,
training/state.py collects everything that changes, training/maintenance.py saves and restores it,
training/checkpoint.py writes and verifies it, and training/run_folder.py locks the run and cuts its
log back to the checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import msgspec
import torch
from torch import Tensor

from zoo_core.config import Resolved, RunConfig
from zoo_core.data.batches import batches
from zoo_core.data.packing import PackedData
from zoo_core.data.preparation import check_enough, check_fits
from zoo_core.errors import CollapseError, ConfigError, Interrupted, NonFiniteError, RunError
from zoo_core.interfaces import Batch, Phase, Progress
from zoo_core.metrics.protocol import Evaluation
from zoo_core.noise import SeededNoise
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec, RunInfo
from zoo_core.training.checkpoint import Checkpoints
from zoo_core.training.maintenance import (
    Clock,
    Notify,
    Run,
    draw_samples,
    evaluate,
    log,
    restore,
    save,
)
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.state import TrainState, blueprint, build
from zoo_core.weights.header import WeightsMetadata

logger = logging.getLogger("zoo")


def train(
    spec: ModelSpec,
    resolved: Resolved,  # configuration of the model and of the run
    data: PackedData,
    folder: RunFolder,
    *,
    licence: str,  # SPDX identifier of the data, stored in the weights
    trained_on: str,  # description of the data, stored in the weights
    notify: Notify = lambda hook, **arguments: None,
    evaluation: Evaluation | None = None,  # what to measure every `evaluate_every` images
) -> int:
    """Train from the newest checkpoint until the setting `images` is reached; return images seen.

    Raises Interrupted after a signal (the run is saved), NonFiniteError before a bad update is
    applied, InputError if the folder or the data belong to another run, RunError if files cannot be
    written, CheckpointError if a trained run has no checkpoint left.
    """
    settings = resolved.run
    check_enough(len(data), settings.batch_size)
    network = blueprint(spec, resolved.config)
    check_fits(network, data.classes, data.source is not None)
    classes = data.classes if network.num_classes else ()
    if data.classes and not classes:
        logger.warning("the data has %d classes, which this model does not use", len(data.classes))
    folder.check(resolved)
    runtime = Runtime.detect(settings.device, folder.precision(settings.precision))
    settings = msgspec.structs.replace(settings, precision=runtime.precision)
    resolved = msgspec.structs.replace(resolved, run=settings)
    runtime.choose_repeatable_kernels()
    runtime.keep_freed_memory()
    with folder.locked(), stop_signals() as stop_requested, translate_torch_errors():
        state = build(spec, resolved, runtime)  # if this fails, no folder is left behind
        run = Run(
            resolved=resolved,
            data=data,
            folder=folder,
            checkpoints=Checkpoints(folder.checkpoints, settings.keep_checkpoints),
            runtime=runtime,
            metadata=_metadata(spec, resolved, licence, trained_on, classes),
            info=RunInfo(
                name=folder.path.name,
                model=spec.name,
                directory=folder.path,
                config=resolved.config,
                settings=settings,
            ),
            notify=notify,
            stop_requested=stop_requested,
            evaluation=evaluation,
        )
        restored = restore(state, run)
        folder.start(resolved)
        notify("zoo_run_started", run=run.info, images=state.images_seen)
        with _report_end(state, run), _translate_write_errors(), translate_torch_errors():
            loop(state, run, restored)
    return state.images_seen


def loop(state: TrainState, run: Run, restored: bool) -> None:
    """Alternate maintenance and steps until all images are seen.

    Maintenance precedes each step, so image 0 and the end need no special case.
    """
    settings = run.resolved.run
    stream = batches(run.data, settings, run.runtime, state.images_seen)
    clock = Clock(state.images_seen)
    while True:
        finished, stopping = state.images_seen >= settings.images, run.stop_requested.is_set()
        if not restored:  # this was done before the checkpoint
            means = maintain(state, run, clock, finished, stopping)
            if state.images_seen:
                run.notify("zoo_progress", run=run.info, images=state.images_seen, terms=means)
        if finished:
            return
        if settings.stop_collapsed and state.alarms.collapsed:
            raise _collapsed(state, run)
        if stopping:
            raise Interrupted(
                f"stopped after {state.images_seen} images; "
                f"everything is saved in {run.folder.path}",
                hint="run the same command again to resume",
            )
        restored = False
        batch = next(stream)
        try:
            step(state, batch, settings, run.runtime)
        except NonFiniteError as error:
            names = ", ".join(run.data.names(batch.ids.tolist()[:4]))
            raise NonFiniteError(
                f"{error.what}; the batch begins with {names}", hint=error.hint
            ) from None


def maintain(
    state: TrainState, run: Run, clock: Clock, finished: bool, stopping: bool
) -> dict[str, float] | None:
    """Do what is due before the next step; return the mean terms if a log line was written."""
    settings = run.resolved.run
    due = _Due(state.images_seen, settings.batch_size)
    means = None
    if state.terms and (finished or due(settings.log_every)):
        means = log(state, run, clock)
    if finished or due(settings.sample_every):
        draw_samples(state, run)
    every = settings.evaluate_every
    if run.evaluation and every and state.images_seen and (finished or due(every)):
        evaluate(state, run, run.evaluation)
    collapsed = settings.stop_collapsed and state.alarms.collapsed
    if finished or stopping or collapsed or due(settings.checkpoint_every):
        save(state, run)
    return means


def step(state: TrainState, batch: Batch, settings: RunConfig, runtime: Runtime) -> None:
    """Run every phase that is due on one batch, then update the average."""
    number = state.images_seen // settings.batch_size
    positions = range(state.images_seen, state.images_seen + len(batch))
    progress = Progress(state.images_seen, SeededNoise(settings.seed, positions))
    runtime.seed(settings.seed, state.images_seen)
    if state.augment is not None:
        state.augment.begin(progress.noise)
    signs = None
    for phase in state.phases:
        if number % phase.every == 0:
            terms = run_phase(phase, batch, progress, runtime)
            state.note(phase.name, terms)
            signs = terms.get("real_signs", terms.get("pair_signs", signs))
    state.images_seen += len(batch)
    if state.augment is not None:
        state.augment.observe(signs, state.images_seen, len(batch))
        state.note("augment", state.augment.terms())
    if state.ema is not None:
        state.ema.update(state.images_seen, len(batch))


def run_phase(
    phase: Phase, batch: Batch, progress: Progress, runtime: Runtime
) -> Mapping[str, Tensor]:
    """Compute a phase's loss and the gradients of its own module; take one optimizer step."""
    if phase.schedule is not None:
        for group in phase.optimizer.param_groups:
            group.update(phase.schedule(progress.images_seen))
    parameters = [parameter for parameter in phase.module.parameters() if parameter.requires_grad]
    with runtime.autocast():
        terms = phase.loss(batch, progress)
    # With explicit inputs, no time is spent on gradients of other networks.
    terms["loss"].backward(inputs=parameters)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not runtime.all_finite([terms["loss"].detach(), *gradients]):
        raise _non_finite(phase, terms, gradients, progress)
    phase.optimizer.step()
    phase.optimizer.zero_grad()  # freed now, to take no memory in other phases
    return terms


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Yield an event set by SIGINT and SIGTERM; a second signal raises KeyboardInterrupt."""
    requested = threading.Event()

    def handle(number: int, frame: Any) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    if threading.current_thread() is not threading.main_thread():
        yield requested  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _report_end(state: TrainState, run: Run) -> Iterator[None]:
    """Notify observers of the end of the run, and of its error if there is one."""
    error: BaseException | None = None
    try:
        yield
    except BaseException as problem:
        error = problem
        raise
    finally:
        run.notify("zoo_run_ended", run=run.info, images=state.images_seen, error=error)


@contextlib.contextmanager
def _translate_write_errors() -> Iterator[None]:
    """Raise RunError for a file that cannot be written."""
    try:
        yield
    except OSError as problem:
        what = f"the run cannot write its files: {problem}"
        raise RunError(what, hint="free disk space, then run the same command again") from problem


@contextlib.contextmanager
def translate_torch_errors() -> Iterator[None]:
    """Raise the zoo's own errors for torch's: out of memory, too small a batch, a dead loader."""
    hint = "a new run with a smaller batch_size or a smaller network"
    out_of_memory = RunError("out of memory", hint=hint)
    try:
        yield
    except ValueError as problem:
        if "more than 1 value per channel" not in str(problem):
            raise
        what = "batch normalization needs at least two images"
        raise ConfigError(what, hint="--set batch_size=2 or more, in a new run") from problem
    except MemoryError as problem:
        raise out_of_memory from problem
    except RuntimeError as problem:
        if "out of memory" in str(problem) or "allocate memory" in str(problem):  # GPU, CPU
            raise out_of_memory from problem
        if "DataLoader worker" in str(problem):  # from torch's signal handler, at any line
            reason = str(problem).splitlines()[0]
            raise RunError(f"a loader process is gone: {reason}", hint="--set workers=0") from None
        raise


class _Due:
    """Whether the last step crossed a multiple of a number of images; always true at image 0."""

    def __init__(self, images: int, batch_size: int):
        self.images, self.before = images, images - batch_size

    def __call__(self, every: int) -> bool:
        return self.images // every > self.before // every


def _metadata(
    spec: ModelSpec, resolved: Resolved, licence: str, trained_on: str, classes: tuple[str, ...]
) -> WeightsMetadata:
    return WeightsMetadata(
        model=resolved.model,
        role=spec.role,
        config=msgspec.to_builtins(resolved.config),
        images=0,
        licence=licence,
        trained_on=trained_on,
        zoo_version=version("zoo-core"),
        classes=classes,
    )


def _collapsed(state: TrainState, run: Run) -> CollapseError:
    alarms = state.alarms.collapsed
    best = f"the best weights in {run.folder.best}; " if state.best else ""
    return CollapseError(
        f"stopped after {state.images_seen} images: {'; '.join(alarm.what for alarm in alarms)}",
        hint=f"{best}{alarms[0].hint}, in a new run",
    )


def _non_finite(
    phase: Phase, terms: Mapping[str, Tensor], gradients: list[Tensor], progress: Progress
) -> NonFiniteError:
    norm = torch.nn.utils.get_total_norm(gradients)
    values = ", ".join(f"{name} {value.item():g}" for name, value in terms.items())
    return NonFiniteError(
        f"phase {phase.name!r}: loss or gradient not finite after {progress.images_seen} images "
        f"({values}, gradient norm {norm.item():g}); the update was not applied",
        hint="a lower learning rate",
    )
