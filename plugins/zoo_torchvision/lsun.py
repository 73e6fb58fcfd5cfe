"""LSUN, from the LMDB folders of its authors, without torchvision.

torchvision keeps the keys of each folder in a pickle in the current folder, and the zoo does not
unpickle files. The folders are those that torchvision reads: `bedroom_train_lmdb` and so on.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core import DataError, InputError, OfflineError, Picture, PictureDataset
from zoo_core.data import decode

if TYPE_CHECKING:
    from zoo_torchvision.names import Request

CATEGORIES = (
    "bedroom", "bridge", "church_outdoor", "classroom", "conference_room",
    "dining_room", "kitchen", "living_room", "restaurant", "tower",
)  # fmt: skip
DOCUMENTATION = "https://github.com/fyu/lsun"

_opened: dict[Path, Any] = {}  # LMDB refuses to open a folder twice in a process
_opening = threading.Lock()


def open_lsun(request: Request, split: str) -> PictureDataset:
    """Open one split: all ten categories, or those of the option `classes`, joined by `+`.

    Several categories are classes; `test` has none. Raises InputError for an unknown category,
    OfflineError if a folder or the package lmdb is missing.
    """
    chosen = tuple(request.options.get("classes", "+".join(CATEGORIES)).split("+"))
    if unknown := [name for name in chosen if name not in CATEGORIES]:
        raise InputError(
            f"LSUN has no category {unknown[0]!r}",
            allowed=", ".join(CATEGORIES),
            hint=f"torchvision/LSUN:{request.folder},classes=bedroom+tower",
        )
    folders = ["test_lmdb"] if split == "test" else [f"{name}_{split}_lmdb" for name in chosen]
    for folder in folders:
        if not (request.folder / folder / "data.mdb").is_file():
            raise OfflineError(
                f"there is no {folder} in {request.folder}",
                hint=f"get the files by hand, see {DOCUMENTATION}, and unzip them there",
            )
    return LsunPictures(request.folder, folders, chosen if len(folders) > 1 else ())


class LsunPictures(PictureDataset):
    """The images of some LMDB folders, one after the other, in the order of their keys.

    Threads and processes, forked or spawned, may read concurrently.
    """

    def __init__(self, folder: Path, folders: list[str], classes: tuple[str, ...]):
        self.folder, self.folders, self.classes = folder, folders, classes
        self.keys = [_read_keys(folder / name) for name in folders]
        self._ends = list(accumulate(map(len, self.keys)))
        digest = hashlib.sha256(repr((folders, classes)).encode())
        for name, keys in zip(folders, self.keys, strict=True):
            status = (folder / name / "data.mdb").stat()
            digest.update(f"{name} {len(keys)} {status.st_size} {status.st_mtime_ns}\n".encode())
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Picture:
        index = range(len(self))[index]
        label = bisect_right(self._ends, index)
        name, key = self.folders[label], self.keys[label][index - self._ends[label]]
        with _environment(self.folder / name).begin() as transaction:
            data = transaction.get(key)
        named = f"{name}/{key.decode(errors='backslashreplace')}"
        return Picture(named, decode(data, named), label if self.classes else None)


def _read_keys(path: Path) -> list[bytes]:
    with _environment(path).begin() as transaction:
        return list(transaction.cursor().iternext(keys=True, values=False))


def _environment(path: Path) -> Any:
    """The opened LMDB folder. A process opens each once, and shares it with those it forks: without
    locks a transaction touches nothing but mapped memory.
    """
    try:
        import lmdb
    except ImportError:
        what = "torchvision/LSUN needs the package lmdb"
        raise OfflineError(what, hint="pip install lmdb") from None
    with _opening:
        if path not in _opened:
            try:
                _opened[path] = lmdb.open(str(path), readonly=True, lock=False, readahead=False)
            except lmdb.Error as error:
                raise DataError(f"{path} cannot be opened: {error}") from None
    return _opened[path]
