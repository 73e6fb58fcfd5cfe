"""Draws docs/layouts.md, the tables of layouts and formats, from the cases that the tests hold.

python docs/layouts.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "data"))

from archive_cases import MADE, Made  # noqa: E402
from format_cases import FORMATS, Format  # noqa: E402
from layout_cases import CASES, CONTAINERS, Case, build  # noqa: E402

from zoo_core.data.datasets import open_dataset  # noqa: E402
from zoo_core.data.files import PictureFiles  # noqa: E402
from zoo_core.errors import DataError  # noqa: E402
from zoo_core.pictures import BadPicture, Picture, PictureDataset, read_every  # noqa: E402
from zoo_core.plugins.loading import Plugins  # noqa: E402

HEAD = """# Layouts and formats

What `zoo data check` says of the folders, archives and files that people bring, and what is read
then: the names of the images that are trained on, with their classes. `python docs/layouts.py`
writes this page from the cases of the tests.

## Layouts

Each row is a test in `tests/data/test_layouts.py`, tried as {containers}:
the answer is the same for all of them. Where names differ in case or in the encoding of an accent
only, there is no folder.

| layout | files | settings | what is said | what is read |
|---|---|---|---|---|
"""
ARCHIVES = """
## Archives, arrays and links

Each row is a test in `tests/data/test_archive_cases.py`.

| what | files | settings | what is said | what is read |
|---|---|---|---|---|
"""
FILES = """
## Formats

Each row is a test in `tests/data/test_format_cases.py`, tried in a folder and in a zip file.
What is read: the file, and the color of its first pixel in red, green and blue.

| format | file | settings | what is said | what is read |
|---|---|---|---|---|
"""


def main() -> None:
    """Write the page."""
    (ROOT / "docs" / "layouts.md").write_text(page())


def page() -> str:
    """The tables as Markdown."""
    layouts = HEAD.format(containers=", ".join(CONTAINERS)) + "".join(map(row, CASES))
    archives = ARCHIVES + "".join(map(row_of_archive, MADE))
    return layouts + archives + FILES + "".join(map(row_of_format, FORMATS))


def row(case: Case) -> str:
    """One case: its files, and what comes of them as a folder."""
    files = ", ".join((*case.files, *case.texts))

    def opened(folder: Path) -> PictureDataset:
        return PictureFiles(build(case, case.containers[0], folder), **case.options)

    return cells(case.name, files, settings(case.options), *outcome(opened))


def row_of_archive(case: Made) -> str:
    """One archive, array or link."""
    options = {"split": "train", **case.options}

    def opened(folder: Path) -> PictureDataset:
        return open_dataset(str(case.make(folder)), 8, plugins=Plugins(), **options).dataset

    return cells(case.name, case.files, settings(case.options), *outcome(opened))


def row_of_format(case: Format) -> str:
    """One file: as the case says, since not every version of Pillow reads every format."""
    said = case.remark and f"1 {case.remark}"
    said = said or (case.bad and f"cannot be used: {case.bad}")
    said = said or (case.ignored and f"left out 1 {case.ignored}")
    read = f"{case.file}: {' '.join(map(str, case.color))}" if case.color else "-"
    return cells(case.name, case.file, settings(case.options), said or "-", read)


def cells(*texts: str) -> str:
    """A row of a table."""
    safe = (text.replace("|", "/").replace("\n", " ") for text in texts)
    return f"| {' | '.join(safe)} |\n".replace("|  |", "| |")


def settings(options: Mapping[str, object]) -> str:
    """The settings of a case."""
    return ", ".join(
        "a model of pairs" if key == "paired" else f"`{key}={value}`"
        for key, value in options.items()
    )


def outcome(opened: Callable[[Path], PictureDataset]) -> tuple[str, str]:
    """What is said of a data set, and the names that are read, each with its class."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            dataset = opened(Path(folder))
            names = [said(image, dataset) for image in read_every(dataset)]
        except DataError as error:
            return f"refused: {in_words(error, folder)}", "-"
    left = ", ".join(f"{count} {what}" for what, count in dataset.ignored.items())
    return dataset.summary + (f"; left out {left}" if left else ""), ", ".join(names)


def in_words(error: DataError, folder: str) -> str:
    """The message with a name in place of the path."""
    return str(error).replace(f"{folder}/data", "FOLDER").replace(f"{folder}/", "")


def said(image: Picture | BadPicture, dataset: PictureDataset) -> str:
    """The name of an image, with its class or with what is wrong with it."""
    if isinstance(image, BadPicture):
        return f"{image.name}: unusable"
    return image.name if image.label is None else f"{image.name} ({dataset.classes[image.label]})"


if __name__ == "__main__":
    main()
