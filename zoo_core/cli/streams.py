"""The standard streams of a command: its data alone on stdout, and none lost without a word."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from zoo_core.errors import ZooError


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Keep stdout for what the command itself prints.

    Descriptor 1 leads to stderr meanwhile: what a plugin, a library in C or another process writes
    to it by number does not get into the data. A descriptor that is closed is opened on nothing, so
    that no file of ours takes its number, and with it what is written there.
    """
    is_open = [_is_open(number) for number in range(3)]
    before = sys.stdout, sys.stderr
    if sys.stdout is not sys.__stdout__ or _is_windows_console(sys.stdout):
        yield  # whoever calls us has put a stream of their own there
        return
    number = os.dup(1)
    data, messages = _Data(number, is_open[1]), _Messages(2)
    sys.stdout, sys.stderr = _text(data, before[0]), _text(messages, before[1])
    os.dup2(2, 1)
    try:
        yield
    finally:
        with contextlib.suppress(ZooError, OSError):
            sys.stdout.flush()
        data.is_lost = True  # what is left there failed, and was reported
        sys.stdout, sys.stderr = before
        os.dup2(number, 1)
        os.close(number)


class _Data(io.FileIO):
    """Data of a command: it must arrive, or the command fails."""

    is_lost = False

    def __init__(self, number: int, is_open: bool):
        super().__init__(number, "w", closefd=False)
        self.is_open = is_open

    def write(self, data: Any) -> int:
        if self.is_lost:
            return len(data)
        try:
            if not self.is_open:
                raise OSError(0, "it is closed")
            return super().write(data)
        except BrokenPipeError:  # `zoo list | head`
            raise
        except OSError as error:
            self.is_lost = True
            raise ZooError(f"cannot write to stdout: {error.strerror}") from None


class _Messages(io.FileIO):
    """Messages of a command, which goes on where they cannot be written."""

    def __init__(self, number: int):
        super().__init__(number, "w", closefd=False)

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError:  # a full disk, a terminal that is gone
            return len(data)


def _text(raw: io.FileIO, before: TextIO | None) -> io.TextIOWrapper:
    """A text stream like the one before; what its encoding lacks is written as `\\xe9`."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=raw.fileno() == 2 or raw.isatty(),
    )


def _is_open(number: int) -> bool:
    """Whether a descriptor is open; if not, open it on nothing."""
    with contextlib.suppress(OSError):
        os.fstat(number)
        return True
    os.open(os.devnull, os.O_RDWR)  # takes the smallest number that is free, which is this one
    return False


def _is_windows_console(stream: TextIO | None) -> bool:
    return sys.platform == "win32" and stream is not None and stream.isatty()
