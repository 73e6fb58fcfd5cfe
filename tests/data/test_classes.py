"""Classes of images are those of a model by name, not by their place."""

from __future__ import annotations

import pytest

from zoo_core.data.classes import class_numbers, describe_match
from zoo_core.errors import DataError

PETS = ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("learned", "shown", "numbers"),
    [
        (PETS, PETS, [0, 1, 2]),
        (PETS, ("owl", "cat", "dog"), [2, 0, 1]),
        (PETS, ("cat", "owl"), [0, 2]),
        (("0", "1", "10", "2"), ("0", "1", "2", "10"), [0, 1, 3, 2]),  # names, not numbers
        (("0", "1", "2"), ("1", "2"), [1, 2]),
        (PETS, ("0", "1", "2"), [0, 1, 2]),  # numbers have no names to match
        (("0", "1", "2"), PETS, [0, 1, 2]),
    ],
)
def test_classes_are_matched_by_name(learned, shown, numbers):
    assert class_numbers(learned, shown) == numbers


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (("cat", "dog", "oul"), "given: 'oul', which it did not learn; allowed: 'owl', which the "
         "images lack; nearest: owl"),
        (("cat", "cow", "dog", "owl"), "given: 'cow', which it did not learn; "
         "allowed: 'cat', 'dog', 'owl'"),
        (("a", "b", "c", "d"), "given: 'a', 'b', 'c' and 1 more"),
    ],
)  # fmt: skip
def test_a_class_that_the_model_did_not_learn_is_named(shown, said):
    with pytest.raises(DataError) as refused:
        class_numbers(PETS, shown)
    assert said in str(refused.value)
    assert "--set" not in str(refused.value)


@pytest.mark.parametrize("learned", [("0", "1", "10", "2"), ("0", "1", "2", "cat")])
def test_folders_called_by_numbers_are_matched_by_name_or_not_at_all(learned):
    with pytest.raises(DataError, match="given: '3', which it did not learn"):
        class_numbers(learned, ("0", "1", "2", "3"))


@pytest.mark.parametrize("sides", [(PETS, ("0", "1")), (("0", "1"), PETS)])
def test_numbers_are_matched_only_if_there_are_equally_many(sides):
    with pytest.raises(DataError, match="different numbers of classes"):
        class_numbers(*sides)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (PETS, ""),
        (("owl", "dog", "cat"), ""),
        (("owl",), "the images lack 2 of the model's classes: 'cat', 'dog'"),
        (("0", "1", "2"), "classes of the model and of the images are matched by number: "
         "'cat' is '0', 'dog' is '1', 'owl' is '2'"),
    ],
)  # fmt: skip
def test_what_was_matched_in_part_or_by_number_is_said(shown, said):
    assert describe_match(PETS, shown) == said
