"""What can be loaded, listed and described in Python; none of it imports torch or numpy."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from file_server import DATA, python, serving
from toys import TOY, ToyGenerator, resolved, toy_plugins

import zoo_core
from zoo_core.errors import (
    AmbiguousNameError,
    InputError,
    UnknownNameError,
    WeightsError,
)
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.spec import WeightsEntry
from zoo_core.weights import registry
from zoo_core.weights.catalog import fetch, info, list_models, list_weights
from zoo_core.weights.header import WeightsMetadata
from zoo_core.weights.tensors import save_weights

ABOUT = WeightsMetadata(
    model="toy",
    role="generator",
    config=msgspec.to_builtins(resolved().config),
    images=16,
    licence="MIT",
    trained_on="bars",
    zoo_version="0.1.0",
)


def entry(name="toy.bars16", data=None, urls=("https://weights.invalid/a",), **changes):
    data = name.encode() if data is None else data
    file = {"urls": urls, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return {
        "name": name,
        "model": name.partition(".")[0],
        "summary": "bars",
        "config": {},
        "files": {"generator": file},
        "licence": "CC0-1.0",
        "trained_on": "bars, train split",
        "images": 16,
        "command": "zoo train toy",
        **changes,
    }


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Plugins with the toy models, and these entries as the only registered weights."""

    def register(*entries):
        path = tmp_path / "builtin.yaml"
        path.write_text(json.dumps({"schema": 1, "weights": entries}))
        monkeypatch.setattr(registry, "builtin_registry", lambda: path)
        return toy_plugins()

    return register


SOME = [
    entry("toy.bars128"),
    entry("toy.bars32", licence="CC-BY-4.0", trained_on="stripes"),
    entry("sorter.bars16"),
    entry("other.bars16"),
    entry("toy.bad16", status="yanked", reason="black images"),
]


def test_models_are_listed():
    assert list_models(plugins=toy_plugins()) == ["sorter", "toy"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"pattern": "t*"}, ["toy"]),
        ({"pattern": "T*"}, []),
        ({"task": "classifier"}, ["sorter"]),
        ({"plugin": "toys"}, ["sorter", "toy"]),
        ({"plugin": "others"}, []),
        ({"licence": "Apache*"}, ["sorter", "toy"]),
        ({"licence": "GPL*"}, []),
    ],
    ids=str,
)
def test_models_are_filtered(wanted, expected):
    assert list_models(**wanted, plugins=toy_plugins()) == expected


def test_weights_are_listed_in_natural_order(plugins):
    listed = list_weights(plugins=plugins(*SOME))
    assert listed == ["other.bars16", "sorter.bars16", "toy.bars32", "toy.bars128"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"pattern": "*.bars16"}, ["other.bars16", "sorter.bars16"]),
        ({"model": "toy"}, ["toy.bars32", "toy.bars128"]),
        ({"model": "to?"}, ["toy.bars32", "toy.bars128"]),
        ({"licence": "CC-BY*"}, ["toy.bars32"]),
        ({"trained_on": "stripes*"}, ["toy.bars32"]),
        ({"task": "classifier"}, ["sorter.bars16"]),
        ({"model": "toy", "yanked": True}, ["toy.bad16", "toy.bars32", "toy.bars128"]),
    ],
    ids=str,
)
def test_weights_are_filtered(plugins, wanted, expected):
    assert list_weights(**wanted, plugins=plugins(*SOME)) == expected


@pytest.mark.parametrize("list_them", [list_models, list_weights])
def test_an_unknown_task_is_not_an_empty_list(list_them):
    with pytest.raises(UnknownNameError, match="nearest: unconditional"):
        list_them(task="unconditonal", plugins=toy_plugins())


def test_a_model_is_its_specification(plugins):
    assert info("toy", plugins=plugins()).config is TOY.config


def test_registered_weights_are_their_entry(plugins):
    found = info("toy.bad16", plugins=plugins(*SOME))
    assert isinstance(found, WeightsEntry)
    assert (found.name, found.status) == ("toy.bad16", "yanked")


@pytest.mark.parametrize("name", ["run/generator.safetensors", "run", "./run"])
def test_a_file_or_a_run_is_what_it_says_of_itself(plugins, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    save_weights(tmp_path / "run" / "generator.safetensors", ToyGenerator(resolved().config), ABOUT)
    assert info(name, plugins=plugins()) == ABOUT
    assert info(tmp_path / "run", plugins=plugins()) == ABOUT


@pytest.mark.parametrize("name", ["toy", "toy.bars32"])
def test_a_run_that_is_called_like_something_else_is_ambiguous(
    plugins, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    save_weights(tmp_path / name / "generator.safetensors", ToyGenerator(resolved().config), ABOUT)
    with pytest.raises(AmbiguousNameError, match=rf"allowed: \./{name} for the path"):
        info(name, plugins=plugins(*SOME))


@pytest.mark.parametrize(("name", "nearest"), [("toi", "toy"), ("toy.bars33", r"toy\.bars32")])
def test_an_unknown_name_comes_with_the_nearest(plugins, name, nearest):
    with pytest.raises(UnknownNameError, match=f"nearest: {nearest}"):
        info(name, plugins=plugins(*SOME))


def test_files_are_fetched_by_role(plugins):
    with serving() as server:
        one = entry(data=DATA, urls=[server.serve("/g", DATA)])
        other = entry(data=DATA[1:], urls=[server.serve("/d", DATA[1:])])
        one["files"]["discriminator"] = other["files"]["generator"]
        known = plugins(one)
        main = fetch("toy.bars16", plugins=known)
        assert {role: path.read_bytes() for role, path in main.items()} == {"generator": DATA}
        assert len(server.requests) == 1
        both = fetch("toy.bars16", roles=("generator", "discriminator"), plugins=known)
        assert both["generator"] == main["generator"]
        assert both["discriminator"].read_bytes() == DATA[1:]
        with pytest.raises(InputError, match=r"has no classifier; allowed: generator, discrim"):
            fetch("toy.bars16", roles=["classifier"], plugins=known)


def test_a_damaged_file_is_fetched_again(plugins):
    with serving() as server:
        known = plugins(entry(data=DATA, urls=[server.serve("/g", DATA)]))
        path = fetch("toy.bars16", plugins=known)["generator"]
        path.write_bytes(DATA[::-1])
        assert fetch("toy.bars16", plugins=known) == {"generator": path}
        assert path.read_bytes() == DATA


def test_yanked_weights_are_not_fetched(plugins):
    with pytest.raises(WeightsError, match=r"toy\.bad16 was yanked: black images"):
        fetch("toy.bad16", plugins=plugins(*SOME))


def test_a_plugin_registers_weights_by_the_same_rules(plugins, tmp_path):
    path = tmp_path / "plugin.yaml"
    path.write_text(json.dumps({"schema": 1, "weights": [entry("toy.mine", urls=["http://a/b"])]}))

    class Mine:
        @hookimpl
        def zoo_registries(self):
            return [path]

    known = plugins(*SOME)
    known.register("mine", Mine())
    assert "toy.mine" not in list_weights(plugins=known)
    assert "urls must be https://" in str(known.problems[0])


def test_none_of_this_imports_torch_or_a_library_for_connections(tmp_path):
    program = """
import sys
import zoo_core as zoo
zoo.list_models(), zoo.list_weights()
name = zoo.list_weights()[0]
zoo.info(name)
zoo.fetch(name)
heavy = "torch", "numpy", "http.client", "ssl", "filelock", "huggingface_hub", "yaml"
print([name for name in heavy if name in sys.modules])
"""
    with python(program) as process:
        process.communicate(timeout=60)
    with python(program) as process:  # now that the registry has been read once
        assert process.communicate(timeout=60) == ("[]\n", "")


def test_the_functions_are_public():
    assert (zoo_core.fetch, zoo_core.info) == (fetch, info)
    assert (zoo_core.list_models, zoo_core.list_weights) == (list_models, list_weights)
