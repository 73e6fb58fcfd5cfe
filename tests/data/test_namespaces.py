"""Names in a namespace of data sets, and paths that are spelled like them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
import toys
from PIL import Image
from toy_datasets import Numbered

from zoo_core.data.datasets import open_dataset, with_absolute_paths
from zoo_core.errors import AmbiguousNameError, DataError, OfflineError
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins


class Space:
    """Finds `space/NAME[:FOLDER]` for every name but `gone`."""

    @hookimpl
    def zoo_find_dataset(self, name):
        if not name.startswith("space/"):
            return None
        rest, _, folder = name.removeprefix("space/").partition(":")
        if rest == "gone":
            raise OfflineError("gone is not on this machine")
        return msgspec.structs.replace(
            toys.TOYS,
            name=rest,
            open=lambda resolution, split: Numbered(4, classes=2),
            splits=("train", "extra"),
            address=f"space/{rest}:{Path(folder).absolute()}" if folder else "",
        )


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch) -> Plugins:
    monkeypatch.chdir(tmp_path)
    plugins = Plugins()
    plugins.register("space", Space())
    return plugins


def folder_of(path: str) -> None:
    Path(path).mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (6, 5), (number, 0, 0)).save(Path(path, f"{number}.png"))


def opened(name: str, plugins: Plugins, split: str = "train"):
    return open_dataset(name, 8, split, plugins)


@pytest.mark.parametrize(
    "name", ["space/moon", "space/moon:", "space/moon:here", r"space/moon:C:\x"]
)
def test_a_name_in_a_namespace_opens_what_its_plugin_finds(plugins, name):
    found = opened(name, plugins)
    assert (found.name, len(found.dataset), found.split) == ("moon", 4, "train")
    assert found.spec.splits == ("train", "extra")


def test_its_splits_are_its_own(plugins):
    assert opened("space/moon", plugins, "extra").split == "extra"
    with pytest.raises(DataError, match=r"no split 'test'; allowed: train, extra"):
        opened("space/moon", plugins, "test")


def test_a_folder_of_that_name_is_ambiguous_and_both_spellings_work(plugins):
    folder_of("space/moon")
    with pytest.raises(AmbiguousNameError, match=r"\./space/moon for the folder, space/moon: for"):
        opened("space/moon", plugins)
    assert len(opened("./space/moon", plugins).dataset) == 3
    assert len(opened("space/moon:", plugins).dataset) == 4


def test_a_folder_is_meant_where_the_plugin_has_nothing(plugins):
    folder_of("space/gone")
    assert len(opened("space/gone", plugins).dataset) == 3


def test_what_a_plugin_refuses_is_its_answer_where_there_is_no_folder(plugins):
    with pytest.raises(OfflineError, match="gone is not on this machine"):
        opened("space/gone", plugins)


def test_a_folder_in_no_namespace_is_a_folder(plugins):
    folder_of("sky/moon")
    assert len(opened("sky/moon", plugins).dataset) == 3
    with pytest.raises(DataError, match="sky/sun"):
        opened("sky/sun", plugins)


def settled(place: Path, data: str, plugins: Plugins) -> str:
    """The setting as a run started in `place` records it."""
    with contextlib.chdir(place):
        return with_absolute_paths(toys.resolved(data=data), plugins).run.data


def test_a_run_records_a_name_that_finds_the_data_set_from_any_folder(plugins, tmp_path):
    folder_of("space/gone")
    assert settled(tmp_path, "space/moon:own", plugins) == f"space/moon:{tmp_path}/own"
    assert settled(tmp_path, "space/moon", plugins) == "space/moon"
    assert settled(tmp_path, "space/gone", plugins) == f"{tmp_path}/space/gone"
    assert settled(tmp_path / "space", "space/gone", plugins) == "space/gone"
