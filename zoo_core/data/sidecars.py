"""Labels that lie beside the images: in dataset.json, metadata.csv, metadata.jsonl or .cls files.

    dataset.json     {"labels": [["00000/img00000000.png", 3], ...]}, or null; StyleGAN's tools
    metadata.csv     a column file_name, and one with the label; the Hub's image folders. Also as
    metadata.jsonl   one JSON object a line; one file at the top, or one in each split's folder
    x.cls            the class of x.jpg as a number, in the tar shards that WebDataset writes

A file that labels only some of the images, or the same one twice, is an error: half a set of labels
would be read otherwise than meant.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from zoo_core.data.trees import Tree
from zoo_core.errors import DataError, first_few
from zoo_core.pictures import natural_key

MAX_BYTES = 1 << 30  # of a file of labels

Value = int | str


class Labels(NamedTuple):
    """The label of every image, and the names of the classes in the order of their numbers."""

    classes: tuple[str, ...]
    labels: list[int]
    used: frozenset[int]  # numbers of the files that they were read from
    where: str  # what those files are called


def read_labels(tree: Tree, images: Sequence[int], column: str) -> Labels | None:
    """The labels of these files of a tree, in their order; None if no file tells any.

    `column` is the one of metadata files that holds the label. Raises DataError.
    """
    wanted = [tree.names[number] for number in images]
    found = _from_dataset_json(tree) or _from_metadata(tree, column) or _from_cls(tree, wanted)
    return None if found is None else _numbered(*found, wanted)


Found = tuple[list[tuple[str, Any]], frozenset[int], str]  # rows, files they are from, in words


def _from_dataset_json(tree: Tree) -> Found | None:
    rows: list[tuple[str, Any]] = []
    files = _called(tree, "dataset.json")
    for number in files:
        path = tree.names[number]
        content = _decode(msgspec.json.decode, tree, number)
        labels = content.get("labels") if isinstance(content, dict) else None
        if labels is None:  # without labels, or a file of that name by somebody else
            return None
        try:
            rows += _below(path, [(str(name), value) for name, value in labels])
        except (TypeError, ValueError):
            raise DataError(
                f"{path} in {tree.path} does not list labels",
                allowed='{"labels": [["00000/img00000000.png", 3], ...]}',
            ) from None
    return (rows, frozenset(files), "dataset.json") if files else None


def _from_metadata(tree: Tree, column: str) -> Found | None:
    rows: list[tuple[str, Any]] = []
    files = _called(tree, "metadata.csv", "metadata.jsonl")
    for number in files:
        path, records = tree.names[number], _records(tree, number)
        if not all("file_name" in record for record in records):
            raise DataError(f"{path} in {tree.path} has no column file_name")
        columns = sorted({key for record in records for key in record} - {"file_name"})
        if column not in columns and column != "label":
            allowed = first_few(columns) or "none, only file_name is there"
            raise DataError(f"{path} has no column {column!r}", allowed=allowed)
        if column not in columns:
            return None
        rows += _below(path, [(str(r["file_name"]), r.get(column)) for r in records])
    return (rows, frozenset(files), PurePosixPath(path).name) if files else None


def _records(tree: Tree, number: int) -> list[dict[str, Any]]:
    if tree.names[number].lower().endswith(".csv"):
        text = _decode(lambda data: data.decode("utf-8-sig"), tree, number)
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        if longer := next((n for n, row in enumerate(rows, start=2) if None in row), None):
            where = f"row {longer} of {tree.names[number]} in {tree.path}"
            what = f"{where} has more cells than there are columns"
            raise DataError(what, hint="put names with a comma into double quotes")
        return rows
    lines: list[dict[str, Any]] = _decode(
        lambda data: [msgspec.json.decode(line, type=dict[str, Any]) for line in data.splitlines()],
        tree,
        number,
    )
    return lines


def _from_cls(tree: Tree, wanted: Sequence[str]) -> Found | None:
    """Text files with a number, each beside the image of the same name up to the first dot."""
    files = [number for number, name in enumerate(tree.names) if name.endswith(".cls")]
    values = {
        _key(tree.names[number]): _decode(lambda data: data.decode("ascii").strip(), tree, number)
        for number in files
    }
    rows = [(name, values[_key(name)]) for name in wanted if _key(name) in values]
    return (rows, frozenset(files), ".cls files") if files else None


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


def _numbered(
    rows: list[tuple[str, Any]], used: frozenset[int], where: str, wanted: Sequence[str]
) -> Labels:
    values: dict[str, Value] = {}
    for name, value in rows:
        if name in values:
            raise DataError(f"{where} names an image twice", given=name)
        values[name] = _value(value, name, where)
    images = set(wanted)
    if missing := [name for name in wanted if name not in values]:
        raise DataError(
            f"{where} names {len(values)} of {len(wanted)} images",
            given=f"not {first_few(missing)}",
        )
    if strange := [name for name in values if name not in images]:
        raise DataError(f"{where} names images that are not there", given=first_few(strange))
    numbers = all(isinstance(value, int) for value in values.values())
    classes: list[Value] = sorted(set(values.values()), key=lambda v: natural_key(str(v)))
    if numbers:  # classes that no image has count, so that a number is its class
        classes = list(range(max(int(value) for value in values.values()) + 1))
    index = {value: number for number, value in enumerate(classes)}
    return Labels(tuple(map(str, classes)), [index[values[name]] for name in wanted], used, where)


def _value(value: Any, name: str, where: str) -> Value:
    """A label as a number if it is one, else as text."""
    if isinstance(value, list | tuple | dict):
        raise DataError(
            f"{where} gives an image several labels",
            given=f"{name}: {value}"[:200],
            allowed="one number, or one name, an image",
        )
    if isinstance(value, bool) or value is None or value == "":
        raise DataError(f"{where} has no label for an image", given=name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not 0 <= value < 1_000_000:
        raise DataError(f"{where} has a label out of range", given=f"{name}: {value}")
    if not isinstance(value, int | str):
        raise DataError(f"{where} has a label that is not a class", given=f"{name}: {value}")
    return value
