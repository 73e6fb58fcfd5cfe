"""Errors of torch about memory and batches, as the zoo's own, with what to type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from zoo_core.config import RunConfig
from zoo_core.errors import ConfigError, RunError
from zoo_core.training.slices import checked_group
from zoo_core.training.state import TrainState


@contextlib.contextmanager
def translate_torch_errors() -> Iterator[None]:
    """Raise the zoo's own errors for torch's: out of memory, too small a batch, a dead loader."""
    try:
        yield
    except ValueError as problem:
        if "more than 1 value per channel" not in str(problem):
            raise
        what = "batch normalization needs at least two images"
        raise ConfigError(what, hint="--change batch_size=2") from problem
    except (MemoryError, RuntimeError) as problem:
        if is_shortage(problem):
            hint = "a smaller batch_size or a smaller network, in a new run"
            raise RunError("out of memory", hint=hint) from problem
        if "DataLoader worker" in str(problem):  # from torch's signal handler, at any line
            reason = str(problem).splitlines()[0]
            raise RunError(f"a loader process is gone: {reason}", hint="--set workers=0") from None
        raise


@contextlib.contextmanager
def explain_shortage(state: TrainState, settings: RunConfig) -> Iterator[None]:
    """If a step runs out of memory, raise RunError with where the run stands and what to type.

    A growing network may do so after days: its later stages are larger.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        if not is_shortage(problem):
            raise
        side = state.shown.side or state.networks.main.image_shape[2]
        raise RunError(
            f"out of memory after {state.images_seen:,} images, in a step of "
            f"{settings.batch_size} images of {side} x {side} pixels",
            hint=_relief(state, settings),
        ) from problem


def is_shortage(problem: BaseException) -> bool:
    """Whether an error says that memory ran out, of this machine or of a device."""
    said = str(problem)
    return isinstance(problem, MemoryError) or any(
        words in said
        for words in ("out of memory", "allocate memory")  # GPU, CPU
    )


def _relief(state: TrainState, settings: RunConfig) -> str:
    """What needs less memory, as options of the same command."""
    options = []
    if micro_batch := _smaller_slices(state, settings):
        options.append(f"--change micro_batch={micro_batch} for the same steps in parts")
    half = settings.batch_size // 2
    if half and not (settings.micro_batch and half % settings.micro_batch):
        options.append(f"--change batch_size={half}")
    return ", or ".join(options) or "a smaller network, in a new run"


def _smaller_slices(state: TrainState, settings: RunConfig) -> int:
    """The largest smaller `micro_batch` at most half as large that this model allows; 0: none."""
    size = settings.batch_size
    for micro_batch in range((settings.micro_batch or size) // 2, 0, -1):
        if size % micro_batch == 0:
            with contextlib.suppress(ConfigError):
                checked_group(size, micro_batch, state.networks, state.phases)
                return micro_batch
    return 0
