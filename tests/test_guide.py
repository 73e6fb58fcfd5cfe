"""The plugin in CONTRIBUTING.md, word for word: it installs, keeps the contract and trains."""

from __future__ import annotations

import pytest
from documents import named_files

pytest_plugins = "fresh"

FILES = named_files("CONTRIBUTING.md")


@pytest.fixture(scope="module")
def installed(fresh, build_wheel, tmp_path_factory):
    """The fresh environment with the plugin, whose wheel pip builds from the page's files."""
    folder = tmp_path_factory.mktemp("hello")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    fresh.pip("install", "--no-deps", build_wheel(folder))
    return fresh


def test_the_page_shows_a_whole_plugin():
    modules = ["zoo_hello.py", "zoo_hello_networks.py", "zoo_hello_pictures.py"]
    assert list(FILES) == ["pyproject.toml", *modules, "test_hello.py"]


def test_it_keeps_the_contract_by_the_command_of_the_page(installed):
    assert installed.zoo("plugin", "check", "hello").splitlines()[-1].endswith(" 0 failed")


def test_the_test_file_of_the_page_runs_the_contract(installed):
    test = installed.cwd / "test_hello.py"
    test.write_text(FILES["test_hello.py"])
    options = ["-q", "-p", "no:cacheprovider", "-k", "names or sample"]
    done = installed.run("python", "-m", "pytest", *options, str(test))
    assert " passed" in done.stdout


def test_its_model_trains_on_its_data_set_and_is_sampled(installed, tmp_path):
    run = tmp_path / "run"
    installed.zoo("train", "hello", "--preset", "tiny", "--run-dir", run)
    installed.zoo("sample", run, "--seeds", "0-3", "--out", tmp_path / "grid.png")
    shown = installed.zoo("data", "show", "grays", "--resolution", "8")
    assert "256" in shown
