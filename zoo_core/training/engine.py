"""The training loop for every model family; it only knows phases.

Progress is counted in images seen. What a step does is a function of the configuration and of that
count: no random generator, loader or sampler has a state of its own. So k steps, a kill and n - k
steps leave the same bytes as n steps, and running the same command again resumes a run.

What happens between a kill and the next start is decided in eight files: noise.py, data/batches.py
and runtime.py derive the data order and all random numbers from the seed and the images seen,
training/state.py collects everything that changes, training/maintenance.py saves and restores it,
training/checkpoint.py writes and verifies it, training/run_folder.py locks the run and cuts its log
back to the checkpoint, and training/changes.py says which settings apply from which image on.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from zoo_core.config import Resolved, RunConfig
from zoo_core.data.batches import batches
from zoo_core.data.packing import PackedData
from zoo_core.data.preparation import check_enough, check_fits
from zoo_core.errors import CheckpointError, CollapseError, Interrupted, NonFiniteError, RunError
from zoo_core.filesystem import as_argument, remedy
from zoo_core.interfaces import Batch, Phase, Progress
from zoo_core.metrics.protocol import Evaluation
from zoo_core.noise import SeededNoise
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec
from zoo_core.training.alarms import BEST
from zoo_core.training.amend import accepts_data, planned
from zoo_core.training.beginning import begin, with_change
from zoo_core.training.checkpoint import Checkpoints
from zoo_core.training.data_record import describe
from zoo_core.training.maintenance import (
    Clock,
    Notify,
    Run,
    draw_samples,
    evaluate,
    log,
    reopen,
    save,
)
from zoo_core.training.memory import explain_shortage, translate_torch_errors
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.signals import stop_signals
from zoo_core.training.slices import Part, mean_terms
from zoo_core.training.starting import Start
from zoo_core.training.state import TrainState, blueprint
from zoo_core.weights.header import StartedFrom, WeightsMetadata

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
    change: Mapping[str, Any] = MappingProxyType({}),  # settings of the run to change from here on
    start: Start | None = None,  # the weights that `start_from` names, for a run without checkpoint
) -> int:
    """Train from the newest checkpoint until the setting `images` is reached; return images seen.

    `resolved` holds the settings that the run began with, or has now. `change` is what `--change`
    takes: settings, and `data: accept` for images that differ. Raises Interrupted after a signal
    (the run is saved), NonFiniteError before a bad update is applied, InputError if the folder or
    the data belong to another run, or if there is nothing left to change, ConfigError for a setting
    that may not change, RunError if files cannot be written, CheckpointError if a trained run has
    no checkpoint left.
    """
    resolved = resolved.with_classes(len(data.classes))
    history, wanted = planned(spec, folder, resolved, change)
    check_enough(len(data), wanted.run.batch_size)
    network = blueprint(spec, wanted.config)
    check_fits(network, data.classes, data.source is not None, new=True)
    classes = data.classes if network.num_classes else ()
    if data.classes and not classes:
        _warn_of_unused_classes(spec, len(data.classes))
    started_from = folder.started_from() if start is None else start.origin
    with folder.locked(), stop_signals() as stop_requested, translate_torch_errors():
        checkpoints = Checkpoints(folder.checkpoints, wanted.run.keep_checkpoints)
        loaded = checkpoints.load()
        history = with_change(history, wanted, accepts_data(change), folder, data, loaded)
        run = Run(
            spec=spec,
            history=history,
            resolved=wanted,
            data=data,
            folder=folder,
            checkpoints=checkpoints,
            runtime=Runtime.detect(wanted.run.device, wanted.run.precision),
            metadata=_metadata(spec, wanted, licence, trained_on, classes, started_from),
            notify=notify,
            stop_requested=stop_requested,
            evaluation=evaluation,
            start=start,
        )
        state, run, restored = begin(run, loaded)  # if this fails, no folder is left behind
        del loaded  # as large as the networks and their optimizers
        folder.start(history.now, history.changes, describe(data), started_from)
        notify("zoo_run_started", run=run.info, images=state.images_seen)
        return _go_through(state, run, restored)


def _go_through(state: TrainState, run: Run, restored: bool) -> int:
    """Train to the end, by way of changes that are still to come; return images seen."""
    with _report_end(state, run) as end, _translate_write_errors(run), translate_torch_errors():
        while True:
            reopen(state, run, restored)
            loop(state, run, restored)
            if run.until is None:
                return state.images_seen
            state, run, restored = begin(run, run.checkpoints.load())
            end.state, end.run = state, run


def _warn_of_unused_classes(spec: ModelSpec, count: int) -> None:
    if spec.learns_classes:
        unused = "does not use; try: --set num_classes=auto, in a new run"
    else:
        unused = "cannot learn; models that can: zoo list"
    logger.warning("the data has %d classes, which %s %s", count, spec.name, unused)


def loop(state: TrainState, run: Run, restored: bool) -> None:
    """Alternate maintenance and steps until all images are seen, or the settings change.

    Maintenance precedes each step, so image 0 and the end need no special case.
    """
    settings = run.resolved.run
    clock = Clock(state.images_seen)
    stream = batches(run.data, settings, run.runtime, state.images_seen)
    with contextlib.closing(stream):  # ends loader processes while signals are still handled
        while True:
            changing = run.until is not None and state.images_seen >= run.until
            finished = run.until is None and state.images_seen >= settings.images
            stopping = run.stop_requested.is_set()
            if not restored:  # this was done before the checkpoint
                means = maintain(state, run, clock, finished, stopping, changing)
                if state.images_seen:
                    run.notify("zoo_progress", run=run.info, images=state.images_seen, terms=means)
            if finished or changing:
                return
            if settings.stop_collapsed and state.alarms.collapsed:
                raise _collapsed(state, run)
            if stopping:
                run.stop_requested.leave()
                raise _interrupted(state, run)
            restored = False
            with explain_shortage(state, settings):
                batch = next(stream)
                try:
                    step(state, batch, settings, run.runtime)
                except NonFiniteError as error:
                    names = ", ".join(run.data.names(batch.ids.tolist()[:4]))
                    what = f"{error.what}; the batch begins with {names}"
                    raise NonFiniteError(what, hint=_slower(run)) from None


def maintain(
    state: TrainState, run: Run, clock: Clock, finished: bool, stopping: bool, changing: bool
) -> dict[str, float] | None:
    """Do what is due before the next step; return the mean terms if a log line was written.

    Whatever ends the run, a grid shows where it stands. After a signal it is drawn once everything
    is saved, for a second signal leaves at once.
    """
    run.folder.check_in_place()
    settings = run.resolved.run
    due = _Due(state.images_seen, settings.batch_size)
    means = None
    if state.terms and (finished or due(settings.log_every)):
        means = log(state, run, clock)
    drawn = finished or due(settings.sample_every)
    if drawn:
        draw_samples(state, run)
    every = settings.evaluate_every
    if run.evaluation and every and state.images_seen and (finished or due(every)):
        evaluate(state, run, run.evaluation)
    collapsed = settings.stop_collapsed and state.alarms.collapsed
    if finished or stopping or changing or collapsed or due(settings.checkpoint_every):
        save(state, run)
    if (stopping or collapsed) and not drawn:
        draw_samples(state, run)
    return means


def step(state: TrainState, batch: Batch, settings: RunConfig, runtime: Runtime) -> None:
    """Run every phase that is due on one batch, then update the average."""
    number = state.images_seen // settings.batch_size
    positions = range(state.images_seen, state.images_seen + len(batch))
    progress = Progress(state.images_seen, SeededNoise(settings.seed, positions), len(batch))
    runtime.seed(settings.seed, state.images_seen)
    if state.augment is not None:
        state.augment.begin(progress.noise)
    signs = None
    for position, phase in enumerate(state.phases):
        if number % phase.every == 0:
            parts = state.slices and state.slices.parts(position, batch, progress, settings.seed)
            terms = run_phase(phase, batch, progress, runtime, parts)
            state.note(phase.name, terms)
            signs = terms.get("real_signs", terms.get("pair_signs", signs))
    state.images_seen += len(batch)
    if state.augment is not None:
        state.augment.observe(signs, state.images_seen, len(batch))
        state.note("augment", state.augment.terms())
    if state.ema is not None:
        state.ema.update(state.images_seen, len(batch))


def run_phase(
    phase: Phase,
    batch: Batch,
    progress: Progress,
    runtime: Runtime,
    parts: Iterable[Part] | None = None,  # slices of the batch; None: all of it at once
) -> Mapping[str, Tensor]:
    """Compute a phase's loss and the gradients of its own module; take one optimizer step."""
    if phase.schedule is not None:
        for group in phase.optimizer.param_groups:
            group.update(phase.schedule(progress.images_seen))
    parameters = [parameter for parameter in phase.module.parameters() if parameter.requires_grad]
    parts = parts or [Part(phase, batch, progress)]
    terms = mean_terms([_backward(part, parameters, runtime) for part in parts])
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not runtime.all_finite([terms["loss"], *gradients]):
        raise _non_finite(phase, terms, gradients, progress)
    phase.optimizer.step()
    phase.optimizer.zero_grad()  # freed now, to take no memory in other phases
    return terms


def _backward(part: Part, parameters: list[nn.Parameter], runtime: Runtime) -> Mapping[str, Tensor]:
    """Compute the terms of a part, and add its share of the gradients."""
    with runtime.autocast():
        terms = part.phase.loss(part.batch, part.progress)
    loss = terms["loss"] if part.share == 1 else part.share * terms["loss"]
    # With explicit inputs, no time is spent on gradients of other networks.
    loss.backward(inputs=parameters)
    return {name: value.detach() for name, value in terms.items()}


@dataclass
class _End:
    """Where a run stands when it ends."""

    state: TrainState
    run: Run


@contextlib.contextmanager
def _report_end(state: TrainState, run: Run) -> Iterator[_End]:
    """Notify observers of the end of the run, and of its error if there is one."""
    end = _End(state, run)
    error: BaseException | None = None
    try:
        yield end
    except BaseException as problem:
        error = problem
        raise
    finally:
        run.notify("zoo_run_ended", run=end.run.info, images=end.state.images_seen, error=error)


@contextlib.contextmanager
def _translate_write_errors(run: Run) -> Iterator[None]:
    """Raise RunError for a file that cannot be written, or for a run that was moved meanwhile."""
    try:
        yield
    except CheckpointError:
        run.folder.check_in_place()
        raise
    except OSError as problem:
        run.folder.check_in_place()
        what = f"the run cannot write its files: {problem}"
        hint = f"{remedy(problem)}, then run the same command again"
        raise RunError(what, hint=hint) from problem


class _Due:
    """Whether the last step crossed a multiple of a number of images; always true at image 0."""

    def __init__(self, images: int, batch_size: int):
        self.images, self.before = images, images - batch_size

    def __call__(self, every: int) -> bool:
        return self.images // every > self.before // every


def _metadata(
    spec: ModelSpec,
    resolved: Resolved,
    licence: str,
    trained_on: str,
    classes: tuple[str, ...],
    started_from: StartedFrom | msgspec.UnsetType,
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
        started_from=started_from,
    )


def _interrupted(state: TrainState, run: Run) -> Interrupted:
    what = f"stopped after {state.images_seen} images; everything is saved in {run.folder.path}"
    return Interrupted(what, hint="run the same command again to resume")


def _collapsed(state: TrainState, run: Run) -> CollapseError:
    alarms = state.alarms.collapsed
    best = [f"the best weights in {as_argument(run.folder.best)}"] if state.best else []
    hints = [alarm.hint.removeprefix(f"{BEST}; ") for alarm in alarms]
    tries = [hint.replace("--change", "--set") for hint in hints]  # this run has nothing to change
    return CollapseError(
        f"stopped after {state.images_seen} images: {'; '.join(alarm.what for alarm in alarms)}",
        hint=f"{'; '.join([*best, *tries])}, in a new run",
    )


def _non_finite(
    phase: Phase, terms: Mapping[str, Tensor], gradients: list[Tensor], progress: Progress
) -> NonFiniteError:
    norm = torch.nn.utils.get_total_norm(gradients)
    values = ", ".join(f"{name} {value.item():g}" for name, value in terms.items())
    return NonFiniteError(
        f"phase {phase.name!r}: loss or gradient not finite after {progress.images_seen} images "
        f"({values}, gradient norm {norm.item():g}); the update was not applied"
    )


def _slower(run: Run) -> str:
    """What to try against numbers that grow without bound."""
    rate = getattr(run.resolved.config, "learning_rate", 0.0)
    return "a lower learning rate" + (f": --change learning_rate={rate / 2:g}" if rate else "")
