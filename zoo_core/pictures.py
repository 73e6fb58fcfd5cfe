"""What a picture is, and a data set of them; needs neither numpy nor torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from zoo_core.errors import PictureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pixels: TypeAlias = "NDArray[np.uint8]"  # [H, W] grey, [H, W, 3] RGB


class Picture(NamedTuple):
    """One picture of a data set; `name` is what a message calls it (a path, a seed)."""

    name: str
    pixels: Pixels
    label: int | None = None
    source: Pixels | None = None  # what an image-to-image model starts from


class BadPicture(NamedTuple):
    """A picture that cannot be used, and why."""

    name: str
    reason: str


class PictureDataset(ABC):
    """Pictures in a fixed order. `dataset[i]` reads or draws picture i, or raises PictureError.

    A subclass sets `fingerprint` (changes whenever a picture or the order would), `classes` (names
    of the labels, empty without labels) and `paired` (every picture comes with a source picture).
    """

    fingerprint: str
    classes: tuple[str, ...] = ()
    paired: bool = False
    ignored: Mapping[str, int] = MappingProxyType({})  # files of other kinds of picture, by suffix

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Picture: ...


def read_every(dataset: PictureDataset) -> Iterator[Picture | BadPicture]:
    """Read every picture once, in order: the picture, or what is wrong with it."""
    for index in range(len(dataset)):
        try:
            yield dataset[index]
        except PictureError as error:
            yield BadPicture(error.name, error.reason)
