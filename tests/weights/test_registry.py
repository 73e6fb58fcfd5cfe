"""Registry files: invalid ones, those of plugins, and the one that the zoo ships."""

import hashlib
import json
import os
from pathlib import Path

import jsonschema
import msgspec
import pytest

from zoo_core.errors import (
    AmbiguousNameError,
    ConfigError,
    PluginError,
    UnknownNameError,
    WeightsError,
)
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.spec import WeightsEntry
from zoo_core.strict_yaml import read_yaml
from zoo_core.weights.header import parse_metadata, read_header
from zoo_core.weights.places import packaged
from zoo_core.weights.registry import (
    builtin_registry,
    load_registry,
    read_registry,
    registry_schema,
)

FILE = {"urls": ["package:toys/a.safetensors"], "sha256": "ab" * 32, "size": 10}
METRIC = {"name": "fd", "value": 1.5, "protocol": {"pictures": 100}, "command": "zoo evaluate"}
ENTRY = {
    "name": "toy.bars16",
    "model": "toy",
    "summary": "bars",
    "config": {"width": 4},
    "files": {"generator": FILE},
    "licence": "CC0-1.0",
    "trained_on": "bars",
    "images": 1000,
    "command": "zoo train toy",
    "metrics": [METRIC],
}
YANKED = {
    **ENTRY, "status": "yanked", "reason": "black images", "replaced_by": "toy.bars32",
}  # fmt: skip


def entry(**changes):
    """ENTRY with some fields replaced, or removed where the value is None."""
    return {key: value for key, value in {**ENTRY, **changes}.items() if value is not None}


def entry_with_file(**changes):
    file = {key: value for key, value in {**FILE, **changes}.items() if value is not None}
    return entry(files={"generator": file})


@pytest.fixture
def write(tmp_path):
    """Write a registry file with these entries, or with this text."""
    written = []

    def write_file(*entries, schema=1, text=None):
        path = tmp_path / f"registry{len(written)}.yaml"
        content = {"schema": schema, "weights": list(entries)}
        path.write_text(json.dumps(content) if text is None else text)
        written.append(path)
        return path

    return write_file


class Registries:
    """A plugin that contributes registry files."""

    def __init__(self, *paths):
        self.paths = paths

    @hookimpl
    def zoo_registries(self):
        return list(self.paths)


def installed(**registries):
    """Plugins, each with one registry file."""
    plugins = Plugins()
    for name, path in registries.items():
        plugins.register(name, Registries(path), f"{name}-dist 1.0")
    return plugins


def test_an_entry_is_read_with_all_that_it_says(write):
    (read,) = read_registry(write(ENTRY))
    assert json.loads(msgspec.json.encode(read)) == {
        **ENTRY, "status": "active", "reason": "", "replaced_by": "", "aliases": [],
    }  # fmt: skip


def test_a_yanked_entry_is_read_with_all_that_it_says(write):
    said = {**YANKED, "aliases": ["toy.b16", "toi.bars16"]}
    (read,) = read_registry(write(said))
    assert json.loads(msgspec.json.encode(read)) == said


BAD_ENTRIES = {
    "unknown field": (entry(licens="MIT"), "licens"),
    "unknown field of a file": (entry_with_file(md5="x"), "md5"),
    "no licence": (entry(licence=None), "licence"),
    "empty licence": (entry(licence=""), "licence"),
    "no command": (entry(command=None), "command"),
    "no training data": (entry(trained_on=None), "trained_on"),
    "no sha256": (entry_with_file(sha256=None), "sha256"),
    "short sha256": (entry_with_file(sha256="ab" * 31), "sha256"),
    "upper-case sha256": (entry_with_file(sha256="AB" * 32), "sha256"),
    "no size": (entry_with_file(size=None), "size"),
    "size zero": (entry_with_file(size=0), "size"),
    "size as text": (entry_with_file(size="10"), "size"),
    "no place to get it": (entry_with_file(urls=[]), "urls"),
    "no files": (entry(files={}), "roles"),
    "unknown role": (entry(files={"generatr": FILE}), "generatr"),
    "name without a tag": (entry(name="toy"), "toy.TAG"),
    "name of another model": (entry(name="other.bars16"), "toy.TAG"),
    "tag in upper case": (entry(name="toy.Bars16"), "toy.TAG"),
    "tag that is a path": (entry(name="toy.../x"), "toy.TAG"),
    "model without a name": (entry(name=".bars16", model=""), "not a valid model name"),
    "model that is a path": (entry(name="a/b.bars16", model="a/b"), "not a valid model name"),
    "number for a name": (entry(name=3), "name"),
    "place of an unknown kind": (entry_with_file(urls=["ftp://a.b/c"]), "urls must be https://"),
    "status without a meaning": (entry(status="retired"), "retired"),
    "yanked without a reason": (entry(status="yanked"), "have a reason"),
    "a reason, but not yanked": (entry(reason="black images"), "have a reason"),
    "replaced, but not yanked": (entry(replaced_by="toy.bars32"), "replaced_by is for yanked"),
    "replaced by a path": (entry(**{**YANKED, "replaced_by": "../x"}), "'../x' must be MODEL.TAG"),
    "alias without a tag": (entry(aliases=["bars"]), "'bars' must be MODEL.TAG"),
    "metric without protocol": (
        entry(metrics=[{k: v for k, v in METRIC.items() if k != "protocol"}]),
        "protocol",
    ),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_an_entry_that_lacks_something_is_refused(write, bad, reason):
    path = write(bad)
    with pytest.raises(ConfigError) as error:
        read_registry(path)
    assert str(path) in str(error.value)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


BAD_FILES = {
    "list": "- schema: 1",
    "empty": "",
    "no schema": "weights: []",
    "no weights": "schema: 1",
    "newer schema": "schema: 2\nweights: []",
    "alias": "schema: 1\nweights:\n- &a {name: toy.a}\n- *a",
    "tag": "schema: 1\nweights: !!python/object/apply:os.getcwd []",
    "duplicate key": "schema: 1\nschema: 1\nweights: []",
    "unknown key": "schema: 1\nweights: []\nmore: 1",
    "not YAML": "schema: [1",
}


@pytest.mark.parametrize("text", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_is_no_registry_is_refused(write, text):
    path = write(text=text)
    with pytest.raises(ConfigError) as error:
        read_registry(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_may_not_be_listed_twice(write):
    with pytest.raises(ConfigError, match=r"lists 'toy\.bars16' twice"):
        read_registry(write(ENTRY, ENTRY))


@pytest.mark.parametrize(
    "pair",
    [
        (entry(), entry_with_file(sha256="cd" * 32) | {"aliases": ["toy.bars16"], "name": "toy.b"}),
        (entry(aliases=["toy.b"]), entry_with_file(sha256="cd" * 32) | {"name": "toy.b"}),
        (entry(aliases=["toy.b", "toy.b"]),),
        (entry(aliases=["toy.bars16"]),),
    ],
    ids=["alias of another", "name of another", "twice", "its own"],
)
def test_names_and_aliases_are_unique(write, pair):
    with pytest.raises(ConfigError, match=r"lists 'toy\.b(ars16)?' twice"):
        read_registry(write(*pair))


def test_two_names_for_one_file_are_refused(write):
    with pytest.raises(ConfigError, match=r"toy\.b has the same file as toy\.bars16") as error:
        read_registry(write(ENTRY, entry(name="toy.b")))
    assert "try: list one name, and the other among its aliases" in str(error.value)
    two = {"generator": FILE, "discriminator": FILE}
    with pytest.raises(ConfigError, match=r"toy\.bars16 has the same file as toy\.bars16"):
        read_registry(write(entry(files=two)))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        read_registry(tmp_path / "none.yaml")


def test_weights_of_plugins_are_found(write):
    plugins = installed(one=write(ENTRY), two=write(entry(name="toy.bars32")))
    registry = load_registry(plugins)
    assert {"toy.bars16", "toy.bars32"} <= set(registry.names())
    assert registry.get("toy.bars32").name == "toy.bars32"


def test_a_broken_registry_is_a_problem_and_the_others_load(write):
    plugins = installed(broken=write(entry(licence=None)), whole=write(ENTRY))
    assert load_registry(plugins).get("toy.bars16").licence == "CC0-1.0"
    (problem,) = plugins.problems
    assert (problem.plugin, problem.distribution) == ("broken", "broken-dist 1.0")
    assert "licence" in problem.reason


def test_a_broken_registry_is_reported_once_however_often_it_is_read(write):
    plugins = installed(broken=write(text="weights"))
    load_registry(plugins)
    load_registry(plugins)
    assert len(plugins.problems) == 1


def test_a_broken_registry_is_an_error_when_strict(write, monkeypatch):
    plugins = installed(broken=write(text="weights"))
    monkeypatch.setenv("ZOO_STRICT", "1")
    with pytest.raises(PluginError, match="broken-dist"):
        load_registry(plugins)


def test_a_name_in_two_registries_is_ambiguous(write):
    registry = load_registry(installed(one=write(ENTRY), two=write(ENTRY)))
    with pytest.raises(AmbiguousNameError) as error:
        registry.get("toy.bars16")
    assert "one/toy.bars16 (one-dist 1.0), two/toy.bars16 (two-dist 1.0)" in str(error.value)
    assert error.value.exit_code == 3


def test_the_owner_reaches_each_of_two_weights_of_a_name(write):
    registry = load_registry(installed(one=write(ENTRY), two=write(entry(images=7))))
    assert registry.get("one/toy.bars16").images == 1000
    assert registry.get("two/toy.bars16").images == 7


def test_an_unknown_name_comes_with_the_nearest(write):
    registry = load_registry(installed(one=write(ENTRY)))
    with pytest.raises(UnknownNameError, match=r"nearest: toy\.bars16") as error:
        registry.get("toy.bars61")
    assert error.value.exit_code == 3


# Aliases and yanked weights.


@pytest.mark.parametrize("name", ["toy.old", "one/toy.old"])
def test_an_alias_finds_the_weights_and_says_their_name(write, caplog, name):
    registry = load_registry(installed(one=write(entry(aliases=["toy.old"]))))
    assert registry.usable(name).name == "toy.bars16"
    assert caplog.messages == [f"{name} is now called toy.bars16"]


@pytest.mark.parametrize("name", ["toy.bars16", "one/toy.bars16"])
def test_a_name_that_is_none_warns_of_nothing(write, caplog, name):
    assert load_registry(installed(one=write(ENTRY))).usable(name).name == "toy.bars16"
    assert caplog.messages == []


def test_a_name_is_never_an_alias_of_something_else(write):
    """Or a plugin could take over the weights of another."""
    taker = entry(name="toy.bars32", aliases=["toy.bars16"])
    registry = load_registry(installed(one=write(ENTRY), two=write(taker)))
    assert registry.usable("toy.bars16").name == "toy.bars16"


def test_yanked_weights_are_refused_with_the_reason_and_what_replaces_them(write):
    registry = load_registry(installed(one=write(YANKED)))
    with pytest.raises(WeightsError) as error:
        registry.usable("toy.bars16")
    assert str(error.value) == "toy.bars16 was yanked: black images; try: toy.bars32"
    assert error.value.exit_code == 5
    assert registry.get("toy.bars16").status == "yanked"


# The schema for editors.


def test_the_schema_on_disk_is_that_of_the_records():
    on_disk = Path(__file__).parents[2] / "docs" / "registry.schema.json"
    hint = f"zoo registry schema > {on_disk}"
    assert on_disk.read_text() == json.dumps(registry_schema(), indent=2) + "\n", hint


BEYOND_A_SCHEMA = {  # one field depends on another
    "name of another model", "yanked without a reason", "a reason, but not yanked",
    "replaced, but not yanked",
}  # fmt: skip


def test_the_schema_accepts_the_registry_and_refuses_what_the_reader_refuses():
    check = jsonschema.Draft202012Validator(registry_schema())
    assert check.is_valid(read_yaml(builtin_registry()))
    assert check.is_valid({"schema": 1, "weights": [{**YANKED, "aliases": ["toy.old"]}]})
    assert not check.is_valid({"schema": 2, "weights": []})
    accepted = {
        what
        for what, (bad, _) in BAD_ENTRIES.items()
        if check.is_valid({"schema": 1, "weights": [bad]})
    }
    assert accepted == BEYOND_A_SCHEMA


def test_the_registry_tells_editors_its_schema():
    path = builtin_registry()
    (line,) = [line for line in path.read_text().splitlines() if "yaml-language-server" in line]
    assert (path.parent / line.partition("$schema=")[2]).is_file()


# The cache of registry files.


def test_a_registry_is_parsed_once(write, monkeypatch):
    path = write(entry())
    first = read_registry(path)
    monkeypatch.setattr("zoo_core.weights.registry.parse_registry", None)
    assert read_registry(path) == first


def test_a_changed_registry_is_read_anew(write):
    assert read_registry(write(entry()))[0].summary == "bars"
    assert read_registry(write(entry(summary="rabs")))[0].summary == "rabs"


def test_a_damaged_memory_is_replaced(write):
    path = write(entry())
    entries = read_registry(path)
    (memory,) = (Path(os.environ["ZOO_CACHE"]) / "registry").iterdir()
    memory.write_bytes(b"[{")
    assert read_registry(path) == entries
    assert memory.read_bytes() != b"[{"


def test_a_bad_registry_is_not_remembered(write):
    path = write(entry(licence=""))
    for _ in range(2):
        with pytest.raises(ConfigError, match="licence"):
            read_registry(path)


def test_a_cache_that_cannot_be_written_does_not_matter(write, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    assert len(read_registry(write(entry()))) == 1


# The registry that the zoo ships.

RESIDENT = read_registry(builtin_registry())


def test_there_are_resident_weights():
    assert RESIDENT


@pytest.mark.parametrize("published", RESIDENT, ids=lambda entry: entry.name)
def test_resident_weights_belong_to_an_installed_model(published: WeightsEntry):
    (model,) = load_plugins().models.matches(published.model)
    assert published.command.startswith(f"zoo train {published.model}")
    assert all(metric.protocol and metric.command for metric in published.metrics)
    translates = model.spec.task == "image-to-image"
    needed = ("l1", "psnr", "ssim") if translates else ("fd", "kd", "precision", "recall")
    assert {metric.name for metric in published.metrics} >= set(needed)


@pytest.mark.parametrize("published", RESIDENT, ids=lambda entry: entry.name)
def test_resident_weights_say_of_themselves_what_the_registry_says(published: WeightsEntry):
    record = parse_metadata(
        read_header(packaged(published.files["generator"].urls[0])), published.name
    )
    assert record.model == published.model
    assert record.config == published.config
    assert (record.images, record.licence) == (published.images, published.licence)


@pytest.mark.parametrize("published", RESIDENT, ids=lambda entry: entry.name)
def test_resident_files_are_here_and_are_the_registered_bytes(published: WeightsEntry):
    for file in published.files.values():
        data = packaged(file.urls[0]).read_bytes()
        assert len(data) == file.size
        assert hashlib.sha256(data).hexdigest() == file.sha256
