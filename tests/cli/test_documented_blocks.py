"""Every code block of every document does what it says, on stand-ins where it has to."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from documents import ROOT, Block, blocks, lines, named_files
from hints.places import judge, run
from hints.scenario import World
from stand_ins import ELSEWHERE, StandIn, stand_in

BLOCKS = list(blocks())
LINES = [(block, line) for block in BLOCKS if block.kind == "commands" for line in lines(block)]
ZOO = sorted({line for _, line in LINES if line.startswith("zoo ")})
OTHERS = sorted({line for _, line in LINES if not line.startswith("zoo ")})
STAND_INS = sorted(
    {stand_in(line) for line in ZOO if not re.search(rf"\b({'|'.join(ELSEWHERE)})\b", line)},
    key=lambda each: each.command,
)
PYTHON = [block for block in BLOCKS if block.kind == "python"]
CHECKED_BY_CI = ("python -m venv", ". .venv", "ruff ", "mypy", "pytest ")  # .ci/run is those
SHOWN = "recognized: "  # what a command answers
TEXTS = {  # blocks that are no code, each with what holds it
    "README.md": "test_files_that_the_layout_names_exist",
    "plugins/zoo_hf/README.md": "tests/residents/test_zoo_hf.py",
    "plugins/zoo_torchvision/README.md": "tests/residents/test_zoo_torchvision.py",
    "plugins/zoo_progan/README.md": "the phases of training, tests/residents/test_zoo_progan.py",
}


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """A folder of trained runs, which tests copy."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def world(zoo, store, tmp_path, monkeypatch) -> Iterator[World]:
    """An empty folder, and every installed plugin."""
    monkeypatch.delenv("ZOO_PLUGINS")
    with ExitStack() as end:
        yield World(tmp_path, store, zoo, monkeypatch, end)


def test_there_are_blocks_of_every_kind():
    """The count, for those who ask how many."""
    counts = Counter(block.kind for block in BLOCKS)
    assert len(BLOCKS) >= 50
    assert set(counts) == {"python", "toml", "commands", "text"}
    assert {block.page for block in BLOCKS if block.kind == "text"} == set(TEXTS)
    (toml,) = (block for block in BLOCKS if block.kind == "toml")
    assert toml.text == named_files("CONTRIBUTING.md")["pyproject.toml"]  # tests/test_guide.py


@pytest.mark.parametrize("each", STAND_INS, ids=lambda each: each.command)
def test_a_command_of_a_block_works(each: StandIn, world: World):
    if " export " in each.command:
        pytest.importorskip("onnxruntime")
    for prepare in each.given:
        prepare(world)
    answer = world.run(each.command)
    assert answer.works, answer.said


@pytest.mark.parametrize("line", [line for line in OTHERS if line.startswith("pip ")])
def test_what_a_block_installs_is_there(line: str):
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (what,) = (word for word in shlex.split(line)[2:] if re.match(r"zoo-core|\.", word))
    named = re.search(r"\[(.*)\]", what)
    assert set(named[1].split(",") if named else []) <= set(extras)
    folder = what.partition("[")[0]
    assert folder in ("zoo-core", ".") or (ROOT / folder / "pyproject.toml").is_file()


def test_the_other_commands_of_blocks_are_known():
    """Those of CI, one that measures, one that downloads, one of another program."""
    left = [
        line
        for line in OTHERS
        if not line.startswith(("pip ", SHOWN, *CHECKED_BY_CI)) and line != "mypy"
    ]
    (tensorboard,) = (line for line in left if line.startswith("tensorboard "))
    assert tensorboard == "tensorboard --logdir runs"
    for line in set(left) - {tensorboard}:
        pytest.importorskip("torchvision")
        words = [word.replace("download=True", "download=False") for word in shlex.split(line)]
        words = [sys.executable, *("1" if word == "400" else word for word in words[1:])]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 or "Dataset not found" in done.stderr, done.stderr


def in_order(page: str) -> list[Block]:
    return [block for block in PYTHON if block.page == page]


PAGES = sorted({block.page for block in PYTHON} - {"README.md", "CONTRIBUTING.md"})


def test_the_python_of_the_guide_is_that_of_its_plugin():
    """It is installed there; README's runs in tests/test_docs.py, the VAE's in test_example.py."""
    shown = set(named_files("CONTRIBUTING.md").values())
    assert {block.text for block in in_order("CONTRIBUTING.md")} <= shown


@pytest.mark.parametrize("page", [page for page in PAGES if "zoo-vae" not in page])
def test_the_python_of_a_card_runs(page: str, world: World):
    import torch

    run(world)
    judge(world)
    names: dict = {"images": torch.zeros(2, 3, 16, 16)}
    for block in in_order(page):
        exec(block.text.replace("runs/classifier.digits32", "judge"), names)


def test_files_that_the_layout_names_exist():
    (tree,) = (b for b in BLOCKS if b.page == "README.md" and b.kind == "text")
    folder = ROOT
    for line in tree.text.splitlines():
        if not line.startswith(" "):
            folder = ROOT / line.split()[0]
            assert folder.exists(), line
            continue
        for name in re.findall(r"\b\w+/|\b\w+\.py\b", re.split(r" {3,}", line.strip())[0]):
            assert (folder / name).exists(), line
