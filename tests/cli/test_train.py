"""`zoo train`: finished, resumed and rejected runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

RUN = Path("runs/toy.toys16-tiny")
TRAIN = ("train", "toy", "--preset", "tiny")


def test_training_ends_by_saying_where_everything_is_and_what_to_type(zoo):
    answer = zoo(*TRAIN)
    assert answer.code == 0
    assert str(RUN) in answer.out
    assert f"zoo sample {RUN} --seeds" in answer.out
    for name in ("config.json", "log.jsonl", "generator.safetensors", "samples", "checkpoints"):
        assert (RUN / name).exists()


def test_the_same_command_again_says_that_the_run_is_finished(zoo):
    zoo(*TRAIN)
    before = (RUN / "log.jsonl").read_bytes()
    answer = zoo(*TRAIN)
    assert answer.code == 0
    assert "already finished: 16 images" in answer.out
    assert (RUN / "log.jsonl").read_bytes() == before


def test_more_images_go_on_from_there(zoo):
    zoo(*TRAIN)
    answer = zoo(*TRAIN, "--images", 32)
    assert "resuming after 16 images" in answer.err
    assert "finished: 32 images" in answer.out


def test_a_signal_saves_and_exits_with_130(zoo, monkeypatch):
    from zoo_core.cli.progress import ProgressDisplay

    class Impatient(ProgressDisplay):
        def zoo_progress(self, run, images, terms):
            if images == 4:
                os.kill(os.getpid(), signal.SIGINT)

    from zoo_core.plugins.hookspecs import hookimpl

    Impatient.zoo_progress = hookimpl(Impatient.zoo_progress)
    with monkeypatch.context() as patched:
        patched.setattr("zoo_core.cli.progress.ProgressDisplay", Impatient)
        answer = zoo(*TRAIN)
    assert answer.code == 130
    assert "stopped after 8 images" in answer.err
    assert "resuming after 8 images" in zoo(*TRAIN).err


def test_nothing_but_the_result_is_on_stdout(zoo):
    assert len(zoo(*TRAIN).out.splitlines()) == 2


def test_own_pictures_name_the_run(zoo, photos):
    answer = zoo(*TRAIN, "--data", photos)
    assert answer.code == 0
    assert Path("runs/toy.photos16-tiny/generator.safetensors").is_file()


def test_a_dry_run_shows_settings_and_cost_and_trains_nothing(zoo):
    answer = zoo(*TRAIN, "--dry-run", "--set", "width=8")
    assert answer.code == 0
    assert answer.json["config"]["width"] == 8
    assert answer.json["estimate"]["images_per_second"] > 0
    assert not Path("runs").exists()


def test_a_settings_file_is_weaker_than_set_and_stronger_than_a_preset(zoo):
    Path("mine.yaml").write_text("width: 6\nbatch_size: 2\nlearning_rate: 1e-4\n")
    shown = zoo(*TRAIN, "--config", "mine.yaml", "--set", "width=8", "--dry-run").json
    assert shown["config"]["width"] == 8
    assert shown["config"]["learning_rate"] == 1e-4
    assert shown["run"]["batch_size"] == 2


def test_the_configuration_of_a_run_repeats_it(zoo):
    zoo(*TRAIN, "--set", "width=6")
    again = zoo("train", "toy", "--config", RUN / "config.json", "--run-dir", "again")
    assert again.code == 0
    first, second = (json.loads((p / "config.json").read_text()) for p in (RUN, Path("again")))
    assert first["config"] == second["config"]
    assert first["run"] == second["run"]
    names = "checkpoints/000000000016/weights.safetensors"
    assert (RUN / names).read_bytes() == (Path("again") / names).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("train", "tob"), 3, ["'tob'", "nearest: toy", "zoo list"]),
        ((*TRAIN[:3], "tinny"), 3, ["'tinny'", "nearest: tiny", "zoo show toy"]),
        ((*TRAIN, "--data", "toyz"), 3, ["'toyz'", "nearest: toys", "zoo data list"]),
        ((*TRAIN, "--data", "./nowhere"), 2, ["nowhere", "not a folder, zip file or image"]),
        ((*TRAIN, "--set", "widht=8"), 2, ["'widht'", "nearest: width", "zoo show toy"]),
        ((*TRAIN, "--set", "preset=tiny"), 2, ["'preset'", "try: --preset tiny"]),
        ((*TRAIN, "--set", "width=wide"), 2, ["width", "'wide'", "integer >= 1"]),
        ((*TRAIN, "--set", "width=0"), 2, ["width", "integer >= 1"]),
        ((*TRAIN, "--set", "fit=squeeze"), 2, ["one of crop, pad, stretch, exact"]),
        ((*TRAIN, "--set", "width"), 2, ["--set takes key=value"]),
        ((*TRAIN, "--set", "device=abacus"), 2, ["abacus", "device=cpu"]),
        ((*TRAIN, "--set", "split=validation"), 2, ["validation", "train, test"]),
        ((*TRAIN, "--set", "batch_size=64"), 2, ["32 images", "one batch of 64"]),
        ((*TRAIN, "--config", "missing.yaml"), 2, ["missing.yaml"]),
    ],
    ids=lambda value: " ".join(map(str, value[4:] or value)) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_one_line_with_what_is_allowed(zoo, arguments, code, words):
    answer = zoo(*arguments)
    assert answer.code == code
    for word in words:
        assert word in answer.error
    assert answer.out == ""
    assert not Path("runs").exists()


def test_a_folder_without_pictures_is_refused(zoo):
    Path("empty").mkdir()
    Path("empty/notes.txt").write_text("no image")
    answer = zoo(*TRAIN, "--data", "./empty")
    assert answer.code == 2
    assert "no images in empty" in answer.error


def test_one_picture_is_refused(zoo):
    Path("one").mkdir()
    Image.new("RGB", (8, 8)).save("one/a.png")
    answer = zoo(*TRAIN, "--data", "./one")
    assert answer.code == 2
    assert "at least two images" in answer.error


def test_a_web_page_with_a_picture_s_name_is_named_and_counted(zoo, photos):
    (photos / "page.jpg").write_text("<!DOCTYPE html><html></html>")
    answer = zoo(*TRAIN, "--data", photos)
    assert answer.code == 2
    assert "1 of 9 images" in answer.error
    assert "page.jpg (a web page" in answer.error
    assert not Path("runs").exists()


def test_a_bad_picture_is_left_out_when_told_and_said(zoo, photos):
    whole = (photos / "0.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    answer = zoo(*TRAIN, "--data", photos, "--set", "bad_pictures=skip")
    assert answer.code == 0
    assert "skipped cut.png: damaged" in answer.err
    assert "skipped 1 of 9 images" in answer.err


def test_another_configuration_in_the_same_run_shows_the_difference(zoo):
    zoo(*TRAIN)
    before = (RUN / "config.json").read_bytes()
    answer = zoo(*TRAIN, "--set", "width=8")
    assert answer.code == 2
    assert "width: 4 there, 8 here" in answer.error
    assert (RUN / "config.json").read_bytes() == before


OWN = (*TRAIN, "--run-dir", "own")


def test_own_pictures_may_be_spelled_otherwise_and_may_move(zoo, photos, monkeypatch):
    zoo(*OWN, "--data", "photos", "--set", "evaluate_data=./photos")
    settings = json.loads(Path("own/config.json").read_text())["run"]
    assert settings["data"] == settings["evaluate_data"] == photos.as_posix()
    Path("below").mkdir()
    monkeypatch.chdir("below")
    again = (*TRAIN, "--run-dir", "../own", "--data")
    assert "already finished" in zoo(*again, "../photos").out
    assert "finished: 32 images" in zoo(*again, photos, "--images", "32").out
    moved = photos.rename(Path("moved").absolute())
    assert "finished: 48 images" in zoo(*again, "moved", "--images", "48").out
    assert json.loads(Path("../own/config.json").read_text())["run"]["data"] == moved.as_posix()


def test_a_finished_run_remembers_where_its_pictures_went(zoo, photos):
    zoo(*OWN, "--data", "photos")
    before = json.loads(Path("own/config.json").read_text())
    moved = photos.rename("moved").absolute()
    assert "already finished" in zoo(*OWN, "--data", "moved", "--images", "8").out
    before["run"]["data"] = moved.as_posix()
    assert json.loads(Path("own/config.json").read_text()) == before


@pytest.mark.parametrize("images", ["16", "32"])
def test_other_pictures_are_refused_wherever_they_lie(zoo, photos, images):
    zoo(*OWN, "--data", photos)
    before = Path("own/config.json").read_bytes()
    other = photos.rename("other")
    Image.new("RGB", (20, 24)).save(other / "1.png")
    answer = zoo(*OWN, "--data", "./other", "--images", images)
    assert answer.code == 2
    assert "these are not the images that the run in own began with" in answer.error
    assert "--run-dir" in answer.error
    assert Path("own/config.json").read_bytes() == before


def test_weights_without_their_checkpoints_are_refused_in_one_line(zoo):
    zoo(*TRAIN)
    shutil.rmtree(RUN / "checkpoints")
    before = (RUN / "generator.safetensors").read_bytes()
    answer = zoo(*TRAIN, "--images", "32")
    assert answer.code == 1
    assert "no checkpoint is left" in answer.error
    assert "try: --run-dir NEW_FOLDER" in answer.error
    assert (RUN / "generator.safetensors").read_bytes() == before
    assert "already finished: 16 images" in zoo(*TRAIN).out


def test_a_damaged_checkpoint_is_said_and_passed_over(zoo):
    zoo(*TRAIN)
    newest = max((RUN / "checkpoints").iterdir()) / "optim.safetensors"
    newest.write_bytes(b"\0" * 100)
    answer = zoo(*TRAIN, "--images", 32)
    assert answer.code == 0
    assert "is damaged" in answer.err
    assert "resuming after 8 images" in answer.err


def test_a_place_that_cannot_be_written_is_one_line(zoo):
    Path("file").write_text("in the way")
    answer = zoo(*TRAIN, "--run-dir", "file/run")
    assert answer.code == 2
    assert "cannot write to the run folder" in answer.error


def test_debug_shows_the_traceback(zoo):
    from zoo_core.errors import UnknownNameError

    with pytest.raises(UnknownNameError):
        zoo("--debug", "train", "tob")
