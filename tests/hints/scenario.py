"""One hint: a command that brings it up, and what becomes of doing what it says."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hints.sites import Site
from zoo_core.cli import build
from zoo_core.errors import ZooError

FILLED = {  # what a reader puts in the place of a word in capitals
    "NEW_FOLDER": "new", "FOLDER": "photos", "NAME_OR_FOLDER": "toys", "NEW_TAG": "another",
    "OTHER_PATH": "other.png", "PATH": "other.png", "NAME": "run",
}  # fmt: skip
# Words behind a command that say when or what for; it ends before them.
BEHIND = r",? (?=(?:to|with|without|in a new run|in place of|as well|for|elsewhere|if|which)\b)"
WORDS = ("to", "with", "or", "in", "if", "for")  # after an option without a value
ANY = "key=value"  # any setting will do
Step = str | Callable[["World"], str | None]  # a command; None: the one that failed, again


class Row(NamedTuple):
    """A line of a table.

    `fails` is a command, or Python behind `>>> `. Options in its hint are appended to it, and
    commands run. `by_hand` is what words say, such as "free disk space"; `steps` are for hints that
    only a person can read, with `{hint}` for the printed one. All have to work, or to fail with
    `then`. After a command that `heals`, what failed has to work as well.
    """

    sites: str | tuple[str, ...]
    fails: str
    given: Callable[[World], object] | tuple[Callable[[World], object], ...] = ()
    by_hand: Step | tuple[Step, ...] = ()
    steps: tuple[Step, ...] = ()
    fill: Mapping[str, str] = {}
    then: str = ""
    heals: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The sites that this row brings up."""
        return (self.sites,) if isinstance(self.sites, str) else self.sites


class Outcome(NamedTuple):
    """What became of a command."""

    works: bool
    said: str  # all that was printed, or the error
    hint: str  # of its error; empty if there is none


@dataclass
class World:
    """A folder to work in, the command line, and what was patched."""

    place: Path
    store: Path  # of trained runs
    zoo: Callable[..., Any]
    patch: pytest.MonkeyPatch
    end: ExitStack  # closes what was opened
    raised: list[tuple[Path, int]] = field(default_factory=list)  # where errors were made
    names: dict[str, Any] = field(default_factory=dict)  # for Python

    def run(self, command: str) -> Outcome:
        """Run a command, or Python behind `>>> `."""
        if command.startswith(">>> "):
            return self._python(command[4:])
        answer = self.zoo(*shlex.split(command)[1:])
        lines = [each for each in answer.err.splitlines() if not each.startswith("warning: ")]
        hint = next((each.partition("; try: ")[2] for each in lines if "; try: " in each), "")
        return Outcome(answer.code == 0, answer.out + answer.err, hint)

    def _python(self, code: str) -> Outcome:
        import zoo_core

        try:
            exec(code, {"zoo": zoo_core, "w": self, **self.names})
        except ZooError as error:
            return Outcome(False, str(error), error.hint)
        return Outcome(True, "", "")


def play(row: Row, sites: Mapping[str, Site], worlds: Iterator[World]) -> None:
    """Bring up the hint, and do each thing that it says in a folder of its own."""
    steps, number = [], 0
    while not number or number < len(steps):
        world = next(worlds)
        failed = _bring_up(row, sites, world)
        steps = steps or _steps(row, failed, [sites[name].text for name in row.names])
        _take(steps[number], row, failed, world)
        number += 1


def _bring_up(row: Row, sites: Mapping[str, Site], world: World) -> Outcome:
    """Run what fails, and check that it says what stands at the sites of the row."""
    given = row.given if isinstance(row.given, tuple) else (row.given,)
    for prepare in given:
        prepare(world)
    world.raised.clear()
    failed = world.run(row.fails)
    assert not failed.works or not failed.hint, failed.said
    for name in row.names:
        site = sites[name]
        made = any(path == site.file and line in site.lines for path, line in world.raised)
        assert made or site.is_said_in(failed.said), f"{name} did not say: {failed.said}"
        has_words = bool(site.text.replace("\0", "").strip())
        assert not has_words or site.is_said_in(failed.said), f"{name} is not in: {failed.said}"
    return failed


def _steps(row: Row, failed: Outcome, texts: Sequence[str]) -> list[Step]:
    """All that a hint says, one thing after the other."""
    if row.steps:
        typed = " ".join(step for step in row.steps if isinstance(step, str))
        missing = [each for text in texts for each in _named(text) if not _is_in(each, typed)]
        assert not typed or "{hint}" in typed or not missing, f"not done: {missing}"
        return list(row.steps)
    assert failed.hint, f"no hint to follow in: {failed.said}"
    commands: list[Step] = [each for each in _commands(row, failed.hint) if each is not None]
    by_hand = row.by_hand if isinstance(row.by_hand, tuple) else (row.by_hand,)
    assert commands or by_hand, f"nobody has said how to follow: {failed.hint}"
    assert by_hand or all(_commands(row, failed.hint)), f"how to follow: {failed.hint}"
    return [*commands, *by_hand]


def _named(text: str) -> Iterator[str]:
    """The commands and options in a text, each with its value if that is written there."""
    text = re.sub(r"in place of \S+", "", text)
    yield from re.findall(r"\bzoo (?:(?:data|plugin|weights|registry) )?[a-z]+\b", text)
    for option, value in re.findall(r"(--[a-z-]+)(?: ([^\s,;):]+))?", text):
        key, sign, _ = value.partition("=")
        if re.search(r"\0|[A-Z]", value) or value in WORDS:
            value = key + sign if sign else ""
        yield f"{option} {value}".removesuffix(ANY).strip()


def _is_in(words: str, typed: str) -> bool:
    end = "" if words.endswith("=") else r"(?![\w-])"
    return bool(re.search(rf"(?<![\w-]){re.escape(words)}{end}", typed))


def _commands(row: Row, hint: str) -> Iterator[Step | None]:
    """The command of each part of a hint; None for one in words."""
    for part in re.split(r",? or |; (?:or )?|, (?=--)", hint):
        if suits := re.search(r"with (zoo [a-z]+(?: [a-z]+)?)(?:,|$)", part):
            if not row.fails.startswith(suits[1]):
                continue
        elif part.endswith(" elsewhere") and f"with {' '.join(row.fails.split()[:2])}" in hint:
            continue
        command, variable = _command(part, row), re.search(r"without (ZOO_[A-Z]+)", part)
        yield _without_variable(variable[1], command) if variable and command else command


def _without_variable(name: str, command: str) -> Step:
    def step(w: World) -> str:
        w.patch.delenv(name)
        return command

    return step


def _command(part: str, row: Row) -> str | None:
    begin = re.search(r"(?<!\S)(zoo |--)", part)
    if begin is None:
        return None
    typed = re.split(BEHIND, part[begin.start() :])[0]
    for word, meant in (FILLED | row.fill).items():
        typed = re.sub(rf"\b{word}\b", meant, typed)
    if typed.startswith("zoo "):
        return typed
    words, options = shlex.split(row.fails), shlex.split(typed)
    if part[: begin.start()].strip() in ("omit", "leave out"):
        return shlex.join(_without(words, [each for each in options if each.startswith("--")]))
    if replaced := re.search(r"in place of (--[a-z-]+)", part):
        if len(options) == 1:
            return shlex.join(options[0] if word == replaced[1] else word for word in words)
        words = _without(words, [replaced[1]])
    new = ["--run-dir", "new"] if "in a new run" in part else []
    return shlex.join([*_corrected(words, options), *options, *new])


def _corrected(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """The words of a command without a setting that is given anew, or was given without a value."""
    given = set()
    for option, value in pairwise(options):
        is_setting = option in ("--set", "--change")
        key = value.partition("=")[0] if is_setting else option.removeprefix("--")
        given.add((option if is_setting else "--set", key))
    kept = list(words)
    for at in range(len(words) - 2, 0, -1):
        key, sign, _ = words[at + 1].partition("=")
        if (words[at], key) in given or (not sign and words[at] in {option for option, _ in given}):
            del kept[at : at + 2]
    return kept


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """The words of a command without these options and their values."""
    kept, skip = [], False
    for word in words:
        if not skip and word not in options:
            kept.append(word)
        skip = not skip and word in options and _takes_value(words, word)
    return kept


def _takes_value(words: Sequence[str], option: str) -> bool:
    import typer

    command: Any = typer.main.get_command(build())
    for word in words[1:]:
        command = getattr(command, "commands", {}).get(word, command)
    found = next(each for each in command.params if option in (*each.opts, *each.secondary_opts))
    return not found.is_flag


def _take(step: Step, row: Row, failed: Outcome, world: World) -> None:
    """Do one thing; it works, or fails otherwise than before."""
    command = step if isinstance(step, str) else step(world) or row.fails
    command = command.replace("{hint}", failed.hint)
    after = world.run(command)
    if row.then and not after.works:
        assert row.then in after.said, f"{command}: {after.said}"
    else:
        assert after.works, f"{command}: {after.said}"
    assert not after.hint or after.hint != failed.hint, f"{command} says the same again"
    if row.heals:
        again = world.run(row.fails)
        assert again.works, f"after {command}: {again.said}"


def watch(world: World) -> None:
    """Note where each error with a hint is made."""
    plain = ZooError.__init__

    def noted(self: ZooError, *arguments: Any, **options: Any) -> None:
        frame = inspect.currentframe()
        while frame is not None and frame.f_code.co_filename in (__file__, ERRORS):
            frame = frame.f_back
        if frame is not None and options.get("hint"):
            world.raised.append((Path(frame.f_code.co_filename), frame.f_lineno))
        plain(self, *arguments, **options)

    world.patch.setattr(ZooError, "__init__", noted)


with suppress(TypeError):
    ERRORS = inspect.getfile(ZooError)
