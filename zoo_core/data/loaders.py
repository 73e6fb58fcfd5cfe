"""Loader processes, which end when the training process does and not before."""

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

TORCH_ERROR_WAIT = 5.0  # seconds to wait for torch's error about how a loader process ended
CAN_IDENTIFY_SENDER = hasattr(signal, "sigtimedwait")  # of a signal; not on macOS or Windows


def load_with_workers(data: Dataset[Item], positions: range, workers: int) -> Iterator[Item]:
    """Yield `data[p]` for all positions, in order, computed by `workers` processes.

    Raises RunError if a process breaks its connection.
    """
    loader = torch.utils.data.DataLoader(
        data,
        sampler=positions,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_exit_with_parent,
    )
    try:
        with _signals_blocked():
            items = iter(loader)
        yield from items
    except (ConnectionError, EOFError) as error:
        # Torch's own error interrupts this wait; later it would be raised at an arbitrary point.
        time.sleep(TORCH_ERROR_WAIT)
        what = f"a loader process is gone: {str(error) or type(error).__name__}"
        raise RunError(what, hint="--set workers=0") from None


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM in all threads of the processes started here.

    Schedulers and `timeout` send SIGTERM to every process of a run, as Ctrl-C does SIGINT; but a
    run that stops at the end of a step still needs the batches under way.
    """
    if not CAN_IDENTIFY_SENDER:
        yield
        return
    resource_tracker.ensure_running()  # started later, it would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_with_parent(worker: int) -> None:
    """End this process when its parent has ended or sends SIGTERM; ignore SIGTERM from others."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        while parent.is_alive():
            sent = signal.sigtimedwait({signal.SIGTERM}, 5)
            if sent is not None and sent.si_pid == parent.pid:
                break
        os._exit(0)

    if CAN_IDENTIFY_SENDER:
        threading.Thread(target=wait, daemon=True).start()
