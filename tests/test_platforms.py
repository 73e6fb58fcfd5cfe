"""What must hold on Windows and macOS, as far as it can be seen on this system.

posixless.py takes away what they lack. See also test_filesystem.py, data/test_loaders.py and
training/test_estimate.py.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

import pytest
from posixless import GONE

from zoo_core.cli.drawing import file_names, file_stem

TESTS = Path(__file__).parent
FOLDERS = (TESTS.parent / "zoo_core", TESTS.parent / "plugins", TESTS.parent / "examples")


@pytest.fixture
def posixless(tmp_path):
    """Runs Python in an empty folder without POSIX, and with the toy plugin; returns its output."""
    paths = [str(tmp_path), str(TESTS), str(TESTS / "installed"), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ZOO_PLUGINS": "toy"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def zoo(posixless):
    return lambda *arguments: posixless(str(TESTS / "posixless.py"), *arguments)


def test_it_is_really_taken_away(posixless, tmp_path):
    (tmp_path / "zoo_probe.py").write_text(
        "import os, signal\n"
        "for name in ('resource', 'fcntl', 'pwd'):\n"
        "    try: __import__(name)\n"
        "    except ImportError: print('no', name)\n"
        "print(hasattr(os, 'fork'), hasattr(signal, 'sigtimedwait'))\n"
    )
    told = posixless("-c", "import posixless; posixless.take_away(); import zoo_probe")
    assert told == "no resource\nno fcntl\nno pwd\nFalse False\n"


def test_models_are_listed(zoo):
    assert "the smallest model" in zoo("list")


def test_a_run_goes_on_and_ends_in_the_bytes_of_any_other_system(zoo, tmp_path):
    import toys

    from zoo_core.training.engine import train
    from zoo_core.training.run_folder import RunFolder

    zoo("train", "toy", "--preset", "tiny", "--run-dir", "run", "--images", "8")
    zoo("train", "toy", "--preset", "tiny", "--run-dir", "run", "--set", "workers=1")
    here = RunFolder(tmp_path / "here")
    origin = {"licence": "CC0-1.0", "trained_on": "toys, train split: drawn by the tests"}
    train(toys.TOY, toys.resolved(), toys.packed(tmp_path), here, **origin)
    for name in ("log.jsonl", "generator.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (here.path / name).read_bytes()
    zoo("sample", "./run", "--seeds", "0-3", "--each", "--out", "drawn")
    assert len(list((tmp_path / "drawn").iterdir())) == 4


def test_the_cost_is_estimated_without_memory_that_nobody_counts(zoo):
    found = json.loads(zoo("train", "toy", "--preset", "tiny", "--dry-run"))["estimate"]
    assert found["parameters"]["generator"] > 0
    assert found["peak_memory_bytes"] is None


def nodes():
    """Every syntax node of our own sources, with the name of its file."""
    for path in (path for folder in FOLDERS for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.name, node


def test_a_module_of_one_system_is_imported_inside_the_function_that_can_do_without():
    named = {
        (file, alias.name)
        for file, node in nodes()
        if isinstance(node, ast.Import) and node.col_offset == 0
        for alias in node.names
        if alias.name in GONE | {"msvcrt", "winreg", "_winapi"}
    }
    assert not named


def opens_text(call):
    """Whether a call of a method reads or writes text in an encoding that depends on the system."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    words = {arg.value for arg in call.args if isinstance(arg, ast.Constant)}
    text = call.func.attr in ("read_text", "write_text") or (
        call.func.attr == "open" and words & {"r", "w", "a", "x", "r+", "w+", "a+"}
    )
    return text and "encoding" not in {keyword.arg for keyword in call.keywords}


def test_text_files_are_utf_8_on_every_system():
    """Without `encoding`, Windows reads and writes them in the code page of the country."""
    found = {f"{file}: {ast.unparse(node)}" for file, node in nodes() if opens_text(node)}
    of_packages = {call for call in found if "dist.read_text" in call}  # importlib.metadata's own
    assert found - of_packages == set()


def test_a_name_that_the_output_cannot_hold_is_escaped(tmp_path):
    """As in a pipe on Windows, whose encoding is that of the country."""
    (tmp_path / "\u732b.png").write_bytes(b"no image")
    done = subprocess.run(
        [sys.executable, "-m", "zoo_core.cli", "data", "check", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "ZOO_PLUGINS": "none"},
        capture_output=True,
        text=True,
    )
    assert "\\u732b.png: " in done.stdout
    assert "Traceback" not in done.stderr


NAMES = [
    "a:b.png", "con.png", "NUL", "aux.tar.png", "com1.png", "lpt9", "sub\\cat.png", "C:\\cat.png",
    "dot.", "..", "end ", "tab\t.png", 'quo"te', "what?.png", "a|b", "<a>", "*.png", "x/con.png",
    "ﾊﾛｰ.png", "\ud800.png",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_file_that_we_name_can_exist_on_windows(name):
    stem = file_stem(name)
    (part,) = PureWindowsPath(f"{stem}.png").parts
    assert part == f"{stem}.png"
    assert not set(part) & set('<>:"|?*\\/') and part.isprintable()
    assert not stem.endswith((".", " "))
    assert stem.partition(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}


def test_names_that_differ_only_in_case_or_encoding_get_files_of_their_own():
    names = ["Cat", "cat", "CAT", "caf\u00e9", "CAF\u00c9", "\uac00", "\u1100\u1161"]
    found = list(file_names(f"{name}.png" for name in names))
    assert found[0] == "Cat"
    assert len({normalize("NFC", name).casefold() for name in found}) == len(names)
