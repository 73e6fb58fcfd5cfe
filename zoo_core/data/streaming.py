"""Images that are decoded whenever they are used, for data sets that are too large to pack."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo_core.data.decoding import Fit, fit
from zoo_core.pictures import Picture, PictureDataset, read_picture


class Form(NamedTuple):
    """What an image is made into: square, of so many pixels and channels."""

    resolution: int
    channels: int
    source_channels: int
    mode: Fit

    def fit(self, picture: Picture) -> Picture:
        """The image, and its source if it has one, fitted. Raises PictureError."""
        resolution, channels, source_channels, mode = self
        source = picture.source
        if source is not None:
            source = fit(source, resolution, source_channels, mode, picture.name)
        pixels = fit(picture.pixels, resolution, channels, mode, picture.name)
        return picture._replace(pixels=pixels, source=source)


class RowReader:
    """Fitted images of a data set by their rows, which leave out the unusable ones.

    What was read last is kept, since a pair is asked for by its two sides in turn.
    """

    def __init__(self, dataset: PictureDataset, rows: NDArray[np.int64], form: Form):
        self.dataset, self.rows, self.form = dataset, rows, form  # rows: positions in the data set
        self._last: tuple[tuple[int, ...], list[Picture]] = ((), [])

    def read(self, ids: NDArray[np.int64]) -> list[Picture]:
        """The images of some rows. Raises PictureError for one that can no longer be read."""
        key = tuple(ids.tolist())
        if key != self._last[0]:
            fit, positions = self.form.fit, (int(self.rows[row]) for row in key)
            self._last = (key, [read_picture(self.dataset, number, fit) for number in positions])
        return self._last[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": ((), [])}


class StreamedImages:
    """One side of all images, with what is used of an array uint8 [N, H, W, C]."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        reader: RowReader,
        side: Literal["pixels", "source"],
        shape: tuple[int, int, int, int],
    ):
        self.reader, self.side, self.shape = reader, side, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, ids: Any) -> NDArray[np.uint8]:
        """Rows by an array of ids, by a slice, or by one id: [n, H, W, C], or [H, W, C]."""
        rows = np.arange(len(self))[ids]
        images = self.reader.read(np.atleast_1d(rows))
        block = np.stack([getattr(image, self.side).transpose(1, 2, 0) for image in images])
        return block if np.ndim(rows) else block[0]
