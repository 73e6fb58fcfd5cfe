"""What the folders that images are in mean: splits, classes, or nothing; `pairs.py` reads pairs.

Read from names alone, relative to the folder that contains everything:

    x.png                       plain
    cat/x.png  dog/y.png        classes: at least two folders, and no image beside them
    train/...  val/...          splits of any of these; valid, validation and dev are val, too
    train2017/  val2017/        likewise, where the rest of the names is the same
    cat/train/  cat/val/        splits of classes
    00000/img00000000.png       plain: how the public StyleGAN tools number files, or FFHQ does

A layout that could mean two things is an error that shows both readings (`doubts.py`).
"""

from __future__ import annotations

import os
import re
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from unicodedata import normalize

from zoo_core.data import doubts
from zoo_core.data.folders import SPLIT_SIDE, SPLITS, UNSORTED, split_folders
from zoo_core.errors import DataError
from zoo_core.pictures import natural_key

ORDER = ("train", "val", "test", "all")
_NUMBERED = re.compile(r"\d{5}/img\d{8}\.\w+")
_IN_THOUSANDS = re.compile(r"(\d{5})/(\d{5,})\.\w+")  # 01000/01234.png


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
    cut = common_length(names)
    tops = {top_folder(name, cut) for name in names}
    if layout == "auto":
        doubts.refuse_sides(tops, where)
        doubts.refuse_copies(names, where)
        doubts.refuse_twins(names, where)
    can_be_split = layout in ("auto", "splits")
    found = _of_splits(names, cut, tops, layout, where) if can_be_split else None
    if found is None and layout == "splits":
        raise DataError(
            f"{where} has no folders called like splits", allowed=", ".join(SPLITS),
            hint="--set layout=auto",
        )  # fmt: skip
    found = found or _unsplit(names, cut, layout)
    if layout == "auto":
        chosen = "classes" if "all" in found.splits else "splits"
        doubts.refuse_sides(found.classes, where, chosen)
        doubts.refuse_spellings(found.classes, where, chosen)
    return found


def common_length(names: Sequence[str]) -> int:
    """Length of the path of folders around everything, down to one that has a meaning."""
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))
    cut = 0  # what the first and the last have in common in this order, all have
    for folder, other in zip(first, last, strict=False):
        if folder != other or folder.lower() in SPLITS or SPLIT_SIDE.fullmatch(folder.lower()):
            break
        cut += len(folder) + 1
    return cut


def top_folder(name: str, cut: int) -> str:
    """The first folder of a path after its first `cut` characters; "" for an image beside them."""
    end = name.find("/", cut)
    return "" if end < 0 else sys.intern(name[cut:end])


def _folder(name: str, depth: int) -> str:
    """The folder of a path at this depth; "" for an image that is not so deep."""
    parts = name.split("/", depth + 1)
    return sys.intern(parts[depth]) if depth + 1 < len(parts) else ""


def _unsplit(names: Sequence[str], cut: int, layout: str) -> Layout:
    everything = {"all": range(len(names))}
    if layout == "plain" or (layout == "auto" and _are_numbered([name[cut:] for name in names])):
        return Layout("plain", everything)
    return _of_classes([top_folder(name, cut) for name in names], everything)


def _are_numbered(names: Sequence[str]) -> bool:
    """Whether folders only break a long numbering into parts."""
    return all(map(_NUMBERED.fullmatch, names)) or all(map(_is_in_thousands, names))


def _is_in_thousands(name: str) -> bool:
    match = _IN_THOUSANDS.fullmatch(name)
    return match is not None and int(match[1]) == int(match[2]) // 1000 * 1000


def _of_splits(
    names: Sequence[str], cut: int, tops: set[str], layout: str, where: object
) -> Layout | None:
    """The layout if folders at the top, or all those below them, are splits."""
    depth = names[0].count("/", 0, cut)
    if folders := split_folders(tops):
        doubts.refuse_others(folders, tops - folders.keys(), layout, where)
        splits = by_split([folders[top_folder(name, cut)] for name in names])
        inner = _below_splits(names, depth, splits)
        if _are_numbered(inner):
            return Layout("plain", splits)
        inside = [top_folder(name, 0) for name in inner]
        if layout == "auto":
            doubts.refuse_splits_below(set(inside), where)
        return _of_classes(inside, splits)
    below = [_folder(name, depth + 1) for name in names]
    if all(folder.lower() in SPLITS for folder in set(below)):
        splits = by_split([SPLITS[folder.lower()] for folder in below])
        return _of_classes([top_folder(name, cut) for name in names], splits)
    if layout == "auto":
        doubts.refuse_words_of_splits(tops, where)
        doubts.refuse_splits_below(set(below), where)
    return None


def by_split(told: Sequence[str]) -> dict[str, list[int]]:
    """Split -> the numbers of the images for which it is told, in the usual order of splits."""
    splits: dict[str, list[int]] = {split: [] for split in ORDER}
    for number, split in enumerate(told):
        splits[split].append(number)
    return {split: numbers for split, numbers in splits.items() if numbers}


def _below_splits(
    names: Sequence[str], depth: int, splits: Mapping[str, Sequence[int]]
) -> list[str]:
    """The names below the folder of their split, and below folders there that tell nothing.

    Those are a folder around everything in each split, train/train/, and val/images/ beside classes
    to train on.
    """
    paths = {
        split: _shared([names[n] for n in numbers])[depth:] for split, numbers in splits.items()
    }
    skipped = dict.fromkeys(splits, 1)
    while True:
        heads = {split: "".join(path[skipped[split] :][:1]) for split, path in paths.items()}
        around = set(heads.values())
        moved = [
            split
            for split, head in heads.items()
            if head and (len(around) == 1 or _tells_nothing(head, paths[split][0], split))
        ]
        if not moved:
            break
        for split in moved:
            skipped[split] += 1
    below = [""] * len(names)
    for split, numbers in splits.items():
        for number in numbers:
            below[number] = names[number].split("/", depth + skipped[split])[-1]
    return below


def _tells_nothing(folder: str, around: str, split: str) -> bool:
    lower = folder.lower()
    return lower in UNSORTED or folder == around or SPLITS.get(lower) == split


def _shared(names: Sequence[str]) -> list[str]:
    """The folders that all of the names have in common."""
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))
    same = [folder == other for folder, other in zip(first, last, strict=False)]
    return first[: [*same, False].index(False)]


def _of_classes(tops: Sequence[str], splits: Mapping[str, Sequence[int]]) -> Layout:
    """Folders as classes, in every split whose images are all inside of folders."""
    sorted_in = [numbers for numbers in splits.values() if all(tops[n] for n in numbers)]
    folders = {tops[number]: _as_text(tops[number]) for numbers in sorted_in for number in numbers}
    order = sorted(set(folders.values()), key=natural_key)
    if len(order) < 2:
        return Layout("plain", splits)
    index = {text: number for number, text in enumerate(order)}
    labels = array("l", [-1]) * len(tops)
    for numbers in sorted_in:
        for number in numbers:
            labels[number] = index[folders[tops[number]]]
    return Layout("classes", splits, tuple(order), labels)


def _as_text(name: str) -> str:
    """A folder name as NFC text: its bytes may not be UTF-8, and macOS decomposes accents."""
    return normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))
