"""Paths as users type them, and files that are replaced, on every system."""

import contextlib
import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo_core import filesystem
from zoo_core.data.datasets import open_dataset
from zoo_core.errors import CheckpointError, DataError, InputError, UnknownNameError
from zoo_core.filesystem import (
    as_argument,
    can_only_be_path,
    new_folder,
    replacing,
    sync_folder,
    write_synced,
)
from zoo_core.plugins.loading import Plugins
from zoo_core.training.run_folder import RunFolder
from zoo_core.weights.header import is_path


@pytest.fixture
def on_windows(monkeypatch):
    monkeypatch.setattr(filesystem, "WINDOWS", True)


@pytest.mark.parametrize("name", ["C:\\photos", "photos\\cats", "\\\\server\\share\\photos"])
def test_a_backslash_makes_a_path_on_every_system(name):
    assert can_only_be_path(name, ".zip")
    assert is_path(name)


@pytest.mark.parametrize("name", ["C:/photos", "d:photos", "C:", "//server/share"])
def test_a_drive_makes_a_path_on_windows(on_windows, name):
    assert can_only_be_path(name, ".zip")
    assert is_path(name)


@pytest.mark.parametrize("name", ["critters", "timm/resnet18", "a:b", "space/x:y"])
def test_a_drive_is_a_letter_of_windows(name):
    assert not can_only_be_path(name, ".zip")


@pytest.mark.parametrize("name", ["critters", "dcgan.critters32", "timm/resnet18", "space/x:y"])
def test_names_stay_names_on_windows(on_windows, name):
    assert not can_only_be_path(name, ".zip")


def test_a_missing_drive_is_a_missing_folder_on_windows_only(monkeypatch):
    with pytest.raises(UnknownNameError):
        open_dataset("Q:photos", 16, "train", Plugins())
    monkeypatch.setattr(filesystem, "WINDOWS", True)
    with pytest.raises(DataError, match="Q:photos"):
        open_dataset("Q:photos", 16, "train", Plugins())


def test_a_path_with_a_space_is_quoted_for_the_shell(monkeypatch):
    assert as_argument("my run") == "'./my run'"
    monkeypatch.setattr(filesystem, "WINDOWS", True)
    assert as_argument("my run") == '"./my run"'
    assert as_argument("run") == "./run"


def refusing(monkeypatch, times):
    """Make `Path.replace` fail some times, as while a virus scanner reads the file."""
    replace, left = Path.replace, [PermissionError(13, "in use")] * times

    def busy(self, target):
        if left:
            raise left.pop()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", busy)
    monkeypatch.setattr(filesystem, "REPLACE_WAIT", 0)


def test_on_windows_a_file_that_is_being_read_is_replaced_when_that_ends(
    on_windows, monkeypatch, tmp_path
):
    refusing(monkeypatch, 3)
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize(("windows", "times"), [(False, 1), (True, 1000)])
def test_a_file_that_may_not_be_replaced_is_an_error(monkeypatch, tmp_path, windows, times):
    monkeypatch.setattr(filesystem, "WINDOWS", windows)
    refusing(monkeypatch, times)
    with pytest.raises(PermissionError), replacing(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", [False, True])
def test_a_run_is_locked_on_windows(monkeypatch, tmp_path, taken):
    calls = []

    def locking(descriptor, mode, count):
        calls.append((mode, count, os.lseek(descriptor, 0, os.SEEK_CUR)))
        if taken:
            raise PermissionError(13, "locked")

    windows = SimpleNamespace(LK_NBLCK="without waiting", locking=locking)
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    monkeypatch.setattr(filesystem, "sys", SimpleNamespace(platform="win32"))
    (tmp_path / ".lock").write_text("123")
    refused = pytest.raises(InputError, match="pid 123") if taken else contextlib.nullcontext()
    with refused, RunFolder(tmp_path).locked():
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    assert calls == [("without waiting", 1, filesystem.LOCKED_BYTE)]


def test_folders_are_not_opened_on_windows(on_windows, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "open", None)
    sync_folder(tmp_path)


@pytest.mark.parametrize("supported", [True, False])
def test_macos_is_told_to_empty_the_cache_of_the_drive_too(monkeypatch, tmp_path, supported):
    """Its fsync does not, so a power cut could take a checkpoint that was said to be saved."""
    calls = []

    def fcntl(file, command):
        calls.append(command)
        if not supported:
            raise OSError(25, "not by this file system")

    monkeypatch.setitem(sys.modules, "fcntl", SimpleNamespace(F_FULLFSYNC=51, fcntl=fcntl))
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))
    monkeypatch.setattr(filesystem, "sys", SimpleNamespace(platform="darwin"))
    write_synced(tmp_path / "file", b"content")
    assert calls == ([51] if supported else [51, "fsync"])
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free disk space"),
        (errno.EACCES, "make the folder writable"),
        (errno.EROFS, "make the folder writable"),
        (errno.EIO, "check the disk"),
    ],
)
def test_an_error_of_the_disk_says_what_helps(tmp_path, monkeypatch, number, remedy):
    def fail(path, data):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filesystem, "write_synced", fail)
    with pytest.raises(CheckpointError) as error:
        filesystem.write_file(tmp_path / "file", b"")
    assert error.value.hint == remedy


def test_a_new_folder_is_whole_or_not_there(tmp_path):
    with new_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").touch()
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with contextlib.suppress(LookupError), new_folder(tmp_path / "c" / "d") as folder:
        (folder / "file").touch()
        raise LookupError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
