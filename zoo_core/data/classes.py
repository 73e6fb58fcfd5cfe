"""Classes of images and of a model that has learned some: matched by name, so that their order and
number may differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo_core.errors import DataError, first_few, nearest


def class_numbers(learned: Sequence[str], shown: Sequence[str]) -> list[int]:
    """The model's number of each class of the images, both given by their names in order.

    The images may lack classes, and may have them in another order. Where one side has names and
    the other only numbers, 0 to K - 1, classes are matched by number if there are equally many.
    Raises DataError, which names the classes that are on one side only.
    """
    number = {name: n for n, name in enumerate(learned)}
    if number.keys() >= set(shown):
        return [number[name] for name in shown]
    is_shared = not number.keys().isdisjoint(shown)
    if is_shared or not (are_numbers(learned) or are_numbers(shown)):
        raise _unmatched(learned, shown)
    check_count(len(learned), len(shown))
    return list(range(len(learned)))


def are_numbers(classes: Sequence[str]) -> bool:
    """Whether classes are called by their numbers, so that they have no names of their own."""
    return list(classes) == [str(n) for n in range(len(classes))]


def check_count(learned: int, shown: int) -> None:
    """Raise DataError unless the images have as many classes as the model has learned."""
    if learned != shown:
        raise DataError(
            "the model and the images have different numbers of classes",
            given=f"{shown} in the images",
            allowed=f"{learned}, as the model has learned",
        )


def describe_match(learned: Sequence[str], shown: Sequence[str]) -> str:
    """What is worth saying of matched classes: those that the images lack, or that have no names.

    Empty if the images have every class of the model.
    """
    lacking = _only_in(learned, shown)
    if not lacking:
        return ""
    if not _only_in(shown, learned):
        return f"the images lack {len(lacking)} of the model's classes: {_quoted(lacking)}"
    pairs = [f"{a!r} is {b!r}" for a, b in zip(learned, shown, strict=True) if a != b]
    return f"classes of the model and of the images are matched by number: {first_few(pairs)}"


def _unmatched(learned: Sequence[str], shown: Sequence[str]) -> DataError:
    unknown, missing = _only_in(shown, learned), _only_in(learned, shown)
    return DataError(
        "the images do not have the classes that the model learned",
        given=f"{_quoted(unknown)}, which it did not learn",
        allowed=f"{_quoted(missing)}, which the images lack" if missing else _quoted(learned),
        near=nearest(unknown[0], learned),
    )


def _only_in(some: Sequence[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in some if name not in known]


def _quoted(names: Sequence[str]) -> str:
    return first_few(map(repr, names))
