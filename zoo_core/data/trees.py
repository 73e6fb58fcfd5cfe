"""The files of a folder: their names, and the bytes of each; `archives.py` has those of archives.

Only regular files are listed. Hidden files and what operating systems leave behind do not count.
Links are followed, but never into a folder that is being listed. Names and numbers are held once,
so that a million files take some 150 MB.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from zoo_core.errors import DataError

JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
JUNK_FOLDERS = frozenset({"__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
NETWORK_FOLDERS = frozenset({"@eaDir", "#recycle", "@Recycle", "#snapshot"})  # of network storage
NO_FILES = "pipes, sockets and devices"
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

    @abstractmethod
    def start(self, number: int, size: int) -> bytes:
        """The first bytes of a file, without reading all of it."""


class FolderTree(Tree):
    """The files of a folder and its sub-folders."""

    def __init__(self, path: Path):
        unreadable: Counter[str] = Counter()
        super().__init__(path, _walk(path, unreadable))
        self.unreadable = unreadable

    def read(self, number: int) -> bytes:
        """The bytes of a file."""
        return (self.path / self.names[number]).read_bytes()

    def start(self, number: int, size: int) -> bytes:
        """The first bytes of a file."""
        with (self.path / self.names[number]).open("rb") as file:
            return file.read(size)


class SingleFile(FolderTree):
    """One image file as a data set."""

    def __init__(self, path: Path):
        status = path.stat()
        file = File(path.name, status.st_size, status.st_mtime_ns)
        Tree.__init__(self, path.parent, [file])


def suffix_of(name: str) -> str:
    """The suffix of a path in lower case, with its dot: pathlib's, in a tenth of the time."""
    base = name[name.rfind("/") + 1 :]
    dot = base.rfind(".")
    return base[dot:].lower() if 0 < dot < len(base) - 1 else ""


def _are_text(names: Iterable[str]) -> bool:
    """Whether no name holds bytes that are not UTF-8, which Python keeps as lone surrogates."""
    return all(name.isascii() or not any("\ud800" <= c <= "\udfff" for c in name) for name in names)


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
        if here in above:
            unreadable["links back to a folder that contains them"] += 1
            continue
        if len(above) == MAX_DEPTH:
            unreadable[f"folders more than {MAX_DEPTH} deep"] += 1
            continue
        for entry in entries:
            if entry.name[0] == "." or is_junk(entry.name):
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
                unreadable[NO_FILES] += 1


def is_junk(name: str) -> bool:
    """Whether a path is hidden, or left behind by an operating system."""
    parts = name.split("/")
    if any(part[:1] == "." != part or part in JUNK_FOLDERS | NETWORK_FOLDERS for part in parts):
        return True
    return parts[-1].lower() in JUNK
