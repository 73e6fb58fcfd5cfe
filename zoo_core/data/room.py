"""The memory in which images are decoded: threads wait for it, so that it grows with no core.

A thread takes room for the bytes of a file before it reads them and for its pixels before it
decodes them, and gives both back when the image has its final size. An image that needs more room
than there is gets it, alone.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from zoo_core.memory import available_memory

PIXEL_BYTES = 16  # of an image of any kind, at the peak: Pillow's copies and ours
LEAST, SHARE = 1 << 28, 4  # bytes that are always there, and the part of the free memory


class Room:
    """So many bytes, shared by threads."""

    def __init__(self, size: int | None = None):  # None: a part of the memory that is free now
        self.size = size
        self.taken = 0  # by all threads
        self._busy = 0  # threads that have taken some, and do not wait for more
        self._changed = threading.Condition()
        self._own = threading.local()  # what this thread has taken

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[None]:
        """Give back at the end all that this thread takes meanwhile; within another one, later."""
        if hasattr(self._own, "taken"):
            yield
            return
        self._own.taken = 0
        try:
            yield
        finally:
            with self._changed:
                self.taken -= self._own.taken
                self._busy -= self._own.taken > 0
                del self._own.taken
                self._changed.notify_all()

    def take(self, size: int) -> None:
        """Wait until there is room, or until everybody who has taken some waits for more."""
        if self.size is None:
            self.size = max(LEAST, (available_memory() or 0) // SHARE)
        most, size, holds = self.size, max(1, size), self._own.taken > 0
        with self._changed:
            self._busy -= holds
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: self.taken + size <= most or not self._busy)
            except BaseException:
                self._busy += holds
                raise
            self.taken += size
            self._own.taken += size
            self._busy += 1


ROOM = Room()
if hasattr(os, "register_at_fork"):  # a loader process has none of our threads
    os.register_at_fork(after_in_child=lambda: ROOM.__init__(ROOM.size))  # type: ignore[misc]
