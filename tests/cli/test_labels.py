"""Classes of the commands that draw: by name, by number, and all of them in rows."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from toys import ToyConfig, ToyGenerator

from zoo_core.cli.labels import MAX_ROWS
from zoo_core.weights.header import WeightsMetadata
from zoo_core.weights.tensors import save_weights

WEIGHTS = "w.safetensors"
PETS = ("cat", "dog", "owl")
TEXT_ORDER = ("0", "1", "10", "2")  # as folders were numbered before


@pytest.fixture
def learned(zoo):
    """Writes weights of a toy that has learned classes of these names, or so many without names."""

    def write(*classes: str, count: int = 0, paired: bool = False) -> None:
        config = ToyConfig(num_classes=len(classes) or count, paired=paired)
        torch.manual_seed(0)
        about = WeightsMetadata(
            model="toy",
            role="generator",
            config=msgspec.to_builtins(config),
            images=16,
            licence="CC0-1.0",
            trained_on="bars",
            zoo_version="0.1.0",
            classes=classes,
        )
        save_weights(Path(WEIGHTS), ToyGenerator(config), about)

    return write


@pytest.fixture
def draw(zoo):
    """Draws an image with a label and returns its pixels."""

    def drawn(*options: str) -> np.ndarray:
        answer = zoo("sample", WEIGHTS, "--out", "drawn.png", *options)
        assert answer.code == 0, answer.err
        return pixels(Path("drawn.png"))

    return drawn


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_label_for_a_model_without_classes_is_refused(zoo, learned):
    learned()
    for label in ("1", "all"):
        answer = zoo("sample", WEIGHTS, "--label", label)
        assert answer.code == 2
        assert f"takes no labels; given: --label {label}" in answer.error


# One class


def test_a_class_is_given_by_its_name_or_its_number(learned, draw):
    learned(*PETS)
    by_name = draw("--label", "owl")
    for label in ("2", "name:owl", "number:2"):
        assert np.array_equal(draw("--label", label), by_name)
    assert not np.array_equal(draw("--label", "1"), by_name)


def test_a_number_is_the_same_class_in_the_command_and_in_python(learned, draw):
    import zoo_core

    learned(*map(str, range(12)))
    loaded = zoo_core.load(WEIGHTS)
    for label in (2, 10):
        expected = ((loaded.sample([0], labels=label)[0] + 1) * 127.5).round().byte()
        drawn = draw("--seeds", "0", "--label", str(label))
        assert np.array_equal(drawn, expected.permute(1, 2, 0).numpy())


def test_a_number_that_is_the_name_of_another_class_is_refused_with_both_readings(
    zoo, learned, draw
):
    learned(*TEXT_ORDER)
    answer = zoo("sample", WEIGHTS, "--label", "2")
    assert answer.code == 3
    assert "--label 2 can mean 2 classes" in answer.error
    assert "allowed: name:2 (class 3, '2') or number:2 (class 2, '10')" in answer.error
    assert np.array_equal(draw("--label", "number:2"), draw("--label", "10"))
    assert np.array_equal(draw("--label", "name:2"), draw("--label", "3"))
    assert not np.array_equal(draw("--label", "name:2"), draw("--label", "number:2"))


def test_a_class_that_is_called_like_a_spelling_is_not_mistaken(zoo, learned, draw):
    learned("owl", "name:owl", "cat")
    answer = zoo("sample", WEIGHTS, "--label", "name:owl")
    assert answer.code == 3
    assert "name:name:owl (class 1, 'name:owl')" in answer.error
    assert np.array_equal(draw("--label", "name:name:owl"), draw("--label", "1"))


@pytest.mark.parametrize(
    ("label", "allowed"),
    [
        ("oul", "or a name such as owl"),
        ("3", "0..2"),
        ("-1", "0..2"),
        ("9" * 20, "0..2"),
        ("number:3", "0..2"),
        ("name:2", "0..2"),
    ],
)
def test_a_class_that_there_is_not_is_refused(zoo, learned, label: str, allowed: str):
    learned(*PETS)
    answer = zoo("sample", WEIGHTS, f"--label={label}")
    assert answer.code == 2
    assert f"no such class; given: {label}; allowed: 0..2" in answer.error
    assert allowed in answer.error


@pytest.mark.parametrize(
    ("classes", "hint"),
    [
        (("big cat", "dog"), "--label 'big cat'"),
        (("1", "0"), "--label number:0"),  # 1 would mean two classes
        (("all", "dog"), "--label number:0"),
        ((), "--label 0"),
    ],
)
@pytest.mark.parametrize("command", [("interpolate",), ("mix", "--layers", "0")])
def test_where_one_class_is_needed_a_label_is_named_that_works(
    zoo, learned, draw, command: tuple[str, ...], classes: tuple[str, ...], hint: str
):
    learned(*classes, count=2)
    answer = zoo(*command, WEIGHTS)
    assert answer.code == 2
    assert answer.error.endswith(f"needs a label; allowed: 0..1; try: {hint}")
    draw(*shlex.split(hint))


def test_an_accent_may_be_spelled_apart(learned, draw):
    learned("cat", "d\u00f6g")
    assert np.array_equal(draw("--label", "d\u00f6g"), draw("--label", "do\u0308g"))


# A row for each class


def test_without_a_label_each_class_fills_a_row(learned, draw):
    learned(*PETS)
    sheet = draw()
    assert sheet.shape == (3 * 16, 8 * 16, 3)
    for number, name in enumerate(PETS):
        row = draw("--label", name, "--seeds", "0-7", "--columns", "8")
        assert np.array_equal(sheet[16 * number : 16 * number + 16], row)


def test_the_columns_of_the_rows_are_the_seeds(zoo, learned, draw):
    learned(*PETS)
    assert draw("--seeds", "5,9").shape == (3 * 16, 2 * 16, 3)
    assert draw("--seeds", "5,9", "--columns", "2").shape == (3 * 16, 2 * 16, 3)
    answer = zoo("sample", WEIGHTS, "--seeds", "5,9", "--columns", "3")
    assert answer.code == 2
    assert "every class fills one row; given: --columns 3; allowed: 2" in answer.error


def test_many_seeds_of_many_classes_stay_in_their_rows(learned, draw, monkeypatch):
    learned(*PETS)
    whole = draw("--seeds", "0-4")
    monkeypatch.setattr("zoo_core.generators.SAMPLE_BATCH", 3)
    assert np.array_equal(draw("--seeds", "0-4"), whole)


def test_only_the_first_of_many_classes_are_drawn_unless_all_are_asked_for(zoo, learned, draw):
    learned(count=MAX_ROWS + 2)
    answer = zoo("sample", WEIGHTS, "--seeds", "0", "--out", "some.png")
    assert answer.err == f"the first {MAX_ROWS} of {MAX_ROWS + 2} classes; for all: --label all\n"
    some = pixels(Path("some.png"))
    assert some.shape == (16 * MAX_ROWS, 16, 3)
    every = draw("--seeds", "0", "--label", "all")
    assert every.shape == (16 * (MAX_ROWS + 2), 16, 3)
    assert np.array_equal(every[: len(some)], some)


def test_few_classes_are_drawn_without_a_word(zoo, learned):
    learned(count=MAX_ROWS)
    assert zoo("sample", WEIGHTS).err == ""


def test_a_class_called_all_is_not_mistaken_for_all_classes(zoo, learned, draw):
    learned("all", "none")
    answer = zoo("sample", WEIGHTS, "--label", "all")
    assert answer.code == 3
    assert "can mean a class or every class; allowed: name:all or number:all" in answer.error
    assert draw("--label", "number:all", "--seeds", "0").shape == (32, 16, 3)
    assert draw("--label", "name:all", "--seeds", "0").shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("cat", "big dog"), ["cat-000003", "cat-000005", "big_dog-000003", "big_dog-000005"]),
        (("a b", "a_b"), ["a_b-000003", "a_b-000005", "a_b-000003_2", "a_b-000005_2"]),
        ((), ["00-000003", "00-000005", "01-000003", "01-000005"]),
    ],
)
def test_files_are_called_by_class_and_seed(zoo, learned, draw, classes, expected):
    learned(*classes, count=11)
    answer = zoo("sample", WEIGHTS, "--each", "--out", "each", "--seeds", "3,5")
    assert answer.code == 0, answer.err
    files = {path.stem for path in Path("each").iterdir()}
    assert set(expected) <= files
    assert len(files) == 2 * (len(classes) or 11)
    last = pixels(Path(f"each/{expected[-1]}.png"))
    assert np.array_equal(last, draw("--label", "number:1", "--seeds", "5"))


def test_grids_of_one_class_and_of_all_have_names_of_their_own(zoo, learned):
    learned(*PETS)
    options = [(), ("--label", "all"), ("--label", "cat"), ("--label", "0"), ("--seeds", "0-3")]
    names = [zoo("sample", WEIGHTS, *each).out.strip() for each in options]
    assert names[0] == "samples/w-0-7-classes.png"
    assert len(set(names)) == len(options)


def test_sources_are_translated_in_every_class(learned, draw):
    learned("day", "night", paired=True)
    Path("sources").mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16), (80 * number, 0, 0)).save(f"sources/{number}.png")
    sheet = draw("--source", "sources")
    assert sheet.shape == (2 * 16, 3 * 32, 3)
    assert [tuple(sheet[row, 32 * n]) for row in (0, 16) for n in range(3)] == [
        (80 * n, 0, 0) for _ in range(2) for n in range(3)
    ]


def test_weights_show_their_classes_with_their_numbers(zoo, learned):
    learned(*PETS)
    (line,) = [text for text in zoo("show", WEIGHTS).out.splitlines() if text.startswith("classes")]
    assert line.split(maxsplit=1)[1] == "0 cat, 1 dog, 2 owl"
    assert zoo("show", WEIGHTS, "--json").json["records"][0]["classes"] == list(PETS)
