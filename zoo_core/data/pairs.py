"""Pairs of images in a folder or a zip file, for image-to-image models.

Two layouts are supported, both from Isola et al. 2017 (pix2pix):

    A/cat.png  B/cat.jpg     source and target under the same name, sub-folders included
    cat.png                  both in one file, twice as wide as high: source left, target right
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from zoo_core.data.files import PictureFiles
from zoo_core.errors import DataError, PictureError, first_few
from zoo_core.pictures import Picture, PictureDataset

SIDES = ("A", "B")  # the folders of sources and of targets


class PairedPictureFiles(PictureDataset):
    """Pairs of images ordered by name, without labels.

    If there are folders A and B, a pair is two files, otherwise one. Raises DataError if a file in
    one folder has no partner in the other, or lies in neither.
    """

    paired = True

    def __init__(self, path: Path):
        self._files = PictureFiles(path)
        self.fingerprint = f"pairs:{self._files.fingerprint}"
        self.ignored = self._files.ignored
        names = self._files.inside
        self._pairs = _by_name(names, path) if has_pair_folders(self._files) else None

    def __len__(self) -> int:
        return len(self._files) if self._pairs is None else len(self._pairs)

    def __getitem__(self, index: int) -> Picture:
        if self._pairs is None:
            return _halves(self._files[index])
        source, picture = (self._files[side] for side in self._pairs[index])
        if source.pixels.shape[:2] != picture.pixels.shape[:2]:
            raise PictureError(
                picture.name, f"is {_size(picture)}, its source {source.name} is {_size(source)}"
            )
        return Picture(picture.name, picture.pixels, source=source.pixels)


def has_pair_folders(files: PictureFiles) -> bool:
    """Whether there is both a folder A and a folder B."""
    return set(SIDES) <= {PurePosixPath(name).parts[0] for name in files.inside}


def _by_name(names: list[str], path: Path) -> list[tuple[int, int]]:
    """(index of the source, index of the target) of each pair."""
    stray = [name for name in names if not name.startswith(tuple(f"{side}/" for side in SIDES))]
    if stray:
        raise DataError(
            f"{len(stray)} images in {path} are in neither A/ nor B/",
            given=first_few(stray),
            hint="move them away; or rename A/ and B/ if each file holds both images",
        )
    sides: dict[str, dict[str, int]] = {side: {} for side in SIDES}
    for number, name in enumerate(names):
        side, _, rest = name.partition("/")
        stem = str(PurePosixPath(rest).with_suffix(""))
        if stem in sides[side]:
            raise DataError(f"{path} contains two files named {side}/{stem}")
        sides[side][stem] = number
    a, b = sides["A"], sides["B"]
    lonely = [f"A/{stem}" for stem in a if stem not in b]
    lonely += [f"B/{stem}" for stem in b if stem not in a]
    if lonely:
        raise DataError(
            f"{len(lonely)} images in {path} have no partner with the same name",
            given=first_few(lonely),
            allowed="A/NAME and B/NAME for every pair",
        )
    return [(a[stem], b[stem]) for stem in a]


def _halves(both: Picture) -> Picture:
    height, width = both.pixels.shape[:2]
    if width != 2 * height:
        raise PictureError(
            both.name,
            f"is {_size(both)}; a side-by-side pair must be twice as wide as high, "
            "and pairs in two files go into A/ and B/",
        )
    return Picture(both.name, both.pixels[:, height:], source=both.pixels[:, :height])


def _size(picture: Picture) -> str:
    height, width = picture.pixels.shape[:2]
    return f"{width} x {height}"
