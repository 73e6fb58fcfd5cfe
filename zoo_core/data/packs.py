"""The folder of packed images: its files, and how damage to them is noticed.

    images, source    the arrays, uint8 [N, H, W, C]; missing where images are decoded at each use
    names.json        the names of the images
    index.json        shapes, labels, classes, what was skipped; size and hash of each file above,
                      and its own hash

Opening compares every size, the whole index and blocks spread over the other files: a quarter of a
megabyte each, however many images there are. `read_whole` compares every pixel.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo_core.data.progress import OnProgress, no_progress
from zoo_core.filesystem import sync_folder, write_synced
from zoo_core.pictures import PictureDataset

BLOCKS, BLOCK = 64, 4096  # blocks of a file that are hashed when it is opened, and bytes of each
ARRAYS = ("images", "source")
CONTENT = (*ARRAYS, "labels", "classes")  # what the fingerprint tells of, besides the pixels
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)  # of files that are not ours


def seal(folder: Path, index: Mapping[str, Any]) -> None:
    """Write index.json, with the hashes of the files that are there; all is on the disk then."""
    files = {path.name: _stamp(path) for path in sorted(folder.iterdir())}
    whole = {**index, "files": files}
    text = json.dumps({**whole, "sha256": _sha256(whole)})
    write_synced(folder / "index.json", text.encode())
    sync_folder(folder)


def read_index(folder: Path) -> dict[str, Any]:
    """What `seal` was given. Raises one of DAMAGED if a file is not as it was then."""
    index: dict[str, Any] = json.loads((folder / "index.json").read_bytes())
    if index.pop("sha256") != _sha256(index):
        raise ValueError("index.json is not as it was written")
    for name, stamp in index.pop("files").items():
        found = _stamp(folder / name)
        if found["size"] != stamp["size"]:
            raise ValueError(f"{name} has {found['size']} bytes, not {stamp['size']}")
        if found != stamp:
            raise ValueError(f"{name} is not as it was written")
    return index


def mapped(folder: Path, index: Mapping[str, Any]) -> list[Any]:
    """The arrays `images` and `source`, memory-mapped; None for one that there is not."""
    shapes = [(name, index.get(name)) for name in ARRAYS]
    return [
        None if shape is None else np.memmap(folder / name, np.uint8, "r", shape=tuple(shape))
        for name, shape in shapes
    ]


def read_whole(folder: Path, on_progress: OnProgress = no_progress) -> None:
    """Compare every pixel with the fingerprint. Raises one of DAMAGED if one is another."""
    index = read_index(folder)
    if not (folder / "images").exists():  # decoded at each use
        return
    digest = hashlib.sha256()
    images, source = mapped(folder, index)
    for row in range(len(images)):
        for array in (images, source):
            if array is not None:
                digest.update(array[row])
        on_progress(row + 1, len(images))
    digest.update(content_text(index))
    if digest.hexdigest()[: len(index["fingerprint"])] != index["fingerprint"]:
        raise ValueError("its pixels are not as they were written")


def content_text(index: Mapping[str, Any]) -> bytes:
    """What the fingerprint tells of, besides the pixels."""
    return json.dumps({key: index[key] for key in CONTENT if key in index}).encode()


def remove(folder: Path) -> None:
    """Remove a folder, of which no half is ever found: it is renamed first."""
    aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        shutil.rmtree(folder.rename(aside), ignore_errors=True)


def made_from(dataset: PictureDataset) -> str:
    """What is recorded of where images come from: their path, or the kind of data set."""
    path = getattr(dataset, "path", None)
    return str(path.resolve()) if isinstance(path, Path) else type(dataset).__name__


def _stamp(path: Path) -> dict[str, Any]:
    """The size of a file, and a hash of blocks spread over it, the first and the last included."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = path.stat().st_size
        for number in range(BLOCKS):
            file.seek(max(0, size - BLOCK) * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return {"size": size, "blocks": digest.hexdigest()}


def _sha256(index: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index).encode()).hexdigest()
