"""Resolve `hf/PATH_OR_NAME[:CONFIG][,KEY=VALUE...]` to a data set of the library `datasets`.

A folder may hold anything that the library reads, such as Parquet files or images, or what its
`save_to_disk` wrote; a name has to be in its cache, because nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core import DataError, DatasetSpec, InputError, OfflineError, ZooError, nearest
from zoo_hf.offline import offline

if TYPE_CHECKING:
    from zoo_core import PictureDataset

SPELLING = "hf/PATH_OR_NAME[:CONFIG][,image=COLUMN][,label=COLUMN][,source=COLUMN]"
OPTIONS = ("image", "label", "source")  # the columns of images, of classes, of a pair's source
_REFERENCE = re.compile(
    r"hf/(?P<place>.+?)(?::(?P<config>[^:,/\\]*))?(?P<options>(?:,\w+=[^,/\\]*)*)", re.DOTALL
)
SAVED = ("dataset_dict.json", "state.json")  # in a folder that `save_to_disk` wrote


@dataclass(frozen=True)
class Request:
    """What was asked for: a path that exists or a name in the cache, a configuration, columns."""

    place: str  # an absolute path, or a name
    config: str  # "" for the default
    columns: Mapping[str, str]  # by the words of OPTIONS; label=none for no labels

    @property
    def is_path(self) -> bool:
        """Whether the data set is a folder or file."""
        return Path(self.place).is_absolute()

    def spelled(self, config: str = "", **columns: str) -> str:
        """The name as it is typed, with another configuration or other columns."""
        config = config or self.config
        chosen = "".join(f",{key}={value}" for key, value in {**self.columns, **columns}.items())
        return f"hf/{self.place}" + (f":{config}" if config else "") + chosen

    def __str__(self) -> str:
        return f"hf/{self.place}" + (f":{self.config}" if self.config else "")


def find(name: str) -> DatasetSpec:
    """The record of a data set; it is prepared when it is opened.

    Raises InputError (an unusable spelling), OfflineError (the library is not installed, or the
    data set not in its cache) and DataError (no folder, or one without data; a script).
    """
    request = parse(name)
    with offline() as datasets:
        try:
            source = _load(request, datasets)
        except Exception as error:
            raise explained(request, error) from None
    place = Path(request.place)
    short = place.name if request.is_path else request.place
    told = f":{request.config}" if request.config else ""
    slug = re.sub("[^a-z0-9]+", "-", f"{place.stem} {request.config}".lower()).strip("-")
    columns = "".join(f",{key}={value}" for key, value in request.columns.items())
    return DatasetSpec(
        name=slug or "pictures",
        summary=f"{short}{told}, read by Hugging Face datasets",
        task="image-to-image" if "source" in request.columns else "class-conditional",
        licence=_licence(request, source),
        provenance=f"Hugging Face datasets: {short}{told}{columns}",
        open=partial(_open, request, source),
        splits=_splits(source),
        address=f"{request}{columns}" if request.is_path else "",
    )


def _open(request: Request, source: Any, resolution: int, split: str) -> PictureDataset:
    from zoo_hf.reading import open_images

    return open_images(request, source, split)


def parse(name: str) -> Request:
    """The parts of a name. Raises InputError; DataError for a path that does not exist."""
    parts = _REFERENCE.fullmatch(name)
    if parts is None:
        raise InputError(f"{name!r} is not a usable name", allowed=SPELLING)
    columns = dict(option.split("=", 1) for option in parts["options"].split(",")[1:])
    for key in columns.keys() - {*OPTIONS}:
        near = nearest(key, OPTIONS)
        raise InputError(f"{name!r} has an unknown option {key!r}", allowed=SPELLING, near=near)
    return Request(_find_place(parts["place"]), parts["config"] or "", columns)


def _find_place(typed: str) -> str:
    """An absolute path if it exists, else the name as it was typed."""
    try:
        path = Path(typed).expanduser()
        if path.exists():
            return str(path.absolute())
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{typed} is not a usable path: {error}") from None
    if typed.startswith(("/", ".", "~")) or "\\" in typed or typed.count("/") > 1:
        raise DataError(f"{typed} is not there", allowed="a folder, or a Parquet file")
    return typed


def _load(request: Request, datasets: Any) -> Any:
    """What `save_to_disk` wrote, or a builder of the library, which has prepared nothing yet."""
    place, config = Path(request.place), request.config or None
    if not request.is_path:
        if hasattr(datasets.packaged_modules, request.place):  # imagefolder, parquet, ...
            raise DataError(f"{request} is a format, not a data set", allowed="hf/FOLDER")
        return datasets.load_dataset_builder(request.place, config)
    if place.is_file():
        if place.suffix != ".parquet":
            raise DataError(f"{place} is not a Parquet file", allowed="a folder, or a Parquet file")
        return datasets.load_dataset_builder("parquet", data_files=str(place))
    if any((place / name).is_file() for name in SAVED):
        return datasets.load_from_disk(str(place), keep_in_memory=False)
    return datasets.load_dataset_builder(str(place), config)


def _splits(source: Any) -> tuple[str, ...]:
    if isinstance(source, dict):  # a DatasetDict
        return tuple(source)
    if hasattr(source, "as_dataset"):
        found = getattr(source.config, "data_files", None) or source.info.splits or ["train"]
        return tuple(map(str, found))
    return (str(source.split or "train"),)


def _licence(request: Request, source: Any) -> str:
    """The licence that the data set states, or NOASSERTION, the SPDX word for "not stated"."""
    card = Path(request.place) / "README.md"
    stated = (next(iter(source.values())) if isinstance(source, dict) else source).info.license
    if request.is_path and card.is_file():
        from huggingface_hub import DatasetCard

        with contextlib.suppress(Exception):  # whatever is wrong with a card, it states no licence
            stated = DatasetCard.load(card).data.license or stated
    return " AND ".join([stated] if isinstance(stated, str) else stated or []) or "NOASSERTION"


def _configurations(text: str) -> list[str]:
    """The configurations that a message of the library lists."""
    listed = re.search(r"vailable.*?\[(.+?)\]|configurations in the cache: (.+?) Please", text)
    return re.split("[', ]+", (listed[1] or listed[2]).strip("', ")) if listed else []


def explained(request: Request, error: Exception) -> ZooError:
    """An error of the library as one of ours."""
    text = " ".join(str(error).split())
    if isinstance(error, ZooError):
        return error
    if "scripts are no longer supported" in text:
        what = f"{request} is a script, which is never run"
        return DataError(what, allowed="data sets of files, such as Parquet or images")
    if names := _configurations(text):
        hint = request.spelled(names[0])
        lacks = f"has no configuration {request.config!r}"
        what = f"{request.place} {lacks if request.config else 'has several configurations'}"
        return DataError(f"hf/{what}", allowed=", ".join(names), hint=hint)
    if isinstance(error, ConnectionError) and not request.is_path:
        told = f"{request.place!r}" + (f", {request.config!r}" if request.config else "")
        return OfflineError(
            f"{request} is neither a folder here nor in the cache of Hugging Face datasets",
            hint=f'python -c "from datasets import load_dataset; load_dataset({told})"',
        )
    cause = error.__cause__ or error
    text = " ".join(str(cause).split()) or type(cause).__name__
    return DataError(f"{request} cannot be read by Hugging Face datasets: {text}")
