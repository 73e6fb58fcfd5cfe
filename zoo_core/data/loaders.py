"""Loader processes, which end when the training process does and not before.

The operating system decides how they start: forked on Linux, as new interpreters on macOS and
Windows ("spawn"), from a server since Python 3.14. They yield the same items in any case.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from zoo_core.errors import RunError

Item = TypeVar("Item")

TORCH_ERROR_WAIT = 5.0  # seconds to wait for torch's error about how a loader process ended
CAN_BLOCK_SIGNALS = hasattr(signal, "pthread_sigmask")  # not on Windows
CAN_IDENTIFY_SENDER = hasattr(signal, "sigtimedwait")  # of a signal; not on macOS or Windows


def load_with_workers(data: Dataset[Item], positions: range, workers: int) -> Iterator[Item]:
    """Yield `data[p]` for all positions, in order, computed by `workers` processes.

    Raises RunError if a process cannot be started or breaks its connection.
    """
    loader = torch.utils.data.DataLoader(
        data,
        sampler=positions,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_exit_with_parent,
    )
    try:
        yield from _started(loader)
    except (ConnectionError, EOFError) as error:
        # Torch's own error interrupts this wait; later it would be raised at an arbitrary point.
        time.sleep(TORCH_ERROR_WAIT)
        what = f"a loader process is gone: {str(error) or type(error).__name__}"
        raise RunError(what, hint="--set workers=0") from None


def _started(loader: torch.utils.data.DataLoader[Item]) -> Iterator[Item]:
    """Start the processes. Raises RunError if there are too many, or no copy of the data for them.

    A process that is not forked gets a pickled copy, which a plugin's data set may not allow.
    """
    try:
        with _signals_blocked():
            return iter(loader)
    except Exception as error:
        what = f"cannot start loader processes: {type(error).__name__}: {error}"
        raise RunError(what, hint="--set workers=0") from error


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT, and SIGTERM if its sender is known, in all threads of processes started here.

    Schedulers and `timeout` send SIGTERM to every process of a run, as Ctrl-C does SIGINT; but a
    run that stops at the end of a step still needs the batches under way.
    """
    if not CAN_BLOCK_SIGNALS:
        yield
        return
    resource_tracker.ensure_running()  # started later, it would unblock the signals
    blocked = {signal.SIGINT, signal.SIGTERM} if CAN_IDENTIFY_SENDER else {signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_with_parent(worker: int) -> None:
    """End this process when its parent ends or terminates it, and at no other signal."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        _wait_for_end(parent)
        os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    threading.Thread(target=wait, daemon=True).start()


def _wait_for_end(parent: BaseProcess) -> None:
    """Return when the parent has ended or, if the sender of a signal is known, sends SIGTERM."""
    if not CAN_IDENTIFY_SENDER:
        parent.join()
    while parent.is_alive():
        sent = signal.sigtimedwait({signal.SIGTERM}, 5)
        if sent is not None and sent.si_pid == parent.pid:
            return


def _send_by_name(array: np.memmap[Any, Any]) -> Any:
    """How to send a memory-mapped array to a process: map the file again, as a fork would share it.

    By default all its bytes are copied, through a pipe and into the memory of each process.
    """
    whole = isinstance(array.base, mmap.mmap) and array.flags.c_contiguous  # not a part, a view
    if not whole or array.mode != "r" or array.filename is None:
        return array.__reduce__()
    return np.memmap, (array.filename, array.dtype, "r", array.offset, array.shape)


ForkingPickler.register(np.memmap, _send_by_name)
