"""Open a data set by name or path."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from zoo_core.config import Resolved, RunConfig
from zoo_core.data.archives import ARCHIVES
from zoo_core.data.arrays import SUFFIXES as ARRAYS
from zoo_core.data.arrays import ArrayImages
from zoo_core.data.files import PictureFiles
from zoo_core.data.levels import parse_levels
from zoo_core.errors import (
    AmbiguousNameError,
    DataError,
    PluginError,
    UnknownNameError,
    ZooError,
    text_of,
)
from zoo_core.filesystem import can_only_be_path, exists, typed_path, with_home
from zoo_core.pictures import PictureDataset
from zoo_core.plugins.contributions import Contribution
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import DatasetSpec

FILES = (*ARCHIVES, *ARRAYS)  # suffixes that no name of a data set has


@dataclass(frozen=True)
class OpenedDataset:
    """A data set opened by name or path, and what weights trained on it must record."""

    name: str  # goes into the default tag of a run
    dataset: PictureDataset
    licence: str
    description: str
    split: str  # "all" for your own images where their folders tell no splits
    spec: DatasetSpec | None = None  # None for your own pictures


def open_dataset(
    name: str,
    resolution: int,
    split: str,
    plugins: Plugins,
    paired: bool = False,
    settings: RunConfig | None = None,  # how your own images are read; None: by default
) -> OpenedDataset:
    """Open the data set called `name`, or the images in the folder or file at that path.

    A name that starts with `.`, `/` or `~`, has a backslash or ends like a file (.zip, .npz) is
    always a path, one with a colon at the end never; any other is a path if no data set is called
    that. With `paired`, a path is read as pairs. Raises UnknownNameError, AmbiguousNameError (a
    data set and a folder have that name), DataError (no images there, no such split, or a layout
    that could mean two things), PluginError (a plugin cannot open its data set), and what a plugin
    raises for a name in its namespace.
    """
    path = typed_path(name)
    contribution = _data_set(name, plugins)
    if contribution is not None:
        if path.exists():
            raise AmbiguousNameError(
                f"{name!r} is both a data set and a folder here",
                allowed=f"./{name} for the folder, {name}: for the data set",
            )
        spec = contribution.spec
        if split not in spec.splits:
            raise DataError(
                f"data set {name!r} has no split {split!r}", allowed=", ".join(spec.splits)
            )
        described = f"{spec.name}, {split} split: {spec.provenance}"
        dataset = _opened(contribution, resolution, split)
        return OpenedDataset(spec.name, dataset, spec.licence, described, split, spec)
    if not can_only_be_path(name, FILES) and "/" not in name and not path.exists():
        known = plugins.datasets.names()
        raise UnknownNameError("data set or folder", name, known, hint="zoo data list")
    own = _open_files(path, split, paired, settings or RunConfig())
    slug = re.sub(r"[^a-z0-9]+", "-", path.resolve().stem.lower()).strip("-") or "pictures"
    described = f"{len(own)} own pictures" + ("" if own.split == "all" else f", {own.split} split")
    return OpenedDataset(slug, own, "LicenseRef-own-pictures", described, own.split)


def _open_files(
    path: Path, split: str, paired: bool, settings: RunConfig
) -> PictureFiles | ArrayImages:
    """Your own images, read as the settings say."""
    if path.suffix.lower() in ARRAYS and path.is_file():
        if paired:
            raise DataError(f"{path} holds no pairs", allowed="folders A/ and B/")
        return ArrayImages(path, split=split)
    files = PictureFiles(
        path,
        paired=paired,
        split=split,
        layout=settings.layout,
        label_column=settings.label_column,
        holdout=settings.holdout,
        levels=parse_levels(settings.levels),
    )
    files.measure_levels()
    return files


def with_absolute_paths(resolved: Resolved, plugins: Plugins) -> Resolved:
    """The settings with absolute paths to images, so that they work from any folder."""
    run = resolved.run
    paths = {key: _absolute(getattr(run, key), plugins) for key in ("data", "evaluate_data")}
    return msgspec.structs.replace(resolved, run=msgspec.structs.replace(run, **paths))


def _absolute(name: str, plugins: Plugins) -> str:
    """`name` as an absolute path if it is the path of something that exists, or as a data set is
    found from any folder, else unchanged.
    """
    with contextlib.suppress(ZooError):  # what cannot be opened stays as it was spelled
        if name and (contribution := _data_set(name, plugins)):
            return contribution.spec.address or name
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # missing, or not UTF-8
        if name:
            return with_home(name).resolve(strict=True).as_posix().encode().decode()
    return name


def _data_set(name: str, plugins: Plugins) -> Contribution[DatasetSpec] | None:
    """The data set that `name` means; None if it can only be a path, or no plugin has it.

    What a plugin refuses is a path if there is one.
    """
    before = name.partition(":")[0]  # torchvision/CIFAR10:C:\data is spelled as a data set
    if can_only_be_path(before if "/" in before else name, FILES):
        return None
    try:
        return plugins.search_dataset(name)
    except ZooError:
        if exists(name):
            return None
        raise


def _opened(contribution: Contribution[DatasetSpec], resolution: int, split: str) -> PictureDataset:
    """Open a plugin's data set. Raises PluginError if that fails or returns no PictureDataset."""
    whose = f"data set {contribution.spec.name!r} of plugin {contribution.plugin}"
    try:
        dataset = contribution.spec.open(resolution, split)
        if not isinstance(dataset, PictureDataset):
            raise TypeError(f"open() must return a PictureDataset, not {type(dataset).__name__}")
        assert isinstance(dataset.fingerprint, str), "its fingerprint must be a string"
    except ZooError:
        raise
    except Exception as error:
        what = f"{whose} cannot be opened: {type(error).__name__}: {text_of(error)}"
        raise PluginError(what, hint="--debug") from error
    return dataset
