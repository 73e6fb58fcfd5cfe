"""A fingerprint of what an object of torchvision would yield, without decoding its images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def digest_of(header: Any, items: Any, folder: Path) -> str:
    """A sha256 of `header`, of the arrays that `items` holds in memory, and of the sizes and times
    of the files and folders inside `folder` that its attributes name.
    """
    digest = hashlib.sha256(repr(header).encode())
    named: set[str] = set()
    for part in _parts(_of_class(type(items)) | vars(items)):
        if isinstance(part, str):
            named.add(part)
            digest.update(os.fsencode(part.removeprefix(str(folder))))
        else:
            digest.update(part)
        digest.update(b"\0")
    for name, size, stamp in stamps(folder, _files(folder, named)):
        digest.update(os.fsencode(f"{name}\0{size}\0{stamp}\n"))
    return digest.hexdigest()


def _of_class(kind: type) -> dict[str, str]:
    """The texts among the attributes of a class, such as the name of its folder."""
    found = {key: value for each in reversed(kind.__mro__) for key, value in vars(each).items()}
    return {k: v for k, v in found.items() if isinstance(v, str) and not k.startswith("__")}


def stamps(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """(name, bytes, mtime in ns) of each file; zeros for one that is missing."""
    for name in names:
        try:
            status = (folder / name).stat()
        except OSError:
            yield name, 0, 0
        else:
            yield name, status.st_size, status.st_mtime_ns


def _parts(value: Any) -> Iterator[str | memoryview]:
    """Texts, numbers and arrays inside nested plain data; of anything else, the type."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}"
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield str(key)
            yield from _parts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each)
    elif isinstance(value, str | os.PathLike):
        yield os.fspath(value)
    elif isinstance(value, int | float | None):
        yield repr(value)
    else:
        yield type(value).__name__


def _files(folder: Path, named: Iterable[str]) -> list[str]:
    """The files among these paths, and those inside the folders among them, relative to `folder`.

    `folder` itself is not looked through: other data sets may be there, too.
    """
    found: set[str] = set()
    for path in (os.path.join(folder, name) for name in named if name):  # noqa: PTH118
        if not path.startswith(f"{folder}{os.sep}"):
            continue
        if os.path.isdir(path):  # noqa: PTH112 - of any text, also one that can be no path
            found.update(str(Path(top, file)) for top, _, files in os.walk(path) for file in files)
        elif os.path.isfile(path):  # noqa: PTH113
            found.add(path)
    return sorted(os.path.relpath(path, folder) for path in found)
