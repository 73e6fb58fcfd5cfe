"""Every number of every option, at values that nobody means, is used or refused in one line.

The commands are walked, so that a new option is tried, too. Where a value is allowed, what would
take hours with it is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from toys import ToyConfig

from zoo_core.cli import build
from zoo_core.config import RunConfig, describe, fields
from zoo_core.errors import ZooError

VALUES = ["0", "-1", f"{10**6}", f"{10**18}", f"1{'0' * 30}", f"1{'0' * 5000}", "nan", "inf"]

# What is typed before the option. `RUN` is the folder of a run.
BASE = {
    "train": ("train", "toy", "--preset", "tiny"),
    "sample": ("sample", "RUN", "--seeds", "0-3"),
    "interpolate": ("interpolate", "RUN", "--seeds", "0-1", "--frames", "1"),
    "mix": ("mix", "RUN", "--layers", "0"),
    "evaluate": ("evaluate", "RUN", "--extractor", "toy-features"),
    "export": ("export", "RUN", "out.pt2", "--to", "pt2"),
    "data show": ("data", "show", "toys"),
    "data prune": ("data", "prune"),
}
# Options of text that hold numbers, too.
IN_TEXT = {
    ("sample", "--seeds"), ("sample", "--label"), ("interpolate", "--seeds"),
    ("interpolate", "--label"), ("mix", "--seeds"), ("mix", "--with"), ("mix", "--layers"),
    ("mix", "--label"),
}  # fmt: skip


def options() -> Iterator[tuple[str, str]]:
    """(command, option) of each that takes a number."""

    def walk(command, name: str) -> Iterator[tuple[str, str]]:
        for child, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {child}".strip())
        for parameter in command.params:
            kind = parameter.type.name.split()[0]
            if kind in ("integer", "int", "float") or parameter.metavar == "N":  # images: 2k
                yield name, parameter.opts[0]

    yield from walk(typer.main.get_command(build()), "")
    yield from sorted(IN_TEXT)


OPTIONS = list(options())
SETTINGS = [
    key
    for record in (RunConfig, ToyConfig)
    for key, kind in fields(record).items()
    if describe(kind).startswith(("integer", "number"))
]


@pytest.fixture
def cheap(monkeypatch):
    """What would take hours says so instead."""

    def stop(*_: object, **__: object) -> None:
        raise ZooError("replaced by the test")

    for target in (
        "zoo_core.training.engine.train",
        "zoo_core.metrics.measuring.measure",
        "zoo_core.weights.exporting.export",
    ):
        monkeypatch.setattr(target, stop)


@pytest.fixture
def run(zoo) -> str:
    zoo("train", "toy", "--preset", "tiny", "--run-dir", "run", "--images", "4")
    return "run"


def check(answer) -> None:
    assert answer.code in (0, 1, 2, 3), answer.err[-500:]
    assert "Traceback" not in answer.err
    said = [line for line in answer.err.splitlines() if line.lower().startswith("error: ")]
    assert len(said) == (answer.code != 0), answer.err[-500:]


def test_there_are_options_to_try():
    assert {("sample", "--columns"), ("train", "--images"), ("data prune", "--days")} <= {*OPTIONS}
    assert {command for command, _ in OPTIONS} == {*BASE}


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_a_number_of_an_option_is_used_or_refused(zoo, run, cheap, command, option):
    base = [run if word == "RUN" else word for word in BASE[command]]
    for value in VALUES:
        check(zoo(*base, f"{option}={value}"))


@pytest.mark.parametrize("key", SETTINGS)
def test_a_number_of_a_setting_is_used_or_refused(zoo, cheap, key):
    for value in VALUES[1:5:2]:
        check(zoo(*BASE["train"], "--set", f"{key}={value}"))


def test_numbers_of_settings_are_walked():
    assert {"batch_size", "workers", "jitter", "learning_rate", "resolution"} <= {*SETTINGS}


def test_more_columns_than_images_are_one_row(zoo, run):
    from PIL import Image

    zoo("sample", run, "--seeds", "0-2", "--columns", f"{10**8}", "--out", "grid.png")
    with Image.open("grid.png") as grid:
        assert grid.size == (3 * 16, 16)


def test_digits_that_are_too_many_are_not_all_printed(zoo, run):
    answer = zoo("sample", run, "--seeds", "9" * 5000)
    assert answer.code == 2
    assert "--seeds has a number that is too large" in answer.error
    assert len(answer.error) < 300
