"""Which registered files are on this machine, whether they are whole, and what nothing needs."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from zoo_core.errors import WeightsError
from zoo_core.plugins.contributions import Contribution
from zoo_core.spec import WeightsEntry, WeightsFile
from zoo_core.weights.hub import find
from zoo_core.weights.places import is_remote
from zoo_core.weights.registry import Registry
from zoo_core.weights.store import digest_of, is_free, store_folder

STALE = 24 * 3600  # seconds after which nobody fills a part that no lock protects
_STORED = re.compile(r"([0-9a-f]{64})(\.[0-9a-f]{16})?(\.part)?")


class Held(NamedTuple):
    """A file of registered weights; `path` is None if it is not on this machine."""

    name: str  # of the weights, as short as is unambiguous
    role: str
    file: WeightsFile
    contribution: Contribution[WeightsEntry]
    where: str  # "packaged", "cached", "to fetch", or "missing" for a package that is not here
    path: Path | None


class Unneeded(NamedTuple):
    """A file in the cache that no registry names, or the rest of a download."""

    path: Path
    size: int  # bytes


def held(registry: Registry) -> Iterator[Held]:
    """Every file of every registered name; nothing is read."""
    for name, contribution in zip(registry.names(), registry, strict=True):
        yield from files_of(name, contribution)


def files_of(name: str, contribution: Contribution[WeightsEntry]) -> Iterator[Held]:
    """Every file of one name, which may be that of a repository; nothing is read."""
    for role, file in contribution.spec.files.items():
        found = find(file)
        absent = "to fetch" if any(map(is_remote, file.urls)) else "missing"
        where, path = (absent, None) if found is None else (found.where, found.path)
        yield Held(name, role, file, contribution, where, path)


def unnamed(registry: Registry) -> list[Path]:
    """Downloaded files that no registry names any more."""
    named = {file.sha256 for found in registry for file in found.spec.files.values()}
    return [
        path for path, sha256, is_part in _stored_files() if not is_part and sha256 not in named
    ]


def damage_of(path: Path) -> str:
    """What is wrong with a downloaded file, whose sha256 is its name; empty if nothing is."""
    try:
        return "" if digest_of(path)[1] == path.name else "other bytes than its name says"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def unneeded(registry: Registry) -> list[Unneeded]:
    """What `prune` removes: files that no registry names, and parts that nobody is filling."""
    found = []
    parts = (path for path, _, is_part in _stored_files() if is_part)
    for path in (*unnamed(registry), *filter(_is_abandoned, parts)):
        with contextlib.suppress(FileNotFoundError):  # another process has just finished it
            found.append(Unneeded(path, path.stat().st_size))
    return found


def prune(registry: Registry, *, dry_run: bool = False) -> list[Unneeded]:
    """Remove what is unneeded, and return it; with `dry_run`, only return it.

    Locks stay: removing one for which a process waits would let two of them write. Raises
    WeightsError for a file that cannot be removed.
    """
    removed = unneeded(registry)
    for each in () if dry_run else removed:
        try:
            each.path.unlink(missing_ok=True)
        except OSError as error:
            raise WeightsError(f"cannot remove {each.path}: {error.strerror}") from None
    return removed


def _stored_files() -> Iterator[tuple[Path, str, bool]]:
    """(path, sha256, whether it is a part) of every file of ours in the folder."""
    folder = store_folder()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _STORED.fullmatch(path.name)
        if match and path.is_file():
            yield path, match[1], match[3] is not None


def _is_abandoned(part: Path) -> bool:
    lock = part.with_suffix(".lock")
    if lock.exists():
        return is_free(lock)
    try:
        age = time.time() - part.stat().st_mtime
    except FileNotFoundError:
        return False
    return abs(age) > STALE  # a file of the future was written by a clock that is wrong
