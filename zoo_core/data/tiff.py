"""TIFF: what Pillow reads wrong is mended or refused, and pages are counted."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

PREVIEW, PHOTOMETRIC, BITS, SAMPLES, PLANAR, SAMPLE_FORMAT = 254, 262, 258, 277, 284, 339  # tags
DNG_VERSION = 50706
SAMPLE_KINDS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
NATIVE = {  # rawmode of the file -> rawmode of this machine
    **{"I;16S": "I;16NS", "I;32S": "I;32NS", "F;32F": "F;32NF"},
    **{"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"},
}


def mend(image: Any) -> None:
    """Correct how the pixels of an opened TIFF will be read (seen with Pillow 11.0 to 13.0).

    Uncompressed planes of 16 bits are taken for 8-bit ones, a single plane for one in the order of
    this machine. The compressed numbers of a big-endian file are swapped after libtiff did so.
    """
    tags = image.tag_v2
    if image.use_load_libtiff:
        _change_rawmodes(image, NATIVE)
    elif tags.get(PLANAR) == 2 and tags.get(SAMPLES, 1) == 1:
        tags[PLANAR] = 1  # the same thing
        image._setup()
    elif tags.get(PLANAR) == 2 and first(tags.get(BITS, 1)) == 16:
        order = ";16L" if tags.prefix == b"II" else ";16B"
        _change_rawmodes(image, {band: band + order for band in "RGBACMYK"})


def _change_rawmodes(image: Any, changes: dict[str, str]) -> None:
    image.tile = [
        with_rawmode(tile, changes.get(tile.args[0], tile.args[0])) for tile in image.tile
    ]


def with_rawmode(tile: Any, rawmode: str) -> Any:
    """Pillow's description of a tile, with another way of reading the bytes of a pixel."""
    args = (rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode
    return tile._replace(args=args)


def first(value: Any) -> Any:
    """The first value of a tag, which Pillow gives alone or in a tuple."""
    return value[0] if isinstance(value, tuple) else value


def why_misread(image: Any, data: bytes) -> str:
    """Why the first page is not the image that its owner means; empty if it is."""
    is_preview = int(image.tag_v2.get(PREVIEW, 0)) & 1
    if is_preview or DNG_VERSION in image.tag_v2 or data[8:10] == b"CR":
        return "starts with a small preview, as raw photos do; develop it to a full image first"
    return ""


def num_pages(data: bytes) -> int:
    """The number of pages; Pillow's own count takes quadratic time."""
    order = "<" if data[:1] == b"I" else ">"
    is_big = 43 in data[2:4]
    # where the first page is noted; formats of a count of tags and of an offset; bytes of a tag
    note, count, offset, tag = (8, "Q", "Q", 20) if is_big else (4, "H", "I", 12)
    seen: set[int] = set()
    while note + struct.calcsize(offset) <= len(data):
        (page,) = struct.unpack_from(order + offset, data, note)
        if page in seen or not 0 < page <= len(data) - struct.calcsize(count):
            break
        seen.add(page)
        (tags,) = struct.unpack_from(order + count, data, page)
        note = page + struct.calcsize(count) + tag * tags
    return len(seen)


def samples(data: bytes) -> str:
    """What a pixel of the first page consists of: `5 samples of 16 bits`; empty if unknown."""
    from PIL import TiffImagePlugin

    file = io.BytesIO(data)
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if 43 in data[2:4] else 8))
        file.seek(tags.next)
        tags.load(file)
        bits = first(tags.get(BITS, 1))
        count = int(tags.get(SAMPLES, 1))
        kind = SAMPLE_KINDS.get(first(tags.get(SAMPLE_FORMAT, 1)), "")
    except Exception:  # a damaged file
        return ""
    plural = "s" if count > 1 else ""
    return re.sub(" +", " ", f"{count} {kind} sample{plural} of {bits} bits")
