"""Read the images of a data set of torchvision.

Most of its classes take a `loader`, a function from path to image. They are asked for the paths and
labels alone, and the zoo decodes the files itself, as it does those of a folder. The other classes
hold their images in memory, or decode each when it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core import (
    DataError,
    InputError,
    OfflineError,
    Picture,
    PictureDataset,
    PictureError,
    ZooError,
)
from zoo_core.data import decode
from zoo_torchvision.names import (
    Request,
    find_class,
    listed_values,
    missing_package,
    parameters,
)
from zoo_torchvision.state import digest_of, stamps

if TYPE_CHECKING:
    from zoo_core import Pixels

NAMELESS = {"SVHN": 10, "USPS": 10, "SEMEION": 10, "GTSRB": 43, "FER2013": 7, "PCAM": 2}
AS_LISTED = {"Omniglot"}  # numbers its classes in the order in which the disk lists them
MADE = {  # what has to be there already, because the class would make or unpack it
    "Caltech101": ("caltech101/101_ObjectCategories",),
    "Caltech256": ("caltech256/256_ObjectCategories",),
    "INaturalist": ("{version}",),
    "ImageNet": ("meta.bin", "{split}"),
}
GONE = {"LFWPeople", "StanfordCars"}  # torchvision can no longer download them
DOCUMENTATION = "https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.{}.html"


def open_pictures(request: Request, split: str) -> PictureDataset:
    """Open one split, with images at their own size.

    Raises OfflineError if the files or a package are missing, DataError if they are damaged or have
    no class labels, InputError if an option has a value that torchvision does not know.
    """
    arguments = {**request.options, **request.splits[split]}
    items = create(request, arguments)
    if not len(items):
        raise DataError(f"{request} has no images in {request.folder}")
    if "loader" in parameters(type(items)):
        return FilePictures(request, arguments, items)
    return HeldPictures(request, arguments, items, split)


def create(request: Request, arguments: Mapping[str, Any]) -> Any:
    """The object of torchvision, which yields (image or path, target)."""
    kind = find_class(request.name)
    fixed = {"download": False, "loader": str}
    given = {key: value for key, value in fixed.items() if key in parameters(kind)}
    try:
        _check_made(request, kind, arguments)
        return kind(root=str(request.folder), **given, **arguments)
    except ZooError:
        raise
    except ValueError as error:
        if values := listed_values(error):
            what = str(error).partition(" Valid")[0].rstrip(".")
            raise InputError(f"{request}: {what}", allowed=", ".join(values)) from None
        raise _damaged(request, error) from None
    except (RuntimeError, OSError, ImportError) as error:
        raise missing_package(request.name, error) or _missing(request, arguments, error) from None
    except Exception as error:
        raise _damaged(request, error) from None


def _check_made(request: Request, kind: type, arguments: Mapping[str, Any]) -> None:
    values = {key: each.default for key, each in parameters(kind).items()} | arguments
    for inside in MADE.get(request.name, ()):
        if not (request.folder / inside.format(**values)).exists():
            raise FileNotFoundError(f"no {inside.format(**values)}")


def _damaged(request: Request, error: Exception) -> DataError:
    what = f"torchvision cannot read {request} in {request.folder}"
    return DataError(f"{what}: {type(error).__name__}: {error}")


def _missing(request: Request, arguments: Mapping[str, Any], error: Exception) -> OfflineError:
    """What was looked for, where, and the command that fetches it."""
    reason = re.sub(r"\.?\s*You (can|may) .*", "", str(error)).rstrip(".")
    return OfflineError(
        f"torchvision finds no usable {request.name} in {request.folder} ({reason})",
        hint=fetch_command(request, arguments),
    )


def fetch_command(request: Request, arguments: Mapping[str, Any]) -> str:
    """The command that downloads a data set, or where it is described how to get it."""
    takes = parameters(find_class(request.name))
    if "download" not in takes or request.name in GONE:
        where = DOCUMENTATION.format(request.name)
        return f"get the files by hand, see {where}, and put them into {request.folder}"
    other = {key: value for key, value in arguments.items() if value != takes[key].default}
    told = "".join(f", {key}={value!r}" for key, value in other.items())
    call = f"{request.name}({str(request.folder)!r}{told}, download=True)"
    code = f"from torchvision.datasets import {request.name}; {call}"
    quoted = shlex.quote(code) if set(code) & set('"$`!') else f'"{code}"'
    return f"python -c {quoted}"


class FilePictures(PictureDataset):
    """Images in files that torchvision lists, in the order of their paths.

    Threads and processes, forked or spawned, may read concurrently.
    """

    def __init__(self, request: Request, arguments: Mapping[str, Any], items: Any):
        self.folder = request.folder
        found = (items[index] for index in range(len(items)))
        samples = sorted((_inside(self.folder, path), label_of(t, request)) for path, t in found)
        self.files = [name for name, _ in samples]
        labels = [label for _, label in samples]
        names = class_names(items, request, labels) if None not in labels else ()
        self.classes = tuple(sorted(names)) if request.name in AS_LISTED else names
        number = {label: self.classes.index(name) for label, name in enumerate(names)}
        self.labels = [number[label] for label in labels] if names else None
        header = (request.name, dict(arguments), self.classes, self.labels)
        lines = (
            f"{name}\0{size}\0{stamp}\n" for name, size, stamp in stamps(self.folder, self.files)
        )
        digest = hashlib.sha256(json.dumps(header).encode())
        digest.update("".join(lines).encode(errors="surrogateescape"))
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Picture:
        name = self.files[index]
        if (self.folder / name).exists() and not (self.folder / name).is_file():
            raise PictureError(name, "is not a regular file")
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise PictureError(name, f"cannot be read ({error.strerror})") from None
        return Picture(name, decode(data, name), self.labels[index] if self.labels else None)


def _inside(folder: Path, path: str) -> str:
    """The path relative to the folder, with forward slashes."""
    start = f"{folder}{os.sep}"
    name = path.removeprefix(start) if path.startswith(start) else os.path.relpath(path, folder)
    return name.replace(os.sep, "/")


class HeldPictures(PictureDataset):
    """Images that torchvision holds in memory or decodes itself, in its order.

    Threads and forked processes share what it holds; a spawned process opens it again.
    """

    def __init__(self, request: Request, arguments: Mapping[str, Any], items: Any, split: str):
        self.request, self.arguments, self.split = request, dict(arguments), split
        self._items, self._count = items, len(items)
        ends = [label_of(target, request) for target in _targets(items, {0, len(items) - 1})]
        labels = (label_of(target, request) for target in _targets(items, range(len(items))))
        self.classes = class_names(items, request, labels) if None not in ends else ()
        header = (request.name, self.arguments, self.classes)
        self.fingerprint = digest_of(header, items, request.folder)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Picture:
        index = range(len(self))[index]
        if self._items is None:
            self._items = create(self.request, self.arguments)
        name = f"{self.request.name} {self.split} {index}"
        try:
            image, target = self._items[index]
            pixels = to_pixels(image)
        except Exception as error:  # whatever the reader of a format raises
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise PictureError(name, f"torchvision cannot read it ({reason})") from None
        label = label_of(target, self.request) if self.classes else None
        if label is not None and label >= len(self.classes):
            raise PictureError(name, f"label {label} is not one of {len(self.classes)} classes")
        return Picture(name, pixels, label)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_items": None}


def to_pixels(image: Any) -> Pixels:
    """A Pillow image as uint8 [H, W] or [H, W, 3]."""
    import numpy as np

    return np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _targets(items: Any, indices: Iterable[int]) -> Iterator[Any]:
    """The targets of some items, without those whose image is damaged: they are reported later."""
    for index in sorted(indices):
        try:
            image, target = items[index]
        except ImportError as error:
            raise missing_package(type(items).__name__, error) or error from None
        except Exception:
            continue
        image.close()
        yield target


def label_of(target: Any, request: Request) -> int | None:
    """The class of an image, None if it has none. Raises DataError for another kind of target."""
    if target is None or getattr(target, "ndim", 0):  # an array: several attributes an image
        return None
    try:
        label = operator.index(target)
    except TypeError:
        kind = type(target).__name__
        raise DataError(f"the targets of {request} are no class labels", given=kind) from None
    return label if label >= 0 else None


def class_names(
    items: Any,
    request: Request,
    labels: Iterable[int | None],  # read only if there are no names
) -> tuple[str, ...]:
    """The names of the classes in the order of their labels; numbers if torchvision has no names.

    With the option target_type or target_types they are numbers, too: the names are those of the
    default.
    """
    names: Sequence[Any] | None = None
    if not any(option.startswith("target_type") for option in request.options):
        by_name = getattr(items, "class_to_idx", {})
        candidates = [
            getattr(items, attribute, None)
            for attribute in ("classes", "categories", "all_categories", "_characters")
        ]
        names = next(filter(None, [*candidates, sorted(by_name, key=by_name.get)]), None)
        if names is None and request.name in NAMELESS:
            names = range(NAMELESS[request.name])
    if names is None:
        names = range(1 + max((label for label in labels if label is not None), default=-1))
    return tuple(", ".join(name) if isinstance(name, tuple) else str(name) for name in names)
