"""A run in runs/ is found by its name, wherever a run may be given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import zoo_core
from zoo_core.errors import AmbiguousNameError, UnknownNameError
from zoo_core.weights import registry

NAME = "toy.toys16-tiny"


@pytest.fixture
def run(zoo, monkeypatch) -> Path:
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")
    assert zoo("train", "toy", "--preset", "tiny").code == 0
    return Path("runs", NAME)


MEASURE = ("--count", 8, "--extractor", "toy-features")
COMMANDS = {
    "show": ("show", NAME),
    "sample": ("sample", NAME, "--seeds", "0-3"),
    "interpolate": ("interpolate", NAME, "--seeds", "0-1", "--frames", 2),
    "evaluate": ("evaluate", NAME, *MEASURE),
    "publish": ("publish", NAME, "--name", "toy.a", "--metrics-from", "numbers.json"),
    "train --from": ("train", "toy", "--preset", "tiny", "--from", NAME),
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_run_in_runs_is_found_by_its_name(zoo, run, arguments):
    if "numbers.json" in arguments:
        Path("numbers.json").write_text(zoo("evaluate", f"runs/{NAME}", *MEASURE, "--json").out)
    answer = zoo(*arguments)
    assert answer.code == 0, answer.err


def test_python_finds_it_too(run, zoo):
    assert zoo_core.load(NAME).image_shape == (3, 16, 16)
    assert zoo_core.info(NAME).images == 16


REGISTERED = "dcgan.critters32"


@pytest.mark.parametrize(
    ("arguments", "is_registered"),
    [
        (("show", REGISTERED), lambda answer: "drawn monsters" in answer.out),
        (("sample", REGISTERED), lambda answer: "'dcgan'" in answer.err),  # no plugin has it here
        (("train", "toy", "--from", REGISTERED), lambda answer: "of dcgan" in answer.err),
    ],
)
def test_a_registered_name_keeps_its_meaning_which_is_said(zoo, run, arguments, is_registered):
    shutil.copytree(run, Path("runs", REGISTERED))
    registry._say_registered.cache_clear()  # said once in a process
    answer = zoo(*arguments)
    assert is_registered(answer), answer
    assert answer.err.count(f"{REGISTERED} is registered; the run is runs/{REGISTERED}\n") == 1
    assert zoo("sample", f"runs/{REGISTERED}", "--seeds", 1).code == 0


def test_a_registered_name_and_something_here_of_its_name_are_ambiguous(zoo, run):
    shutil.copytree(run, REGISTERED)
    answer = zoo("sample", REGISTERED)
    assert answer.code == 3
    spellings = "allowed: ./dcgan.critters32 for the path; zoo/dcgan.critters32 for the name"
    assert spellings in answer.error


def test_a_run_in_runs_and_something_here_of_its_name_are_ambiguous(zoo, run):
    shutil.copytree(run, NAME)
    with pytest.raises(AmbiguousNameError, match=rf"allowed: \./{NAME} or runs/{NAME}"):
        zoo_core.load(NAME)
    shutil.rmtree(NAME)
    Path(NAME).mkdir()  # of images, perhaps
    assert zoo("evaluate", NAME, "--data", "toys", *MEASURE).code == 3


def test_a_misspelled_name_of_a_run_suggests_it(run, zoo):
    with pytest.raises(UnknownNameError) as caught:
        zoo_core.load("toy.toys16-tini")
    assert caught.value.near[0] == NAME
