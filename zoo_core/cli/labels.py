"""The option --label of the commands that generate images: one class, or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import normalize

import typer

from zoo_core.cli.output import note
from zoo_core.filesystem import quoted

if TYPE_CHECKING:
    from zoo_core.generators import Generator

MAX_ROWS = 16  # classes that are drawn unless all are asked for
ALL, EVERY_NUMBER = "all", "number:all"  # the same, unless a class is called "all"

READ = "number (from 0) or name; number:2 or name:2 if the class called 2 is not number 2"
LABEL = typer.Option(None, "--label", help=f"Class: {READ}. Required by class-conditional models.")
LABEL_OR_ALL = typer.Option(
    None,
    "--label",
    help=f"Class: {READ}; or all [default: a row per class, up to {MAX_ROWS} of them].",
)


def class_number(label: str | None, generator: Generator) -> int | None:
    """Return the number of the class with that number or name; None for a model without classes.

    Raises InputError for an unknown class, and for a label that is missing or that the model does
    not take; AmbiguousNameError if the label is the number of one class and the name of another.
    """
    from zoo_core.errors import AmbiguousNameError, InputError

    if label is None and not generator.num_classes:
        return None
    if label is None:
        raise InputError(
            f"{type(generator).__name__} is class-conditional and needs a label",
            allowed=f"0..{generator.num_classes - 1}",
            hint=f"--label {quoted(class_label(0, generator))}",
        )
    _check_takes_labels(label, generator)
    found = _readings(label, generator)
    if len(found) > 1:
        spellings = [f"{text} ({_described(n, generator)})" for n, text in found.items()]
        raise AmbiguousNameError(
            f"--label {quoted(label)} can mean {len(found)} classes",
            allowed=" or ".join(spellings),
        )
    if not found:
        raise _unknown(label, generator)
    return next(iter(found))


def class_numbers(label: str | None, generator: Generator) -> list[int] | None:
    """Return the numbers of the classes to draw; None for a model without classes.

    Without a label they are the first MAX_ROWS, which is said if there are more. Raises what
    `class_number` raises.
    """
    from zoo_core.errors import AmbiguousNameError

    every = list(range(generator.num_classes))
    if label is None and every:
        if len(every) > MAX_ROWS:
            note(f"the first {MAX_ROWS} of {len(every)} classes; for all: --label all")
        return every[:MAX_ROWS]
    if label is None or not means_all(label):
        number = class_number(label, generator)
        return None if number is None else [number]
    _check_takes_labels(label, generator)
    if label in generator.classes:
        raise AmbiguousNameError(
            f"--label {label} can mean a class or every class",
            allowed=f"name:{label} or {EVERY_NUMBER}",
        )
    return every


def means_all(label: str) -> bool:
    """Whether the label asks for every class."""
    return label in (ALL, EVERY_NUMBER)


def class_label(number: int, generator: Generator) -> str:
    """Return a label that means this class only: its name, unless that can mean another, too."""
    if not generator.classes:
        return str(number)
    name = generator.classes[number]
    is_clear = list(_readings(name, generator)) == [number] and not means_all(name)
    return name if is_clear else f"number:{number}"


def _readings(label: str, generator: Generator) -> dict[int, str]:
    """The number of each class that a label can mean, and a label that means it only."""
    label = normalize("NFC", label)  # as for class names read from folders
    kind, _, rest = label.partition(":")
    found = {}
    for name in (label, rest) if kind == "name" else (label,):
        if name in generator.classes:
            found[generator.classes.index(name)] = f"name:{name}"
    for digits in (label, rest) if kind == "number" else (label,):
        if digits.isdecimal() and len(digits) < 10 and int(digits) < generator.num_classes:
            found.setdefault(int(digits), f"number:{int(digits)}")
    return found


def _described(number: int, generator: Generator) -> str:
    return f"class {number}, {generator.classes[number]!r}"


def _check_takes_labels(label: str, generator: Generator) -> None:
    from zoo_core.errors import InputError

    if not generator.num_classes:
        raise InputError(
            f"{type(generator).__name__} takes no labels",
            given=f"--label {quoted(label)}",
            hint="omit --label",
        )


def _unknown(label: str, generator: Generator) -> Exception:
    from zoo_core.errors import InputError, nearest

    allowed = f"0..{generator.num_classes - 1}"
    if generator.classes:
        near = nearest(label, generator.classes) or generator.classes[:3]
        allowed += f", or a name such as {', '.join(near)}"
    return InputError("no such class", given=label, allowed=allowed)
