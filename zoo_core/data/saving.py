"""Save one image, a grid or an animation; a file is written whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import InputError
from zoo_core.filesystem import replacing
from zoo_core.memory import check_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo_core.pictures import Pixels


GRID_BYTES = 5  # a channel of a pixel: images, all of them, the sheet, its transpose, Pillow's
COLUMNS, WIDTH = 8, 1024  # of a grid: at most so many columns and pixels, but one image


def grid_columns(side: int) -> int:
    """How many images of this width stand side by side in a grid of samples."""
    return max(1, min(COLUMNS, WIDTH // side))


def check_grid_memory(
    count: int,
    columns: int,
    shape: tuple[int, int, int],  # C, H, W of an image
    hint: str = "fewer images",
) -> None:
    """Raise InputError for a grid that does not fit into memory, before its images are made."""
    cells = max(columns * -(-count // columns), count)
    check_memory(cells * math.prod(shape) * GRID_BYTES, "the images of this grid", hint)


def save_grid(path: Path, pictures: NDArray[np.uint8], columns: int) -> None:
    """Save images [N, C, H, W] as one PNG, row by row from the top left, atomically."""
    import numpy as np

    count, channels, height, width = pictures.shape
    check_grid_memory(count, columns, (channels, height, width))
    rows = -(-count // columns)
    sheet = np.full((rows * columns, channels, height, width), 255, dtype=np.uint8)
    sheet[:count] = pictures
    sheet = sheet.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    save_png(path, sheet.reshape(rows * height, columns * width, channels))


def save_animation(path: Path, frames: Iterator[Pixels], fps: float) -> None:
    """Save frames [H, W, C] as an endless animation, atomically: GIF, WebP or PNG, by suffix.

    WebP and PNG are lossless; GIF has 256 colors per frame. Raises InputError for other suffixes.
    """
    from PIL import Image

    formats = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
    kind = formats.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"cannot write {path}", given=path.suffix or "no suffix", allowed=", ".join(formats)
        )
    images = (Image.fromarray(f[:, :, 0] if f.shape[2] == 1 else f) for f in frames)
    with replacing(path) as temporary:
        next(images).save(
            temporary,
            format=kind,
            save_all=True,
            # Given an iterator, Pillow 13 writes only the first frame of a PNG.
            append_images=list(images) if kind == "PNG" else images,
            duration=1000 / fps,
            loop=0,
            **({"lossless": True} if kind == "WEBP" else {}),
        )


def save_png(path: Path, pixels: Pixels) -> None:
    """Save one image [H, W, C] or [H, W] as a PNG, atomically."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
