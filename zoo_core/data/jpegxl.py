"""The header of a JPEG XL image (ISO/IEC 18181-1, annex D): its size, and whether it moves.

Pillow's plugin decodes the whole image when it opens it, and of an animation keeps the last frame,
so that both have to be known before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
HEADER_BYTES = 64  # enough for everything that is read here

# (smallest value, bits of what is added to it) for each value of a 2-bit selector
SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
PREVIEW_SIDE = ((1, 6), (65, 8), (321, 10), (1345, 12))
PREVIEW_EIGHTHS = ((16, 0), (32, 0), (1, 5), (33, 9))
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}

Take = Callable[[int], int]  # the next so many bits as a number


class Header(NamedTuple):
    """Size in pixels, and whether there are several frames."""

    width: int
    height: int
    is_animated: bool


def read_header(data: bytes) -> Header:
    """The header of a JPEG XL file. Raises ValueError if there is none."""
    start = _codestream(data) if data.startswith(CONTAINER) else data[:HEADER_BYTES]
    if not start.startswith(b"\xff\x0a"):
        raise ValueError("no JPEG XL codestream")
    rest, at = int.from_bytes(start[2:], "little"), 0

    def take(bits: int) -> int:
        nonlocal at
        at += bits
        if at > 8 * len(start) - 16:
            raise ValueError("the header is cut off")
        return (rest >> (at - bits)) & ((1 << bits) - 1)

    width, height = _size(take)
    return Header(width, height, _is_animated(take))


def _size(take: Take) -> tuple[int, int]:
    is_small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if is_small else _choice(take, SIDE)

    height = side()
    ratio = take(3)
    return (_times(height, ratio) if ratio else side()), height


def _is_animated(take: Take) -> bool:
    if take(1) or not take(1):  # everything as usual, or none of what follows
        return False
    take(3)  # orientation
    if take(1):  # a size to be shown at
        _size(take)
    if take(1):
        choices = PREVIEW_EIGHTHS if take(1) else PREVIEW_SIDE
        _choice(take, choices)
        if not take(3):
            _choice(take, choices)
    return bool(take(1))


def _choice(take: Take, choices: tuple[tuple[int, int], ...]) -> int:
    smallest, bits = choices[take(2)]
    return smallest + take(bits)


def _times(height: int, ratio: int) -> int:
    over, under = RATIOS[ratio]
    return height * over // under


def _codestream(data: bytes) -> bytes:
    """The first bytes of the codestream in the boxes of a container."""
    found, at = b"", len(CONTAINER)
    while at + 8 <= len(data) and len(found) < HEADER_BYTES:
        size, kind, skip = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, skip = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size else len(data)
        if end < at + skip:
            raise ValueError("a box is shorter than its header")
        if kind in (b"jxlc", b"jxlp"):  # jxlp: a part, after its number of 4 bytes
            begin = at + skip + (4 if kind == b"jxlp" else 0)
            found += data[begin : min(end, begin + HEADER_BYTES)]
        at = end
    return found
