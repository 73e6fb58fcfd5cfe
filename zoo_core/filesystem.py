"""Paths as people type them, files that are either whole or not there, and the cache folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from zoo_core.errors import CheckpointError, DataError


def cache_folder() -> Path:
    """`ZOO_CACHE`, else the platform's cache folder. It is created when something is put there."""
    if configured := os.environ.get("ZOO_CACHE"):
        return Path(configured).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("zoo", appauthor=False))


def can_only_be_path(name: str, suffix: str) -> bool:
    """Whether `name` is spelled as only a path is; `suffix` is that of the files it may name."""
    return name.startswith(("~", ".", "/")) or "\\" in name or name.endswith(suffix)


def exists(name: str | Path) -> bool:
    """Whether there is something at a path; what cannot be asked for (too long a name) is not."""
    try:
        return Path(name).exists()
    except OSError:
        return False


def typed_path(name: str) -> Path:
    """A path as it was typed. Raises DataError for one that cannot be asked for: too long a name, a
    forbidden folder, the home of nobody.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name} is no usable path: {reason}") from None
    return path


@contextlib.contextmanager
def mkdir_with_rollback(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; of these, all that stay empty go again at the end."""
    new: list[Path] = []
    try:
        new += [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for each in new:
            with contextlib.suppress(OSError):  # was never made, or holds something
                each.rmdir()


@contextlib.contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A file to write that becomes `path` when it is whole, and is gone when it will not be.

    `shared`: other processes may be writing the same one now.
    """
    owner = f".{os.getpid()}" if shared else ""
    temporary = path.with_name(f".{path.name}{owner}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # it was never written, or the disk is read-only now
            temporary.unlink()
        raise


def write_file(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, or leave it as it was and raise CheckpointError (a full disk)."""
    try:
        with replacing(path) as temporary:
            write_synced(temporary, data)
        sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}", hint="make room") from None


def write_synced(path: Path, data: bytes) -> None:
    """Write a file, and return when it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make a rename survive a power cut (a folder cannot be opened on Windows, and need not be)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
