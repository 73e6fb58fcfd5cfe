"""Paths as users type them, atomic replacement of files, and the cache folder."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from zoo_core.errors import CheckpointError, DataError, InputError

WINDOWS = sys.platform == "win32"
LOCKED_BYTE = 1 << 30  # far behind the text of a lock file: Windows lets no one read what is locked
REPLACE_TRIES, REPLACE_WAIT = 20, 0.1  # seconds; virus scanners and indexers take less


def cache_folder() -> Path:
    """`ZOO_CACHE`, else the platform's cache folder. It is created on the first write.

    Raises InputError for the home of an unknown user.
    """
    if configured := os.environ.get("ZOO_CACHE"):
        try:
            return with_home(configured)
        except RuntimeError as error:
            raise InputError(f"ZOO_CACHE is not a usable path: {error}", given=configured) from None
    import platformdirs

    return Path(platformdirs.user_cache_dir("zoo", appauthor=False))


def can_only_be_path(name: str, suffix: str | tuple[str, ...]) -> bool:
    """Whether `name`, by its spelling, can only be a path; `suffix` is that of the file type.

    So can a drive, as in `C:/x`, on Windows; a backslash, as in `C:\\x`, on every system.
    """
    on_drive = WINDOWS and bool(PureWindowsPath(name).drive)
    return name.startswith(("~", ".", "/")) or "\\" in name or name.endswith(suffix) or on_drive


def exists(name: str | Path) -> bool:
    """Whether a path exists; False if the operating system rejects it (too long a name)."""
    try:
        return Path(name).exists()
    except OSError:
        return False


def with_home(name: str | Path) -> Path:
    """A path whose first `~` or `~user` is a home, unless it was spelled `./~`.

    Raises RuntimeError for the home of an unknown user.
    """
    return Path(name).expanduser() if str(name).startswith("~") else Path(name)


def typed_path(name: str) -> Path:
    """A path as the user typed it. Raises DataError if the operating system rejects it: too long a
    name, a forbidden folder, the home of an unknown user.
    """
    try:
        path = with_home(name)
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name} is not a usable path: {reason}") from None
    return path


def as_argument(path: str | Path) -> str:
    """A path as an argument of a command that the zoo prints, quoted for a shell."""
    return quoted(spelled(path))


def spelled(path: str | Path) -> str:
    """A path that is never read as a name, an option or somebody's home: `./run` for `run`."""
    text = Path(path).as_posix()
    is_bare = "/" not in text and not text.startswith(".")
    return f"./{text}" if is_bare or text.startswith(("~", "-")) else text


def quoted(text: str) -> str:
    """Text as one argument of a command that the zoo prints, for the shells of this system."""
    for_posix = shlex.quote(text)
    if not WINDOWS or for_posix == text:
        return for_posix
    return '"' + text.replace('"', '\\"') + '"'  # cmd and PowerShell; single quotes are text to cmd


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
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that gets the name `path` on success, and is removed on failure."""
    temporary = path.with_name(f".{path.name}.tmp")
    with mkdir_with_rollback(path.parent):
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        try:
            temporary.mkdir()
            yield temporary
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A temporary file that replaces `path` on success and is removed on failure.

    `shared`: other processes may be writing the same `path` at the same time.
    """
    owner = f".{os.getpid()}" if shared else ""
    temporary = path.with_name(f".{path.name}{owner}.tmp")
    try:
        yield temporary
        replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # never written, or the disk has become read-only
            temporary.unlink()
        raise


def replace(temporary: Path, path: Path) -> None:
    """Rename over `path`. Windows forbids that while anyone reads the old file: wait for them."""
    for _ in range(REPLACE_TRIES if WINDOWS else 0):
        with contextlib.suppress(PermissionError):
            temporary.replace(path)
            return
        time.sleep(REPLACE_WAIT)
    temporary.replace(path)


def lock(file: IO[str]) -> bool:
    """Lock an open file for this process until it is closed; False if another process has done so.

    On a system or a disk without locks, every file can be locked.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file.fileno(), LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        import fcntl

        # lockf, not flock: a loader process would inherit a flock and may outlive us
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return True
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def place_of(file: IO[Any]) -> Path | None:
    """Where an open file is now, wherever it was moved; None if that cannot be told, or nowhere."""
    try:
        if sys.platform == "darwin":
            import fcntl

            found = fcntl.fcntl(file, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")
            place = Path(os.fsdecode(found))
        else:
            place = Path(f"/proc/self/fd/{file.fileno()}").readlink()
        is_there = os.path.samestat(place.stat(), os.fstat(file.fileno()))
    except OSError:  # removed, or no such system
        return None
    return place if is_there else None


def read_start(path: Path, most: int) -> bytes:
    """The bytes of a file or a pipe, but no more than `most`: there are devices without an end."""
    with path.open("rb") as file:
        return file.read(most)


def write_file(path: Path, data: bytes) -> None:
    """Replace the content of `path`; on failure (a full disk) keep it and raise CheckpointError."""
    try:
        with replacing(path) as temporary:
            write_synced(temporary, data)
        sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}", hint=remedy(error)
        ) from None


def is_full(error: OSError) -> bool:
    """Whether a disk, a quota or a limit has no more room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def remedy(error: OSError) -> str:
    """What to try if a file cannot be written."""
    if is_full(error):
        return "free disk space"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make the folder writable"
    return "check the disk"


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(data)
        sync(file)


def sync(file: IO[Any]) -> None:
    """Flush what was written to a file to the disk itself."""
    file.flush()
    if sys.platform == "darwin":  # where fsync leaves it in the cache of the drive
        import fcntl

        with contextlib.suppress(OSError):  # not on every file system
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
            return
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make a rename survive a power cut. Windows needs no sync and cannot open folders."""
    if WINDOWS:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
