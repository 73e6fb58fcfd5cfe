"""Labels that lie beside the images: in dataset.json, metadata.csv, metadata.jsonl or .cls files.

    dataset.json     {"labels": [["00000/img00000000.png", 3], ...]}, or null; StyleGAN's tools
    metadata.csv     a column file_name, and one with the label; the Hub's image folders. Also as
    metadata.jsonl   one JSON object a line; one file at the top, or one in each split's folder.
                     A column split says which images are train, val and test
    x.cls            the class of x.jpg as a number, in the tar shards that WebDataset writes

A file that labels only some of the images, or the same one twice, is an error: half a set of labels
would be read otherwise than meant. So are labels in two places.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from unicodedata import normalize

import msgspec

from zoo_core.data.folders import SPLITS
from zoo_core.data.trees import Tree
from zoo_core.errors import DataError, first_few
from zoo_core.pictures import natural_key

MAX_BYTES = 1 << 30  # of a file of labels
MAX_CLASSES = 1_000_000
DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"-?[0-9]{1,9}(\.0+)?")

Value = int | str
Rows = list[tuple[str, Any]]  # path of an image, what is told of it


class Labels(NamedTuple):
    """The label of every image, and the names of the classes in the order of their numbers."""

    classes: tuple[str, ...]
    labels: list[int] | None  # None: only splits are told
    splits: list[str] | None  # train, val or test of every image; None: they are not told
    used: frozenset[int]  # numbers of the files that they were read from
    where: str  # what those files are called


def read_labels(tree: Tree, images: Sequence[int], column: str) -> Labels | None:
    """The labels of these files of a tree, in their order; None if no file tells any.

    `column` is the one of metadata files that holds the label. Raises DataError.
    """
    wanted = [tree.names[number] for number in images]
    every = _from_dataset_json(tree), _from_metadata(tree, column), _from_cls(tree, wanted)
    found = [each for each in every if each is not None]
    if len(found) > 1:
        raise DataError(
            f"{tree.path} has labels in {found[0].where} and in {found[1].where}",
            allowed="one of them",
            hint="move the other away",
        )
    return _checked(found[0], wanted) if found else None


class Found(NamedTuple):
    """What files tell, as they spell it."""

    rows: Rows
    used: frozenset[int]
    where: str
    splits: Rows = []


def _from_dataset_json(tree: Tree) -> Found | None:
    rows: Rows = []
    files = _called(tree, "dataset.json")
    for number in files:
        path = tree.names[number]
        content = _decode(msgspec.json.decode, tree, number)
        labels = content.get("labels") if isinstance(content, dict) else None
        if labels is None:  # without labels, or a file of that name by somebody else
            return None
        try:
            pairs = labels.items() if isinstance(labels, dict) else labels
            rows += _below(path, [(str(name), value) for name, value in pairs])
        except (TypeError, ValueError):
            raise DataError(
                f"{path} in {tree.path} does not list labels",
                allowed='{"labels": [["00000/img00000000.png", 3], ...]}',
            ) from None
    return Found(rows, frozenset(files), "dataset.json") if files else None


def _from_metadata(tree: Tree, column: str) -> Found | None:
    rows: Rows = []
    splits: Rows = []
    files = _called(tree, "metadata.csv", "metadata.jsonl")
    for number in files:
        path, records = tree.names[number], _records(tree, number)
        columns = {key for record in records for key in record}
        file_name, label = _column(columns, "file_name"), _column(columns, column)
        if records and not all(file_name in record for record in records):
            given = first_few(sorted(columns))
            raise DataError(f"{path} in {tree.path} has no column file_name", given=given)
        if label is None and column != "label":
            allowed = first_few(sorted(columns - {file_name})) or "none, only file_name is there"
            raise DataError(f"{path} has no column {column!r}", allowed=allowed)
        split = _column(columns - {label}, "split")
        for key, told in ((label, rows), (split, splits)):
            if key is not None:
                told += _below(path, [(str(r[file_name]), r.get(key)) for r in records])
    where = " and ".join(sorted({PurePosixPath(tree.names[number]).name for number in files}))
    return Found(rows, frozenset(files), where, splits) if rows or splits else None


def _column(columns: Iterable[Any], name: str) -> Any:
    """The column of that name, in any case where none is spelled just so; None if there is none."""
    return min(
        (key for key in columns if str(key).casefold() == name.casefold()),
        key=lambda key: (key != name, key),
        default=None,
    )


def _records(tree: Tree, number: int) -> list[dict[str, Any]]:
    if not tree.names[number].lower().endswith(".csv"):
        lines: list[dict[str, Any]] = _decode(_json_lines, tree, number)
        return lines
    rows: list[dict[str, Any]] = _decode(_csv_rows, tree, number)
    if longer := next((n for n, row in enumerate(rows, start=2) if None in row), None):
        where = f"row {longer} of {tree.names[number]} in {tree.path}"
        what = f"{where} has more cells than there are columns"
        raise DataError(what, hint="put names with a comma into double quotes")
    return rows


def _csv_rows(data: bytes) -> list[dict[str, Any]]:
    """The rows below the header, which tells what stands between cells."""
    text = data.decode("utf-8-sig")
    header = text.partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(text, newline=""),
        delimiter=max(DELIMITERS, key=header.count),
        skipinitialspace=True,
    )
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    if repeated := [name for name, n in Counter(reader.fieldnames).items() if name and n > 1]:
        raise ValueError(f"several columns are called {repeated[0]}")
    return list(reader)


def _json_lines(data: bytes) -> list[dict[str, Any]]:
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()
    return [msgspec.json.decode(line, type=dict[str, Any]) for line in lines if line.strip()]


def _from_cls(tree: Tree, wanted: Sequence[str]) -> Found | None:
    """Text files with a number, each beside the image of the same name up to the first dot."""
    files = [number for number, name in enumerate(tree.names) if name.endswith(".cls")]
    values = {
        _key(tree.names[number]): _decode(lambda data: data.decode("ascii").strip(), tree, number)
        for number in files
    }
    rows = [(name, values[_key(name)]) for name in wanted if _key(name) in values]
    return Found(rows, frozenset(files), ".cls files") if files else None


def _called(tree: Tree, *names: str) -> list[int]:
    """The files of that name: one at the top, or one a split."""
    return [n for n, path in enumerate(tree.names) if path.rpartition("/")[2].lower() in names]


def _key(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _below(path: str, rows: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Names relative to the folder that a file of labels is in, from the top of the tree."""
    folder = path.rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    return [(prefix + name.replace("\\", "/").removeprefix("./"), value) for name, value in rows]


def _decode(decode: Callable[[bytes], Any], tree: Tree, number: int) -> Any:
    where = f"{tree.names[number]} in {tree.path}"
    if tree.sizes[number] > MAX_BYTES:
        raise DataError(f"{where} is too large for a file of labels", allowed=f"{MAX_BYTES} bytes")
    try:
        return decode(tree.read(number))
    except Exception as error:  # of the archive, the text encoding or the format
        raise DataError(f"cannot read {where}: {error}") from None


def _checked(found: Found, wanted: Sequence[str]) -> Labels:
    rows, used, where, splits = found
    classes, labels = _numbered(rows, where, wanted) if rows or not splits else ((), None)
    told = None
    if splits:
        by_name = _by_name(splits, where, wanted, _split)
        told = [by_name[name] for name in wanted]
    return Labels(classes, labels, told, used, where)


def _numbered(rows: Rows, where: str, wanted: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    values = _by_name(rows, where, wanted, _value)
    numbers = all(isinstance(value, int) for value in values.values())
    classes: list[Value] = sorted(set(values.values()), key=lambda v: natural_key(str(v)))
    if numbers:  # classes that no image has count, so that a number is its class
        classes = list(range(max(int(value) for value in values.values()) + 1))
    index = {value: number for number, value in enumerate(classes)}
    return tuple(map(str, classes)), [index[values[name]] for name in wanted]


def _by_name(
    rows: Rows, where: str, wanted: Sequence[str], read: Callable[[Any, str, str], Any]
) -> Mapping[str, Any]:
    """What is told of every image, once each."""
    values: dict[str, Any] = {}
    for name, value in rows:
        if name in values:
            raise DataError(f"an image is named twice in {where}", given=name)
        values[name] = read(value, name, where)
    images = set(wanted)
    if missing := [name for name in wanted if name not in values]:
        raise DataError(
            f"{where} names {len(wanted) - len(missing)} of {len(wanted)} images",
            given=f"not {first_few(missing)}",
            hint="--set layout=plain or layout=classes, to read images without it",
        )
    if strange := [name for name in values if name not in images]:
        raise DataError(f"{where} names images that are not there", given=first_few(strange))
    return values


def _split(value: Any, name: str, where: str) -> str:
    split = SPLITS.get(str(value).strip().lower())
    if split is None:
        raise DataError(
            f"{where} has a split that is none",
            given=f"{name}: {value}"[:200],
            allowed=", ".join(SPLITS),
            hint="--set layout=plain, to read neither splits nor labels",
        )
    return split


def _value(value: Any, name: str, where: str) -> Value:
    """A label as a number if it is one, else as text."""
    if isinstance(value, list | tuple | dict):
        raise DataError(
            f"{where} gives an image several labels",
            given=f"{name}: {value}"[:200],
            allowed="one number, or one name, an image",
        )
    if isinstance(value, bool) or value is None or str(value).strip().lower() in ("", "nan"):
        raise DataError(f"{where} has no label for an image", given=name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        value = normalize("NFC", value.strip())
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(float(value))
    if isinstance(value, int) and not 0 <= value < MAX_CLASSES:
        allowed = f"0 to {MAX_CLASSES - 1}"
        raise DataError(
            f"{where} has a label out of range", given=f"{name}: {value}", allowed=allowed
        )
    if not isinstance(value, int | str):
        raise DataError(f"{where} has a label that is not a class", given=f"{name}: {value}")
    return value
