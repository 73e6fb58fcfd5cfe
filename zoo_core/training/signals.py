"""Ctrl-C and SIGTERM: the first one stops a run at the end of its step, the second at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class StopRequest(threading.Event):
    """Set by the first signal. The second raises KeyboardInterrupt, the others do nothing."""

    _leaving = False

    def leave(self) -> None:
        """Do nothing at further signals: everything is saved, and the run is ending anyway."""
        self._leaving = True

    def handle(self, number: int, frame: Any) -> None:
        """The handler of the signals."""
        if self._leaving:
            return
        if self.is_set():
            self.leave()
            raise KeyboardInterrupt
        self.set()


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Yield what is set by SIGINT and SIGTERM, as long as the context lasts."""
    requested = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield requested  # only the main thread may set handlers
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, requested.handle) for number in signals}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
