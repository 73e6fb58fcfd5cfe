"""`zoo train --change`: what is typed, what is said, and what the printed next steps do."""

from __future__ import annotations

import json
import re
import shlex
import signal
from pathlib import Path

import pytest
from PIL import Image

RUN = Path("runs/toy.toys16-tiny")
TRAIN = ("train", "toy", "--preset", "tiny")
LONGER = (*TRAIN, "--images", "32")


@pytest.fixture(autouse=True)
def interrupts_as_before():
    """An interrupted command ignores Ctrl-C until its process ends, which is this one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def settings(run: Path = RUN) -> dict:
    values = json.loads((run / "config.json").read_text())
    return {**values["run"], **values["config"]}


def changes(run: Path = RUN) -> list[dict]:
    return json.loads((run / "config.json").read_text()).get("changes", [])


@pytest.mark.parametrize(
    "typed",
    [
        ["batch_size=2,learning_rate=1e-3,diffaugment=[color,cutout]"],
        ["batch_size=2", "learning_rate=1e-3", "diffaugment=[color,cutout]"],
        ["batch_size = 2, learning_rate = 1e-3,diffaugment=[color, cutout]"],
    ],
)
def test_settings_are_given_with_commas_or_one_by_one(zoo, typed):
    zoo(*TRAIN)
    answer = zoo(*LONGER, *(word for change in typed for word in ("--change", change)))
    assert answer.code == 0, answer.err
    found = settings()
    assert (found["batch_size"], found["learning_rate"]) == (2, 1e-3)
    assert found["diffaugment"] == ["color", "cutout"]


def test_a_change_is_said_when_it_is_made_and_whenever_the_run_goes_on(zoo):
    zoo(*TRAIN)
    made = zoo(*LONGER, "--change", "batch_size=2")
    assert "changing: batch_size=2 (4 before)" in made.err
    assert "resuming after 16 images" in made.err
    again = zoo(*TRAIN, "--images", "48")
    assert "changed: batch_size=2 (4 before) since 16 images" in again.err
    assert settings()["batch_size"] == 2


def test_the_whole_command_again_says_that_the_run_is_finished(zoo):
    zoo(*TRAIN)
    command = (*LONGER, "--change", "batch_size=2")
    zoo(*command)
    before = (RUN / "config.json").read_bytes()
    assert "already finished: 32 images" in zoo(*command).out
    assert "already finished: 32 images" in zoo(*LONGER).out
    assert (RUN / "config.json").read_bytes() == before


def hint(answer) -> list[str]:
    """The options that an error says to try first."""
    assert answer.code == 2
    words = answer.error.partition("try: ")[2]
    return shlex.split(re.match(r"(?:--[a-z-]+ \S+ ?)+", words)[0])


def test_a_setting_that_may_change_is_refused_with_what_to_type_and_that_works(zoo):
    zoo(*TRAIN)
    other = (*LONGER, "--set", "learning_rate=1e-3", "--set", "diffaugment=[color]")
    refused = zoo(*other)
    assert "learning_rate: 0.01 there, 0.001 here" in refused.error
    assert zoo(*other, *hint(refused)).code == 0
    assert settings()["learning_rate"] == 1e-3
    assert settings()["diffaugment"] == ["color"]
    assert zoo(*LONGER).code == 0


def test_a_change_of_a_finished_run_names_the_option_that_is_missing(zoo):
    zoo(*TRAIN)
    change = ("--change", "batch_size=2")
    refused = zoo(*TRAIN, *change)
    assert "nothing is left to train with the change" in refused.error
    assert zoo(*TRAIN, *change, *hint(refused)).code == 0
    assert changes() == [
        {"images": 16, "settings": {"batch_size": 2}, "before": {"batch_size": 4}}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("width=8", 2, ["width cannot change in a run", "allowed: ", "--run-dir NEW_FOLDER"]),
        ("seed=1", 2, ["seed cannot change in a run", "batch_size"]),
        ("batch_sise=8", 2, ["'batch_sise' in --change", "nearest: batch_size"]),
        ("batch_size", 2, ["--change takes key=value", "--change batch_size=16"]),
        ("", 2, ["--change takes key=value"]),
        ("micro_batch=2", 2, ["batch normalization in the generator", "try: micro_batch=0"]),
        ("batch_size=64", 2, ["32 images are fewer than one batch of 64"]),
        ("data=digits", 2, ["images of a run cannot change", "data=accept"]),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(zoo, change, code, words):
    zoo(*TRAIN)
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    answer = zoo(*LONGER, "--change", change)
    assert answer.code == code
    for word in words:
        assert word in answer.error
    assert {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()} == before


def test_a_run_that_does_not_exist_cannot_change(zoo):
    refused = zoo(*TRAIN, "--change", "batch_size=2")
    assert refused.code == 2
    assert "no run in runs/toy.toys16-tiny to change" in refused.error
    assert "try: --set in place of --change" in refused.error
    assert not RUN.exists()
    assert zoo(*TRAIN, "--set", "batch_size=2").code == 0


def test_a_dry_run_estimates_with_the_change(zoo):
    shown = zoo(*TRAIN, "--dry-run", "--change", "batch_size=2,data=accept").json
    assert shown["run"]["batch_size"] == 2
    assert not RUN.exists()


OWN = (*TRAIN, "--run-dir", "own", "--data")


def test_other_images_are_accepted_with_what_is_printed(zoo, photos):
    zoo(*OWN, "photos")
    Image.new("RGB", (20, 24), (31, 90, 200)).save(photos / "1.png")  # one level lighter
    finished = zoo(*OWN, "photos")
    assert "only pixel values: mean levels of 8 images compared differ by up to 0.333" in (
        finished.error
    )
    assert zoo(*OWN, "photos", *hint(finished)).code == 0
    (change,) = changes(Path("own"))
    assert change["images"] == 16
    assert "only pixel values" in change["data"]["difference"]
    again = zoo(*OWN, "photos", "--images", "48")
    assert again.code == 0
    assert "changed: other images (only pixel values" in again.err


def test_images_elsewhere_are_accepted_too(zoo, photos):
    zoo(*OWN, "toys")
    refused = zoo(*OWN, "./photos", "--images", "32")
    assert "data: 'toys' there" in refused.error
    accepted = zoo(*OWN, "./photos", "--images", "32", "--change", "data=accept")
    assert accepted.code == 0
    assert changes(Path("own"))[0]["data"]["difference"] == "32 images there, 8 here"
    assert settings(Path("own"))["data"] == photos.as_posix()
    assert zoo(*OWN, "toys", "--images", "48").code == 2
    assert zoo(*OWN, "photos", "--images", "48").code == 0


def test_renamed_classes_are_accepted_when_told_to(zoo):
    for number, name in enumerate(("cat", "dog")):
        for other in range(2):
            Path("pets", name).mkdir(parents=True, exist_ok=True)
            picture = Image.new("RGB", (16, 16), (90 * other, 60 * number, 9))
            picture.save(Path("pets", name, f"{other}.png"))
    run = (*OWN, "./pets", "--set", "num_classes=auto")
    assert zoo(*run).code == 0
    Path("pets/cat").rename("pets/cub")
    assert "'cub'" in zoo(*run, "--images", "32").error
    assert zoo(*run, "--images", "32", "--change", "data=accept").code == 0
    said = "class 0 is 'cat' there, 'cub' here"
    assert changes(Path("own"))[0]["data"]["difference"] == said
    assert zoo("sample", "./own", "--label", "cub").code == 0


def test_skipping_bad_pictures_where_there_are_none_changes_nothing(zoo, photos):
    zoo(*OWN, "photos")
    skipping = (*OWN, "photos", "--set", "bad_pictures=skip")
    assert "already finished" in zoo(*skipping).out
    assert "finished: 32 images" in zoo(*skipping, "--images", "32").out
    (photos / "1.png").write_bytes(b"")
    answer = zoo(*skipping, "--images", "48")
    assert answer.code == 2
    assert "8 images there, 7 here" in answer.error


def test_evaluation_data_that_change_are_found_from_any_folder(zoo, photos, monkeypatch):
    zoo(*TRAIN)
    change = ("--change", "evaluate_data=./photos")
    assert zoo(*LONGER, *change).code == 0
    assert settings()["evaluate_data"] == photos.as_posix()
    (made,) = changes()
    assert made["settings"] == {"evaluate_data": photos.as_posix()}


def test_weights_tell_of_the_changes(zoo):
    zoo(*TRAIN)
    zoo(*LONGER, "--change", "batch_size=2")
    (record,) = zoo("show", RUN, "--json").json["records"]
    assert record["changes"] == changes()
    shown = zoo("show", RUN)
    assert shown.code == 0
    assert "changes" in shown.out
