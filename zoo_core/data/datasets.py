"""From a name or a path to pictures."""

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
    """Pictures by name or path, and what weights trained on them have to say."""

    name: str  # as it stands in a tag
    dataset: PictureDataset
    licence: str
    description: str
    split: str  # "all" of own pictures


def open_dataset(
    name: str, resolution: int, split: str, plugins: Plugins, paired: bool = False
) -> OpenedDataset:
    """The data set called `name`, or the pictures in the folder or zip file at that path, read as
    pairs if `paired`.

    A path has a slash, a leading dot or a suffix of .zip, or is the name of no data set. Raises
    UnknownNameError, AmbiguousNameError (a data set and a folder of that name), DataError (no
    pictures there).
    """
    path = typed_path(name)
    if _is_data_set(name, plugins):
        if path.exists():
            raise AmbiguousNameError(
                f"{name!r} is a data set and also a folder here",
                allowed=f"./{name} for the folder; remove or rename the folder for the data set",
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


def from_anywhere(resolved: Resolved, plugins: Plugins) -> Resolved:
    """The settings, with paths of pictures that lead to the same ones from any folder."""
    run = resolved.run
    paths = {key: _absolute(getattr(run, key), plugins) for key in ("data", "evaluate_data")}
    return msgspec.structs.replace(resolved, run=msgspec.structs.replace(run, **paths))


def _absolute(name: str, plugins: Plugins) -> str:
    """The path of something that is there made absolute; whatever else `name` is, it stays."""
    if name and not _is_data_set(name, plugins):
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # not there, or not in UTF-8
            return Path(name).expanduser().resolve(strict=True).as_posix().encode().decode()
    return name


def _is_data_set(name: str, plugins: Plugins) -> bool:
    return bool(plugins.datasets.matches(name)) and not can_only_be_path(name, ".zip")


def _opened(contribution: Contribution[DatasetSpec], resolution: int, split: str) -> PictureDataset:
    """What a plugin opens as its data set. Raises PluginError when it cannot, or opens no dataset
    of pictures.
    """
    whose = f"data set {contribution.spec.name!r} of the plugin {contribution.plugin}"
    try:
        dataset = contribution.spec.open(resolution, split)
        if not isinstance(dataset, PictureDataset):
            raise TypeError(f"it has to be a PictureDataset, not {type(dataset).__name__}")
        assert isinstance(dataset.fingerprint, str), "its fingerprint is text"
    except ZooError:
        raise
    except Exception as error:
        what = f"{whose} cannot be opened: {type(error).__name__}: {error}"
        raise PluginError(what, hint="--debug") from error
    return dataset
