"""Images of more than 8 bits a sample: their values as the file holds them.

Pillow decodes gray at full depth, but scales what a PGM or a JPEG 2000 declares to be narrower to
16 bits, which is undone here. Of 16-bit color it keeps the high byte only; PNG and TIFF are decoded
a second time for the low byte.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo_core.data import tiff
from zoo_core.data.opening import jpeg2000_bits, opened, upright
from zoo_core.errors import PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo_core.pictures import Pixels

BLOCK = 1 << 20  # pixels that are converted at a time: bounds the memory of wider copies
FAITHFUL = ("PNG", "TIFF", "PPM", "JPEG2000")  # of which the values in the file are known
SECOND_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}  # of a rawmode


class Deep(NamedTuple):
    """The values of an image, and what they mean."""

    values: NDArray[Any]  # [H, W] or [H, W, 3]
    white: int | None  # the largest value that the file can hold; None: it has no usual range
    alpha: Pixels | None = None  # [H, W]
    is_inverted: bool = False  # 0 is white


def is_gray(image: Any) -> bool:
    """Whether an opened image is gray of more than 8 bits, or of floating-point numbers."""
    return bool(image.mode.startswith("I") or image.mode == "F")


def is_halved(image: Any) -> bool:
    """Whether Pillow keeps only the high bytes of an opened image of 16 bits: most in color."""
    if image.mode not in ("L", "RGB", "RGBA") or not image.tile:
        return False
    if image.format == "SGI":
        codec, _, _, args = image.tile[0]
        return bool(codec == "SGI16" or (codec == "sgi_rle" and args[-1] == 2))
    if image.format == "PPM":
        return _maxval(image) > 255
    return any(";16" in str(_rawmode(tile)) for tile in image.tile)


def read_deep(image: Any, data: bytes, name: str, for_levels: bool = True) -> Deep:
    """Decode an opened image for which `is_gray` or `is_halved` holds.

    Raises PictureError where the decoder does not give the values of the file; `for_levels` says
    that they are needed, and not only how light they are.
    """
    if is_halved(image):
        return _halved(image, data, name)
    if for_levels and image.format not in FAITHFUL:
        kind = f"{image.format} of more than 8 bits"
        raise PictureError(name, f"{kind}, to which levels cannot be applied")
    return _gray(image, data, name)


def blockwise(
    values: NDArray[Any], dtype: str, change: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any]:
    """`change(values)` as `dtype`, computed on a few rows at a time."""
    import numpy as np

    changed = np.empty(values.shape, dtype)
    rows = max(1, BLOCK // max(1, values[0].size))
    for top in range(0, len(values), rows):
        changed[top : top + rows] = change(values[top : top + rows])
    return changed


def _gray(image: Any, data: bytes, name: str) -> Deep:
    import numpy as np

    kind, mode = image.format, image.mode
    maxval = _maxval(image) if kind == "PPM" and mode != "F" else 65535
    values = np.asarray(upright(image, name))
    if kind == "TIFF":
        return _tiff_gray(image, values)
    if mode == "F":
        return Deep(values, None)
    if kind == "JPEG2000":
        return _jpeg2000_gray(values, jpeg2000_bits(data))
    if maxval < 65535:
        values = blockwise(values, "uint16", lambda block: np.rint(block * (maxval / 65535)))
    return Deep(values, maxval)


def _tiff_gray(image: Any, values: NDArray[Any]) -> Deep:
    bits = tiff.first(image.tag_v2.get(tiff.BITS, 1))
    is_signed = tiff.first(image.tag_v2.get(tiff.SAMPLE_FORMAT, 1)) == 2
    if values.dtype == "int32" and bits == 32 and not is_signed:
        values = values.view("uint32")
    white = None if bits > 16 else (1 << (bits - is_signed)) - 1
    return Deep(values, white, is_inverted=image.tag_v2.get(tiff.PHOTOMETRIC, 0) == 0)


def _jpeg2000_gray(values: NDArray[Any], bits: int) -> Deep:
    depth = abs(bits)
    if depth > 16:
        raise ValueError("more than 16 bits in JPEG 2000")
    values = values >> (16 - depth)
    if bits > 0:
        return Deep(values, (1 << depth) - 1)
    return Deep(values.astype("int32") - (1 << (depth - 1)), (1 << (depth - 1)) - 1)


def _halved(image: Any, data: bytes, name: str) -> Deep:
    rawmode = _rawmode(image.tile[0])
    if image.format == "PPM" and image.tile[0].codec_name == "ppm":
        return _ppm_color(image, data)
    if kind := _without_second_byte(image, rawmode):
        raise PictureError(name, f"16-bit {kind}, to which levels cannot be applied")
    if rawmode == "LA;16B":
        every = _decoded(data, name, lambda rawmode: "RGBA")  # both bytes of gray, both of alpha
        gray = _joined(every[:, :, :1], every[:, :, 1:2])
        return Deep(gray.repeat(3, axis=2), 65535, every[:, :, 2])
    high = _decoded(data, name, lambda rawmode: rawmode)
    low = _decoded(data, name, _second_byte)
    alpha = high[:, :, 3] if high.shape[2] == 4 else None
    return Deep(_joined(high[:, :, :3], low[:, :, :3]), 65535, alpha)


def _without_second_byte(image: Any, rawmode: str) -> str:
    """The kind of image if only the high bytes can be decoded, else empty."""
    if image.format == "TIFF" and rawmode.startswith("RGBa"):
        return "TIFF with premultiplied alpha"
    if image.format == "TIFF" and image.use_load_libtiff and image.tag_v2.get(tiff.PLANAR) == 2:
        return "TIFF with compressed planes"  # for which Pillow chooses the rawmode later
    return "" if image.format in ("PNG", "TIFF") else f"{image.format}"


def _ppm_color(image: Any, data: bytes) -> Deep:
    import numpy as np

    width, height = image.size
    values = np.frombuffer(data, ">u2", 3 * width * height, image.tile[0].offset)
    return Deep(values.reshape(height, width, 3), _maxval(image))


def _decoded(data: bytes, name: str, change: Callable[[str], str]) -> Pixels:
    """The pixels, with another way of reading the bytes of a sample."""
    import numpy as np

    with opened(data, name) as image:
        image.tile = [tiff.with_rawmode(tile, change(_rawmode(tile))) for tile in image.tile]
        return np.asarray(upright(image, name))


def _second_byte(rawmode: str) -> str:
    return re.sub(r"(?<=;16)[LBN]", lambda order: SECOND_BYTE[order[0]], rawmode)


def _joined(high: Pixels, low: Pixels) -> NDArray[Any]:
    values = high.astype("uint16")
    values <<= 8
    values |= low
    return values


def _rawmode(tile: Any) -> Any:
    """How a decoder of Pillow reads the bytes of a pixel, such as `RGB;16B`."""
    args = tile[3]
    return args[0] if isinstance(args, tuple) else args


def _maxval(image: Any) -> int:
    """The value of white that the header of a PPM or PGM states."""
    args = image.tile[0].args
    if isinstance(args, tuple):
        return int(args[-1])
    return 65535 if ";16" in args else 255
