"""Standard output holds the data of a command and nothing else, and none of it is lost unsaid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

INSTALLED = Path(__file__).parent.parent / "installed"
FULL = Path("/dev/full")

NOISY = """
ZOO_API = 1
import os, subprocess, sys
from zoo_core import DatasetSpec, hookimpl
from toys import ToyPictures

def say():
    os.write(1, b"by number\\n")
    print("by the first stream", file=sys.__stdout__, flush=True)
    print("by print")
    subprocess.run([sys.executable, "-S", "-c", "print('by another process')"])

class Noisy(ToyPictures):
    def __getitem__(self, index):
        say()
        return super().__getitem__(index)

def open_noisy(resolution, split):
    say()
    return Noisy(2, resolution)

@hookimpl
def zoo_datasets():
    say()
    return [DatasetSpec(name="noisy", summary="", task="unconditional", licence="CC0-1.0",
                        provenance="", open=open_noisy)]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a line of shell in which `zoo` is the command, with the toy plugin and a noisy one."""
    if os.name == "nt":
        pytest.skip("a line of shell")
    (tmp_path / "noisy_plugin.py").write_text(NOISY)
    info = tmp_path / "noisy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zoo]\nnoisy = noisy_plugin\n")
    path = [tmp_path, INSTALLED, INSTALLED.parent, *filter(None, sys.path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))

    def run(line: str, plugins: str = "toy") -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("ZOO_PLUGINS", plugins)
        zoo = f'zoo() {{ {sys.executable} -m zoo_core.cli "$@"; }}; '
        return subprocess.run(
            ["bash", "-c", zoo + line], capture_output=True, text=True, cwd=tmp_path
        )

    return run


full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


@full
@pytest.mark.parametrize("command", ["list --json", "--help"])
def test_data_for_which_there_is_no_room_is_one_line(run, command):
    done = run(f"zoo {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: cannot write to stdout: No space left on device\n"


def test_data_for_a_stdout_that_is_closed_is_one_line(run):
    done = run("zoo list >&-")
    assert (done.returncode, done.stderr) == (1, "error: cannot write to stdout: it is closed\n")


@full
def test_messages_for_which_there_is_no_room_stop_nothing(run):
    assert run("zoo show nothing 2> /dev/full").returncode == 3


def test_messages_for_a_stderr_that_is_closed_stop_nothing(run):
    assert run("zoo show nothing 2>&-").returncode == 3


def test_no_file_takes_the_number_of_a_closed_stdout(run, tmp_path):
    # The file of images is opened after the start, and a process writes to descriptor 1.
    done = run("zoo data show noisy --out grid.png >&-", "toy,noisy")
    assert "by another process" in done.stderr
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_a_reader_that_has_seen_enough_is_no_error(run):
    done = run("set -o pipefail; zoo show toy --json | head -c 1; exit 0")
    assert (done.stdout, done.stderr) == ("{", "")


@pytest.mark.parametrize("command", ["data list", "data show noisy --out x.png"])
def test_what_a_plugin_writes_by_any_way_stays_out_of_the_json(run, command):
    done = run(f"zoo {command} --json", "toy,noisy")
    assert json.loads(done.stdout)["schema"] == 1
    for way in ("by number", "by the first stream", "by print", "by another process"):
        assert way in done.stderr + done.stdout
