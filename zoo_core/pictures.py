"""An image of a data set, and a data set of images; imports neither numpy nor torch."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from unicodedata import normalize

from zoo_core.errors import PictureError, ZooError

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
        return change(dataset[index])
    except Exception as error:
        if isinstance(error, ZooError) or os.environ.get("ZOO_STRICT") == "1":
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise PictureError(f"image {index}", f"cannot be read ({reason})") from error


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
