"""Data sets are opened by name or by path."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import toys
from PIL import Image
from toy_datasets import Numbered

from zoo_core.config import RunConfig
from zoo_core.data.datasets import open_dataset, with_absolute_paths
from zoo_core.data.files import PictureFiles
from zoo_core.errors import AmbiguousNameError, DataError, PluginError, UnknownNameError
from zoo_core.pictures import Picture, PictureDataset
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import DatasetSpec


def folder_of(path: Path, count: int = 3) -> Path:
    path.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (6, 5), (number, 0, 0)).save(path / f"{number}.png")
    return path


def test_a_folder_is_opened_by_its_path(tmp_path: Path):
    opened = open_dataset(str(folder_of(tmp_path / "My Photos")), 4, "train", Plugins())
    assert isinstance(opened.dataset, PictureFiles)
    assert (opened.name, len(opened.dataset)) == ("my-photos", 3)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(str(tmp_path / "nowhere"), 4, "train", Plugins())


@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        (lambda resolution, split: [], "must return a PictureDataset, not list"),
        (lambda resolution, split: Unnamed(), "no attribute 'fingerprint'"),
        (lambda resolution, split: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_data_set_that_a_plugin_cannot_open_names_the_plugin(opened, reason: str):
    spec = msgspec.structs.replace(toys.TOYS, name="broken", open=opened)

    class Broken:
        @hookimpl
        def zoo_datasets(self):
            return [spec]

    plugins = Plugins()
    plugins.register("careless", Broken())
    with pytest.raises(PluginError, match=f"'broken' of plugin careless .*{reason}"):
        open_dataset("broken", 8, "train", plugins)


class Unnamed(PictureDataset):
    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Picture:
        raise IndexError


def test_a_bare_name_that_is_nothing_names_the_nearest():
    with pytest.raises(UnknownNameError):
        open_dataset("nothing", 4, "train", with_dataset("anything"))


def test_a_data_set_and_a_folder_of_one_name_are_ambiguous(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "both")
    plugins = with_dataset("both")
    with pytest.raises(AmbiguousNameError, match=r"\./both"):
        open_dataset("both", 4, "train", plugins)
    assert len(open_dataset("./both", 4, "train", plugins).dataset) == 3


def settled(place: Path, data: str, evaluate_data: str = "") -> list[str]:
    """Both settings as a run started in `place` records them; `anything` is a data set."""
    with contextlib.chdir(place):
        given = toys.resolved(data=data, evaluate_data=evaluate_data)
        run = with_absolute_paths(given, with_dataset("anything")).run
    return [run.data, run.evaluate_data]


def test_settings_from_anywhere_have_absolute_paths_and_the_names_of_data_sets(
    tmp_path: Path, monkeypatch
):
    own = folder_of(tmp_path / "own").as_posix()
    folder_of(tmp_path / "anything")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settled(tmp_path, "own", "./own/../own/") == [own, own]
    assert settled(tmp_path / "own", ".", "~/own") == [own, own]
    assert settled(tmp_path, "anything", "./anything") == ["anything", f"{tmp_path}/anything"]
    assert settled(tmp_path, "numbers/anything") == ["numbers/anything", ""]
    called_tilde = folder_of(tmp_path / "own" / "~").as_posix()
    assert settled(tmp_path / "own", "./~", "~") == [called_tilde, tmp_path.as_posix()]


@pytest.mark.parametrize("name", ["nothing", "./nothing", "~nobody-here/x", "x" * 5000, "\0"])
def test_what_is_not_there_is_left_as_it_was_spelled(tmp_path: Path, name: str):
    assert settled(tmp_path, name, name) == [name, name]


@pytest.mark.skipif(sys.platform != "linux", reason="names of folders are bytes")
def test_a_path_that_json_cannot_hold_is_left_as_it_was_spelled(tmp_path: Path):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    folder_of(place / "own")
    assert settled(place, "./own") == ["./own", ""]


def test_an_unknown_split_names_those_there_are():
    with pytest.raises(DataError, match="train, test"):
        open_dataset("anything", 4, "validation", with_dataset("anything"))


def with_dataset(name: str) -> Plugins:
    spec = DatasetSpec(
        name=name,
        summary="numbers",
        task="unconditional",
        licence="CC0-1.0",
        provenance="nowhere",
        open=lambda resolution, split: Numbered(4),
    )
    plugins = Plugins()
    plugins.register(
        "numbers", SimpleNamespace(zoo_datasets=hookimpl(lambda: [spec], specname="zoo_datasets"))
    )
    return plugins


def test_a_folder_is_read_as_pairs_only_for_a_model_that_takes_pairs(tmp_path: Path):
    for side in "AB":
        (tmp_path / "own" / side).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "own" / side / "x.png")
    path = str(tmp_path / "own")
    assert open_dataset(path, 4, "train", Plugins(), paired=True).dataset.paired
    with pytest.raises(DataError, match="may hold pairs of images, or images of 2 classes"):
        open_dataset(path, 4, "train", Plugins())
    said = RunConfig(layout="classes")
    opened = open_dataset(path, 4, "train", Plugins(), settings=said)
    assert opened.dataset.classes == ("A", "B")
