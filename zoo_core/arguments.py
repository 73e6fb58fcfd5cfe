"""The arguments of a generator (seeds, labels, source images, latents), checked and made plain.

Whatever is wrong is an InputError that says what is allowed.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from unicodedata import normalize

import numpy as np
import torch
from torch import Tensor

from zoo_core.errors import InputError, first_few

if TYPE_CHECKING:
    from zoo_core.generators import Generator

# How far source images may exceed [-1, 1] by rounding; less than half an 8-bit level.
SLACK = 1e-3

# Class numbers or names: one per image, or one for all.
Labels: TypeAlias = int | str | Sequence[int | str] | Tensor

# A tensor, and what data/given.py reads: an array, a picture of Pillow, a path, a list of these.
Images: TypeAlias = Any


def count_of(seeds: Any) -> int:
    """How many seeds these are, before there is a list of them; 0 where that is not known."""
    try:
        return len(seeds)
    except TypeError:
        return 0
    except OverflowError:  # of a range
        return sys.maxsize


def checked_seeds(seeds: Iterable[int]) -> list[int]:
    """The seeds as a list. Raises InputError unless all are integers in 0 .. 2**64 - 1."""
    given = _plain(seeds)
    if not isinstance(given, Iterable):
        raise InputError("seeds must be a list, one per image", given=repr(given), hint="[7]")
    given = list(given)
    numbers = [integer(seed, 1 << 64) for seed in given]
    if wrong := summarize(seed for seed, number in zip(given, numbers, strict=True) if number < 0):
        raise InputError("invalid seed", given=wrong, allowed="integers in 0..2**64 - 1")
    return numbers


def summarize(values: Iterable[object]) -> str:
    """The first few distinct values, for a message; empty if there are none."""
    return first_few(dict.fromkeys(map(repr, values)))


def _plain(values: Any) -> Any:
    """Tensors and arrays as Python numbers or lists; anything else unchanged."""
    return values.tolist() if isinstance(values, Tensor | np.ndarray | np.generic) else values


def _as_number(labels: list[Any], stop: int) -> str:
    """What to try if text was given for the number of a class, below `stop`; else empty."""
    for text in labels:
        if isinstance(text, str) and text.isdecimal() and int(text) < stop:
            return f"{int(text)} instead of {text!r}, for a number"
    return ""


def integer(value: Any, stop: int) -> int:
    """The value if it is an integer in 0 .. stop - 1, else -1."""
    try:
        number = operator.index(value)
    except TypeError:
        return -1
    return number if number < stop else -1


def checked_labels(generator: Generator, labels: Labels | None, rows: int) -> Tensor | None:
    """Labels as int64 [rows], None for a model without classes. Raises InputError."""
    name, allowed = type(generator).__name__, f"0..{generator.num_classes - 1}"
    if labels is None:
        if generator.num_classes:
            raise InputError(f"{name} needs a label in {allowed} for every seed", given="none")
        return None
    given = _plain(labels)
    one = isinstance(given, str) or not isinstance(given, Iterable)
    given = [given] * rows if one else list(given)
    if not generator.num_classes:
        raise InputError(
            f"{name} takes no labels", given=summarize(given) or "[]", hint="leave them out"
        )
    if len(given) != rows:
        need = f"{rows} seeds need {rows} labels, or one for all of them"
        raise InputError(need, given=f"{len(given)} labels", allowed=allowed)
    numbers = [_class(generator, label) for label in given]
    if wrong := summarize(
        label for label, number in zip(given, numbers, strict=True) if number < 0
    ):
        names = (
            f", or names such as {', '.join(generator.classes[:3])}" if generator.classes else ""
        )
        raise InputError(
            "no such class",
            given=wrong,
            allowed=f"integers in {allowed}{names}",
            hint=_as_number(given, generator.num_classes),
        )
    return torch.tensor(numbers, dtype=torch.int64)


def _class(generator: Generator, label: object) -> int:
    """The number of a class, given as number or name; -1 if there is no such class."""
    if isinstance(label, str):
        name = normalize("NFC", label)  # as for class names read from folders
        return generator.classes.index(name) if name in generator.classes else -1
    return integer(label, generator.num_classes)


def checked_source(generator: Generator, source: Images | None, rows: int) -> Tensor | None:
    """Source images as float32, None for a latent model. Raises InputError."""
    if generator.source_shape is None:
        if source is not None:
            what = f"{type(generator).__name__} takes no source images"
            raise InputError(what, given=type(source).__name__, hint="leave them out")
        return None
    expected = (rows, *generator.source_shape)
    allowed = f"a float32 tensor {expected} in [-1, 1]"
    refuse = partial(InputError, "source images do not fit the model", allowed=allowed)
    if source is None:
        raise refuse(given="none")
    if generator.reader is not None:
        source = generator.reader.fitted(source, generator.source_shape)
    if not isinstance(source, Tensor):
        raise refuse(given=type(source).__name__, hint="torch.as_tensor(source)")
    if source.shape != expected:
        raise refuse(given=tuple(source.shape))
    if not source.is_floating_point() and source.dtype is not torch.uint8:
        raise refuse(given=source.dtype, hint="source / 127.5 - 1, if it is in 0..255")
    if said := wrong_range(source):
        raise refuse(given=said.given, hint=said.hint)
    source = unit_floats(source)
    low, high = map(float, source.aminmax()) if rows else (0.0, 0.0)
    if not -1 - SLACK <= low <= high <= 1 + SLACK:  # also refuses NaN
        raise refuse(given=f"values in [{low:g}, {high:g}]")
    return source


class WrongRange(NamedTuple):
    """The values of images that are in another range, and what brings them into -1..1."""

    given: str
    hint: str


def wrong_range(images: Tensor) -> WrongRange | None:
    """What is wrong with float images that are clearly in 0..255 or in 0..1; None for others.

    In -1..1 nothing negative would mean nothing darker than middle gray. That is taken for 0..1
    where values are from below 0.25 to above 0.5, unless all are levels of 8 bits, which are odd
    multiples of 1/255 in -1..1: a drawing in gray on white is read as it is.
    """
    if not images.is_floating_point() or not images.numel():
        return None
    images = images.detach().float()
    low, high = map(float, images.aminmax())
    given = f"values in [{low:g}, {high:g}]"
    if low >= 0 and 2 < high <= 255 + SLACK:
        return WrongRange(given, "images / 127.5 - 1")
    if 0 <= low < 0.25 and 0.5 < high <= 1 + SLACK and not _are_levels(images):
        return WrongRange(given, "images * 2 - 1")
    return None


def _are_levels(images: Tensor) -> bool:
    """Whether all values are what 8-bit levels are in -1..1: odd multiples of 1/255."""
    halves = (images * 255 - 1) / 2
    return bool(((halves - halves.round()).abs() < 0.1).all())


def unit_floats(images: Tensor) -> Tensor:
    """Images as float32, uint8 in 0..255 as floats in -1..1."""
    return images.float() / 127.5 - 1 if images.dtype is torch.uint8 else images.float()


def check_placed(given: Any, weight: Tensor) -> None:
    """Raise InputError unless a tensor has the dtype and the device of a network's weight.

    Under autocast torch casts by itself.
    """
    if not isinstance(given, Tensor):
        raise InputError("the network takes a tensor", given=f"a {type(given).__name__}")
    is_meta = weight.device.type == "meta"  # which torch does not ask about
    casts = not is_meta and torch.is_autocast_enabled(weight.device.type)
    if given.device == weight.device and (given.dtype == weight.dtype or casts):
        return
    raise InputError(
        "the network computes in another dtype, or on another device",
        given=f"{given.dtype} on {given.device}",
        allowed=f"{weight.dtype} on {weight.device}",
        hint=f".to({str(weight.device)!r}, {weight.dtype})",
    )


def checked_rows(kind: str, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Latents or ws, if they are floats of this shape. Raises InputError."""
    if not isinstance(rows, Tensor):
        given = type(rows).__name__
    elif not rows.is_floating_point() or rows.shape[1:] != shape:
        given = f"{rows.dtype} {tuple(rows.shape)}"
    else:
        return rows
    allowed = f"a float tensor (N, {', '.join(map(str, shape))})"
    raise InputError(f"{kind} do not fit the model", given=given, allowed=allowed)
