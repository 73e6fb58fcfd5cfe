"""Data sets, a network and settings that several test files share."""

from __future__ import annotations

import msgspec
import numpy as np

from zoo_core.config import RunConfig
from zoo_core.errors import PictureError
from zoo_core.generators import Generator
from zoo_core.pictures import Picture, PictureDataset


class Numbered(PictureDataset):
    """Image i is filled with i; those in `bad` cannot be read."""

    def __init__(
        self, count: int, bad: tuple[int, ...] = (), classes: int = 0, paired: bool = False
    ):
        self.count, self.bad, self.paired = count, bad, paired
        self.classes = tuple(f"c{i}" for i in range(classes))
        self.fingerprint = f"numbered:{count}:{bad}:{classes}:{paired}"
        self.opened = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Picture:
        self.opened += 1
        if index in self.bad:
            raise PictureError(f"number {index}", "damaged (on purpose)")
        pixels = np.full((4, 4, 3), index, dtype=np.uint8)
        label = index % len(self.classes) if self.classes else None
        return Picture(f"number {index}", pixels, label, 255 - pixels if self.paired else None)


def settings(**changes: object) -> RunConfig:
    return msgspec.structs.replace(RunConfig(batch_size=4), **changes)


class Corners(PictureDataset):
    """Image i has pixels (row, column, i); its source is the same plus 100."""

    paired, fingerprint = True, "corners"

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Picture:
        y, x = np.mgrid[:6, :6]
        pixels = np.stack([y, x, np.full_like(y, index)], axis=2).astype(np.uint8)
        return Picture(str(index), pixels, None, pixels + 100)


class Learner(Generator):
    """A generator that has shapes but generates nothing."""

    def __init__(self, size: int, channels: int = 3, source_channels: int | None = None):
        super().__init__()
        self.image_shape = (channels, size, size)
        if source_channels:
            self.source_shape = (source_channels, size, size)

    def generate(self, noise, *, labels=None, source=None, truncation=1.0):
        raise NotImplementedError
