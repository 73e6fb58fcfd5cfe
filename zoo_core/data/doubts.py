"""Layouts that could mean two things: errors that show both, and the setting that chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from zoo_core.data.folders import (
    COPIES,
    IMAGES,
    MAPS,
    SIDES,
    SPLITS,
    are_two_sides,
    maps_beside_images,
    split_in,
)
from zoo_core.errors import DataError, first_few
from zoo_core.pictures import natural_key

MAX_KINDS = 8  # beyond so many suffixes, names are only similar
KINDS = IMAGES | MAPS
ALIKE = "--set layout=plain or layout=classes if all are images to train on"


def refuse_sides(folders: Collection[str], where: object, layout: str = "classes") -> None:
    """The two sides of pairs are two classes only if somebody says so."""
    if folders and (are_two_sides(folders) or maps_beside_images(folders)):
        raise DataError(
            f"{where} may hold pairs of images, or images of {_count(folders, 'class', 'classes')}",
            given=first_few(sorted(folders)),
            allowed="pairs for an image-to-image model; classes for the others",
            hint=f"--pairs with zoo data; --set layout={layout} for classes; "
            "or pass one of the folders",
        )


def refuse_others(
    splits: Collection[str], others: Collection[str], layout: str, where: object
) -> None:
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


def refuse_words_of_splits(folders: Collection[str], where: object) -> None:
    """Folders that all have a word for a split in their names, but are not its splits."""
    if len(folders) > 1 and all(map(split_in, folders)):
        raise DataError(
            f"{where} may hold splits, or images of {len(folders)} classes",
            given=first_few(sorted(folders)),
            allowed="splits with names that differ in one word, train_images/ and test_images/",
            hint="rename them; or --set layout=classes, or --set layout=plain",
        )


def refuse_splits_below(folders: Collection[str], where: object) -> None:
    """Several splits inside of other folders, beside what is in no split."""
    splits = sorted(folder for folder in folders if folder.lower() in SPLITS)
    if len({SPLITS[folder.lower()] for folder in splits}) > 1:
        others = sorted(folder for folder in folders if folder and folder.lower() not in SPLITS)
        raise DataError(
            f"{where} has folders called like splits ({first_few(splits)}) inside of other "
            f"folders, beside {first_few(others) or 'images'}",
            allowed="splits and nothing else; or classes with folders inside",
            hint="pass one of the folders, or --set layout=classes, or --set layout=plain",
        )


def refuse_copies(names: Sequence[str], where: object, hint: str = ALIKE) -> None:
    """Folders of thumbnails, unless all images are inside of such."""
    folders = {name.rpartition("/")[0] for name in names}
    small = {folder: _copies_in(folder) for folder in folders}
    if any(small.values()) and not all(small.values()):
        raise DataError(
            f"{where} may hold small copies of the other images, or more images",
            given=first_few(sorted({folder for folder in small.values() if folder})),
            allowed="images without copies of them",
            hint=f"move the copies away; or {hint}",
        )


def refuse_twins(names: Sequence[str], where: object, hint: str = ALIKE) -> None:
    """Images that come in several files of one name: an image and its label map, or its copy."""
    kinds: set[str] = set()
    for name in names:  # nothing is kept of each: a folder may hold millions
        kinds.add(_stem_and_kind(name)[1])
        if len(kinds) > MAX_KINDS:
            return
    if len(kinds) < 2:
        return
    parts = list(map(_stem_and_kind, names))
    counts = Counter(stem for stem, _ in parts)
    twins = [stem for stem, _ in parts if counts[stem] > 1]
    if twins and 2 * len(twins) >= len(names):
        same = [name for name, (stem, _) in zip(names, parts, strict=True) if stem == twins[0]]
        raise DataError(
            f"{len(twins)} of {len(names)} images in {where} have the name of another, but for the "
            "suffix or a word: pairs, copies or different images",
            given=first_few(same),
            allowed="pairs in two folders, A/ and B/; otherwise one file for each image",
            hint=f"move one kind away; or {hint}",
        )


def refuse_spellings(classes: Sequence[str], where: object, layout: str) -> None:
    """Classes that differ only in case or in spaces around them."""
    counts = Counter(name.strip().casefold() for name in classes)
    same = [name for name in classes if counts[name.strip().casefold()] > 1]
    if same:
        raise DataError(
            f"{where} may hold one class that is spelled in several ways, or several classes",
            given=first_few(map(repr, same)),
            hint=f"rename them; or --set layout={layout}, to keep them apart",
        )


def refuse_unsided(
    names: Sequence[str], cut: int, splits: Mapping[str, str], where: object
) -> None:
    """Pairs of which each file should hold both sides, if there is a sign that it does not."""
    tops = {name[cut:].rpartition("/")[0].partition("/")[0] for name in names}
    if splits:
        refuse_others(splits, tops - splits.keys(), "pairs", where)
    folders = {folder for name in names for folder in name[cut:].split("/")[:-1]}
    hint = "pass the folder of the images if each file holds both sides"
    sides = sorted(folder for folder in folders if folder.lower() in SIDES)
    if len({SIDES[folder.lower()] for folder in sides}) > 1:
        raise DataError(
            f"{where} may hold pairs in two folders beside other images, or both images of a pair "
            "in each file",
            given=first_few(sides),
            allowed="the folders of the two sides and nothing else",
            hint=f"pass the folder that holds {sides[0]}/; or {hint}",
        )
    if told := maps_beside_images(folders):
        raise DataError(
            f"{where} may hold pairs in two folders, or both images of a pair in each file",
            given=first_few(told),
            allowed="the folder of what is translated called A or input, the other B or target",
            hint="rename the folders; or " + hint,
        )
    refuse_copies(names, where, hint)
    refuse_twins(names, where, hint)


def _copies_in(folder: str) -> str:
    """The folder of a path that is called like one of thumbnails."""
    return next((part for part in folder.split("/") if COPIES.fullmatch(part)), "")


def _stem_and_kind(name: str) -> tuple[str, str]:
    """A path without what tells the kind of file, and that: `.jpg`, `.input.png`, `_mask.png`."""
    slash, dot = name.rfind("/") + 1, name.rfind(".")
    if dot <= slash:
        return name, ""
    first = min((at for sign in "_- " if (at := name.find(sign, slash, dot)) > 0), default=dot)
    if first < dot and name[slash:first].lower() in KINDS:  # mask_1.png
        return name[:slash] + name[first + 1 : dot], name[slash : first + 1] + name[dot:]
    last = max(name.rfind(sign, slash + 1, dot) for sign in "._- ")
    word = name[last + 1 : dot].lower()
    if last > 0 and (word in KINDS or (name[last] == "." and word.isalpha())):
        return name[:last], name[last:]
    return name[:dot], name[dot:]


def _count(things: Collection[str], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"
