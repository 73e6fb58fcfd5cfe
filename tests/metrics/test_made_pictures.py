"""Sizes of images that somebody has made, and the size at which both sides are compared."""

from __future__ import annotations

import numpy as np
import pytest
import toys

from zoo_core.data.packing import pack
from zoo_core.errors import PictureError
from zoo_core.metrics import made_pictures
from zoo_core.metrics.made_pictures import (
    NotedSizes,
    Sizes,
    count_sizes,
    describe_sizes,
    fitted_side,
    square_side,
)
from zoo_core.pictures import Picture, PictureDataset


class OfSizes(PictureDataset):
    """Images of these widths and heights; one of width 0 cannot be read."""

    fingerprint = "of sizes"

    def __init__(self, *sizes: tuple[int, int]):
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Picture:
        width, height = self.sizes[index]
        if not width:
            raise PictureError(f"{index}", "is damaged")
        return Picture(f"{index}", np.zeros((height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("ahead", [256, 2])
def test_sizes_are_counted_without_unusable_pictures(monkeypatch, ahead):
    monkeypatch.setattr(made_pictures, "AHEAD", ahead)
    seen = []
    images = OfSizes((4, 3), (0, 0), (3, 4), (4, 3), (5, 5))
    sizes = count_sizes(images, lambda done, total: seen.append((done, total)))
    assert sizes == {(4, 3): 2, (3, 4): 1, (5, 5): 1}
    assert seen[-1] == (5, 5)


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(8, 8)], 8),
        ([(8, 6)], None),
        ([(8, 8), (6, 6)], None),
        ([], None),
    ],
)
def test_squares_of_one_size_have_a_side(sizes, side):
    assert square_side(Sizes(sizes)) == side


def test_a_few_small_pictures_do_not_decide_the_size():
    assert fitted_side(Sizes({(400, 300): 58, (16, 16): 2})) == 300


def test_half_of_the_pictures_are_not_enlarged():
    every = {(side, 2 * side): 1 for side in (10, 20, 30, 40)}
    assert fitted_side(Sizes(every)) == 20


def test_no_pictures_have_some_size():
    assert fitted_side(Sizes()) == 1


def test_the_most_common_sizes_are_named_first():
    sizes = Sizes({(16, 16): 2, (400, 300): 58, (30, 40): 1, (5, 5): 1, (6, 6): 1})
    assert describe_sizes(sizes) == "400 x 300 (58), 16 x 16 (2), 30 x 40 (1) and 2 more"


def test_sizes_are_noted_while_pictures_are_packed_as_without(tmp_path):
    plain = toys.ToyPictures(8, classes=2)
    noted = NotedSizes(plain)
    packed = pack(noted, 16, 3, cache=tmp_path / "noted")
    expected = pack(plain, 16, 3, cache=tmp_path / "plain")
    assert packed.fingerprint == expected.fingerprint
    assert packed.classes == expected.classes
    assert noted.sizes == {(16, 16): 8}
