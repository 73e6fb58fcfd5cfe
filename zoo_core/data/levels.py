"""Images of more than 8 bits: which of their values become black and white.

    full        0 is black, and white is the largest value that the file can hold (the default)
    data        the smallest and the largest value of the data set (`measure_levels`)
    LOW-HIGH    these values of the files, such as 0-4095; what lies outside is cut off

Levels count in the numbers that the files hold: 12-bit values in a 16-bit PNG reach up to 4095, and
so do those of a PGM whose header says 4095, which is white there without any setting. 8-bit images
are never rescaled. Integers of 32 bits and floating-point numbers have no usual range: for them,
`full` is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo_core.data.deep import Deep, blockwise, is_gray, is_halved, read_deep
from zoo_core.data.opening import opened
from zoo_core.errors import ConfigError, DataError, PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zoo_core.pictures import Pixels

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Levels:
    """The values that become black and white. Without them, they have yet to be measured.

    `str(levels)` is the setting that means the same.
    """

    low: float | None = None
    high: float | None = None

    @property
    def are_known(self) -> bool:
        """Whether images can be decoded with them."""
        return self.low is not None

    def cut(self, found: ValueRange) -> bool:
        """Whether these values are not all within the levels."""
        low, high = _limits(self)
        return found.low < low or found.high > high

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "data"
        return f"{_text(self.low)}-{_text(self.high)}"


class ValueRange(NamedTuple):
    """The smallest and the largest value of an image of more than 8 bits."""

    low: float
    high: float
    are_integers: bool


def parse_levels(text: str) -> Levels | None:
    """The setting `levels`: None for `full`.

    Raises ConfigError for anything but `full`, `data`, and two numbers of which the first is less.
    """
    if text == "full":
        return None
    if text == "data":
        return Levels()
    if match := _RANGE.fullmatch(text.strip()):
        low, high = map(float, match.groups())
        if low < high and math.isfinite(high - low):
            return Levels(low, high)
    raise ConfigError(
        "levels has an invalid value",
        given=repr(text),
        allowed="full, data, or LOW-HIGH such as 0-4095",
        hint="--set levels=data",
    )


def measure_levels(images: Iterable[tuple[str, bytes]]) -> Levels | None:
    """The smallest and largest value of these (name, encoded image); see `joined_levels`.

    Unusable images are passed over: decoding them reports them. For threads, use
    `joined_levels(pool.map(...))` with `value_range`.
    """
    return joined_levels(value_range(data, name) for name, data in images)


def value_range(data: bytes, name: str) -> ValueRange | None:
    """The values of an image; None if it is unusable or not of more than 8 bits.

    The pixels of 8-bit images are not decoded.
    """
    with suppress(PictureError), opened(data, name) as image:
        if is_gray(image) or is_halved(image):
            return extremes(read_deep(image, data, name), name)
    return None


def joined_levels(ranges: Iterable[ValueRange | None]) -> Levels | None:
    """From the smallest to the largest value; None if there are no two different ones.

    Raises DataError if some images hold integers and others floating-point numbers.
    """
    low, high = math.inf, -math.inf
    kinds = set()
    for found in ranges:
        if found is not None:
            low, high = min(low, found.low), max(high, found.high)
            kinds.add(found.are_integers)
    if len(kinds) > 1:
        raise DataError(
            "levels=data cannot measure integers and floating-point numbers together",
            hint="keep the two kinds of images apart",
        )
    return Levels(low, high) if low < high else None


def extremes(deep: Deep, name: str) -> ValueRange:
    """The smallest and the largest value. Raises PictureError if one is infinite or NaN."""
    low, high = deep.values.min(), deep.values.max()
    if deep.values.dtype.kind != "f":
        return ValueRange(int(low), int(high), True)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise PictureError(name, "floating-point pixels that are infinite or no numbers (NaN)")
    return ValueRange(float(low), float(high), False)


def scaled(deep: Deep, levels: Levels | None, found: ValueRange, name: str) -> Pixels:
    """uint8 [H, W], [H, W, 3] or, with alpha, [H, W, 4]: rounded to the nearest, cut off outside.

    Raises PictureError if `levels` is None and the values have no usual range or leave it.
    """
    import numpy as np

    low, high = _usual_range(deep, found, name) if levels is None else _limits(levels)

    def to_bytes(block: NDArray[Any]) -> NDArray[Any]:
        part = (block.astype(np.float64).clip(low, high) - low) / (high - low)
        return np.rint((1 - part if deep.is_inverted else part) * 255)

    pixels = blockwise(deep.values, "uint8", to_bytes)
    return pixels if deep.alpha is None else np.dstack([pixels, deep.alpha])


def _usual_range(deep: Deep, found: ValueRange, name: str) -> tuple[float, float]:
    hint = "(--set levels=data or LOW-HIGH)"
    if deep.white is None:
        kind = "32-bit" if found.are_integers else "floating-point"
        raise PictureError(name, f"{kind} pixels have no defined range {hint}")
    if found.low < 0 or found.high > deep.white:
        values = f"{found.low} to {found.high}"
        raise PictureError(name, f"pixel values {values} are outside 0..{deep.white} {hint}")
    return 0, deep.white


def _limits(levels: Levels) -> tuple[float, float]:
    assert levels.low is not None and levels.high is not None
    return levels.low, levels.high


def _text(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
