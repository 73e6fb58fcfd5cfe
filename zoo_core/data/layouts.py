"""What the folders that images are in mean: splits, classes, the two sides of pairs, or nothing.

Read from names alone, relative to the folder that contains everything:

    x.png                       plain
    cat/x.png  dog/y.png        classes: at least two folders, and no image beside them
    train/...  val/...          splits of any of these; valid, validation and dev are val, too
    00000/img00000000.png       plain: how the public StyleGAN tools number files
    A/x.png  B/x.jpg            pairs by name; input/ and target/, source/ and target/ likewise
    trainA/x.png  trainB/x.png  splits of pairs by name, as are train/A/x.png and A/train/x.png
    x.png                       a pair, for a model that needs pairs: source left, target right

A layout that could mean two things is an error that shows both readings.
"""

from __future__ import annotations

import os
import re
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple
from unicodedata import normalize

from zoo_core.errors import DataError, first_few
from zoo_core.pictures import natural_key

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
ORDER = ("train", "val", "test", "all")
SIDES = {
    **dict.fromkeys(("a", "input", "inputs", "source"), "source"),
    **dict.fromkeys(("b", "target", "targets"), "target"),
}
_SPLIT_SIDE = re.compile(f"({'|'.join(SPLITS)})[_-]?([ab])")  # trainA, val_B
_NUMBERED = re.compile(r"\d{5}/img\d{8}\.\w+")

Top = Callable[[str], str]  # the folder of a path that decides; "" for an image beside the folders


class Layout(NamedTuple):
    """How the files of a tree are read: the images of each split, by their number in the tree."""

    kind: str  # in words, for a message
    splits: Mapping[str, Sequence[int]]  # one called "all" where there are none
    classes: tuple[str, ...] = ()  # of all splits together, in natural order
    labels: Sequence[int] | None = None  # of every file, -1 where there is none
    sources: Mapping[int, int] | None = None  # target -> source, of pairs in two files


def find_layout(names: Sequence[str], layout: str = "auto", *, where: object = "") -> Layout:
    """How unpaired images with these names are read. Raises DataError if that is ambiguous.

    `layout` decides what names cannot: "plain", "classes" or "splits". `where` is for messages.
    """
    cut = _common(names)
    tops = {_top(name, cut) for name in names}
    splits = {top for top in tops if top.lower() in SPLITS}
    if layout == "splits" and not splits:
        raise DataError(
            f"{where} has no folders called like splits", allowed=", ".join(SPLITS),
            hint="--set layout=auto",
        )  # fmt: skip
    if layout == "auto":
        _refuse_pairs(tops, where)
    if splits and layout in ("auto", "splits"):
        _refuse_others(splits, tops - splits, layout, where)
        return _of_splits(names, cut)
    everything = {"all": range(len(names))}
    if layout == "plain" or all(_NUMBERED.fullmatch(name[cut:]) for name in names):
        return Layout("plain", everything)
    return _of_classes(names, lambda name: _top(name, cut), everything)


def find_pairs(names: Sequence[str], *, where: object = "") -> Layout:
    """How pairs with these names are read. Raises DataError for a file without a partner."""
    cut = _common(names)
    places = [_place(name[cut:]) for name in names]
    if not any(place.side for place in places):
        return _side_by_side(places)
    if stray := [name[cut:] for name, p in zip(names, places, strict=True) if not p.side]:
        a, b = _folders(places)
        raise DataError(
            f"{len(stray)} images in {where} are in neither {a}/ nor {b}/",
            given=first_few(stray),
            hint=f"move them away; or rename {a}/ and {b}/ if each file holds both images",
        )
    return _in_two_files(places, where)


def has_two_sides(names: Sequence[str]) -> bool:
    """Whether some of the names lie in each of the folders of pairs."""
    cut = _common(names)
    return {_place(name[cut:]).side for name in names} >= {"source", "target"}


def _common(names: Sequence[str]) -> int:
    """Length of the path of folders around everything, down to one that has a meaning."""
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))
    cut = 0  # what the first and the last have in common in this order, all have
    for folder, other in zip(first, last, strict=False):
        if folder != other or folder.lower() in SPLITS or _SPLIT_SIDE.fullmatch(folder.lower()):
            break
        cut += len(folder) + 1
    return cut


def _top(name: str, cut: int) -> str:
    end = name.find("/", cut)
    return "" if end < 0 else sys.intern(name[cut:end])


def _refuse_pairs(tops: set[str], where: object) -> None:
    """The two sides of pairs are two classes only if somebody says so."""
    lower = {top.lower() for top in tops}
    two_sides = len(lower) == 2 and {SIDES.get(top) for top in lower} == {"source", "target"}
    if two_sides or all(_SPLIT_SIDE.fullmatch(top) for top in lower):
        first = min(tops)
        raise DataError(
            f"{where} may hold pairs of images, or images of {len(tops)} classes",
            given=", ".join(sorted(tops)),
            allowed="pairs for an image-to-image model; classes for the others",
            hint=f"--set layout=classes; or one of the folders, {where}/{first}",
        )


def _refuse_others(splits: set[str], others: set[str], layout: str, where: object) -> None:
    """Folders called like splits, beside other folders or images."""
    if not others:
        return
    named = sorted((name for name in others if name), key=natural_key)
    beside = first_few(named) or "images"
    raise DataError(
        f"{where} has folders called like splits ({first_few(sorted(splits))}) beside {beside}",
        allowed="splits and nothing else; or classes that happen to be called so",
        hint="move the others away, or --set layout=classes, or --set layout=plain"
        if layout == "auto"
        else "move the others away",
    )


def _of_splits(names: Sequence[str], cut: int) -> Layout:
    splits: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        splits.setdefault(SPLITS[_top(name, cut).lower()], []).append(number)
    return _of_classes(names, lambda name: _top(name, name.index("/", cut) + 1), _sorted(splits))


def _of_classes(names: Sequence[str], top: Top, splits: Mapping[str, Sequence[int]]) -> Layout:
    """Folders as classes, in every split whose images are all inside of folders."""
    tops = [top(name) for name in names]
    sorted_in = [numbers for numbers in splits.values() if all(tops[n] for n in numbers)]
    folders = {tops[number] for numbers in sorted_in for number in numbers}
    if len(folders) < 2:
        return Layout("plain", splits)
    order = sorted(folders, key=natural_key)
    index = {folder: number for number, folder in enumerate(order)}
    labels = array("l", [-1]) * len(names)
    for numbers in sorted_in:
        for number in numbers:
            labels[number] = index[tops[number]]
    return Layout("classes", splits, tuple(map(_as_text, order)), labels)


def _as_text(name: str) -> str:
    """A folder name as NFC text: its bytes may not be UTF-8, and macOS decomposes accents."""
    return normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))


def _sorted(splits: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {split: splits[split] for split in ORDER if split in splits}


class _Place(NamedTuple):
    """Where a file of a pair lies: `trainA/x.png` is split "train", side "source", rest "x.png"."""

    split: str  # "" for none
    side: str  # "" for none
    rest: str  # without split and side
    folder: str = ""  # of the side, as it is spelled


def _place(name: str) -> _Place:
    first, _, rest = name.partition("/")
    second, _, deeper = rest.partition("/")
    split, side = SPLITS.get(first.lower(), ""), SIDES.get(first.lower(), "")
    if both := _SPLIT_SIDE.fullmatch(first.lower()):
        return _Place(SPLITS[both[1]], SIDES[both[2]], rest, first)
    if split and deeper and second.lower() in SIDES:  # train/A/x.png
        return _Place(split, SIDES[second.lower()], deeper, second)
    if side and deeper and second.lower() in SPLITS:  # A/train/x.png
        return _Place(SPLITS[second.lower()], side, deeper, first)
    if rest and (split or side):
        return _Place(split, side, rest, first if side else "")
    return _Place("", "", name)


def _folders(places: Sequence[_Place]) -> tuple[str, str]:
    """What the folders of the two sides are called here."""
    spelled = {place.side: place.folder for place in places if place.side}
    return spelled.get("source", "A"), spelled.get("target", "B")


def _side_by_side(places: Sequence[_Place]) -> Layout:
    splits: dict[str, list[int]] = {}
    has_splits = all(place.split for place in places)
    for number, place in enumerate(places):
        splits.setdefault(place.split if has_splits else "all", []).append(number)
    return Layout("pairs side by side", _sorted(splits))


def _in_two_files(places: Sequence[_Place], where: object) -> Layout:
    has_splits = all(place.split for place in places)
    pairs: dict[tuple[str, str], dict[str, int]] = {}
    for number, place in enumerate(places):
        split = place.split if has_splits else "all"
        stem = place.rest if has_splits else "/".join(filter(None, (place.split, place.rest)))
        both = pairs.setdefault((split, str(PurePosixPath(stem).with_suffix(""))), {})
        if place.side in both:
            raise DataError(f"{where} contains two files named {_shown(place)}")
        both[place.side] = number
    alone = [n for both in pairs.values() if len(both) == 1 for n in both.values()]
    if alone:
        a, b = _folders(places)
        raise DataError(
            f"{len(alone)} images in {where} have no partner with the same name",
            given=first_few(_shown(places[number]) for number in alone),
            allowed=f"{a}/NAME and {b}/NAME for every pair",
        )
    splits: dict[str, list[int]] = {}
    for (split, _), both in pairs.items():
        splits.setdefault(split, []).append(both["target"])
    sources = {both["target"]: both["source"] for both in pairs.values()}
    return Layout("pairs in two folders", _sorted(splits), sources=sources)


def _shown(place: _Place) -> str:
    return f"{place.folder}/{PurePosixPath(place.rest).with_suffix('')}"
