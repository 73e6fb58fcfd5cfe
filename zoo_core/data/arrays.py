"""Images in a NumPy file: .npy, or .npz with several arrays.

    .npy     uint8 [N, H, W], or [N, H, W, C] with 1, 3 or 4 channels
    .npz     such an array called images, x or arr_0, with labels, y or targets [N] or [N, 1]; or
             one of each a split, as in MedMNIST: train_images, train_labels, val_images, ...

Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo_core.data.folders import SPLITS
from zoo_core.data.layouts import ORDER
from zoo_core.errors import DataError
from zoo_core.pictures import Picture, PictureDataset

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CLASSES = 1_000_000
SUFFIXES = (".npy", ".npz")
IMAGES = frozenset({"images", "image", "x", "data", "imgs", "arr_0"})
LABELS = frozenset({"labels", "label", "y", "targets", "target"})


class _Names(NamedTuple):
    """Which arrays of a file belong to a split."""

    images: str
    labels: str | None


class ArrayImages(PictureDataset):
    """The images of one split of a NumPy file, in their order.

    Raises DataError for arrays of another shape or dtype, for labels that do not fit, and if there
    is no such split.
    """

    def __init__(self, path: Path, *, split: str = "train"):
        self.path = path
        self._splits, unused = _splits(path)
        self.ignored = dict.fromkeys((f"array called {name}" for name in unused), 1)
        self.split = "all" if "all" in self._splits else split
        if self.split not in self._splits:
            first = next(iter(self._splits))
            raise DataError(
                f"{path} has no split {split!r}",
                allowed=", ".join(self._splits),
                hint=f"--set split={first} with zoo train, --split {first} elsewhere",
            )
        self._own = self._splits[self.split]
        self._labels = self._read_labels()
        self.classes = self._count_classes()
        status = path.stat()
        stamp = f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\0{self.split}"
        self.fingerprint = hashlib.sha256(stamp.encode()).hexdigest()
        self.summary = self._summarize()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are; none where the images are not split."""
        return tuple(split for split in self._splits if split != "all")

    def _summarize(self) -> str:
        labels = f", {len(self.classes)} classes" if self.classes else ""
        if self.split == "all":
            return f"{len(self)} images in an array{labels}"
        return f"arrays of {', '.join(self._splits)}{labels}; reading {self.split}"

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Picture:
        pixels = self._images[index]
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            pixels = _on_white(pixels)
        label = None if self._labels is None else int(self._labels[index])
        return Picture(f"{self._own.images}[{index}]", pixels, label)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_images"}

    @cached_property
    def _images(self) -> NDArray[np.uint8]:
        images = _array(self.path, self._own.images)
        shape = images.shape
        usable = images.ndim == 3 or (images.ndim == 4 and shape[3] in (1, 3, 4))
        if images.dtype != "uint8" or not usable or 0 in shape:
            raise DataError(
                f"{self._own.images} in {self.path} is not an array of images",
                given=f"{images.dtype} {list(shape)}",
                allowed="uint8 [N, H, W], or [N, H, W, C] with 1, 3 or 4 channels",
                hint="images.transpose(0, 2, 3, 1) in NumPy" if _are_planes(shape) else "",
            )
        if images.ndim == 3 and shape[2] in (1, 3, 4):
            raise DataError(
                f"{self._own.images} in {self.path} may be one image or {shape[0]} narrow ones",
                given=f"{list(shape)}",
                allowed="[N, H, W, C] with N = 1 for one image",
            )
        return images

    def _read_labels(self) -> NDArray[np.int64] | None:
        if self._own.labels is None:
            return None
        labels = self._labels_called(self._own.labels)
        if len(labels) != len(self):
            raise self._not_labels(self._own.labels, labels, f"{len(self)} images")
        return labels.astype("int64")

    def _labels_called(self, name: str) -> NDArray[Any]:
        """The labels of a split as [N]. Raises DataError for what is no label."""
        labels = _array(self.path, name)
        if labels.ndim == 2 and labels.shape[1] > 1:
            raise DataError(
                f"{name} in {self.path} gives an image several labels",
                given=f"{list(labels.shape)}",
                allowed="one number an image, [N] or [N, 1]",
            )
        if labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < MAX_CLASSES)).all():
            raise self._not_labels(name, labels, "images")
        return labels.reshape(-1)

    def _not_labels(self, name: str, labels: NDArray[Any], whose: str) -> DataError:
        return DataError(
            f"{name} in {self.path} are not the labels of {whose}",
            given=f"{labels.dtype} {list(labels.shape)}",
            allowed=f"integers of 0 and more, below {MAX_CLASSES}, one for each image",
        )

    def _count_classes(self) -> tuple[str, ...]:
        """Of all splits, so that a class that one of them lacks has its number."""
        if self._labels is None:
            return ()
        names = [split.labels for split in self._splits.values() if split.labels is not None]
        largest = max(int(self._labels_called(name).max(initial=0)) for name in names)
        return tuple(str(number) for number in range(largest + 1))


def _are_planes(shape: tuple[int, ...]) -> bool:
    """Whether this is [N, C, H, W], as torch has images."""
    return len(shape) == 4 and shape[1] in (1, 3, 4)


def _splits(path: Path) -> tuple[Mapping[str, _Names], list[str]]:
    """The arrays of each split, by their names, and those that are not used."""
    if path.suffix.lower() == ".npy":
        return {"all": _Names(path.name, None)}, []
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    found: dict[str, dict[str, str]] = {}
    for name in names:
        split, kind = _meaning(name)
        if kind and kind in found.setdefault(split, {}):
            raise DataError(
                f"{path} has two arrays that may be the {kind}",
                given=f"{found[split][kind]}, {name}",
                allowed="one called images and one called labels, or one of each a split",
            )
        if kind:
            found[split][kind] = name
    splits = {s: _Names(f["images"], f.get("labels")) for s, f in found.items() if "images" in f}
    if not splits or ("all" in splits and len(splits) > 1):
        raise DataError(
            f"{path} has no arrays of images that can be told by their names",
            given=", ".join(names[:8]),
            allowed="images and labels; train_images, train_labels, test_images, ...",
        )
    used = {name for arrays in splits.values() for name in arrays}
    unused = [name for name in names if name not in used]
    return {split: splits[split] for split in ORDER if split in splits}, unused


def _meaning(name: str) -> tuple[str, str]:
    """(split, "images" or "labels" or "") of an array: `x_train` is ("train", "images")."""
    if name.lower() in IMAGES | LABELS:
        return "all", "images" if name.lower() in IMAGES else "labels"
    words = re.split(r"[^a-z0-9]+", name.lower())
    splits = [SPLITS[word] for word in words if word in SPLITS]
    others = [word for word in words if word not in SPLITS]
    if len(splits) != 1 or len(others) != 1:
        return "all", ""
    kind = "images" if others[0] in IMAGES else "labels" if others[0] in LABELS else ""
    return splits[0], kind


def _array(path: Path, name: str) -> NDArray[Any]:
    import numpy as np

    try:
        if path.suffix.lower() == ".npy":
            npy: Any = np.lib.format  # untyped in older numpy
            with path.open("rb") as file:  # numpy would leave a damaged one open
                npy.read_magic(file)
            mapped: NDArray[Any] = npy.open_memmap(path, mode="r")
            return mapped
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[name])
    except Exception as error:  # of the zip, the header, or an array of objects
        raise DataError(f"cannot read {name} in {path}: {error}") from None


def _on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA composited on white, as image files are."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))
