"""Fixture that runs `zoo` in this process, in an empty folder, with only the toy plugin."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

TESTS = Path(__file__).parent.parent


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The only error line; a traceback or a second error line fails the test."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture
def zoo(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.syspath_prepend(str(TESTS / "installed"))
    monkeypatch.setenv("ZOO_PLUGINS", "toy")
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    from zoo_core.cli import main

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, arguments)])
        logging.getLogger("zoo").handlers.clear()
        for name in [
            name for name in sys.modules if name.startswith(("bad_", "zoo_toy", "zoo_sorter"))
        ]:
            del sys.modules[name]  # as in a new process
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    yield run
    logger = logging.getLogger("zoo")
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of eight different images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        Image.new("RGB", (20, 24), (30 * number, 90, 200)).save(folder / f"{number}.png")
    return folder
