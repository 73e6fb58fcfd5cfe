"""The commands that are published make the same run, and tell nothing of anybody's folders."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import toys
from msgspec.structs import replace
from PIL import Image
from toys import TOY, toy_plugins

from zoo_core.config import parse_assignments
from zoo_core.runtime import Runtime
from zoo_core.spec import resolve_settings
from zoo_core.training.launch import launch
from zoo_core.training.provenance import Cost, commands, cost, import_command, without_folders
from zoo_core.training.run_folder import RunFolder
from zoo_core.weights.header import Origin, parse_metadata, read_header


def trained(place: Path, preset="tiny", change=None, **settings) -> RunFolder:
    given = resolve_settings(TOY, preset, None, ("test", settings))
    launch(TOY, given, toy_plugins(), run_dir=place, change=change or {})
    return RunFolder(place)


def told(folder: RunFolder) -> str:
    record = parse_metadata(read_header(folder.weights("generator")), "")
    return commands(folder, TOY, record)


def read_again(command: str):
    """The settings that a command gives."""
    words = shlex.split(command)
    preset = words[words.index("--preset") + 1]
    sets = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    settings = parse_assignments(sets)
    for key in ("data", "images"):
        if f"--{key}" in words:
            settings[key] = words[words.index(f"--{key}") + 1]
    return resolve_settings(TOY, preset, None, ("the command", settings))


def test_only_what_differs_from_the_preset_is_said(tmp_path):
    assert told(trained(tmp_path / "run")) == "zoo train toy --preset tiny"


def test_the_command_gives_the_settings_of_the_run(tmp_path):
    settings = {
        "width": 5, "learning_rate": 1e-05, "mirror": True, "diffaugment": ("color",), "seed": 3,
        "images": 12,
    }  # fmt: skip
    command = told(trained(tmp_path / "run", **settings))
    assert read_again(command) == resolve_settings(TOY, "tiny", None, ("test", settings))


def test_settings_that_train_the_same_are_left_out(tmp_path):
    folder = trained(tmp_path / "run", log_every=8, keep_checkpoints=3, workers=0, device="auto")
    assert told(folder) == "zoo train toy --preset tiny"


def test_the_images_are_those_of_the_weights(tmp_path):
    """Steps of four go beyond 10 images; weights of 8 are from before the end."""
    folder = trained(tmp_path / "run", images=10)
    assert told(folder).endswith("--images 10")
    record = parse_metadata(read_header(folder.weights("generator")), "")
    assert record.images == 12
    assert commands(folder, TOY, replace(record, images=8)).endswith("--images 8")


def test_each_change_is_a_command(tmp_path):
    trained(tmp_path / "run")
    folder = trained(tmp_path / "run", images=32, change={"mirror": True, "batch_size": 2})
    assert told(folder) == (
        "zoo train toy --preset tiny && "
        "zoo train toy --preset tiny --images 32 --change mirror=true,batch_size=2"
    )


def test_a_change_after_the_weights_is_not_theirs(tmp_path):
    trained(tmp_path / "run")
    folder = trained(tmp_path / "run", images=32, change={"batch_size": 2})
    record = parse_metadata(read_header(folder.weights("generator")), "")
    assert commands(folder, TOY, replace(record, images=8)) == (
        "zoo train toy --preset tiny --images 8"
    )


def test_folders_above_the_images_are_left_out(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(8):
        pixels = toys.ToyPictures(8)[number].pixels
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    folder = trained(tmp_path / "run", data=str(tmp_path / "photos"))
    assert told(folder) == "zoo train toy --preset tiny --data ./photos"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/me/photos", "./photos"),
        ("C:/Users/me/photos", "./photos"),
        ("torchvision/CIFAR10:/data/me/cifar", "torchvision/CIFAR10:./cifar"),
        ("critters", "critters"),
        ("hf/uoft-cs/cifar100,label=fine", "hf/uoft-cs/cifar100,label=fine"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("toys, train split: drawn by the tests", "toys, train split: drawn by the tests"),
    ],
)
def test_an_absolute_path_keeps_its_last_part(text, left):
    assert without_folders({"a": [text, 1, None]}) == {"a": [left, 1, None]}


def test_seconds_are_added_up_and_devices_named(tmp_path):
    folder = RunFolder(tmp_path)
    lines = [
        {"images": 4, "seconds": 1.5, "images_per_second": 2},  # of an older version
        {"images": 8, "seconds": 9.0, "device": "cpu, 2 threads"},
        {"images": 8, "seconds": 2.0, "device": "cpu, 2 threads"},  # set back, and trained again
        {"images": 12, "seconds": 4.0, "device": "H100"},
    ]
    folder.timing.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert cost(folder, 12) == Cost(7.5, ("cpu, 2 threads", "H100"))
    assert cost(folder, 8) == Cost(3.5, ("cpu, 2 threads",))


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", "?\n", '{"images": 4, "seconds": null}\n'])
def test_a_damaged_record_of_time_is_none(tmp_path, text):
    folder = RunFolder(tmp_path)
    folder.timing.write_text(text)
    assert cost(folder, 16) == Cost(0, ())


def test_a_run_records_its_device(tmp_path):
    folder = trained(tmp_path / "run")
    seconds, devices = cost(folder, 16)
    assert seconds > 0
    assert devices == (Runtime.detect("cpu").device_name,)


def test_an_import_has_a_command():
    origin = Origin(
        family="toy-public", file="net G.pth", sha256="ab", part="netG", source="", licence="MIT"
    )
    assert import_command(origin, "toy") == (
        "zoo import 'net G.pth' --model toy --part netG --licence MIT -o imported"
    )
