"""Read the images of a data set of the library `datasets`; the zoo decodes them itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from zoo_core import DataError, Picture, PictureDataset, PictureError, nearest
from zoo_core.data import decode
from zoo_hf.names import Request, explained
from zoo_hf.offline import offline

if TYPE_CHECKING:
    from zoo_core import Pixels

COUNTABLE = ("string", "large_string", "int", "uint", "bool")  # types whose values can be classes


def open_images(request: Request, source: Any, split: str) -> PictureDataset:
    """Prepare one split, which copies Parquet into the library's cache the first time, and open it.

    Raises DataError if it cannot be read, has no images, if several columns could be meant or none
    is the one asked for, or if some images have no class.
    """
    with offline() as datasets:
        try:
            rows = _rows(source, split)
        except Exception as error:
            raise explained(request, error) from None
        return HubImages(request, split, rows, datasets)


def _rows(source: Any, split: str) -> Any:
    if isinstance(source, dict):  # what `save_to_disk` wrote, with several splits
        return source[split]
    if not hasattr(source, "as_dataset"):  # the same with one split
        return source
    source.download_and_prepare()
    return source.as_dataset(split=split)


class HubImages(PictureDataset):
    """The images of a split, in its order.

    Threads and processes, forked or spawned, may read concurrently.
    """

    def __init__(self, request: Request, split: str, rows: Any, datasets: Any):
        features = rows.features
        images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
        named = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        if not images:
            raise DataError(f"{request} has no column of images", given=", ".join(features))
        self.split = split
        if "source" in request.columns:
            self.source = _chosen(request, "source", images, features)
            images = [name for name in images if name != self.source]
        else:
            self.source = None
        self.paired = self.source is not None
        self.column = _chosen(request, "image", images, features)
        column = _chosen(request, "label", named, features)
        self.classes, self.labels = read_labels(request, rows, column) if column else ((), None)
        used = [name for name in (self.column, self.source) if name]
        self.rows = rows.select_columns(used)
        for name in used:
            self.rows = self.rows.cast_column(name, datasets.Image(decode=False))
        header = repr((str(request), split, used, column, self.classes, len(rows)))
        self.fingerprint = fingerprint(header, [file["filename"] for file in rows.cache_files])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Picture:
        index = range(len(self))[index]
        row = self.rows[index]
        file = (row[self.column] or {}).get("path")
        name = f"{self.split} {index}" + (f" ({PurePath(file).name})" if file else "")
        source = _pixels(row[self.source], name) if self.source else None
        label = self.labels[index] if self.labels else None
        return Picture(name, _pixels(row[self.column], name), label, source)


def _pixels(value: dict[str, Any] | None, name: str) -> Pixels:
    """Decode what a row holds: the bytes of an image file, or its path."""
    value = value or {}
    data, path = value.get("bytes"), value.get("path")
    if data is None and path is None:
        raise PictureError(name, "there is no image in this row")
    if data is None:
        if Path(path).exists() and not Path(path).is_file():
            raise PictureError(name, f"{path} is not a regular file")
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise PictureError(name, f"{path} cannot be read ({error.strerror})") from None
    return decode(data, name)


def _chosen(request: Request, what: str, candidates: Sequence[str], features: Any) -> str | None:
    """The column asked for, else the only candidate. Raises DataError if there are several."""
    wanted = request.columns.get(what)
    if wanted is None:
        if len(candidates) > 1:
            raise DataError(
                f"{request} has {len(candidates)} columns that could be its {what}",
                allowed=", ".join(candidates),
                hint=request.spelled(**{what: candidates[0]}),
            )
        return candidates[0] if candidates else None
    if (what, wanted) == ("label", "none"):
        return None
    allowed = candidates if what != "label" else list(features)
    if wanted not in allowed:
        near = nearest(wanted, allowed)
        raise DataError(
            f"{request} has no such {what}", given=wanted, allowed=", ".join(allowed), near=near
        )
    return wanted


def read_labels(
    request: Request, rows: Any, column: str
) -> tuple[tuple[str, ...], list[int] | None]:
    """The names of the classes and the class of each image; none of both if no image has one.

    The values of a column that is not of the type ClassLabel are its classes, in their order.
    Raises DataError if they cannot be, or if only some images have one.
    """
    kind = rows.features[column]
    values = rows.select_columns([column])[:][column]
    names = getattr(kind, "names", None)
    if names is None:
        dtype = str(getattr(kind, "dtype", type(kind).__name__))
        if not dtype.startswith(COUNTABLE):
            raise DataError(f"column {column!r} of {request} cannot hold classes", given=dtype)
        different = sorted({value for value in values if value is not None})
        number = {value: index for index, value in enumerate(different)}
        names, values = different, [number.get(value) for value in values]
    missing = sum(value is None or value < 0 for value in values)
    if missing == len(values):  # how data sets hide the labels of a test split
        return (), None
    if missing:
        what = f"{missing} of {len(values)} images of {request} have no {column}"
        raise DataError(what, hint=request.spelled(label="none"))
    return tuple(map(str, names)), values


def fingerprint(header: str, files: Sequence[str]) -> str:
    """A sha256 of how the data set was asked for, and of the files of its prepared copy.

    The library prepares a new copy whenever a file of the original has changed.
    """
    digest = hashlib.sha256(header.encode(errors="surrogateescape"))
    for file in files:
        status = Path(file).stat()
        digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
