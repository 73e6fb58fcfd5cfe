"""The files of zip files and tar archives, and which kind of tree a path is.

Links in an archive are counted, not followed; nothing is unpacked.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo_core.data.folders import split_in
from zoo_core.data.formats import readable_suffixes
from zoo_core.data.trees import NO_FILES, File, FolderTree, SingleFile, Tree, is_junk, suffix_of
from zoo_core.errors import DataError

ARCHIVES = (".zip", ".tar")
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
COMPRESSED = (*PACKED, ".gz", ".bz2", ".xz", ".zst")
WHOLE = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"Rar!", b"7z\xbc\xaf", b"PK")
LINKS = "links in an archive"


class ZipTree(Tree):
    """The members of a zip file, which every process opens for itself.

    Threads may share an open ZipFile (it locks), but a forked worker would move its parent's file
    position.
    """

    def __init__(self, path: Path):
        unreadable: Counter[str] = Counter()
        self._own: dict[str, str] = {}  # name -> as it is in the archive, where that differs
        super().__init__(path, _zip_members(path, self._own, unreadable))
        self.unreadable = unreadable
        self._open: dict[int, zipfile.ZipFile] = {}  # by process ID

    def read(self, number: int) -> bytes:
        """The bytes of a member."""
        return self._archive().read(self._member(number))

    def start(self, number: int, size: int) -> bytes:
        """The first bytes of a member."""
        with self._archive().open(self._member(number)) as file:
            return file.read(size)

    def _archive(self) -> zipfile.ZipFile:
        process = os.getpid()
        if process not in self._open:
            self._open.setdefault(process, zipfile.ZipFile(self.path))
        return self._open[process]

    def _member(self, number: int) -> str:
        name = self.names[number]
        return self._own.get(name, name)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}


class TarTree(Tree):
    """The members of uncompressed tar files, such as the shards that WebDataset writes."""

    def __init__(self, path: Path, shards: Sequence[Path], beside: Iterable[str] = ()):
        self.shards = {shard.name: shard for shard in sorted(shards)}
        places: dict[str, int] = {}
        unreadable = Counter(suffix_of(name) or "without suffix" for name in beside)
        super().__init__(path, self._members(places, unreadable))
        self.unreadable = unreadable
        self._places = array("q", [places[name] for name in self.names])
        tells = any(split_in(shard.removesuffix(".tar")) for shard in self.shards)
        self._folders = {shard: _folder_of(shard) for shard in self.shards} if tells else {}

    def layout_name(self, number: int) -> str:
        """The name inside its shard, below the split that the shard's name tells, if any does."""
        name = self.names[number].partition("/")[2] if len(self.shards) > 1 else self.names[number]
        return f"{self._folders[self.shard(number).name]}{name}" if self._folders else name

    def shard(self, number: int) -> Path:
        """The tar file that a file is in."""
        name = self.names[number].partition("/")[0] if len(self.shards) > 1 else min(self.shards)
        return self.shards[name]

    def read(self, number: int) -> bytes:
        """The bytes of a member."""
        return self.start(number, self.sizes[number])

    def start(self, number: int, size: int) -> bytes:
        """The first bytes of a member."""
        with self.shard(number).open("rb") as file:
            file.seek(self._places[number])
            return file.read(min(size, self.sizes[number]))

    def _members(self, places: dict[str, int], unreadable: Counter[str]) -> Iterator[File]:
        """Every member; the place of its first byte goes into `places`."""
        for shard in self.shards.values():
            prefix = f"{shard.name}/" if len(self.shards) > 1 else ""
            for member in _tar_members(shard, unreadable):
                name = prefix + _in_archive(member.name)
                if is_junk(name):
                    continue
                if name in places:
                    raise DataError(f"{shard} contains two files with the same name", given=name)
                places[name] = member.offset_data
                yield File(name, member.size, int(member.mtime * 1e9))


def open_tree(path: Path) -> Tree:
    """The files at a path: a folder, a zip or tar file, a folder of tar files, or one file.

    Raises DataError if there is nothing, or it cannot be read file by file.
    """
    if path.is_dir():
        tree = FolderTree(path)
        tars = [name for name in tree.names if name.endswith(".tar")]
        others = [name for name in tree.names if not name.endswith(".tar")]
        if tars and not any("/" in name for name in tars) and not _may_be_data(others):
            return TarTree(path, [path / name for name in tars], others)
        return tree
    if path.suffix.lower() == ".zip" and path.is_file():
        return ZipTree(path)
    if path.suffix.lower() == ".tar" and path.is_file():
        return TarTree(path, [path])
    if path.name.lower().endswith(COMPRESSED) and path.is_file():
        raise _compressed(path)
    if path.is_file():
        return SingleFile(path)
    what = "is not a regular file" if path.exists() else "does not exist"
    raise DataError(f"{path} {what}", allowed="a folder, a .zip or .tar file, or an image")


def _compressed(path: Path) -> DataError:
    return DataError(
        f"{path} is compressed as a whole, so no file in it can be read by itself",
        allowed="folders, .zip and .tar files",
        hint="unpack it, and pass the folder",
    )


def _starts_with(path: Path, signatures: tuple[bytes, ...]) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(8).startswith(signatures)
    return False


def _may_be_data(names: Iterable[str]) -> bool:
    """Whether there are images or archives of them among these files."""
    suffixes = set(map(suffix_of, names))
    return not suffixes.isdisjoint({*readable_suffixes(), ".zip", *COMPRESSED})


def _in_archive(name: str) -> str:
    """The path of a member from the top: old tools of Windows write backslashes, some a slash."""
    return name.replace("\\", "/").removeprefix("./").lstrip("/")


def _folder_of(shard: str) -> str:
    """What the name of a tar file tells as a folder: `train/` for imagenet-train-000000.tar."""
    stem = shard.removesuffix(".tar")
    return f"{split_in(stem) or stem}/"


def _zip_members(path: Path, own: dict[str, str], unreadable: Counter[str]) -> Iterator[File]:
    """Every regular member; names that are spelled otherwise in the archive go into `own`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    seen: set[str] = set()
    encrypted = 0
    for member in members:
        name = _in_archive(member.filename)
        if name.endswith("/") or is_junk(name):
            continue
        if name in seen:
            raise DataError(f"{path} contains two files with the same name", given=name)
        seen.add(name)
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            unreadable[LINKS if stat.S_ISLNK(mode) else NO_FILES] += 1
            continue
        encrypted += member.flag_bits & 1
        if name != member.filename:
            own[name] = member.filename
        yield File(name, member.file_size, member.CRC)
    if encrypted and encrypted == len(seen) - unreadable.total():
        raise DataError(f"{path} is encrypted", hint="unpack it, and pass the folder")


def _tar_members(path: Path, unreadable: Counter[str]) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header
                if member.isreg() and not member.issparse():
                    yield member
                elif not member.isdir():
                    unreadable[LINKS if member.islnk() or member.issym() else NO_FILES] += 1
    except (OSError, tarfile.TarError) as error:
        if _starts_with(path, WHOLE):
            raise _compressed(path) from None
        raise DataError(f"cannot read {path}: {error}") from None
