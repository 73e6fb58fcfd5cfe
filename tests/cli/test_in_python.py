"""`zoo.train` and `zoo.evaluate` do what the commands do, and return what those print."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from PIL import Image

import zoo_core
from zoo_core.data.given import Reader
from zoo_core.errors import ConfigError, DataError, InputError, UnknownNameError

FEW = ("--count", "16", "--extractor", "toy-features")
RUN = Path("runs/toy.toys16-tiny")
FILES = ("config.json", "log.jsonl", "generator.safetensors")


@pytest.fixture(autouse=True)
def plugins(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")


def test_a_run_from_python_is_that_of_the_command_to_the_byte(zoo):
    zoo("train", "toy", "-p", "tiny", "--set", "learning_rate=0.002", "--run-dir", "typed")
    settings = {"learning_rate": 0.002, "run_dir": "called"}
    trained = zoo_core.train("toy", preset="tiny", **settings)
    assert (trained.folder, trained.weights) == (Path("called"), Path("called", FILES[-1]))
    assert trained.images == trained.settings.run.images
    for name in FILES:
        assert Path("typed", name).read_bytes() == Path("called", name).read_bytes()


def test_the_same_call_again_says_that_nothing_is_left_to_do(zoo):
    first, again, longer = (
        zoo_core.train("toy", preset="tiny", images=images) for images in (16, 16, 24)
    )
    assert first.folder == RUN
    found = (first.was_finished, again.was_finished, longer.was_finished)
    assert found == (False, True, False)
    assert (first.images, again.images, longer.images) == (16, 16, 24)


def test_a_folder_and_a_change_are_taken_as_in_the_command(zoo, photos):
    zoo_core.train("toy", data=photos, preset="tiny", images=16, run_dir="own")
    changed = zoo_core.train(
        "toy", data=photos, preset="tiny", images=24, run_dir="own", change={"batch_size": 2}
    )
    assert changed.settings.run.batch_size == 2
    assert changed.settings.run.data == photos.resolve().as_posix()


def test_wrong_arguments_are_named_as_such(zoo):
    with pytest.raises(UnknownNameError, match=r"no model is called 'toi'.*nearest: toy"):
        zoo_core.train("toi")
    with pytest.raises(UnknownNameError, match=r"no preset is called 'tini'.*nearest: tiny"):
        zoo_core.train("toy", preset="tini")
    with pytest.raises(ConfigError, match=r"'lerning_rate' in the arguments.*learning_rate"):
        zoo_core.train("toy", preset="tiny", lerning_rate=1)
    assert not Path("runs").exists()


def test_nothing_is_printed_in_python(zoo, capsys):
    zoo_core.train("toy", preset="tiny")
    zoo_core.evaluate(RUN, count=16, extractor="toy-features")
    assert capsys.readouterr() == ("", "")


def test_numbers_from_python_are_those_that_the_command_prints(zoo):
    zoo_core.train("toy", preset="tiny")
    typed = zoo("evaluate", RUN, *FEW, "--metrics", "fd,pr", "--json").json["metrics"]
    called = zoo_core.evaluate(RUN, count=16, extractor="toy-features", metrics=("fd", "pr"))
    assert [(m.name, m.value, dict(m.protocol)) for m in called] == [
        (record["name"], record["value"], record["protocol"]) for record in typed
    ]


def test_the_command_that_python_records_measures_the_same(zoo, photos):
    zoo_core.train("toy", preset="tiny")
    called = zoo_core.evaluate(
        RUN, data=photos, count=8, seed=3, extractor="toy-features", metrics="fd", fit="pad"
    )
    name, *arguments = shlex.split(called[0].command)
    assert name == "zoo"
    typed = zoo(*arguments, "--json").json["metrics"]
    assert [record["value"] for record in typed] == [metric.value for metric in called]
    assert typed[0]["protocol"] == dict(called[0].protocol)
    assert typed[0]["command"] == f"{called[0].command} --json"


def test_how_images_are_read_is_checked_in_python_too(zoo, photos):
    with pytest.raises(ConfigError, match=r"'fitt' is not a setting.*nearest: fit"):
        zoo_core.evaluate(photos, data=photos, fitt="pad")
    with pytest.raises(ConfigError, match="fit in the arguments has an invalid value"):
        zoo_core.evaluate(photos, data=photos, fit="padd")
    with pytest.raises(InputError, match="no real images"):
        zoo_core.evaluate(photos, extractor="toy-features")
    with pytest.raises(DataError, match="no split 'val'"):
        zoo_core.evaluate(photos, data="toys", split="val", extractor="toy-features")


@pytest.mark.parametrize("model", ["toy", "sorter"])
def test_a_loaded_network_reads_pictures_as_its_run_did(zoo, model):
    options = ("--set", "paired=true", "--data", "pairs") if model == "toy" else ()
    if model == "toy":
        for side in "AB":
            Path("pairs", side).mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (20, 24), (9 * number, 0, 0)).save(f"pairs/{side}/{number}.png")
    answer = zoo("train", model, "-p", "tiny", "--run-dir", "run", "--set", "fit=stretch", *options)
    assert answer.code == 0, answer.err
    network = zoo_core.load("run") if model == "toy" else zoo_core.load_features("run")
    assert network.reader == Reader("stretch", side=0 if model == "toy" else 16)
