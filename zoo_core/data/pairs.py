"""Pairs of images: in two folders by name, or both in one file side by side.

A/x.png  B/x.jpg            pairs by name; input/ and target/, LR/ and HR/ likewise
trainA/x.png  trainB/x.png  splits of pairs by name, as are train/A/x.png and A/train/x.png
x.png                       a pair: source left, target right
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from zoo_core.data import doubts
from zoo_core.data.folders import SIDES, SPLIT_SIDE, SPLITS, split_folders
from zoo_core.data.layouts import ORDER, Layout, by_split, common_length, top_folder
from zoo_core.errors import DataError, first_few


def find_pairs(names: Sequence[str], *, where: object = "") -> Layout:
    """How pairs with these names are read. Raises DataError for a file without a partner."""
    cut = common_length(names)
    splits = split_folders({top_folder(name, cut) for name in names})
    places = [_place(name[cut:], splits) for name in names]
    if not any(place.side for place in places):
        doubts.refuse_unsided(names, cut, splits, where)
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
    cut = common_length(names)
    return {_place(name[cut:], {}).side for name in names} >= {"source", "target"}


class _Place(NamedTuple):
    """Where a file of a pair lies: `trainA/x.png` is split "train", side "source", rest "x.png"."""

    split: str  # "" for none
    side: str  # "" for none
    rest: str  # without split and side
    folder: str = ""  # of the side, as it is spelled


def _place(name: str, splits: Mapping[str, str]) -> _Place:
    """Where a file lies; `splits` are the folders at the top that are called like splits."""
    first, _, rest = name.partition("/")
    second, _, deeper = rest.partition("/")
    split, side = splits.get(first, ""), SIDES.get(first.lower(), "")
    if both := SPLIT_SIDE.fullmatch(first.lower()):
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
    return Layout("pairs side by side", by_split([place.split or "all" for place in places]))


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
    splits = {split: splits[split] for split in ORDER if split in splits}
    sources = {both["target"]: both["source"] for both in pairs.values()}
    return Layout("pairs in two folders", splits, sources=sources)


def _shown(place: _Place) -> str:
    return f"{place.folder}/{PurePosixPath(place.rest).with_suffix('')}"
