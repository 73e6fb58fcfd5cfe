"""Runs `zoo` without what only some systems have: `python tests/posixless.py list`.

The modules are those that Windows lacks; what `os` and `signal` lose is what Windows or macOS lack.
Only our own modules see that loss: other libraries ask which system it is. Lines of text files end
as on Windows. Loader processes are new interpreters, as on both systems; they import this file and
so lack the same.
"""

from __future__ import annotations

import builtins
import io
import multiprocessing
import os
import signal
import sys
from types import ModuleType
from typing import Any

GONE = {"resource", "fcntl", "termios", "tty", "pty", "pwd", "grp", "syslog"}
OS = """
    fork forkpty getuid geteuid getgid getegid getgroups getpgid killpg setsid uname wait wait4 nice
    sync chown lchown fchown fchmod mkfifo mknod statvfs fstatvfs pread pwrite sendfile sysconf
    sched_getaffinity sched_setaffinity posix_fadvise posix_fallocate getloadavg register_at_fork
    O_DIRECTORY O_NOFOLLOW O_CLOEXEC O_NONBLOCK O_SYNC O_DSYNC
"""
SIGNAL = """
    sigtimedwait sigwait sigwaitinfo sigpending pthread_sigmask pthread_kill alarm setitimer
    siginterrupt SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGQUIT SIGALRM SIGSTOP SIGPIPE SIGCHLD SIG_BLOCK
"""


class Refusal:
    """Finds none of the modules that are gone."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name in GONE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def without(module: ModuleType, names: str) -> ModuleType:
    """A copy of a module that lacks some names."""
    copy = ModuleType(module.__name__)
    kept = vars(module).keys() - set(names.split())
    vars(copy).update({name: vars(module)[name] for name in kept})
    return copy


LESS = {"os": without(os, OS), "signal": without(signal, SIGNAL)}
import_all = builtins.__import__


def import_less(name: str, globals: Any = None, *rest: Any, **named: Any) -> ModuleType:
    """`__import__`, which gives our own modules less than is here."""
    ours = str((globals or {}).get("__name__")).startswith("zoo_")
    return LESS[name] if ours and name in LESS else import_all(name, globals, *rest, **named)


def open_as_windows(
    file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
    newline: str | None = None, *rest: Any, **named: Any,
) -> Any:  # fmt: skip
    """`open`, which ends the lines that it writes as Windows does."""
    if newline is None and not set(mode) & set("rb"):
        newline = "\r\n"
    return open_here(file, mode, buffering, encoding, errors, newline, *rest, **named)


open_here = io.open


def take_away() -> None:
    """Let this process see no more of POSIX."""
    sys.meta_path.insert(0, Refusal)  # type: ignore[arg-type]
    for name in GONE:
        sys.modules.pop(name, None)
    builtins.__import__ = import_less
    builtins.open = io.open = open_as_windows


if __name__ in ("__main__", "__mp_main__"):  # the latter in a process started by the former
    take_away()

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    from zoo_core.cli import main

    main()
