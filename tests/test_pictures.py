"""Names are ordered as people order them."""

from __future__ import annotations

import random
import unicodedata

import pytest

from zoo_core.pictures import natural_key


@pytest.mark.parametrize(
    "names",
    [
        ["0", "1", "2", "10", "11", "100"],
        ["img2.png", "img10.png", "img10a.png", "img11.png"],
        ["1.5", "1.10", "2"],
        ["apple", "Banana", "cherry"],
        ["Cat", "cat", "cats"],  # exactly, where only the case differs
        ["007", "07", "7", "8"],  # the same where only zeros in front differ
        ["", "1", "a"],
        ["9" * 5000, "1" + "0" * 5000],  # more digits than int() takes
    ],
)
def test_names_are_in_natural_order(names: list[str]):
    shuffled = names[:]
    random.Random(0).shuffle(shuffled)
    assert sorted(shuffled, key=natural_key) == names


def test_an_accent_has_one_place_however_it_is_encoded():
    composed, apart = (unicodedata.normalize(form, "Éclair") for form in ("NFC", "NFD"))
    assert composed != apart
    assert natural_key(composed) == natural_key(apart)
