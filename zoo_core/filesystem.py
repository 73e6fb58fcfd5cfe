"""Paths as users type them, atomic replacement of files, and the cache folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from zoo_core.errors import CheckpointError, DataError


def cache_folder() -> Path:
    """`ZOO_CACHE`, else the platform's cache folder. It is created on the first write."""
    if configured := os.environ.get("ZOO_CACHE"):
        return Path(configured).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("zoo", appauthor=False))


def can_only_be_path(name: str, suffix: str) -> bool:
    """Whether `name`, by its spelling, can only be a path; `suffix` is that of the file type."""
    return name.startswith(("~", ".", "/")) or "\\" in name or name.endswith(suffix)


def exists(name: str | Path) -> bool:
    """Whether a path exists; False if the operating system rejects it (too long a name)."""
    try:
        return Path(name).exists()
    except OSError:
        return False


def typed_path(name: str) -> Path:
    """A path as the user typed it. Raises DataError if the operating system rejects it: too long a
    name, a forbidden folder, the home of an unknown user.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name} is not a usable path: {reason}") from None
    return path


@contextlib.contextmanager
def mkdir_with_rollback(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; at the end remove the new ones that are still empty."""
    new: list[Path] = []
    try:
        new += [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for each in new:
            with contextlib.suppress(OSError):  # never made, or not empty
                each.rmdir()


@contextlib.contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A temporary file that replaces `path` on success and is removed on failure.

    `shared`: other processes may be writing the same `path` at the same time.
    """
    owner = f".{os.getpid()}" if shared else ""
    temporary = path.with_name(f".{path.name}{owner}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # never written, or the disk has become read-only
            temporary.unlink()
        raise


def write_file(path: Path, data: bytes) -> None:
    """Replace the content of `path`; on failure (a full disk) keep it and raise CheckpointError."""
    try:
        with replacing(path) as temporary:
            write_synced(temporary, data)
        sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}", hint="free disk space"
        ) from None


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make a rename survive a power cut. Windows needs no sync and cannot open folders."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
