"""Decode one image file to pixels, and fit pixels to the size that a network takes.

Policy for a file, in this order (tests/data/test_decoding.py tests each line):
    format      PNG, JPEG and WebP; only the first frame of an animation
    size        more than MAX_PIXELS pixels is refused before decoding
    damage      a truncated or corrupt file is refused; so is a non-image, whatever its name
    EXIF        the image is turned upright
    16-bit      gray is scaled from 0..65535 to 0..255 (Pillow's own convert clips it to white)
    CMYK        converted by the plain formula, without color profiles
    alpha       LA, RGBA and transparent palettes are composited on white
    gray        becomes RGB for 3-channel models; RGB becomes luma (ITU-R 601) for 1-channel models
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal

from zoo_core.errors import PictureError

if TYPE_CHECKING:
    from PIL import Image

    from zoo_core.pictures import Pixels


Fit = Literal["crop", "pad", "stretch", "exact"]
ORIENTATION = 0x0112  # EXIF tag; TURNS maps its value to the Transpose that undoes it
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 100_000_000
_PILLOW = re.compile(r"PIL\.")


def decode(data: bytes, name: str) -> Pixels:
    """Decode an image by the policy above: uint8 [H, W] or [H, W, 3].

    Raises PictureError with the reason, one line that starts with `name`.
    """
    from PIL import Image, UnidentifiedImageError

    _mute_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height} pixels"
                raise PictureError(name, f"{size}, more than the {MAX_PIXELS} allowed")
            image.load()
            turn = TURNS.get(image.getexif().get(ORIENTATION))
            return _to_uint8(image if turn is None else image.transpose(turn), name)
    except UnidentifiedImageError:
        if data.startswith((b"\x89PNG", b"\xff\xd8\xff")) or data[8:12] == b"WEBP":
            raise PictureError(name, "damaged (its header cannot be read)") from None
        raise PictureError(name, f"{_looks_like(data)}, not a PNG, JPEG or WebP image") from None
    except Image.DecompressionBombError as error:
        raise PictureError(name, f"{error}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's, for damaged files
        raise PictureError(name, f"damaged ({' '.join(str(error).split())})") from None


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


def _mute_pillow() -> None:
    """Ignore Pillow's warnings: the policy decides, and the warnings do not name the file.

    The filter is process-wide: `catch_warnings` swaps a global, and threads would interfere.
    """
    if not any(item[3] == _PILLOW for item in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


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


def _to_uint8(image: Image.Image, name: str) -> Pixels:
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise PictureError(name, "integer pixel values outside 0..65535")
        return ((values * 255 + 32767) // 65535).astype(np.uint8)
    if image.mode == "F":
        raise PictureError(name, "floating-point pixels have no defined range")
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        image = image.convert("RGB")
    return np.asarray(image)


def _looks_like(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if not data:
        return "an empty file"
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page"
    if start.startswith((b"<svg", b"<?xml")):
        return "an SVG or XML file"
    return "an unknown kind of file"
