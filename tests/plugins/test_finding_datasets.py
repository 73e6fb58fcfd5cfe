"""Data sets that plugins find by name, without listing them."""

from __future__ import annotations

import msgspec
import pytest
import toys

from zoo_core.errors import OfflineError, PluginError, UnknownNameError
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import DatasetSpec


def dataset(name: str) -> DatasetSpec:
    return msgspec.structs.replace(toys.TOYS, name=name)


class Space:
    """Finds data sets called `space/...`, and lists those in `listed`."""

    def __init__(self, found=None, listed=()):
        self.found = found or (lambda name: dataset(name.removeprefix("space/")))
        self.listed = listed

    @hookimpl
    def zoo_datasets(self):
        return [dataset(name) for name in self.listed]

    @hookimpl
    def zoo_find_dataset(self, name):
        """space/NAME, from far away

        More about it.
        """
        return self.found(name) if name.startswith("space/") else None


def with_spaces(**spaces: object) -> Plugins:
    plugins = Plugins()
    for name, space in spaces.items():
        plugins.register(name, space, f"zoo-{name} 1.0")
    return plugins


def test_a_namespace_is_opened_by_the_plugin_that_has_it():
    found = with_spaces(nothing=Space(lambda name: None), space=Space()).find_dataset("space/moon")
    assert (found.plugin, found.distribution) == ("space", "zoo-space 1.0")
    assert found.spec.name == "moon"


@pytest.mark.parametrize("name", ["moon", "space/moon"])
def test_a_listed_data_set_comes_before_a_namespace(name):
    plugins = with_spaces(space=Space(lambda name: 1 / 0, listed=["moon"]))
    assert plugins.find_dataset(name) is plugins.datasets.find("moon")
    assert plugins.problems == []


@pytest.mark.parametrize("name", ["mon", "sky/moon"])
def test_a_data_set_nobody_has_is_unknown_or_may_be_a_path(name):
    plugins = with_spaces(space=Space(listed=["moon"]))
    with pytest.raises(UnknownNameError, match="nearest: "):
        plugins.find_dataset(name)
    assert plugins.search_dataset(name) is None


def test_a_colon_at_the_end_changes_nothing():
    asked = []
    plugins = with_spaces(space=Space(lambda name: asked.append(name), listed=["moon"]))
    assert plugins.find_dataset("moon:").spec.name == "moon"
    assert plugins.search_dataset("space/sun:") is None
    assert asked == ["space/sun"]


FAILURES = {
    "raises": (lambda name: 1 / 0, "ZeroDivisionError"),
    "exits": (lambda name: exit(3), "called sys.exit"),
    "returns a text": (lambda name: "moon", "must return a DatasetSpec or None, returned str"),
    "returns a list": (lambda name: [dataset("moon")], "or None, returned list"),
    "uses a bad name": (lambda name: dataset("space/moon"), "'space/moon' is not a usable name"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_namespace_that_fails_is_reported_once_and_the_next_one_asked(failure):
    found, reason = FAILURES[failure]
    plugins = with_spaces(bad=Space(found), good=Space())
    assert plugins.find_dataset("space/moon").plugin == "good"
    plugins.find_dataset("space/moon")
    [problem] = plugins.problems
    assert (problem.plugin, problem.stage) == ("bad", "zoo_find_dataset")
    assert reason in problem.reason


def test_strict_turns_a_failing_namespace_into_an_error(monkeypatch):
    plugins = with_spaces(bad=Space(lambda name: 1 / 0), good=Space())
    monkeypatch.setenv("ZOO_STRICT", "1")
    with pytest.raises(PluginError, match="zoo_find_dataset: ZeroDivisionError"):
        plugins.find_dataset("space/moon")


@pytest.mark.parametrize("error", [UnknownNameError("moon", "m", []), OfflineError("not here")])
def test_what_a_namespace_refuses_reaches_the_user(error):
    def refuse(name):
        raise error

    plugins = with_spaces(space=Space(refuse), later=Space())
    for ask in (plugins.find_dataset, plugins.search_dataset):
        with pytest.raises(type(error)) as caught:
            ask("space/moon")
        assert caught.value is error
    assert plugins.problems == []


def test_namespaces_are_described_by_the_first_line_of_a_docstring():
    class Silent:
        @hookimpl
        def zoo_find_dataset(self, name):
            return None

    [first, second] = with_spaces(space=Space(), silent=Silent()).namespaces("zoo_find_dataset")
    assert (first.plugin, first.spec) == ("space", "space/NAME, from far away")
    assert (second.plugin, second.spec) == ("silent", "silent/...")
