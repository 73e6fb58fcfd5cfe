"""`zoo data` with pairs: asked for by --pairs, and never missed in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


def write(folder: str, size: tuple[int, int] = (20, 20)) -> None:
    Path(folder).mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", size, (30 * number, 90, 200)).save(Path(folder, f"{number}.png"))


@pytest.mark.parametrize("what", ["check", "show"])
def test_two_sides_are_refused_with_the_option_that_reads_them(zoo, what):
    write("pairs/A")
    write("pairs/B")
    refused = zoo("data", what, "pairs")
    assert refused.code == 2
    assert "try: --pairs with zoo data; --set layout=classes for classes" in refused.error
    answer = zoo("data", what, "pairs", "--pairs")
    assert answer.code == 0, answer.err


def test_images_that_may_be_pairs_side_by_side_are_said_to_be(zoo):
    write("wide", (40, 20))
    assert "twice as wide as high" in zoo("data", "check", "wide").err
    assert "twice as wide as high" not in zoo("data", "check", "wide", "--pairs").err
    write("square")
    assert "twice as wide as high" not in zoo("data", "check", "square").err
