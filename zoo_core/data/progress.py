"""How those who read or measure many images tell how far they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeAlias

OnProgress: TypeAlias = Callable[[int, int], None]  # images or bytes: done, in total
Counting: TypeAlias = Callable[[str], AbstractContextManager[OnProgress]]  # given what is done


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


@contextlib.contextmanager
def silent(what: str) -> Iterator[OnProgress]:
    """Show nothing of what is done."""
    yield no_progress
