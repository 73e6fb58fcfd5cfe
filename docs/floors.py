"""Draws docs/floors.svg, the picture in architecture.md, from the imports in the code.

    python docs/floors.py

`tests/test_architecture.py` reads the imports and fails when the picture is not the one that this
script would draw.
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from test_architecture import FLOORS, MODULES, core_imports, floor  # noqa: E402

WIDTH, LEFT, BOXES, DOTS = 1160, 24, 300, 850  # x of names, of files, of the columns of dots
ROW, LINE, STEP = 14, 26, 32  # space between floors, height of a line of files, between dots
FONT = 'font-family="ui-sans-serif, system-ui, sans-serif"'


def main() -> None:
    """Write the picture."""
    (ROOT / "docs" / "floors.svg").write_text(draw())


def draw() -> str:
    """The picture as SVG: a band a floor, top floor first, and a dot for each floor it imports."""
    y, bands = 78, []
    for name in reversed(FLOORS):
        lines = wrapped(files(name))
        height = max(60, LINE * len(lines) + 18)
        bands.append(band(name, lines, y, height))
        y += height + ROW
    columns = "".join(
        f'<text x="{DOTS + STEP * i}" y="66" font-size="12" fill="#57606a" '
        f'transform="rotate(-38 {DOTS + STEP * i} 66)">{name}</text>'
        for i, name in enumerate(FLOORS[:-1])
    )
    title = "The floors of zoo_core: what each holds, and which floors below it imports"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 4}" '
        f'viewBox="0 0 {WIDTH} {y + 4}" role="img" aria-label="{title}" {FONT}>\n'
        f"<title>{title}</title>\n"
        f'<rect width="{WIDTH}" height="{y + 4}" fill="#ffffff"/>\n'
        f'<text x="{LEFT}" y="40" font-size="13" fill="#57606a">floor</text>\n'
        f'<text x="{BOXES}" y="40" font-size="13" fill="#57606a">files</text>\n'
        f'<text x="{DOTS}" y="22" font-size="13" fill="#57606a">imports from</text>\n'
        f"{columns}\n" + "\n".join(bands) + "\n</svg>\n"
    )


def files(room: str) -> list[str]:
    """The files of a floor, in the order of their names."""
    names = [name.rpartition(".")[2] for name in MODULES if floor(name) == room]
    return sorted(name for name in names if name not in (room, "__main__"))


def purpose(room: str) -> str:
    """The first sentence that a floor says of itself."""
    if room == "nouns":
        return "What a model, a picture, an error are"
    text = ast.get_docstring(ast.parse(MODULES[f"zoo_core.{room}"].read_text())) or ""
    return (
        text.partition("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".").replace("`", "")
    )


def wrapped(names: list[str]) -> list[list[str]]:
    """Names in lines that fit between the files' column and the dots."""
    lines: list[list[str]] = [[]]
    for name in names:
        if sum(width(each) + 8 for each in [*lines[-1], name]) > DOTS - BOXES - 20:
            lines.append([])
        lines[-1].append(name)
    return lines


def width(name: str) -> int:
    """Of the box around a file's name."""
    return 7 * len(name) + 16


def below(room: str) -> set[str]:
    """The floors that the modules of a floor import."""
    imported = {
        floor(other)
        for name, path in MODULES.items()
        if floor(name) == room
        for other in core_imports(path.read_text())
    }
    return imported - {room}


def band(room: str, lines: list[list[str]], y: int, height: int) -> str:
    """One floor: its name and purpose, its files, and its dots."""
    middle = y + height / 2
    parts = [
        f'<rect x="12" y="{y}" width="{WIDTH - 24}" height="{height}" rx="8" fill="#f6f8fa" '
        'stroke="#d0d7de"/>',
        f'<text x="{LEFT}" y="{middle - 4:g}" font-size="15" font-weight="600" fill="#1f2328">'
        f"{room}</text>",
        *(
            f'<text x="{LEFT}" y="{middle + 13 + 14 * i:g}" font-size="11" fill="#57606a">'
            f"{escape(text)}</text>"
            for i, text in enumerate(sentence(purpose(room)))
        ),
    ]
    for row, names in enumerate(lines):
        x, top = BOXES, middle - LINE * len(lines) / 2 + LINE * row + 3
        for name in names:
            parts.append(
                f'<rect x="{x}" y="{top:g}" width="{width(name)}" height="20" rx="4" '
                'fill="#ffffff" stroke="#d0d7de"/>'
                f'<text x="{x + 8}" y="{top + 14:g}" font-size="11.5" fill="#1f2328" '
                f'font-family="ui-monospace, monospace">{name}</text>'
            )
            x += width(name) + 8
    imported = below(room)
    for i, other in enumerate(FLOORS):
        filled = "#0969da" if other in imported else "none"
        shown = "#0969da" if other in imported else "#d0d7de"
        if FLOORS.index(other) < FLOORS.index(room):
            parts.append(
                f'<circle cx="{DOTS + STEP * i + 4}" cy="{middle:g}" r="5" fill="{filled}" '
                f'stroke="{shown}"/>'
            )
    return "".join(parts)


def sentence(text: str) -> list[str]:
    """Two lines at most, where a purpose is long."""
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 44:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines[:2]


if __name__ == "__main__":
    main()
