"""Open a data set by name or path."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from zoo_core.config import Resolved
from zoo_core.data.files import PictureFiles
from zoo_core.data.pairs import PairedPictureFiles
from zoo_core.errors import AmbiguousNameError, DataError, PluginError, UnknownNameError, ZooError
from zoo_core.filesystem import can_only_be_path, typed_path
from zoo_core.pictures import PictureDataset
from zoo_core.plugins.contributions import Contribution
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import DatasetSpec


@dataclass(frozen=True)
class OpenedDataset:
    """A data set opened by name or path, and what weights trained on it must record."""

    name: str  # goes into the default tag of a run
    dataset: PictureDataset
    licence: str
    description: str
    split: str  # "all" for your own pictures


def open_dataset(
    name: str, resolution: int, split: str, plugins: Plugins, paired: bool = False
) -> OpenedDataset:
    """Open the data set called `name`, or the images in the folder or zip file at that path.

    A name that starts with `.`, `/` or `~`, has a backslash or ends in .zip is always a path; any
    other is a path if no data set is called that. With `paired`, a path is read as pairs. Raises
    UnknownNameError, AmbiguousNameError (a data set and a folder have that name), DataError (no
    images there, or no such split), and PluginError (a plugin cannot open its data set).
    """
    path = typed_path(name)
    if _is_data_set(name, plugins):
        if path.exists():
            raise AmbiguousNameError(
                f"{name!r} is both a data set and a folder here",
                allowed=f"./{name} for the folder; for the data set, rename the folder",
            )
        contribution = plugins.datasets.find(name)
        spec = contribution.spec
        if split not in spec.splits:
            raise DataError(
                f"data set {name!r} has no split {split!r}", allowed=", ".join(spec.splits)
            )
        described = f"{spec.name}, {split} split: {spec.provenance}"
        dataset = _opened(contribution, resolution, split)
        return OpenedDataset(spec.name, dataset, spec.licence, described, split)
    if not can_only_be_path(name, ".zip") and "/" not in name and not path.exists():
        known = plugins.datasets.names()
        raise UnknownNameError("data set or folder", name, known, hint="zoo data list")
    own = PairedPictureFiles(path) if paired else PictureFiles(path)
    slug = re.sub(r"[^a-z0-9]+", "-", path.resolve().stem.lower()).strip("-") or "pictures"
    return OpenedDataset(slug, own, "LicenseRef-own-pictures", f"{len(own)} own pictures", "all")


def with_absolute_paths(resolved: Resolved, plugins: Plugins) -> Resolved:
    """The settings with absolute paths to images, so that they work from any folder."""
    run = resolved.run
    paths = {key: _absolute(getattr(run, key), plugins) for key in ("data", "evaluate_data")}
    return msgspec.structs.replace(resolved, run=msgspec.structs.replace(run, **paths))


def _absolute(name: str, plugins: Plugins) -> str:
    """`name` as an absolute path if it is the path of something that exists, else unchanged."""
    if name and not _is_data_set(name, plugins):
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # missing, or not UTF-8
            return Path(name).expanduser().resolve(strict=True).as_posix().encode().decode()
    return name


def _is_data_set(name: str, plugins: Plugins) -> bool:
    return bool(plugins.datasets.matches(name)) and not can_only_be_path(name, ".zip")


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
        what = f"{whose} cannot be opened: {type(error).__name__}: {error}"
        raise PluginError(what, hint="--debug") from error
    return dataset
