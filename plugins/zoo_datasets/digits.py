"""Handwritten digits that ship with scikit-learn: 1,797 of 8 x 8 pixels, light ink on black.

Thirteen people wrote them, and neighbors in the file tend to be from the same writer: for 45 % of
them the most similar image of the same digit lies within 70 positions (8 % by chance). So the split
is by position, not random: train is the first 1,500, test the last 297.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from zoo_core import Picture, PictureDataset
from zoo_datasets.checks import check_drawn_resolution, check_split, fingerprint, versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo_core import Pixels

POSITIONS = {"train": range(1500), "test": range(1500, 1797)}
_RENDERING = 1  # raise when the pixels of a digit change


def open_digits(resolution: int, split: str) -> PictureDataset:
    """Open the digits, scaled to `resolution` pixels per side; the label is the digit.

    Raises DataError for an unknown split, a resolution outside 8..2048, or a missing package.
    """
    check_split("digits", split)
    check_drawn_resolution("digits", resolution)
    return DigitDataset(resolution, split)


class DigitDataset(PictureDataset):
    """Image i is the split's i-th digit.

    scikit-learn takes 2 s to import, so it is loaded with the first image.
    """

    classes = tuple("0123456789")

    def __init__(self, resolution: int, split: str):
        packages = versions("digits", "scikit-learn", "pillow")  # Pillow scales
        self.resolution, self.positions = resolution, POSITIONS[split]
        count = len(self.positions)
        self.fingerprint = fingerprint("digits", resolution, split, count, _RENDERING, packages)
        self._reading = threading.Lock()
        self._digits: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Picture:
        position = self.positions[index]
        images, labels = self._read_once()
        pixels = enlarge(images[position], self.resolution)
        return Picture(f"digit {position}", pixels, int(labels[position]))

    def _read_once(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        with self._reading:
            if self._digits is None:
                from sklearn.datasets import load_digits

                data = load_digits()
                self._digits = data.images, data.target
            return self._digits


def enlarge(
    ink: NDArray[np.float64],  # [8, 8], 0 (paper) to 16
    resolution: int,  # pixels per side of the result
) -> Pixels:
    """uint8 [resolution, resolution, 3], scaled bicubically to avoid blocky edges."""
    import numpy as np
    from PIL import Image

    grey = Image.fromarray((ink * 255 / 16).round().astype(np.uint8))
    if grey.width != resolution:
        grey = grey.resize((resolution, resolution), Image.Resampling.BICUBIC)
    return np.asarray(grey.convert("RGB"))
