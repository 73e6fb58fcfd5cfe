"""Images in a folder or a zip file."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import Counter
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from zoo_core.data.decoding import decode
from zoo_core.errors import DataError, PictureError
from zoo_core.pictures import Picture, PictureDataset

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
OTHERS = (".heic", ".heif", ".avif", ".gif", ".tif", ".tiff", ".bmp", ".jxl", ".jp2")  # not read
KNOWN = SUFFIXES.union(OTHERS)
MAX_FILE_BYTES = 1 << 30


class PictureFiles(PictureDataset):
    """Images in a folder or a zip file, ordered by path, or one image file.

    First-level sub-folders are classes; an outer folder that contains everything, as in many zip
    files, is skipped. Labels exist only if every image is in a sub-folder and there are at least
    two of those. Files are selected by suffix (png, jpg, jpeg, webp); hidden files and folders and
    symlinked folders are ignored. Threads and processes, forked or spawned, may read concurrently.
    """

    def __init__(self, path: Path):
        self.path = path
        self._archives: dict[int, zipfile.ZipFile] = {}  # by process ID
        if path.is_dir():
            found = _walk(path)
        elif path.is_file() and path.suffix.lower() == ".zip":
            found = _zip_members(path)
        elif path.is_file() and path.suffix.lower() in SUFFIXES:
            found, self.path = [_file(path, path.parent)], path.parent
        else:
            raise DataError(
                f"{path} is not a folder, zip file or image",
                allowed="png, jpg, jpeg and webp files",
            )
        suffixes = Counter(PurePosixPath(name).suffix.lower() for name, _, _ in found)
        self.ignored = {suffix: suffixes[suffix] for suffix in OTHERS if suffixes[suffix]}
        found = [item for item in found if PurePosixPath(item[0]).suffix.lower() in SUFFIXES]
        self.files = sorted(found, key=lambda item: os.fsencode(item[0]))
        if not self.files:
            raise DataError(
                f"no images in {path}",
                given=", ".join(f"{n} {suffix}" for suffix, n in self.ignored.items()) or None,
                allowed="png, jpg, jpeg and webp files",
                hint="zoo data list",
            )
        digest = hashlib.sha256()
        for name, size, stamp in self.files:
            digest.update(os.fsencode(f"{name}\0{size}\0{stamp}\n"))
        self.fingerprint = digest.hexdigest()
        self.inside = _inside([name for name, _, _ in self.files])
        folders = [name.split("/")[0] if "/" in name else "" for name in self.inside]
        different = sorted(set(folders))
        sorted_in = "" not in different and len(different) > 1
        self.classes = tuple(map(_as_text, different)) if sorted_in else ()
        self._labels = [different.index(folder) for folder in folders] if sorted_in else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Picture:
        name, size, _ = self.files[index]
        label = None if self._labels is None else self._labels[index]
        if size > MAX_FILE_BYTES:
            raise PictureError(name, f"{size} bytes is too large for an image file")
        try:
            data = self._read(name)
        except Exception as error:  # zipfile passes on errors of its codecs, such as zlib.error
            raise PictureError(name, f"cannot be read ({error})") from None
        return Picture(name, decode(data, name), label)

    def _read(self, name: str) -> bytes:
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        # One ZipFile per process: threads can share it (it locks), but a forked worker would move
        # its parent's file position.
        process = os.getpid()
        if process not in self._archives:
            self._archives.setdefault(process, zipfile.ZipFile(self.path))
        return self._archives[process].read(name)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_archives": {}}


def _as_text(name: str) -> str:
    """A folder name as NFC text: its bytes may not be UTF-8, and macOS decomposes accents."""
    return normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))


def _inside(names: list[str]) -> list[str]:
    """The paths relative to the deepest folder that contains all of them."""
    folders = [name.split("/")[:-1] for name in names]
    levels = zip(*folders, strict=False)  # down to the shallowest file
    around = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return ["/".join(name.split("/")[around:]) for name in names]


def _walk(folder: Path) -> list[tuple[str, int, int]]:
    """(relative path with forward slashes, bytes, mtime in ns) of every image file."""

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot list {error.filename}: {error.strerror}")

    found = []
    for directory, folders, files in os.walk(folder, onerror=refuse, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(directory, name)
            if path.suffix.lower() in KNOWN and not name.startswith("."):
                found.append(_file(path, folder))
    return found


def _file(path: Path, folder: Path) -> tuple[str, int, int]:
    name = path.relative_to(folder).as_posix()
    try:
        status = path.stat()
    except OSError:  # a broken link: kept, so that reading it reports its name
        return name, 0, 0
    return name, status.st_size, status.st_mtime_ns


def _zip_members(path: Path) -> list[tuple[str, int, int]]:
    """Like `_walk`, for the members of a zip file; the CRC takes the place of the mtime."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    names = [member.filename for member in members]
    if len(names) != len(set(names)):
        raise DataError(f"{path} contains two files with the same name")
    return [
        (member.filename, member.file_size, member.CRC)
        for member in members
        if not member.is_dir()
        and Path(member.filename).suffix.lower() in KNOWN
        and not any(part.startswith((".", "__MACOSX")) for part in member.filename.split("/"))
    ]
