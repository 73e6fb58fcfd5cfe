"""The files of a folder, a zip file or tar archives: their names, and the bytes of each.

Only regular files are listed. Hidden files and what operating systems leave behind do not count.
Links are followed, but never into a folder that is being listed. Names and numbers are held once,
so that a million files take some 150 MB.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo_core.errors import DataError

ARCHIVES = (".zip", ".tar")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar", ".gz", ".xz")
JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
JUNK_FOLDERS = frozenset({"__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
MAX_DEPTH = 64  # folders inside folders


class File(NamedTuple):
    """A file that was found: its path with forward slashes, its bytes, and what changes with it."""

    name: str
    size: int
    stamp: int  # modification time in ns; of a zip member, its CRC


class Tree(ABC):
    """Files in the order of the bytes of their names; threads and processes may read at once."""

    def __init__(self, path: Path, files: Iterable[File]):
        self.path = path
        names, sizes, stamps = [], array("q"), array("q")
        for name, size, stamp in files:
            names.append(name)
            sizes.append(size)
            stamps.append(stamp)
        # The order of code points is that of their bytes; names that are no text are told by bytes.
        key = names.__getitem__ if _are_text(names) else lambda n: os.fsencode(names[n])
        order = sorted(range(len(names)), key=key)
        self.names = [names[number] for number in order]
        self.sizes = array("q", (sizes[number] for number in order))
        self.stamps = array("q", (stamps[number] for number in order))
        self.unreadable: Counter[str] = Counter()  # pipes, devices and so on: what -> how many

    def __len__(self) -> int:
        return len(self.names)

    def layout_name(self, number: int) -> str:
        """The name that tells the layout: without the shard that a file is in."""
        return self.names[number]

    @abstractmethod
    def read(self, number: int) -> bytes:
        """The bytes of a file; whatever the system or a codec raises."""


class FolderTree(Tree):
    """The files of a folder and its sub-folders."""

    def __init__(self, path: Path):
        unreadable: Counter[str] = Counter()
        super().__init__(path, _walk(path, unreadable))
        self.unreadable = unreadable

    def read(self, number: int) -> bytes:
        """The bytes of a file."""
        return (self.path / self.names[number]).read_bytes()


class SingleFile(Tree):
    """One image file as a data set."""

    def __init__(self, path: Path):
        status = path.stat()
        super().__init__(path.parent, [File(path.name, status.st_size, status.st_mtime_ns)])

    def read(self, number: int) -> bytes:
        """The bytes of the file."""
        return (self.path / self.names[number]).read_bytes()


class ZipTree(Tree):
    """The members of a zip file, which every process opens for itself.

    Threads may share an open ZipFile (it locks), but a forked worker would move its parent's file
    position.
    """

    def __init__(self, path: Path):
        super().__init__(path, _zip_members(path))
        self._open: dict[int, zipfile.ZipFile] = {}  # by process ID

    def layout_name(self, number: int) -> str:
        """The name with slashes: old tools of Windows write backslashes."""
        return self.names[number].replace("\\", "/")

    def read(self, number: int) -> bytes:
        """The bytes of a member."""
        process = os.getpid()
        if process not in self._open:
            self._open.setdefault(process, zipfile.ZipFile(self.path))
        return self._open[process].read(self.names[number])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}


class TarTree(Tree):
    """The members of uncompressed tar files, such as the shards that WebDataset writes."""

    def __init__(self, path: Path, shards: Sequence[Path]):
        self.shards = {shard.name: shard for shard in sorted(shards)}
        places: dict[str, int] = {}
        super().__init__(path, self._members(places))
        self._places = array("q", [places[name] for name in self.names])
        splits = {shard: _split_of(shard) for shard in self.shards}
        self._splits = splits if all(splits.values()) else {}

    def layout_name(self, number: int) -> str:
        """The name inside its shard, below the split that the shard's name tells, if all do."""
        name = self.names[number].partition("/")[2] if len(self.shards) > 1 else self.names[number]
        return f"{self._splits[self.shard(number).name]}{name}" if self._splits else name

    def shard(self, number: int) -> Path:
        """The tar file that a file is in."""
        name = self.names[number].partition("/")[0] if len(self.shards) > 1 else min(self.shards)
        return self.shards[name]

    def read(self, number: int) -> bytes:
        """The bytes of a member."""
        with self.shard(number).open("rb") as file:
            file.seek(self._places[number])
            return file.read(self.sizes[number])

    def _members(self, places: dict[str, int]) -> Iterator[File]:
        """Every member; the place of its first byte goes into `places`."""
        for shard in self.shards.values():
            prefix = f"{shard.name}/" if len(self.shards) > 1 else ""
            for member in _tar_members(shard):
                name = prefix + member.name.removeprefix("./")
                if _is_junk(name):
                    continue
                if name in places:
                    raise DataError(f"{shard} contains two files with the same name", given=name)
                places[name] = member.offset_data
                yield File(name, member.size, int(member.mtime * 1e9))


def suffix_of(name: str) -> str:
    """The suffix of a path in lower case, with its dot: pathlib's, in a tenth of the time."""
    base = name[name.rfind("/") + 1 :]
    dot = base.rfind(".")
    return base[dot:].lower() if 0 < dot < len(base) - 1 else ""


def _are_text(names: Iterable[str]) -> bool:
    """Whether no name holds bytes that are not UTF-8, which Python keeps as lone surrogates."""
    return all(name.isascii() or not any("\ud800" <= c <= "\udfff" for c in name) for name in names)


def open_tree(path: Path) -> Tree:
    """The files at a path: a folder, a zip or tar file, a folder of tar files, or one file.

    Raises DataError if there is nothing, or it cannot be read file by file.
    """
    if path.is_dir():
        tree = FolderTree(path)
        tars = [name for name in tree.names if name.endswith(".tar")]
        others = set(map(suffix_of, tree.names)) - {".tar", ".json", ".txt"}
        if tars and not others and not any("/" in name for name in tars):
            return TarTree(path, [path / name for name in tars])
        return tree
    if path.suffix.lower() == ".zip" and path.is_file():
        return ZipTree(path)
    if path.suffix.lower() == ".tar" and path.is_file():
        return TarTree(path, [path])
    if path.name.lower().endswith(COMPRESSED) and path.is_file():
        raise DataError(
            f"{path} is compressed as a whole, so no file in it can be read by itself",
            allowed="folders, .zip and .tar files",
            hint="unpack it, and pass the folder",
        )
    if path.is_file():
        return SingleFile(path)
    what = "is not a regular file" if path.exists() else "does not exist"
    raise DataError(f"{path} {what}", allowed="a folder, a .zip or .tar file, or an image")


def _walk(folder: Path, unreadable: Counter[str]) -> Iterator[File]:
    """Every regular file below a folder; what is neither file nor folder is counted."""
    stack: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(str(folder), "", frozenset())]
    while stack:
        place, prefix, above = stack.pop()
        try:
            status = Path(place).stat()
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"cannot list {place}: {error.strerror}") from None
        here = (status.st_dev, status.st_ino)
        if here in above or len(above) == MAX_DEPTH:
            unreadable["links back to a folder that contains them"] += 1
            continue
        for entry in entries:
            if entry.name[0] == "." or _is_junk(entry.name):
                continue
            try:
                status = entry.stat()
            except OSError:  # a broken link: kept, so that reading it reports its name
                yield File(prefix + entry.name, 0, 0)
                continue
            if stat.S_ISDIR(status.st_mode):
                stack.append((entry.path, f"{prefix}{entry.name}/", above | {here}))
            elif stat.S_ISREG(status.st_mode):
                yield File(prefix + entry.name, status.st_size, status.st_mtime_ns)
            else:
                unreadable["pipes, sockets and devices"] += 1


def _split_of(shard: str) -> str:
    """`train/` for imagenet-train-000000.tar; nothing where the name tells no split."""
    words = re.split(r"[^a-z]+", shard.lower())
    return next(
        (f"{word}/" for word in words if word in ("train", "val", "valid", "validation", "test")),
        "",
    )


def _is_junk(name: str) -> bool:
    """Whether a path is hidden, or left behind by an operating system."""
    parts = name.split("/")
    if any(part[:1] == "." != part or part in JUNK_FOLDERS for part in parts):
        return True
    return parts[-1].lower() in JUNK


def _zip_members(path: Path) -> list[File]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not _is_folder(member)]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    repeated = [name for name, n in Counter(m.filename for m in members).items() if n > 1]
    if repeated:
        raise DataError(f"{path} contains two files with the same name", given=repeated[0])
    return [
        File(member.filename, member.file_size, member.CRC)
        for member in members
        if not _is_junk(member.filename)
    ]


def _is_folder(member: zipfile.ZipInfo) -> bool:
    return member.is_dir() or member.filename.endswith("\\")


def _tar_members(path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                if member.isreg() and not member.issparse():
                    yield member
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
