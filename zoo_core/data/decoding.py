"""Decode one image file to pixels, and fit pixels to the size that a network takes.

Policy for a file, in this order (tests/data/test_decoding.py and its neighbors test each line):
    format      what Pillow reads, by content, not by name (`formats`); HEIC and JPEG XL if their
                package is installed
    size        more than MAX_PIXELS pixels is refused before decoding
    several     the first frame of an animation, the first page of a TIFF, the main image of a HEIC,
                the largest of an icon; raw photos and Photoshop files of layers only are refused
    damage      a truncated or corrupt file is refused; so is a non-image, whatever its name
    EXIF        the image is turned upright
    16-bit      gray is scaled from 0..white, the largest value that the file can hold, to 0..255,
                or as `levels` say; of 16-bit color without `levels`, the high byte is taken
    32-bit      integers and floating-point numbers are refused without `levels`
    CMYK        converted by the plain formula, without color profiles
    alpha       LA, RGBA and transparent palettes are composited on white
    gray        becomes RGB for 3-channel models; RGB becomes luma (ITU-R 601) for 1-channel models
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from zoo_core.data import deep, tiff
from zoo_core.data.levels import Levels, extremes, scaled
from zoo_core.data.opening import decoded, opened, upright
from zoo_core.errors import PictureError

if TYPE_CHECKING:
    from PIL import Image

    from zoo_core.pictures import Pixels


Fit = Literal["crop", "pad", "stretch", "exact"]

# Remarks: what was done to images that their owner may not expect, after the number of them.
ANIMATIONS = "animations, first frame used"
PAGES = "files of several pages, first page used"
FURTHER_PAGES = "further pages, not used"
HEIC_IMAGES = "HEIC files of several images, main image used"
LOW_VALUES = "16-bit images that use less than a sixteenth of the range (--set levels=data)"
CUT_OFF = "16-bit images with values outside of levels, cut off"

_counting = Lock()


def decode(
    data: bytes,
    name: str,
    levels: Levels | None = None,  # of images of more than 8 bits; None: their full range
    remarks: Counter[str] | None = None,  # what is said about the image is counted here
) -> Pixels:
    """Decode an image by the policy above: uint8 [H, W] or [H, W, 3].

    Threads may share `remarks`. Raises PictureError with the reason, one line that starts with
    `name`.
    """
    assert levels is None or levels.are_known, "levels that were not measured"
    with opened(data, name) as image:
        notes: Counter[str] = Counter()
        pixels = _pixels(image, data, name, levels, notes)
        if remarks is not None:
            with suppress(Exception):  # the pixels are good, whatever follows them in the file
                notes += _not_shown(image, data)
            with _counting:
                remarks.update(notes)
        return pixels


def from_pillow(image: Image.Image, name: str = "picture") -> Pixels:
    """The pixels of an image that Pillow has opened or made, by the policy above where it applies.

    Raises PictureError if it cannot be decoded, and for gray of 16 or 32 bits: what is black and
    white in it is known where the file is read.
    """
    if deep.is_gray(image):
        raise PictureError(name, f"gray of more than 8 bits ({image.mode}), read from files only")
    with decoded(name):
        return _to_uint8(upright(image, name))


def fit(
    pixels: Pixels,
    resolution: int,  # side length in pixels
    channels: int,  # 1 or 3
    mode: Fit,
    name: str = "picture",
) -> Pixels:
    """Fit an image to uint8 [channels, resolution, resolution], scaled with Lanczos if necessary.

    Raises PictureError if `mode` is "exact" and the image has another size.
    """
    import numpy as np
    from PIL import Image

    size = (resolution, resolution)
    if mode == "exact" and pixels.shape[:2] != size:
        height, width = pixels.shape[:2]
        raise PictureError(name, f"is {width} x {height}, must be {resolution} x {resolution}")
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    if image.size != size:
        image = _resized(image, resolution, mode)
    planes = np.asarray(image).reshape(*size, channels).transpose(2, 0, 1)
    return planes.copy()  # torch warns about read-only arrays


def _resized(image: Image.Image, resolution: int, mode: Fit) -> Image.Image:
    from PIL import Image, ImageOps

    size = (resolution, resolution)
    if mode == "crop":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if mode == "pad":
        white: Any = 255 if image.mode == "L" else (255, 255, 255)
        longest = max(image.size)  # Pillow's pad alone would shrink a line of pixels to nothing
        inner = [max(1, round(side / longest * resolution)) for side in image.size]
        image = image.resize((inner[0], inner[1]), Image.Resampling.LANCZOS)
        return ImageOps.pad(image, size, color=white)
    return image.resize(size, Image.Resampling.LANCZOS)


def _pixels(
    image: Any, data: bytes, name: str, levels: Levels | None, notes: Counter[str]
) -> Pixels:
    """The pixels of an opened image, and what is to be said about their values."""
    kind, is_halved = image.format, deep.is_halved(image)
    if deep.is_gray(image) or (is_halved and levels is not None):
        return _deep_pixels(image, data, name, levels, notes)
    image = upright(image, name)
    if is_halved and max(band.getextrema()[1] for band in image.split()[:3]) < 256 // 16:
        notes[LOW_VALUES] += 1
    if kind == "TGA" and not data[17] & 15:  # no bits of alpha, whatever the fourth byte is
        image = image.convert(image.mode.rstrip("A"))
    return _to_uint8(image)


def _deep_pixels(
    image: Any, data: bytes, name: str, levels: Levels | None, notes: Counter[str]
) -> Pixels:
    from PIL import Image

    values = deep.read_deep(image, data, name, for_levels=levels is not None)
    found = extremes(values, name)
    pixels = scaled(values, levels, found, name)
    if levels is None and values.white is not None and found.high < (values.white + 1) // 16:
        notes[LOW_VALUES] += 1
    if levels is not None and levels.cut(found):
        notes[CUT_OFF] += 1
    return pixels if values.alpha is None else _to_uint8(Image.fromarray(pixels))


def _not_shown(image: Any, data: bytes) -> Counter[str]:
    """What the file holds besides the image that was decoded."""
    if image.format == "TIFF":
        pages = tiff.num_pages(data)
        return Counter({PAGES: 1, FURTHER_PAGES: pages - 1} if pages > 1 else {})
    if image.format in ("MPO", "PSD") or not getattr(image, "is_animated", False):
        return Counter()
    return Counter([{"HEIF": HEIC_IMAGES, "DCX": PAGES}.get(image.format, ANIMATIONS)])


def _to_uint8(image: Image.Image) -> Pixels:
    import numpy as np
    from PIL import Image

    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        image = image.convert("RGB")
    return np.asarray(image)
