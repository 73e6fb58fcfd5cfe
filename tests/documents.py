"""The code blocks of all documents: README, CONTRIBUTING, docs, cards of plugins and examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/*/README.md")})
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)((?: {4}.*\n|\n(?= {4}))+)")
_PYTHON = re.compile(r"^(import|from) \w", re.MULTILINE)
_COMMAND = re.compile(r"(zoo|pip|python|ruff|tensorboard) ")


class Block(NamedTuple):
    """A code block, in the order of its page."""

    page: str  # relative to the checkout
    number: int  # from 1
    kind: str  # python, toml, commands or text
    text: str


def blocks() -> Iterator[Block]:
    """All blocks of all pages. One that has commands before Python is two."""
    for page in PAGES:
        found = _in_page(page.read_text(encoding="utf-8"))
        for number, (kind, text) in enumerate(found, start=1):
            yield Block(page.relative_to(ROOT).as_posix(), number, kind, text)


def _in_page(text: str) -> Iterator[tuple[str, str]]:
    fenced = [(m.start(), m[1] or "text", m[2]) for m in _FENCED.finditer(text)]
    blank = _FENCED.sub(lambda m: "\n" * len(m[0]), text)  # so that places stay the same
    found = list(fenced)
    for match in _INDENTED.finditer(blank):
        body = "\n".join(line[4:] for line in match[1].strip("\n").splitlines())
        split = _PYTHON.search(body)
        commands, python = (body[: split.start()], body[split.start() :]) if split else (body, "")
        kind = "commands" if _COMMAND.match(commands) else "text"
        found += [(match.start(), kind, commands)] if commands.strip() else []
        found += [(match.start() + 1, "python", python)] if python else []
    for _, kind, body in sorted(found):
        yield kind, body


def named_files(page: str) -> dict[str, str]:
    """The files that a page shows: `NAME`: before a fenced block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def lines(block: Block) -> Iterator[str]:
    """The commands of a block, without what is said beside them."""
    joined = re.sub(r"\\\n\s*", "", block.text)
    joined = re.sub(r'("[^"\n]*)\n([^"]*")', r"\1;\2", joined)  # text in quotes on two lines
    for line in joined.splitlines():
        for command in re.split(r" {2,}| > | # ", line.strip())[0].split(" && "):
            if command:
                yield command
