"""The cache of downloaded weights files, each named by its sha256: the folder `weights` in it.

A file is filled under another name, flushed to the disk and renamed, so that a name is either
missing or whole. What fills it is kept when a download breaks off, and the next one goes on there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from zoo_core.errors import DownloadError
from zoo_core.filesystem import cache_folder, is_full, replace, sync_folder
from zoo_core.spec import WeightsFile

if TYPE_CHECKING:
    from filelock import FileLock

CHUNK = 1 << 20  # bytes


def store_folder() -> Path:
    """The folder of downloaded files, which may not exist yet."""
    return cache_folder() / "weights"


def stored_path(file: WeightsFile) -> Path:
    """Where a downloaded file is, or will be."""
    return store_folder() / file.sha256


def stored(file: WeightsFile) -> Path | None:
    """The downloaded file, if there is one; it has yet to be verified."""
    path = stored_path(file)
    with contextlib.suppress(OSError):  # a folder that we may not enter
        return path if path.is_file() else None
    return None


def digest_of(path: Path) -> tuple[int, str]:
    """The size and the sha256 of a file, read in chunks. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
            size += len(data)
    return size, digest.hexdigest()


class Part:
    """A file that is being filled, and the sha256 of its bytes so far. Use it in a `with` block.

    It starts with what an earlier download left. A disk that refuses bytes is a DownloadError, and
    what is half-written is removed: it may be what fills the disk.
    """

    def __init__(self, path: Path):
        self.path, self.size, self.is_whole = path, 0, False
        self._digest = hashlib.sha256()
        with _writing(path):
            self._file = os.fdopen(_opened(path), "r+b", buffering=0)
            while data := self._file.read(CHUNK):
                self._count(data)

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()
        if not self.size:
            self.remove()

    @property
    def sha256(self) -> str:
        """Of the bytes so far."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes. Raises DownloadError."""
        left = memoryview(data)
        try:
            with _writing(self.path):
                while left:
                    left = left[self._file.write(left) :]
        except DownloadError:
            self.remove()
            raise
        self._count(data)

    def restart(self) -> None:
        """Forget every byte. Raises DownloadError."""
        with _writing(self.path):
            self._file.seek(0)
            self._file.truncate()
        self.size, self._digest = 0, hashlib.sha256()

    def keep_as(self, path: Path) -> None:
        """Flush the bytes to the disk and rename the file. Raises DownloadError."""
        with _writing(path):
            os.fsync(self._file.fileno())
            self._file.close()
            replace(self.path, path)
            sync_folder(path.parent)

    def remove(self) -> None:
        """Delete the file, which may be renamed already."""
        with contextlib.suppress(OSError):
            self._file.close()
            self.path.unlink()

    def _count(self, data: bytes) -> None:
        self._digest.update(data)
        self.size += len(data)


@contextlib.contextmanager
def reserved(file: WeightsFile, name: str) -> Iterator[Path]:
    """Wait until no other process downloads the file; the path of the part that is ours to fill.

    Locks of some network disks exclude nobody. There each process fills a part of its own, which
    cannot be found again after it breaks off. Raises DownloadError if nothing can be written.
    """
    folder = store_folder()
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f"{file.sha256}.lock", name) as excludes:
        if excludes:
            yield folder / f"{file.sha256}.part"
            return
        part = folder / f"{file.sha256}.{os.urandom(8).hex()}.part"
        try:
            yield part
        finally:
            with contextlib.suppress(OSError):  # renamed, never made, or a folder that is read-only
                part.unlink()


@contextlib.contextmanager
def _locked(path: Path, name: str) -> Iterator[bool]:
    """Hold a lock, and whether it excludes anyone: a second one is tried to find out."""
    lock = _acquired(path, name)
    try:
        yield lock is not None and not is_free(path)
    finally:
        if lock is not None:
            lock.release()


def _acquired(path: Path, name: str) -> FileLock | None:
    """The lock, once it is ours; None where there are no locks."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logging.getLogger("zoo").warning("another process downloads %s; waiting for it", name)
            lock.acquire()
    except (OSError, NotImplementedError):
        return None
    return lock


def is_free(path: Path) -> bool:
    """Whether nobody holds a lock file, or locks exclude nobody."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except (OSError, NotImplementedError):
        return True
    lock.release()
    return True


def _opened(path: Path) -> int:
    """A descriptor of a plain file; a link that someone has put there is not followed."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.unlink()
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"cannot write {path}: {error.strerror}",
            hint="free disk space, or name another folder in ZOO_CACHE"
            if is_full(error)
            else "name another folder in ZOO_CACHE",
        ) from None
