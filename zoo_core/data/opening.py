"""From the bytes of a file to an image of Pillow: size, damage, orientation.

Whatever a decoder raises is the fault of that image, and is reported under its name.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zoo_core.data import formats, jpegxl, tiff
from zoo_core.data.room import PIXEL_BYTES, ROOM
from zoo_core.errors import PictureError, ZooError

MAX_PIXELS = 100_000_000
ORIENTATION = 0x0112  # EXIF tag; TURNS maps its value to the Transpose that undoes it
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
ICONS = (b"\0\0\1\0", b"icns")
_PNG_HEADER = re.compile(rb"\x89PNG\r\n\x1a\n.{8}(.{4})(.{4})", re.DOTALL)  # width and height
_PILLOW = re.compile(r"PIL\.")


@contextmanager
def opened(data: bytes, name: str) -> Iterator[Any]:
    """Open an image by its content: the header is read and checked, the pixels are not decoded yet.

    Everything that goes wrong, also while the caller decodes the pixels, is raised as PictureError
    with a reason of one line. It waits for room for the pixels.
    """
    with ROOM.borrowed(), _opened(data, name) as image:
        yield image


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    _mute_pillow()
    try:
        _check_before_opening(data, name)
        with Image.open(io.BytesIO(data), formats=formats.candidates(data, name)) as image:
            check_size(image.size, name)
            if image.format != "JXL":  # which is decoded by now
                ROOM.take(image.width * image.height * PIXEL_BYTES)
            if image.format == "TIFF":
                tiff.mend(image)
            if reason := _why_misread(image, data):
                raise PictureError(name, reason)
            yield image
    except ZooError:
        raise
    except UnidentifiedImageError:
        raise PictureError(name, formats.why_unreadable(data, name)) from None
    except Image.DecompressionBombError as error:
        raise PictureError(name, f"{error}") from None
    except MemoryError:
        raise PictureError(name, "needs more memory than there is") from None
    except NotImplementedError as error:
        raise PictureError(name, f"a kind of image that is not read ({_line(error)})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's, for damaged files
        raise PictureError(name, _what_is_wrong(error, data)) from None
    except Exception as error:  # of decoders that did not expect such bytes
        reason = f"{type(error).__name__}: {_line(error)}".removesuffix(": ")
        raise PictureError(name, f"damaged ({reason})") from error


@contextmanager
def decoded(name: str) -> Iterator[None]:
    """Whatever goes wrong with an image of Pillow is raised as PictureError."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        raise PictureError(name, f"damaged ({_line(error) or type(error).__name__})") from error


def upright(image: Any, name: str) -> Any:
    """Decode the pixels of an opened image, and turn it as its EXIF orientation says."""
    image.load()
    check_size(image.size, name)  # a HEIC may turn out larger than its header says
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return image  # turned by the decoder; EXIF does not count, except in a repacked JPEG
    turn = TURNS.get(image.getexif().get(ORIENTATION))
    return image if turn is None else image.transpose(turn)


def check_size(size: tuple[int, int], name: str) -> None:
    """Raise PictureError for more than MAX_PIXELS pixels."""
    width, height = size
    if width * height > MAX_PIXELS:
        what = f"{width} x {height} pixels"
        raise PictureError(name, f"{what}, more than the {MAX_PIXELS} allowed")


def _check_before_opening(data: bytes, name: str) -> None:
    """Check what Pillow decodes when it opens a file, or does not tell before it decodes it."""
    if formats.is_jxl(data):
        header = jpegxl.read_header(data)
        check_size((header.width, header.height), name)
        ROOM.take(header.width * header.height * PIXEL_BYTES)
        if header.is_animated:
            raise PictureError(name, "an animated JPEG XL, of which only the last frame is read")
    if data.startswith(ICONS):
        for sides in _PNG_HEADER.findall(data):
            width, height = (int.from_bytes(side, "big") for side in sides)
            check_size((width, height), name)


def _why_misread(image: Any, data: bytes) -> str:
    """Why Pillow would read another image than its owner means; empty if it would not."""
    if image.format == "TIFF":
        return tiff.why_misread(image, data)
    if image.format == "PSD":
        version = next((body for number, _, body in image.resources if number == 1057), b"")
        if version[4:5] == b"\0":
            return "holds layers only; save it with a merged image (maximize compatibility)"
    if image.format == "JPEG2000" and image.mode != "I;16" and jpeg2000_bits(data) > 8:
        return "color of more than 8 bits in JPEG 2000, of which Pillow turns white into black"
    if image.format == "PCX" and image.mode == "L" and data[-769:-768] != b"\x0c":
        return "damaged (its palette is missing)"
    if image.format == "ICNS" and len(data) < int.from_bytes(data[4:8], "big"):
        return "damaged (cut off)"
    return ""


def jpeg2000_bits(data: bytes) -> int:
    """Bits of a sample of a JPEG 2000 image; negative if samples are signed."""
    depth = data[data.index(b"\xff\x4f\xff\x51") + 42]
    bits = (depth & 127) + 1
    return -bits if depth & 128 else bits


def _mute_pillow() -> None:
    """Ignore Pillow's warnings: the policy decides, and the warnings do not name the file.

    The filter is process-wide: `catch_warnings` swaps a global, and threads would interfere.
    """
    if not any(item[3] == _PILLOW for item in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


def _what_is_wrong(error: Exception, data: bytes) -> str:
    if "raw mode" in str(error) and (pixel := tiff.samples(data)):
        return f"a kind of TIFF that is not read ({pixel})"
    return f"damaged ({_line(error)})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
