"""The places in the code that tell people what to type.

Each is called by its file, its function and, from the second in a function on, its number:
`cli/drawing.py parse_seeds 2`.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "zoo_core", ROOT / "plugins", ROOT / "examples" / "zoo-vae")
VALUE = "\0"  # stands for what is put into a text
NAMED = re.compile(
    r"(?<![\w-])--[a-z]+|\bzoo (list|show|train|sample|interpolate|mix|evaluate|import)\b"
    r"|\bzoo (data|plugin|weights|registry)\b|\b(try|next): |ZOO_[A-Z]+=|pip install"
)
BARE_OPTION = re.compile(r"--[\w-]+")
BARE = re.compile(r"(--)?[\w-]+|ZOO_[A-Z]+\S*|zoo [a-z]+( [a-z]+)?")  # a name, not a sentence
DECLARED = {"typer.Option", "typer.Argument"}  # help is tested with the documentation
NOT_TYPED = {"hint", "what", "given", "allowed", "near"}  # of an error, only its hint is
PASSED_ON = {"errors.py"}  # takes hints, and has none


class Site(NamedTuple):
    """A hint of an error or an alarm, or another text that names what to type."""

    name: str
    file: Path
    lines: range  # of the whole call
    text: str

    def is_said_in(self, output: str) -> bool:
        """Whether its text, with any values in it, is in what a command printed."""
        parts = [re.escape(" ".join(part.split())) for part in self.text.split(VALUE)]
        fixed = [part for part in parts if part.strip()]
        return bool(fixed) and bool(re.search(".*?".join(fixed), " ".join(output.split())))


def rendered(node: ast.AST) -> str:
    """The text of an expression, with VALUE for what is not written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]", VALUE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(rendered, node.values))
    return VALUE


def sites() -> list[Site]:
    """All of them, in the order of files and lines."""
    files = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
    return [site for path in files if path.name not in PASSED_ON for site in _in_file(path)]


def _in_file(path: Path) -> Iterator[Site]:
    folder = next(folder for folder in FOLDERS if path.is_relative_to(folder))
    yield from sites_in(path.read_text(), path, path.relative_to(folder).as_posix())


def sites_in(source: str, path: Path, where: str) -> Iterator[Site]:
    """Those of a source file; `where` begins their names."""
    count = Counter[str]()
    for function, call, node in sorted(_found(ast.parse(source)), key=_position):
        count[function] += 1
        number = f" {count[function]}" if count[function] > 1 else ""
        lines = range(call.lineno, (call.end_lineno or call.lineno) + 1)
        yield Site(f"{where} {function}{number}", path, lines, rendered(node))


def _position(found: tuple[str, ast.expr, ast.expr]) -> tuple[int, int]:
    return found[2].lineno, found[2].col_offset


def _found(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.expr, ast.expr]]:
    """(function, call, text) of what tells people something, below a node."""
    body = getattr(tree, "body", None)
    first = body[0] if isinstance(body, list) and body else None
    for node in ast.iter_child_nodes(tree):
        if node is first and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.Call) and ast.unparse(node.func) in DECLARED:
            continue
        if isinstance(node, ast.Call) and (hint := _hint(node)) is not None:
            for one in _alternatives(hint):
                texts = list(_said(one, BARE_OPTION)) if rendered(one) == VALUE else []
                yield from ((function, node, text) for text in texts or [one])
            others = (each.value for each in node.keywords if each.arg not in NOT_TYPED)
            yield from ((function, node, text) for other in others for text in _said(other))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error"):
            continue  # without a hint
        elif isinstance(node, ast.JoinedStr | ast.Constant):
            yield from ((function, node, text) for text in _said(node))
        else:
            yield from _found(node, node.name if isinstance(node, ast.FunctionDef) else function)


def _hint(call: ast.Call) -> ast.expr | None:
    """The hint of an error or, as its third argument, of an alarm."""
    if ast.unparse(call.func) == "Alarm":
        return call.args[2]
    found = next((each.value for each in call.keywords if each.arg == "hint"), None)
    return None if isinstance(found, ast.Constant) and not found.value else found


def _alternatives(hint: ast.expr) -> Iterator[ast.expr]:
    """Each hint of `one if x else other` and of `x or other`; none for an empty text."""
    if isinstance(hint, ast.IfExp | ast.BoolOp):
        parts = [hint.body, hint.orelse] if isinstance(hint, ast.IfExp) else hint.values
        for part in parts:
            yield from _alternatives(part)
    elif not (isinstance(hint, ast.Constant) and not hint.value):
        yield hint


def _said(tree: ast.AST, bare: re.Pattern[str] = BARE) -> Iterator[ast.expr]:
    """The texts in an expression that name what to type, and more than is `bare`."""
    if isinstance(tree, ast.JoinedStr | ast.Constant):
        text = rendered(tree).strip()
        if NAMED.search(text) and not bare.fullmatch(text):
            yield tree
    else:
        for node in ast.iter_child_nodes(tree):
            yield from _said(node, bare)
