"""Processes that load pictures beside the one that trains, and end when it does, not before."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import TypeVar

import torch
from torch.utils.data import Dataset

from zoo_core.errors import RunError

Item = TypeVar("Item")

LAST_WORD = 5.0  # seconds that torch has to say how a loader process ended
TELLS_SENDER = hasattr(signal, "sigtimedwait")  # of a signal: not on macOS, not on Windows


def loaded(data: Dataset[Item], positions: range, workers: int) -> Iterator[Item]:
    """`data[p]` for all positions, in order, computed by so many processes; RunError when one of
    them hangs up.
    """
    loader = torch.utils.data.DataLoader(
        data,
        sampler=positions,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_obey_the_parent,
    )
    try:
        with _signals_blocked():
            items = iter(loader)
        yield from items
    except (ConnectionError, EOFError) as error:
        time.sleep(LAST_WORD)  # ended by torch's error, which later would strike anywhere
        what = f"a loader process is gone: {str(error) or type(error).__name__}"
        raise RunError(what, hint="--set workers=0") from None


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes started here block, in all their threads, what asks the run to stop.

    A scheduler, or `timeout`, sends SIGTERM to every process of a run, as Ctrl-C does SIGINT; but
    to stop at a step's end takes the batches that are under way.
    """
    if not TELLS_SENDER:
        yield
        return
    resource_tracker.ensure_running()  # of multiprocessing, whose start would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey_the_parent(worker: int) -> None:
    """End this process when its parent, and nobody else, sends SIGTERM, or is no more."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        while parent.is_alive():
            sent = signal.sigtimedwait({signal.SIGTERM}, 5)
            if sent is not None and sent.si_pid == parent.pid:
                break
        os._exit(0)

    if TELLS_SENDER:
        threading.Thread(target=wait, daemon=True).start()
