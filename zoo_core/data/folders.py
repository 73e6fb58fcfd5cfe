"""What the names of folders tell: a split, a side of pairs, masks of images, copies of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SIDES = {
    **dict.fromkeys(("a", "input", "inputs", "source"), "source"),
    **dict.fromkeys(("b", "target", "targets", "gt"), "target"),
    **dict.fromkeys(("lr", "lq", "low", "blur", "noisy"), "source"),
    **dict.fromkeys(("hr", "hq", "high", "sharp", "clean"), "target"),
}
SPLIT_SIDE = re.compile(f"({'|'.join(SPLITS)})[_-]?([ab])")  # trainA, val_B, in lower case

IMAGES = frozenset(
    (
        *("image", "images", "img", "imgs", "jpg", "jpeg", "png", "photo", "photos", "picture"),
        *("pictures", "rgb", "data", "hr", "input", "inputs", "source", "original", "originals"),
    )
)
MAPS = frozenset(  # one for each image
    (
        *("mask", "masks", "label", "labels", "gt", "groundtruth", "annotation", "annotations"),
        *("segmentation", "segmentations", "seg", "depth", "depths", "trimap", "trimaps", "edges"),
        *("lr", "target", "targets", "output", "outputs"),
    )
)
UNSORTED = IMAGES | {"unknown", "unlabeled", "unlabelled", "all"}
COPIES = re.compile(r"[_@#]?(thumb(nail)?s?|previews?)[_-]?(\d+(x\d+)?)?", re.IGNORECASE)
_WORDS = "|".join(SPLITS)
_SPLIT_WORD = re.compile(f"(?<![a-z])({_WORDS})(?![a-z])")
_SPLIT_PART = re.compile(rf"({_WORDS})[ _-]?(\d*)", re.IGNORECASE)  # train2017, test1


def split_folders(folders: Iterable[str]) -> Mapping[str, str]:
    """Which of the folders beside each other are splits: folder -> split.

    They are called like splits, perhaps with a number, but not with several years; or they have at
    least two splits in otherwise equal names: train_images/ and val_images/, but not train_station/
    and test_tube/.
    """
    parts = {folder: match for folder in folders if (match := _SPLIT_PART.fullmatch(folder))}
    years = {match[2] for match in parts.values() if len(match[2]) >= 4}
    if parts and len(years) < 2:
        return {folder: SPLITS[match[1].lower()] for folder, match in parts.items()}
    families: dict[str, dict[str, str]] = {}
    for folder in sorted(folders):
        if split := split_in(folder):
            rest = _SPLIT_WORD.sub("*", _spaced(folder))
            families.setdefault(rest, {})[folder] = split
    several = (family for family in families.values() if len(set(family.values())) > 1)
    return next(several, {})


def split_in(folder: str) -> str:
    """The split that one word of a name tells; "" for none, or several words."""
    words = _SPLIT_WORD.findall(_spaced(folder))
    return SPLITS[words[0]] if len(words) == 1 else ""


def are_two_sides(folders: Iterable[str]) -> bool:
    """Whether these, all there are, are called like the sides of pairs, or of splits of pairs."""
    lower = {folder.lower() for folder in folders}
    two = len(lower) == 2 and {SIDES.get(folder) for folder in lower} == {"source", "target"}
    return two or all(SPLIT_SIDE.fullmatch(folder) for folder in lower)


def maps_beside_images(folders: Iterable[str]) -> list[str]:
    """The folders that are called like images and like what is drawn over images, if both are."""
    words = {folder: set(re.findall("[a-z]+", _spaced(folder))) for folder in sorted(folders)}
    maps = [folder for folder, said in words.items() if said & MAPS]
    images = [folder for folder, said in words.items() if said & IMAGES and not said & MAPS]
    return images + maps if images and maps else []


def _spaced(folder: str) -> str:
    """In lower case, with the words of CamelCase apart."""
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", folder).lower()
