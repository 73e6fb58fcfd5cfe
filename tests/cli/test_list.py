"""`zoo list`, `zoo show`, `zoo data` and `zoo plugin`."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from PIL import Image

import zoo_core
from zoo_core import UnknownNameError, load_features
from zoo_core.data.files import PictureFiles
from zoo_core.data.packing import pack


def test_models_are_listed_with_plugin_and_task(zoo):
    answer = zoo("list")
    assert answer.code == 0
    header, row = answer.out.splitlines()
    assert header.split() == ["NAME", "TASK", "CLASSES", "PLUGIN", "WEIGHTS", "SUMMARY"]
    assert row.split()[:5] == ["toy", "unconditional", "optional", "toy", "-"]


def test_it_is_listed_and_shown_which_models_learn_classes(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter,dcgan")
    listed = {record["name"]: record for record in zoo("list", "--json").json["models"]}
    assert listed["toy"]["task"] == "unconditional"
    assert listed["toy"]["learns_classes"]
    assert listed["sorter"]["learns_classes"]
    table = {line.split()[0]: line.split()[2] for line in zoo("list").out.splitlines()}
    assert (table["toy"], table["sorter"], table["dcgan"]) == ("optional", "yes", "no")
    assert re.search("^learns_classes +optional$", zoo("show", "toy").out, re.MULTILINE)
    assert zoo_core.list_models(learns_classes=True) == ["sorter", "toy"]
    assert zoo_core.list_models(learns_classes=False) == ["dcgan"]
    shown = zoo("show", "toy", "--json").json["models"][0]
    assert (shown["task"], shown["learns_classes"]) == ("unconditional", True)
    (setting,) = [each for each in shown["settings"] if each["key"] == "num_classes"]
    assert setting["allowed"] == "integer >= 0, or auto"


def test_feature_extractors_are_listed_and_who_is_missed_is_sent_there(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter,timm")
    with pytest.raises(UnknownNameError, match=r"; try: zoo list --features$"):
        load_features("runs/classifier.nope")
    answer = zoo("list", "--features")
    listed = {line.split()[0] for line in answer.out.splitlines()[1:]}
    assert {"toy-features", "timm/tf_efficientnet_lite0.in1k"} <= listed
    assert "and timm/NAME[.TAG]" in answer.err
    assert "and every classifier" in answer.err
    record = zoo("list", "timm/*", "--features", "--json").json["feature_extractors"][0]
    assert (record["plugin"], record["input_size"]) == ("timm", 224)


def test_json_carries_schema_records_and_problems(zoo):
    listed = zoo("list", "--json").json
    assert listed["schema"] == 1
    assert listed["problems"] == []
    assert listed["models"][0]["distribution"] == "zoo-toy 1.0"


def test_a_pattern_filters(zoo):
    assert "toy" in zoo("list", "t*").out
    answer = zoo("list", "x*")
    assert (answer.code, answer.out) == (0, "")
    assert "no models or weights match 'x*'" in answer.err


def test_a_model_is_shown_with_its_settings(zoo):
    shown = zoo("show", "toy", "--json").json["models"][0]
    keys = {setting["key"]: setting for setting in shown["settings"]}
    assert keys["width"] == {
        "key": "width", "group": "network", "default": 4, "allowed": "integer >= 1",
        "meaning": "feature maps",
    }  # fmt: skip
    assert keys["data"]["default"] == "toys"  # the model's own default of a run setting
    assert "tiny" in zoo("show", "toy").out


def test_the_settings_of_a_model_are_shown_in_groups(zoo):
    lines = zoo("show", "toy").out.splitlines()
    titles = [line for line in lines if re.fullmatch("[a-z ]+:", line)]
    assert titles == [
        "what is trained on:", "network:", "optimizer:", "augmentation:", "run:",
    ]  # fmt: skip
    group = {}
    for line in lines[lines.index(titles[0]) :]:
        if line in titles:
            title = line
        else:
            group[line.split()[0]] = title
    assert group["layout"] == "what is trained on:"
    assert group["width"] == "network:"
    assert group["learning_rate"] == group["batch_size"] == "optimizer:"
    assert group["mirror"] == "augmentation:"
    assert group["workers"] == "run:"


def test_what_a_preset_changes_is_shown(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "dcgan")
    lines = zoo("show", "dcgan", "--preset", "paper64").out.splitlines()
    assert lines[0] == "zoo train dcgan --preset paper64 changes:"
    assert lines[1].split() == ["KEY", "DEFAULT", "PAPER64", "MEANING"]
    assert any(line.split()[:3] == ["latent_size", "64", "100"] for line in lines)
    assert not any(line.split()[0] == "channels" for line in lines)  # as by default
    (shown,) = zoo("show", "dcgan", "--preset", "paper64", "--json").json["presets"]
    assert {"key": "latent_size", "preset": 100}.items() <= shown["settings"][1].items()
    assert "nearest: paper64" in zoo("show", "dcgan", "--preset", "papr64").error
    assert "has no presets; try: omit --preset" in zoo("show", "dcgan.critters32", "-p", "x").error


def test_the_distribution_of_latents_is_shown_of_a_model_that_has_some(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter")
    assert zoo("show", "toy", "--json").json["models"][0]["latents"] == "normal"
    assert zoo("show", "sorter", "--json").json["models"][0]["latents"] is None
    assert re.search(r"^latents +normal$", zoo("show", "toy").out, re.MULTILINE)
    assert not re.search(r"^latents ", zoo("show", "sorter").out, re.MULTILINE)


def test_a_weights_file_is_shown(zoo):
    zoo("train", "toy", "--preset", "tiny")
    shown = zoo("show", "runs/toy.toys16-tiny", "--json").json["records"][0]
    assert (shown["model"], shown["images"], shown["licence"]) == ("toy", 16, "CC0-1.0")


def test_a_run_here_is_shown_by_its_bare_name_unless_a_model_is_called_so(zoo):
    for name in ("o4", "toy"):
        assert zoo("train", "toy", "--preset", "tiny", "--run-dir", name).code == 0
    assert zoo("show", "o4", "--json").json["records"][0]["file"] == "o4/generator.safetensors"
    answer = zoo("show", "toy")
    assert answer.code == 3
    assert "allowed: ./toy for the path; toy/toy for the name" in answer.error
    assert zoo("show", "./toy", "--json").json["records"][0]["file"] == "toy/generator.safetensors"
    assert zoo("show", "toy/toy", "--json").json["models"][0]["name"] == "toy"


def test_what_a_weights_file_says_obeys_no_terminal(zoo):
    from safetensors.torch import load_file, save_file

    from zoo_core.weights.header import read_header

    zoo("train", "toy", "--preset", "tiny")
    path = Path("runs/toy.toys16-tiny/generator.safetensors")
    record = json.loads(read_header(path).metadata["zoo"]) | {"licence": "MIT\x1b[31m\nimages  9"}
    save_file(load_file(path), "forged.safetensors", {"zoo": json.dumps(record)})
    shown = zoo("show", "forged.safetensors").out
    assert "\x1b" not in shown
    assert len([line for line in shown.splitlines() if line.startswith("images")]) == 1


@pytest.mark.parametrize(("name", "code"), [("tob", 3), ("toy.none", 3), ("./none.safetensors", 2)])
def test_showing_what_is_not_there_is_one_line(zoo, name: str, code: int):
    answer = zoo("show", name)
    assert answer.code == code
    assert answer.error


def test_a_measured_number_is_shown_with_its_protocol_in_a_line(zoo):
    lines = zoo("show", "dcgan.critters32").out.splitlines()
    (line,) = [line for line in lines if line.startswith("metrics.fd ")]
    assert "(extractor timm/" in line
    assert "num_fake 5000" in line


def test_data_sets_are_listed(zoo):
    assert "toys  unconditional  CC0-1.0  bars" in zoo("data", "list").out
    assert zoo("data", "list", "--json").json["datasets"][0]["name"] == "toys"


def test_a_data_set_is_shown_and_drawn(zoo):
    answer = zoo("data", "show", "toys", "--resolution", 16, "--out", "drawn/toys.png", "--json")
    shown = answer.json["datasets"][0]
    assert (shown["pictures"], shown["licence"]) == (32, "CC0-1.0")
    with Image.open("drawn/toys.png") as image:
        assert image.size == (128, 64)


def test_good_pictures_pass_the_check(zoo, photos):
    answer = zoo("data", "check", photos)
    assert answer.code == 0
    assert "8 of 8 images are usable; sizes: 20x24 (8)" in answer.out


def test_a_data_set_without_pairs_does_not_pass_as_pairs(zoo):
    answer = zoo("data", "check", "toys", "--pairs")
    assert answer.code == 2
    assert "toys contains no pairs; try: omit --pairs" in answer.error


def test_a_grid_that_no_memory_holds_is_refused(zoo):
    assert zoo("data", "show", "toys", "--resolution", 10**8, "--out", "big.png").code == 2


def test_every_bad_picture_is_named_with_its_reason(zoo, photos):
    (photos / "page.jpg").write_text("<html>")
    (photos / "empty.png").touch()
    whole = (photos / "0.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    answer = zoo("data", "check", photos)
    assert answer.code == 2
    for line in ("page.jpg: a web page", "empty.png: an empty file", "cut.png: damaged"):
        assert line in answer.out
    assert "3 of 11 images cannot be used" in answer.error
    found = zoo("data", "check", photos, "--json")
    assert len(found.json["checks"][0]["bad"]) == 3


def test_a_check_removes_what_is_damaged_of_these_images_in_the_cache(zoo, photos):
    assert "damaged" not in zoo("data", "check", photos).err
    folder = pack(PictureFiles(photos), 16, 3).folder
    (folder / "images").write_bytes(bytes((folder / "images").stat().st_size))
    answer = zoo("data", "check", photos)
    assert answer.code == 0
    assert f"packed images in {folder} (images is not as it was written) were" in answer.err
    assert not folder.exists()


def test_classes_are_listed_in_the_order_of_their_numbers(zoo, photos):
    for path in sorted(photos.glob("*.png")):
        number = 2 if path.stem < "4" else 10
        (photos / str(number)).mkdir(exist_ok=True)
        path.rename(photos / str(number) / path.name)
    assert "classes: 2 (4), 10 (4)" in zoo("data", "check", photos).out


def test_classes_are_counted(zoo, photos):
    for name in ("cats", "dogs"):
        (photos / name).mkdir()
    for number, path in enumerate(sorted(photos.glob("*.png"))):
        path.rename(photos / ("cats" if number < 3 else "dogs") / path.name)
    assert "classes: cats (3), dogs (5)" in zoo("data", "check", photos).out


def in_folders(photos, *folders):
    """The photos, in turn in these folders."""
    for number, path in enumerate(sorted(photos.glob("*.png"))):
        folder = photos / folders[number % len(folders)]
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)


def test_one_split_is_checked_if_asked_for(zoo, photos):
    in_folders(photos, "train", "train", "train", "test")
    assert "8 of 8 images are usable" in zoo("data", "check", photos).out
    answer = zoo("data", "check", photos, "--split", "test")
    assert "reading test" in answer.out
    assert "2 of 2 images are usable" in answer.out


def test_the_only_split_is_checked_whatever_it_is_called(zoo, photos):
    in_folders(photos, "validation")
    assert "8 of 8 images are usable" in zoo("data", "check", photos).out


def test_a_data_set_of_a_plugin_without_a_train_split_is_checked(zoo, monkeypatch):
    import toys

    renamed = msgspec.structs.replace(toys.TOYS, splits=("validation", "all"))
    monkeypatch.setattr(toys, "TOYS", renamed)
    assert "32 of 32 images are usable" in zoo("data", "check", "toys").out


def test_another_reading_is_chosen_as_the_error_says(zoo, photos):
    in_folders(photos, "images", "masks")
    refused = zoo("data", "check", photos)
    assert refused.code == 2
    assert "--set layout=classes" in refused.error
    answer = zoo("data", "check", photos, "--set", "layout=classes")
    assert "classes: images (4), masks (4)" in answer.out


def test_an_unknown_setting_of_reading_is_refused(zoo, photos):
    answer = zoo("data", "check", photos, "--set", "batch_size=4")
    assert answer.code == 2
    assert "is not a setting of how images are read" in answer.error


def test_control_characters_in_names_do_not_reach_the_terminal(zoo, photos):
    in_folders(photos, "a\x1b[2Jb", "c")
    (photos / "c" / "d\x1be.png").touch()
    answer = zoo("data", "check", photos)
    assert "classes: a?[2Jb (4), c (4)" in answer.out
    assert "c/d?e.png: an empty file" in answer.out


def test_plugins_are_listed_with_import_time(zoo):
    (plugin,) = zoo("plugin", "list", "--json").json["plugins"]
    assert (plugin["name"], plugin["status"], plugin["distribution"]) == (
        "toy",
        "ok",
        "zoo-toy 1.0",
    )
    assert plugin["brings"] == {"model": ["toy"], "data set": ["toys"]}


BAD = {
    "raises": "ZOO_API = 1\nraise RuntimeError('no luck')\n",
    "exits": "ZOO_API = 1\nimport sys\nsys.exit(3)\n",
    "prints": (
        "ZOO_API = 1\nfrom zoo_core import hookimpl\nprint('hello from a plugin')\n"
        "@hookimpl\ndef zoo_models():\n    return []\n"
    ),
    "twin": (
        "ZOO_API = 1\nimport toys\nfrom zoo_core import hookimpl\n"
        "@hookimpl\ndef zoo_models():\n    return [toys.TOY]\n"
    ),
    "misspelt": (
        "ZOO_API = 1\nfrom zoo_core import hookimpl\n@hookimpl\ndef zoo_modles():\n    return []\n"
    ),
    "future": "ZOO_API = 99\nfrom zoo_core import what_is_yet_to_come\n",
    "garbage": (
        "ZOO_API = 1\nfrom zoo_core import hookimpl\n"
        "@hookimpl\ndef zoo_models():\n    return 'garbage'\n"
    ),
}
REASONS = {
    "raises": "RuntimeError: no luck",
    "exits": "called sys.exit(3)",
    "prints": "printed to stdout: 'hello from a plugin'",
    "twin": "model 'toy' is also provided by toy (zoo-toy 1.0)",
    "misspelt": "zoo_models",
    "future": "plugin API 99",
    "garbage": "zoo_models",
}


@pytest.fixture
def bad_plugins(tmp_path: Path, monkeypatch) -> Path:
    place = tmp_path / "bad"
    place.mkdir()
    for name, source in BAD.items():
        (place / f"bad_{name}.py").write_text(source)
        metadata = place / f"bad_{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: bad-{name}\nVersion: 1.0\n"
        )
        (metadata / "entry_points.txt").write_text(f"[zoo]\n{name} = bad_{name}\n")
    monkeypatch.syspath_prepend(str(place))
    return place


def test_bad_plugins_are_named_and_everything_else_works(zoo, bad_plugins, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", ",".join(["toy", *BAD]))
    listed, datasets = zoo("list"), zoo("data", "list")
    plugins = zoo("plugin", "list")
    trained = zoo("train", "toy", "--preset", "tiny")
    assert (listed.code, plugins.code, trained.code) == (0, 0, 0)
    assert [line.split()[0] for line in listed.out.splitlines()] == ["NAME", "toy", "twin/toy"]
    assert len(trained.out.splitlines()) == 2
    assert datasets.err == listed.err
    for name, reason in REASONS.items():
        culprits = [
            line for line in listed.err.splitlines() if f"plugin {name} (bad-{name} 1.0)" in line
        ]
        assert len(culprits) == 1, listed.err
        assert reason in culprits[0]
        (row,) = [line for line in plugins.out.splitlines() if line.startswith(f"{name} ")]
        assert reason in row


def test_a_slow_import_shows(zoo, bad_plugins, monkeypatch):
    source = "ZOO_API = 1\nimport time\ntime.sleep(0.05)\n"
    (bad_plugins / "bad_raises.py").write_text(source)
    monkeypatch.setenv("ZOO_PLUGINS", "raises")
    (plugin,) = zoo("plugin", "list", "--json").json["plugins"]
    assert plugin["import_ms"] >= 50


def test_an_ambiguous_model_names_both_owners(zoo, bad_plugins, monkeypatch):
    (bad_plugins / "bad_raises.py").write_text(BAD["twin"])
    monkeypatch.setenv("ZOO_PLUGINS", "raises,twin")
    answer = zoo("train", "toy", "--preset", "tiny")
    assert answer.code == 3
    assert "raises/toy (bad-raises 1.0), twin/toy (bad-twin 1.0)" in answer.error


def test_a_model_is_not_taken_from_the_plugin_named_after_it(zoo, bad_plugins, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,twin")
    (row, twin) = zoo("list", "--json").json["models"]
    assert (row["name"], row["plugin"]) == ("toy", "toy")
    assert (twin["name"], twin["plugin"]) == ("twin/toy", "twin")
    assert zoo("train", "twin/toy", "--preset", "tiny", "--data", "toys").code == 0


def test_strict_makes_a_bad_plugin_an_error(zoo, bad_plugins, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toy,raises")
    monkeypatch.setenv("ZOO_STRICT", "1")
    answer = zoo("list")
    assert answer.code == 4
    assert "no luck" in answer.error


def test_a_plugin_that_is_not_installed_cannot_be_asked_for(zoo, monkeypatch):
    monkeypatch.setenv("ZOO_PLUGINS", "toi")
    answer = zoo("list")
    assert answer.code == 4
    assert "'toi'" in answer.error


def test_the_contract_says_how_many_checks_ran(zoo, monkeypatch):
    from msgspec.structs import replace
    from toys import TOY

    monkeypatch.setattr("toys.TOY", replace(TOY, parameters={"generator": 1}))
    answer = zoo("plugin", "check", "toy")
    lines = answer.out.splitlines()
    assert lines[-1].endswith("failed")
    assert int(lines[-1].split()[0]) == len(lines) - 1 > 10
    assert any("parameter count" in line and line.startswith("FAILED") for line in lines)
    assert answer.code == 4


def test_ctrl_c_before_a_command_runs_is_its_exit_code(zoo, monkeypatch):
    def interrupted(only):
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo_core.cli.build", interrupted)
    answer = zoo("list")
    assert (answer.code, answer.out, answer.err) == (130, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("list > /dev/full", 1, "error: cannot write to stdout: No space left on device"),
        ("list --json > /dev/full", 1, "error: cannot write to stdout: No space left on device"),
        ("show nothing 2> /dev/full", 3, ""),
        ("show nothing 2>&-", 3, ""),
        ("list 2>&- >&-", 1, ""),
    ],
)
def test_output_that_cannot_be_written_is_a_line_and_the_code_stays(command, code, told):
    line = f"{shlex.quote(sys.executable)} -m zoo_core.cli {command}"
    done = subprocess.run(line, shell=True, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == bool(told)


def test_parameters_that_a_model_does_not_state_are_printed_to_be_typed(zoo, monkeypatch):
    from msgspec.structs import replace
    from toys import TOY, ToyGenerator

    import zoo_core.testing

    checks = [zoo_core.testing.check_parameter_count]
    monkeypatch.setattr(zoo_core.testing, "CHECKS", checks)
    answer = zoo("plugin", "check", "toy")
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "1 checks ran, 0 failed")
    typed = answer.err.partition("add to its ModelSpec: ")[2].strip().rstrip(",")
    stated = eval(f"dict({typed})")["parameters"]
    weights = ToyGenerator(TOY.config()).parameters()
    assert stated["generator"] == sum(weight.numel() for weight in weights)
    monkeypatch.setattr("toys.TOY", replace(TOY, parameters=stated))
    assert zoo("plugin", "check", "toy").err == ""
    monkeypatch.setattr("toys.TOY", replace(TOY, parameters={"generator": 1}))
    assert zoo("plugin", "check", "toy").code == 4
