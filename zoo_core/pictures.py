"""An image of a data set, and a data set of images; imports neither numpy nor torch."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from unicodedata import normalize

from zoo_core.errors import PictureError, PluginError, ZooError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.uint8]"  # [H, W] gray, [H, W, 3] RGB


class Picture(NamedTuple):
    """One image of a data set; messages refer to it by `name` (a path, a seed)."""

    name: str
    pixels: Pixels
    label: int | None = None
    source: Pixels | None = None  # input of an image-to-image model


class BadPicture(NamedTuple):
    """An unusable image, and why it is unusable."""

    name: str
    reason: str


class PictureDataset(ABC):
    """Images in a fixed order. `dataset[i]` reads or draws image i, or raises PictureError.

    A subclass sets `fingerprint` (changes whenever an image or the order changes), `classes` (names
    of the labels, empty without labels) and `paired` (every image comes with a source image).
    """

    fingerprint: str
    classes: tuple[str, ...] = ()
    paired: bool = False
    ignored: Mapping[str, int] = MappingProxyType({})  # files that are not read: suffix -> count
    summary: str = ""  # what was recognized in your own files, in a line
    remarks: Mapping[str, int] = MappingProxyType({})  # what was done to images: how often

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Picture: ...


def read_picture(
    dataset: PictureDataset, index: int, change: Callable[[Picture], Picture] = lambda it: it
) -> Picture:
    """Read an image, and `change` it. Raises PictureError, whatever the data set raises; it is
    raised as it is if it is a ZooError, or if ZOO_STRICT=1 is set, for authors.
    """
    try:
        return change(read_checked(dataset, index))
    except Exception as error:
        if isinstance(error, ZooError) or os.environ.get("ZOO_STRICT") == "1":
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise PictureError(f"image {index}", f"cannot be read ({reason})") from error


def read_checked(dataset: PictureDataset, index: int) -> Picture:
    """Image `index`. Raises PictureError if it is unusable, and PluginError if the data set returns
    something else than it has promised.
    """
    picture = dataset[index]
    if not isinstance(picture, Picture):
        raise _wrong(dataset, index, "a Picture", f"a {type(picture).__name__}")
    for pixels in (picture.pixels, *([picture.source] if dataset.paired else [])):
        shape, dtype = getattr(pixels, "shape", ()), getattr(pixels, "dtype", "")
        if dtype != "uint8" or shape[2:] not in ((), (3,)) or len(shape) < 2:
            gave = f"{dtype} {shape}" if shape else f"a {type(pixels).__name__}"
            raise _wrong(dataset, index, "pixels of type uint8 [H, W] or [H, W, 3]", gave)
    label, classes = picture.label, dataset.classes
    if classes and not (isinstance(label, int) and 0 <= label < len(classes)):
        raise _wrong(dataset, index, f"a label in 0..{len(classes) - 1}", repr(label))
    return picture


def _wrong(dataset: PictureDataset, index: int, what: str, gave: str) -> PluginError:
    kind = type(dataset)
    whose = f"data set {kind.__name__} of {kind.__module__}"
    return PluginError(f"{whose} has to return {what}; gave {gave} for image {index}")


def read_every(dataset: PictureDataset) -> Iterator[Picture | BadPicture]:
    """Read every image once, in order: the image, or what is wrong with it."""
    for index in range(len(dataset)):
        try:
            yield read_picture(dataset, index)
        except PictureError as error:
            yield BadPicture(error.name, error.reason)


NaturalKey: TypeAlias = tuple[tuple[str | tuple[int, str], ...], str]


def natural_key(name: str) -> NaturalKey:
    """The sort key by which people order names: digits as numbers, then letters regardless of case.

    0, 1, 2, 10 instead of 0, 1, 10, 2; an accent sorts the same however it is encoded. Names that
    differ only in case or in leading zeros are ordered by their exact text.
    """
    exact = normalize("NFC", name)
    parts = re.split("([0-9]+)", exact)  # alternates text and digits, so that keys are comparable
    return tuple(_number(part) if n % 2 else part.casefold() for n, part in enumerate(parts)), exact


def _number(digits: str) -> tuple[int, str]:
    """Orders digits by value; without int(), which refuses more than 4,300 of them."""
    digits = digits.lstrip("0")
    return len(digits), digits
