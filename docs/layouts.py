"""Draws docs/layouts.md, the table of layouts, from the cases that the tests hold.

python docs/layouts.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "data"))

from layout_cases import CASES, CONTAINERS, Case, build  # noqa: E402

from zoo_core.data.files import PictureFiles  # noqa: E402
from zoo_core.errors import DataError  # noqa: E402

HEAD = """# Layouts

What `zoo data check` says of the folders and archives that people bring, and what is read then.
Each row is a test in `tests/data/test_layouts.py`, tried as {containers}:
the answer is the same for all of them. `python docs/layouts.py` writes this page from the cases.

| layout | files | settings | what is said | what is read |
|---|---|---|---|---|
"""


def main() -> None:
    """Write the page."""
    (ROOT / "docs" / "layouts.md").write_text(page())


def page() -> str:
    """The table as Markdown."""
    return HEAD.format(containers=", ".join(CONTAINERS)) + "".join(map(row, CASES))


def row(case: Case) -> str:
    """One case: its files, and what comes of them as a folder."""
    files = ", ".join((*case.files, *case.texts))
    options = ", ".join(
        "a model of pairs" if key == "paired" else f"`{key}={value}`"
        for key, value in case.options.items()
    )
    said, read = outcome(case)
    return f"| {case.name} | {files} | {options} | {said} | {read} |\n".replace("|  |", "| |")


def outcome(case: Case) -> tuple[str, str]:
    """What is said of a case, and the names that are read, each with its class."""
    with tempfile.TemporaryDirectory() as folder:
        path = build(case, "folder", Path(folder))
        try:
            dataset = PictureFiles(path, **case.options)
        except DataError as error:
            return f"refused: {error}".replace(str(path), "FOLDER").replace("|", "/"), "-"
        names = [
            image.name if image.label is None else f"{image.name} ({dataset.classes[image.label]})"
            for image in dataset
        ]
        return dataset.summary, ", ".join(names)


if __name__ == "__main__":
    main()
