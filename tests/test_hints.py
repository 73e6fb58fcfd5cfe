"""Whatever the zoo tells people to type exists: commands, options, settings and extras.

Texts are collected from the code, f-strings with a placeholder for each value; docstrings are not.
That it works as well is what the tables in tests/hints are for: here they are compared with the
code, in tests/cli/test_hints_work.py they are run.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hints.sites import Site, sites, sites_in
from hints.tables import ROWS
from hints.unrun import UNRUN

from zoo_core.cli import build
from zoo_core.config import RunConfig
from zoo_core.plugins.loading import load_plugins

ROOT = Path(__file__).parent.parent
VALUE = "VALUE"
NOT_OURS = {  # options of other programs that are named, and of Python
    "--dry-run", "--user", "--upgrade",
}  # fmt: skip


def rendered(node: ast.AST) -> str:
    """The text of a string, with a placeholder for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(map(rendered, node.values))
    return VALUE


def texts(path: Path) -> Iterator[str]:
    """Every string of a source file that is no docstring."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body and isinstance(node.body[0], ast.Expr)
    }  # fmt: skip
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr)]
    parts = {
        id(part) for node in strings if isinstance(node, ast.JoinedStr) for part in node.values
    }
    yield from (rendered(node) for node in strings if id(node) not in docstrings | parts)


SOURCES = sorted([*(ROOT / "zoo_core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
TEXTS = [(path, text) for path in SOURCES for text in texts(path)]


def commands() -> dict[str, set[str]]:
    """The options of every command, by its name such as `data check`."""
    import typer

    found: dict[str, set[str]] = {}

    def walk(command, name: str) -> None:
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        found[name] = options | {"--help", "-h"}
        for child, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {child}".strip())

    walk(typer.main.get_command(build()), "")
    return found


COMMANDS = commands()
OPTIONS = set().union(*COMMANDS.values())


def named_commands() -> Iterator[tuple[Path, str, str]]:
    """(file, command, what follows) of each `zoo COMMAND ...` in a text."""
    pattern = r"(?:^|[\s`'\"(:])zoo ((?:data|plugin|weights|registry) [a-z]+|[a-z]+)\b([^;,`]*)"
    for path, text in TEXTS:
        for name, rest in re.findall(pattern, text):
            yield path, name, rest


def test_there_is_something_to_test():
    assert len({(name, rest) for _, name, rest in named_commands()}) > 15
    assert len(TEXTS) > 1000


@pytest.mark.parametrize(
    ("path", "name", "rest"),
    sorted(set(named_commands())),
    ids=lambda value: value.name if isinstance(value, Path) else value.strip()[:40],
)
def test_a_command_that_is_named_exists_with_its_options(path: Path, name: str, rest: str):
    if name in {"of", "generative", "model", "is", "has", "reads", "wrote"}:
        pytest.skip("prose")
    assert name in COMMANDS, f"{path}: zoo {name}"
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest.partition(" or ")[0]))
    assert used <= COMMANDS[name], f"{path}: zoo {name}{rest}"


def test_every_option_that_is_named_exists():
    for path, text in TEXTS:
        if "pip " in text or path.name in ("torchfile.py",):
            continue
        used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+(?=[\s=,;)'`\"]|$)", text))
        assert used <= OPTIONS | NOT_OURS, f"{path}: {text}"


def settings() -> set[str]:
    found = set(RunConfig.__struct_fields__)
    for contribution in load_plugins().models:
        found |= set(contribution.spec.config.__struct_fields__)
    return found


def test_every_setting_that_is_named_exists():
    known = settings()
    for path, text in TEXTS:
        for key in re.findall(r"--(?:set|change) ([a-z_]+)=", text):
            assert key in known | {"key"}, f"{path}: {text}"


def test_every_extra_that_is_named_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {
        extra
        for _, text in TEXTS
        for group in re.findall(r"zoo-core\[([a-z,]+)\]", text)
        for extra in group.split(",")
    }
    assert named
    assert named <= set(extras)


def test_every_variable_that_is_named_is_read():
    read = {name for path in SOURCES for name in re.findall(r"ZOO_[A-Z]+", path.read_text())}
    for _, text in TEXTS:
        assert set(re.findall(r"\bZOO_[A-Z]+\b", text)) <= read


SITES = {site.name: site for site in sites()}
FOLLOWED = {name for row in ROWS for name in row.names}


def test_every_hint_is_followed_by_a_test_or_has_a_reason_why_not():
    """If this fails for a new hint: add a row to a table in tests/hints."""
    assert len(SITES) > 150
    assert sorted(SITES.keys() - FOLLOWED - UNRUN.keys()) == []


def test_no_row_and_no_reason_is_left_of_a_hint_that_is_gone():
    assert sorted((FOLLOWED | UNRUN.keys()) - SITES.keys()) == []
    assert sorted(FOLLOWED & UNRUN.keys()) == []


def found(source: str) -> list[str]:
    return [site.text.replace("\0", VALUE) for site in sites_in(source, Path("a.py"), "a.py")]


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("raise InputError('no', hint='go home')", ["go home"]),
        ("raise InputError('no', hint=f'--set x={x}')", ["--set x=VALUE"]),
        ("raise InputError('no', hint=hint)", ["VALUE"]),
        ("raise InputError('no', hint='zoo list' if x else '--out A')", ["zoo list", "--out A"]),
        ("raise InputError('no', hint=x or 'go home')", ["VALUE", "go home"]),
        ("raise InputError('no', hint='go home' if x else '')", ["go home"]),
        ("hint = f'{x} or --out NEW'", ["VALUE or --out NEW"]),
        ("Alarm('name', 'what', 'less of it')", ["less of it"]),
        ("warn(f'{x}; try: --set y=1')", ["VALUE; try: --set y=1"]),
        ("echo('next: zoo sample RUN')", ["next: zoo sample RUN"]),
        ("logger.warning('%s: pip install it', x)", ["VALUE: pip install it"]),
        ("raise InputError('--set is no setting', given='--set x')", []),
        ("check(out, hint='')", []),
        ("x = typer.Option(None, '--set', help='See `zoo list`.')", []),
        ("def f():\n    'See zoo list.'\n    return '--set'", []),
    ],
)
def test_what_tells_people_to_type_something_is_found(source: str, texts: list[str]):
    assert found(source) == texts


def test_the_places_of_a_function_are_numbered():
    source = "def f():\n    g(hint='one')\n    if x:\n        g(hint='two')"
    assert [site.name for site in sites_in(source, Path("a.py"), "a.py")] == ["a.py f", "a.py f 2"]


def test_a_text_is_known_again_whatever_values_are_in_it():
    site = Site("", Path(), range(1), "\0 images; try: --set x=\0")
    assert site.is_said_in("warning: 3 images;\n try: --set x=1")
    assert not site.is_said_in("3 images; try: --set y=1")
    assert not Site("", Path(), range(1), "\0").is_said_in("anything")
