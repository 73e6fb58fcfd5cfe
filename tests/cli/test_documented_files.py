"""README says what the files of a run are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_every_file_of_a_run_is_in_the_readme(zoo, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("ZOO_PLUGINS", "toy,sorter,tensorboard")
    answer = zoo("train", "toy", "-p", "tiny", "--evaluate-every", 8, "--run-dir", "run",
                 "--set", "evaluate_with=toy-features", "--set", "evaluate_count=8")  # fmt: skip
    assert answer.code == 0, answer.err
    section = README.read_text(encoding="utf-8").partition("\n## Runs\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([\w.-]+)/?`", section))
    found = {path.name for path in Path("run").iterdir() if not path.name.startswith(".")}
    assert found >= {"timing.jsonl", "tensorboard", "best.safetensors"}
    assert found <= named
