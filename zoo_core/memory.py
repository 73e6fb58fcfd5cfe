"""The memory that is left for this process, and what would take more than that."""

from __future__ import annotations

import os
from pathlib import Path

from zoo_core.errors import InputError

SHARE = 0.9  # of the memory that is left, for one thing
SMALL = 1 << 26  # bytes that are not worth asking the system

MACHINE = Path("/proc/meminfo")  # Linux
CONTAINER = Path("/sys/fs/cgroup")  # Linux, its control group
LIMITS = {  # limit -> usage, statistics: control groups of version 2, and of version 1
    "memory.max": ("memory.current", "memory.stat"),
    "memory/memory.limit_in_bytes": ("memory/memory.usage_in_bytes", "memory/memory.stat"),
}


def available_memory() -> int | None:
    """Bytes that can still be taken without swapping; None if the system does not say.

    It is the lower of what the machine and what a container have left. Where only the machine's
    whole memory is known (macOS), it is that.
    """
    found = [_left_on_machine(), *(_left_in_container(limit) for limit in LIMITS)]
    return min((each for each in found if each is not None), default=None)


def check_memory(needed: int, what: str, hint: str = "") -> None:
    """Raise InputError, before it is taken, for more memory than there is for `what`, a plural."""
    available = None if needed < SMALL else available_memory()
    if available is not None and needed > SHARE * available:
        raise InputError(
            f"{what} do not fit into memory",
            given=f"{needed / 1e9:,.1f} GB",
            allowed=f"{SHARE * available / 1e9:,.1f} GB",
            hint=hint,
        )


def _left_on_machine() -> int | None:
    try:
        lines = MACHINE.read_bytes().splitlines()
        kilobytes = dict(line.split()[:2] for line in lines)[b"MemAvailable:"]
        return int(kilobytes) * 1024
    except (OSError, KeyError, ValueError):
        return _whole_memory()


def _whole_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _left_in_container(limit: str) -> int | None:
    """What a limit leaves, with cached files counted as free: the kernel drops them first."""
    usage, statistics = LIMITS[limit]
    try:
        most, used = (int((CONTAINER / file).read_bytes()) for file in (limit, usage))
        lines = (CONTAINER / statistics).read_bytes().splitlines()
        counts = {name: int(count) for name, count in map(bytes.split, lines)}
        return most - used + counts[b"inactive_file"] + counts[b"active_file"]
    except (OSError, KeyError, ValueError):  # no such limit: "max"
        return None
