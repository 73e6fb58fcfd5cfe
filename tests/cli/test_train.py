"""`zoo train`: finished, resumed and rejected runs."""

from __future__ import annotations

import json
import os
import shlex
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


def printed_command(answer) -> list[str]:
    """The arguments of the command that a finished run names as the next."""
    assert answer.code == 0, answer.err
    said = answer.out.splitlines()[-1]
    return shlex.split(said.removeprefix("next: ").partition("    ")[0])


@pytest.mark.parametrize("name", ["o4", "my run", "-x", "~", "toy.bars16", "below/o4"])
def test_the_command_that_is_named_works_whatever_the_run_is_called(zoo, name: str):
    command = printed_command(zoo(*TRAIN, f"--run-dir={name}"))
    assert command[:2] == ["zoo", "sample"]
    answer = zoo(*command[1:])
    assert answer.code == 0, answer.err
    assert Path(answer.out.strip()).is_file()


def test_the_command_that_is_named_draws_every_class(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")
    with_classes = ("--data", "sorted-toys", "--set", "num_classes=4", "--run-dir", "o4")
    command = printed_command(zoo(*TRAIN, *with_classes))
    assert command == ["zoo", "sample", "./o4"]
    with Image.open(zoo(*command[1:]).out.strip()) as sheet:
        assert sheet.size == (8 * 16, 4 * 16)


def test_the_line_that_a_classifier_names_works(zoo, monkeypatch):
    import zoo_core

    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")
    said = zoo("train", "sorter", "--preset", "tiny", "--run-dir", "o'4").out.splitlines()[-1]
    line = said.removeprefix("next: ").partition("    ")[0]
    assert line == 'zoo_core.load_features("./o\'4")'
    assert zoo_core.load_features("./o'4").num_classes == 4


def test_a_run_from_weights_has_their_settings_unless_told_otherwise(zoo):
    assert zoo(*TRAIN, "--set", "width=6", "--run-dir", "source").code == 0
    source = ("--set", "batch_size=4", "--from", "./source")
    tuned = ("train", "toy", "--images", 8, "--set", "learning_rate=0.001", *source)
    answer = zoo(*tuned)
    assert answer.code == 0, answer.err
    assert "tensors kept" in answer.err
    folder = Path("runs/toy.toys16-tuned")
    config = json.loads((folder / "config.json").read_text())
    assert (config["config"]["width"], config["config"]["learning_rate"]) == (6, 0.001)
    assert config["run"]["start_from"] == Path("source").resolve().as_posix()
    assert "images=16" in zoo("show", f"./{folder}").out.split("started_from")[1]
    shutil.rmtree("source")
    longer = zoo(*tuned, "--images", 16, "--run-dir", folder)
    assert "resuming after 8 images" in longer.err


def test_weights_to_start_from_that_are_not_there_are_named(zoo):
    for name, code in (("toy.nowhere", 3), ("./nowhere", 2)):
        answer = zoo(*TRAIN, "--from", name)
        assert answer.code == code
        assert "nowhere" in answer.error
    assert not Path("runs").exists()


def test_images_decoded_at_each_use_train_the_same_network_as_packed_ones(zoo):
    """Data, augmentation and networks of both runs are the same to the byte, with loaders too."""
    for index in range(12):
        picture = Image.effect_mandelbrot((20 + index, 20), (-2, -1.5, 1, 1.5), 8 + index)
        Path("own").mkdir(exist_ok=True)
        picture.save(f"own/{index}.png")
    own = (*TRAIN, "--data", "own", "--set", "mirror=true", "--set", "jitter=2", "--set")
    runs = {"streamed": "pack=never", "loaded": "pack=never", "packed": "pack=always"}
    for folder, choice in runs.items():
        answer = zoo(
            *own, choice, "--set", f"workers={2 * (folder == 'loaded')}", "--run-dir", folder
        )
        assert answer.code == 0, answer.err
        is_packed = any(Path(os.environ["ZOO_CACHE"]).rglob("images"))
        assert is_packed == (choice == "pack=always")
    first, *others = [
        [Path(folder, file).read_bytes() for file in ("generator.safetensors", "log.jsonl")]
        for folder in runs
    ]
    assert others == [first, first]


AUTO = (*TRAIN, "--set", "num_classes=auto", "--data")


def test_auto_is_the_number_of_classes_of_the_data_and_stands_in_the_run(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")
    auto = zoo(*AUTO, "sorted-toys", "--run-dir", "auto")
    assert "num_classes=auto: 4 classes (class 0, class 1, class 2 and 1 more)" in auto.err
    zoo(*TRAIN, "--set", "num_classes=4", "--data", "sorted-toys", "--run-dir", "typed")
    for file in ("config.json", "generator.safetensors", "log.jsonl"):
        assert Path("auto", file).read_bytes() == Path("typed", file).read_bytes()
    assert "already finished" in zoo(*AUTO, "sorted-toys", "--run-dir", "auto").out
    longer = zoo(*AUTO, "sorted-toys", "--run-dir", "auto", "--images", "32")
    assert "finished: 32 images" in longer.out
    assert zoo(*AUTO, "sorted-toys", "--dry-run").json["config"]["num_classes"] == 4


def test_auto_without_classes_is_said(zoo):
    answer = zoo(*AUTO, "toys")
    assert answer.code == 0
    assert "num_classes=auto: the images have no classes" in answer.err
    assert json.loads(Path(RUN, "config.json").read_text())["config"]["num_classes"] == 0


def test_a_classifier_needs_classes_even_if_their_number_is_auto(zoo, photos, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")
    command = ("train", "sorter", "--preset", "tiny", "--data", photos)
    answer = zoo(*command, "--set", "num_classes=auto")
    assert answer.code == 2
    assert "the images have no labels" in answer.error


def in_classes(folder: str, *names: str) -> None:
    """A folder with two images in each class."""
    for level, name in enumerate(names):
        Path(folder, name).mkdir(parents=True)
        for number in range(2):
            color = (90 * number, 60 * level, 9)
            Image.new("RGB", (16, 16), color).save(Path(folder, name, f"{number}.png"))


def test_folders_called_by_numbers_are_the_classes_of_these_numbers(zoo):
    names = [str(number) for number in range(12)]
    in_classes("numbers", *names)
    assert zoo(*AUTO, "./numbers", "--run-dir", "own").code == 0
    assert zoo("show", "own", "--json").json["records"][0]["classes"] == names


@pytest.mark.parametrize("images", ["16", "32"])
def test_a_class_that_was_renamed_since_is_named(zoo, images: str):
    in_classes("pets", "cat", "dog", "owl")
    run = (*AUTO, "./pets", "--run-dir", "own")
    assert zoo(*run).code == 0
    Path("pets/owl").rename("pets/oul")
    answer = zoo(*run, "--images", images)
    assert answer.code == 2
    assert "given: 'oul', which it did not learn; allowed: 'owl'" in answer.error


def test_a_class_that_is_gone_since_is_named(zoo):
    in_classes("pets", "cat", "dog", "owl")
    run = (*AUTO, "./pets", "--run-dir", "own")
    assert zoo(*run).code == 0
    shutil.rmtree("pets/owl")
    answer = zoo(*run, "--images", "32")
    assert answer.code == 2
    assert "the images lack 1 of the model's classes: 'owl'" in answer.err


def test_accepted_images_that_lack_a_class_keep_the_numbers_of_the_others(zoo):
    in_classes("pets", "cat", "dog", "owl")
    run = (*AUTO, "./pets", "--run-dir", "own")
    assert zoo(*run).code == 0
    shutil.rmtree("pets/cat")
    answer = zoo(*run, "--images", "32", "--change", "data=accept")
    assert answer.code == 0, answer.err
    assert "the images lack 1 of the model's classes: 'cat'" in answer.err
    assert zoo("show", "own", "--json").json["records"][0]["classes"] == ["cat", "dog", "owl"]


def test_classes_that_are_not_used_are_said_with_the_setting_that_uses_them(zoo):
    in_classes("pets", "cat", "dog")
    answer = zoo(*TRAIN, "--data", "./pets")
    assert "2 classes, which toy does not use; try: --set num_classes=auto, in a new run" in (
        answer.err
    )


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
        ((*TRAIN, "--data", "./nowhere"), 2, ["nowhere", "does not exist"]),
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
