"""The arguments of a generator (seeds, labels, source images, latents), checked and made plain.

Whatever is wrong is an InputError that says what is allowed.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
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


def checked_source(generator: Generator, source: Tensor | None, rows: int) -> Tensor | None:
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
    if not isinstance(source, Tensor):
        raise refuse(given=type(source).__name__, hint="torch.as_tensor(source)")
    if source.shape != expected:
        raise refuse(given=tuple(source.shape))
    if not source.is_floating_point():
        raise refuse(given=source.dtype, hint="source / 127.5 - 1, if it is in 0..255")
    source = source.float()
    low, high = map(float, source.aminmax()) if rows else (0.0, 0.0)
    if not -1 - SLACK <= low <= high <= 1 + SLACK:  # also refuses NaN
        hint = "source / 127.5 - 1" if low >= 0 and 2 < high <= 255 else ""
        raise refuse(given=f"values in [{low:g}, {high:g}]", hint=hint)
    return source


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
