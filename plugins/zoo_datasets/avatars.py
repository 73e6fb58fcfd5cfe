"""DiceBear avatars: an artist draws the parts of a style, and a seed determines how they combine.

For every style, train is seeds 0 to 9,999 and test is seeds 10,000 to 11,999.
"""

from __future__ import annotations

import functools
import json
import threading
from importlib.resources import files
from typing import Any

from zoo_core import Picture, PictureDataset
from zoo_datasets.checks import check_drawn_resolution, check_split, fingerprint, versions
from zoo_datasets.drawing import RENDERING, draw

SEEDS = {"train": range(10_000), "test": range(10_000, 12_000)}

_assembling = threading.Lock()


def open_avatars(style: str, resolution: int, split: str) -> PictureDataset:
    """Open the avatars of one style at `resolution` pixels per side, without labels.

    Raises DataError for an unknown split, a resolution outside 8..2048, or a missing package.
    """
    check_split(style, split)
    check_drawn_resolution(style, resolution)
    return AvatarDataset(style, resolution, split)


class AvatarDataset(PictureDataset):
    """Image i is the avatar of the split's i-th seed."""

    def __init__(self, style: str, resolution: int, split: str):
        packages = versions(style, "dicebear-styles", "dicebear-core", "resvg_py")
        self.style, self.resolution, self.seeds = style, resolution, SEEDS[split]
        count = len(self.seeds)
        self.fingerprint = fingerprint(style, resolution, split, count, RENDERING, packages)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> Picture:
        seed = self.seeds[index]
        name = f"{self.style} seed {seed}"
        return Picture(name, draw(_assemble(self.style, seed), self.resolution, name))


def _assemble(style: str, seed: int) -> str:
    """The SVG of one avatar."""
    import dicebear

    # A Style fills its views in place on first use, so a second thread would see them incomplete.
    # The lock costs nothing: this is all Python code, which holds the GIL anyway.
    with _assembling:
        return str(dicebear.Avatar(load_style(style), {"seed": str(seed)}))


@functools.cache
def load_style(style: str) -> Any:
    """Load a dicebear.Style; this validates it, which takes 0.1 to 3 s."""
    import dicebear

    return dicebear.Style(json.loads(style_json(style)))


def style_json(style: str) -> str:
    """The style definition as published by its artist, including `meta.license`."""
    return files("dicebear_styles").joinpath(f"{style}.json").read_text(encoding="utf-8")
