"""Every command in the documentation, and of every published number, is one that the zoo takes.

Those that only list and draw are run. The others train for hours, or need images of one's own:
they are parsed by their own parser, and the settings of training are read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from zoo_core.cli import build
from zoo_core.config import parse_assignments
from zoo_core.plugins.loading import load_plugins
from zoo_core.spec import resolve_settings

ROOT = Path(__file__).parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/*/README.md")})
RUN = re.compile(
    r"zoo (list|show \S+|data (list|cache|prune)|plugin list|weights (list|verify|prune)"
    r"|import --list|registry schema|(sample|mix|interpolate) \w+\.\w+.*)"
)
OWN = re.compile(r"~|\b[A-Z]{3,}\b")  # images and runs of one's own
MENTIONED = re.compile(r"zoo( [a-z]+){1,2}( --[a-z-]+)?|.*\b(MODEL|\.\.\.).*")  # not whole
ELSEWHERE = (  # models that are installed to be tested
    "zoo train vae",  # examples/zoo-vae: tests/test_example.py
    "zoo train hello",  # CONTRIBUTING: tests/test_guide.py
)


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) in code blocks and in text, and of each published weight and number."""
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
        for line in re.findall(r"^    (?:pip [^&]*&& )?(zoo [a-z].*)$", text, re.MULTILINE):
            yield page.relative_to(ROOT).as_posix(), re.split(r" {2,}| > | # ", line)[0]
        for line in re.findall(r"`(zoo [a-z][^`]*)`", text):
            if not MENTIONED.fullmatch(" ".join(line.split())):
                yield page.relative_to(ROOT).as_posix(), " ".join(line.split())
    registry = (ROOT / "registry.yaml").read_text(encoding="utf-8")
    for line in re.findall(r"command: (zoo .*)$", registry, re.MULTILINE):
        yield "registry.yaml", line


COMMANDS = sorted({(page, line) for page, line in commands() if not line.startswith(ELSEWHERE)})
RUNNABLE = sorted({line for _, line in COMMANDS if RUN.fullmatch(line) and not OWN.search(line)})


def parsed(command: str) -> dict[str, Any]:
    """The arguments of a command, by name. A mistake in it raises typer's own error."""
    words = shlex.split(command)[1:]
    found: Any = typer.main.get_command(build())
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    context = found.make_context(command, words)
    assert not getattr(found, "commands", {}), f"{command} names no command"
    return dict(context.params)


def test_there_are_commands():
    assert len(COMMANDS) > 80
    assert len(RUNNABLE) >= 8


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: value)
def test_a_command_of_a_page_is_one(page: str, command: str):
    given = parsed(command)
    if command.startswith("zoo train "):
        plugins = load_plugins()
        spec = plugins.models.get(given["model"])
        settings = parse_assignments(given["assignments"])
        settings |= {"data": given["data"]} if given["data"] else {}
        resolve_settings(spec, given["preset"], given["config"], (page, settings))


@pytest.mark.parametrize("command", RUNNABLE)
def test_a_command_that_lists_or_draws_works(zoo, monkeypatch, command: str):
    monkeypatch.delenv("ZOO_PLUGINS")
    answer = zoo(*shlex.split(command)[1:])
    assert answer.code == 0, answer.err
