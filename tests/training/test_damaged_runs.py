"""Every field of every file that a run holds, of the wrong type: read, or a ZooError."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toys import FEATURES, TOY, packed, resolved

from zoo_core.data.packing import PackedData
from zoo_core.errors import ConfigError, InputError, ZooError
from zoo_core.metrics.evaluation import during_training
from zoo_core.metrics.feature_sets import ReferenceFeatures
from zoo_core.metrics.sides import Options, with_settings_of_run
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import resolve_settings
from zoo_core.training.alarms import Alarms
from zoo_core.training.checkpoint import Checkpoints
from zoo_core.training.engine import train
from zoo_core.training.maintenance import other_data
from zoo_core.training.provenance import commands, cost
from zoo_core.training.run_folder import RunFolder
from zoo_core.weights.header import parse_metadata, read_header
from zoo_core.weights.run_settings import settings_of_run

WRONG = (5, "x", None, [], {})
FILES = ("config.json", "data.json", "log.jsonl", "timing.jsonl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, PackedData]:
    """A run with a change, evaluations and alarms."""
    place = tmp_path_factory.mktemp("run")
    data = packed(place)
    reference = ReferenceFeatures(data, FEATURES.build(16), cache=place / "cache")
    evaluation = during_training(reference, 8)
    folder = RunFolder(place / "run")
    begin = resolved(evaluate_every=8)
    about = {"licence": "CC0-1.0", "trained_on": "bars", "evaluation": evaluation}
    train(TOY, begin, data, folder, **about)
    train(TOY, resolved(evaluate_every=8, images=24), data, folder, **about,
          change={"augment": "diffaugment"})  # fmt: skip
    return folder.path, data


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field."""
    yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value[:3]):
            yield from places(child, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def read(folder: RunFolder, data: PackedData) -> None:
    """Read a run by every way in which commands read it; a ZooError of each is an answer."""
    said = resolved(evaluate_every=8, images=24)
    record = parse_metadata(read_header(folder.weights("generator")), "run")
    trained_on = Checkpoints(folder.checkpoints).data_fingerprint()

    def changes() -> None:
        folder.check(said, changing=("augment",))
        history = folder.history(said)
        _ = history.now, history.accepted, list(map(str, history.changes))

    def log() -> None:
        alarms = Alarms()
        for line in folder.read_log():
            alarms.observe(line)

    for way in (
        folder.read_config,
        folder.started_from,
        changes,
        log,
        lambda: cost(folder, record.images),
        lambda: commands(folder, TOY, record),
        lambda: other_data(folder, data, trained_on + "x"),
        lambda: settings_of_run(str(folder.path), Plugins()),
        lambda: with_settings_of_run(str(folder.path), Options(), Plugins()),
        lambda: resolve_settings(TOY, "", folder.config),
    ):
        with contextlib.suppress(ZooError):
            way()


@pytest.mark.parametrize("name", FILES)
def test_a_field_of_the_wrong_type_is_no_traceback(whole, tmp_path, name):
    path, data = whole
    shutil.copytree(path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    file, text = folder.path / name, (path / name).read_text()
    in_lines = name.endswith("l")
    content = [json.loads(line) for line in text.splitlines()] if in_lines else json.loads(text)
    tried = 0
    for place in places(content):
        for wrong in WRONG:
            new = replaced(content, place, wrong)
            lines = new if in_lines and isinstance(new, list) else [new]
            file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
            try:
                read(folder, data)
            except Exception as error:
                error.add_note(f"{name}: {place} is {wrong!r}")
                raise
            tried += 1
    assert tried > 50


@pytest.fixture
def config(tmp_path) -> Path:
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(resolved().to_json()))
    path.with_name("generator.safetensors").write_bytes(b"only has to be there")
    return path


def broken(path: Path, **parts: Any) -> RunFolder:
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))
    return RunFolder(path.parent)


def test_a_setting_of_the_wrong_type_is_named_with_its_file(config):
    run = json.loads(config.read_text())["run"]
    folder = broken(config, run=run | {"data": 5})
    for way in (folder.read_config, lambda: settings_of_run(str(config.parent), Plugins())):
        with pytest.raises(ConfigError) as caught:
            way()
        assert f"data in {config} has an invalid value; given: 5; allowed: text" in str(
            caught.value
        )


def test_a_config_without_settings_is_not_read_as_one_of_defaults(config):
    broken(config, run=5)
    with pytest.raises(ConfigError, match="is not the configuration of a run"):
        settings_of_run(str(config.parent), Plugins())


def test_a_preset_that_is_no_text_is_refused(config):
    with pytest.raises(InputError, match="preset is no text"):
        broken(config, preset=["tiny"]).read_config()
