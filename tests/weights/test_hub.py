"""Weights in installed packages are found without importing, verified, and never outside.

Downloads are in test_download.py, the cache in test_store.py.
"""

import hashlib
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from zoo_core.errors import InputError, OfflineError, WeightsError
from zoo_core.filesystem import cache_folder
from zoo_core.spec import WeightsFile
from zoo_core.weights.hub import read_weights
from zoo_core.weights.places import packaged

DATA = b"these are the weights"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that contains a weights file, and a secret file next to the package."""
    folder = tmp_path / "site" / "throwaway_weights"
    (folder / "weights").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "weights" / "a.safetensors").write_bytes(DATA)
    (tmp_path / "site" / "secret").write_bytes(DATA)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def registered(*urls, data=DATA):
    urls = urls or ("package:throwaway_weights/weights/a.safetensors",)
    return WeightsFile(urls=urls, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def test_packaged_weights_are_read(package):
    assert read_weights(registered(), "toy.a") == DATA


def test_a_package_is_not_imported_for_its_weights(package):
    read_weights(registered(), "toy.a")
    assert "throwaway_weights" not in sys.modules


def test_the_first_place_that_has_the_file_is_taken(package):
    urls = (
        "https://example.org/a.safetensors",
        "package:not_installed/a.safetensors",
        "package:throwaway_weights/weights/none.safetensors",
        "package:throwaway_weights/weights/a.safetensors",
    )
    assert read_weights(registered(*urls), "toy.a") == DATA


@pytest.mark.parametrize(
    "url",
    [
        "package:throwaway_weights/../secret",
        "package:throwaway_weights/weights/../../secret",
        "package:throwaway_weights//etc/passwd",
        "package:throwaway_weights/{secret}",
        "package:throwaway_weights/..\\secret",
        "package:throwaway_weights/C:/secret",
        "package:throwaway_weights/C:secret",
        "package:throwaway_weights/\\\\host\\share\\secret",
        "package:../site/secret",
        "package:/etc/passwd",
        "package:throwaway_weights.weights/a.safetensors",
        "package:sys/a.safetensors",
        "package:",
        "file:///etc/passwd",
        "/etc/passwd",
        "",
    ],
)
def test_nothing_outside_a_package_is_reached(package, url):
    assert packaged(url.format(secret=package.parent / "secret")) is None


def test_a_module_that_was_not_imported_from_anywhere_has_no_files(monkeypatch):
    monkeypatch.setitem(sys.modules, "throwaway_module", ModuleType("throwaway_module"))
    assert packaged("package:throwaway_module/a.safetensors") is None


@pytest.mark.parametrize("other", [DATA[:-1], DATA + b"!", DATA[:-1] + b"!", b""])
def test_other_bytes_than_the_registered_are_refused(package, other):
    (package / "weights" / "a.safetensors").write_bytes(other)
    with pytest.raises(
        WeightsError, match=r"the weights file of toy\.a is not the registered one"
    ) as error:
        read_weights(registered(), "toy.a")
    assert error.value.exit_code == 5
    assert "\n" not in str(error.value)
    told = "21 bytes, sha256 " if len(other) == len(DATA) else f"{len(other)} bytes; allowed"
    assert f"given: {told}" in str(error.value)


@pytest.mark.parametrize(
    "url", ["package:throwaway_weights/none", "package:throwaway_weights/weights", "https://a.b/c"]
)
def test_weights_that_are_not_here_are_an_offline_error(package, url, monkeypatch):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"toy\.a is not on this machine") as error:
        read_weights(registered(url), "toy.a")
    assert error.value.exit_code == 6
    assert url in str(error.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused_in_one_line(package):
    (package / "weights" / "a.safetensors").chmod(0)
    with pytest.raises(WeightsError, match="Permission denied"):
        read_weights(registered(), "toy.a")


def test_a_disk_that_fails_is_a_weights_error(package, monkeypatch):
    def fail(path, mode):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(WeightsError, match="Input/output error"):
        read_weights(registered(), "toy.a")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"


def test_the_cache_may_be_named_from_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("ZOO_CACHE", "~/cache")
    assert cache_folder() == tmp_path / "cache"


@pytest.mark.skipif(sys.platform == "win32", reason="takes any user to have a home")
def test_the_home_of_an_unknown_user_is_one_line(monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", "~nobody-is-called-so/cache")
    with pytest.raises(InputError, match=r"ZOO_CACHE is not a usable path: .*given: ~nobody"):
        cache_folder()


@pytest.mark.skipif(sys.platform != "linux", reason="another place on every system")
def test_the_cache_is_the_users_own_without_a_setting(monkeypatch, tmp_path):
    monkeypatch.delenv("ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "zoo"


def test_asking_for_the_cache_creates_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    cache_folder()
    assert not (tmp_path / "cache").exists()
