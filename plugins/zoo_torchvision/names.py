"""Resolve `torchvision/NAME[:FOLDER][,KEY=VALUE...]` to a data set of torchvision.

Which there are, what each can be asked for and how its splits are called is read off the signatures
and the error messages of the installed torchvision; the tables hold only what cannot be found so.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core import DatasetSpec, InputError, OfflineError, UnknownNameError, nearest

if TYPE_CHECKING:
    from types import ModuleType

    from zoo_core import PictureDataset

INSTALL = "pip install 'zoo-core[features]'"  # timm brings torchvision
SPELLING = "torchvision/NAME[:FOLDER][,KEY=VALUE...]"
_REFERENCE = re.compile(
    r"torchvision/(?P<name>[^:,]*)(?::(?P<folder>.*?))?(?P<options>(?:,\w+=[^,:/\\]*)*)", re.DOTALL
)

LSUN = "LSUN"
REFUSED = {  # data sets whose signature looks right, and why they are not offered
    **dict.fromkeys(("VOCDetection", "WIDERFace", "Kitti"), "its targets are boxes, not classes"),
    **dict.fromkeys(("VOCSegmentation", "Cityscapes"), "its targets are images, not classes"),
    "SBU": "its targets are captions, not classes",
    "LFWPairs": "it holds pairs of faces to compare",
    "LSUNClass": "it is one folder of torchvision/LSUN",
    "ImageFolder": "a folder of classes needs no torchvision",
}
UNLABELED = {"CelebA"}  # unless target_type is given: its targets are forty attributes an image
SPLITS = {"CelebA": ("train", "valid", "test", "all")}  # it looks for files before it checks these
ALIASES = {
    "train": ("trainval", "train-standard"),
    "test": ("val", "valid"),
}  # where one is missing
RESERVED = {"root", "transform", "target_transform", "transforms", "download", "loader"}
RESERVED |= {"is_valid_file", "allow_empty"}
PLAIN = (str, int, type(None))  # types of the defaults of what can be asked for; bool is an int


@dataclass(frozen=True)
class Request:
    """A data set of torchvision, where its files are, and how it is asked for."""

    name: str  # of the class
    folder: Path  # absolute
    options: Mapping[str, Any]
    splits: Mapping[str, Mapping[str, Any]]  # name -> the arguments that choose it

    def __str__(self) -> str:
        return f"torchvision/{self.name}"


def find(name: str) -> DatasetSpec:
    """The record of a data set; its files are looked for when it is opened.

    Raises UnknownNameError, InputError (an unusable spelling or option, no folder, no class labels)
    and OfflineError (torchvision is not installed).
    """
    parts = _REFERENCE.fullmatch(name)
    if parts is None:
        raise InputError(f"{name!r} is not a usable name", allowed=SPELLING)
    kind = find_class(parts["name"])
    given = [option.split("=", 1) for option in parts["options"].split(",")[1:]]
    options = read_options(kind, dict(given), name)
    folder = find_folder(parts["name"], parts["folder"])
    request = Request(parts["name"], folder, options, find_splits(kind))
    told = "".join(f",{key}={value}" for key, value in given)
    slug = re.sub("[^a-z0-9]+", "-", "-".join([parts["name"], *dict(given).values()]).lower())
    return DatasetSpec(
        name=slug.strip("-"),
        summary=f"{parts['name']}{told} of torchvision, in {folder}",
        task="unconditional" if request.name in UNLABELED and not options else "class-conditional",
        licence="NOASSERTION",  # SPDX for "not stated": torchvision does not state licences
        provenance=f"torchvision.datasets.{parts['name']}{told}{_renamed(request.splits)}",
        open=partial(_open, request),
        splits=tuple(request.splits),
        address=f"torchvision/{parts['name']}:{folder}{told}" if parts["folder"] else "",
    )


def _open(request: Request, resolution: int, split: str) -> PictureDataset:
    from zoo_torchvision.lsun import open_lsun
    from zoo_torchvision.reading import open_pictures

    return (open_lsun if request.name == LSUN else open_pictures)(request, split)


def import_datasets() -> ModuleType:
    """Import torchvision.datasets; raises OfflineError with the install command if that fails."""
    try:
        from torchvision import datasets
    except ImportError as error:
        raise OfflineError(f"torchvision cannot be imported ({error})", hint=INSTALL) from None
    return datasets


def find_class(name: str) -> type:
    """The class called `name`. Raises UnknownNameError, or InputError for one without classes."""
    kinds = image_sets()
    if not name:
        raise InputError("torchvision/ must be followed by a name", allowed=", ".join(kinds))
    if name in REFUSED:
        raise InputError(
            f"torchvision/{name} is not offered: {REFUSED[name]}", hint="--data FOLDER"
        )
    if name not in kinds:
        known = [f"torchvision/{kind}" for kind in kinds]
        raise UnknownNameError(
            "data set of torchvision",
            f"torchvision/{name}",
            known,
            hint="zoo data show torchvision/",
        )
    return kinds[name]


def image_sets() -> dict[str, type]:
    """Every data set of torchvision with one image and one target an item, by name.

    They take a root, and one transform each for the image and for its target; nothing else has to
    be given, except a split. That leaves out videos, stereo pairs, optical flow and captions.
    """
    datasets = import_datasets()
    kinds = {name: getattr(datasets, name) for name in sorted(datasets.__all__)}
    base = datasets.VisionDataset
    return {
        name: kind
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base
        if name not in REFUSED and _suits(parameters(kind))
    }


def _suits(takes: Mapping[str, inspect.Parameter]) -> bool:
    needed = {name for name, each in takes.items() if each.default is each.empty}
    return {"root", "transform", "target_transform"} <= takes.keys() and needed <= {"root", "split"}


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    """The parameters of a class, including those that it passes on to its base class."""
    found: dict[str, inspect.Parameter] = {}
    for owner in (each for each in kind.__mro__ if "__init__" in vars(each)):
        own = inspect.signature(owner.__init__).parameters.values()
        found |= {
            p.name: p for p in own if p.name not in found and p.kind is p.POSITIONAL_OR_KEYWORD
        }
        if not any(each.kind is each.VAR_KEYWORD for each in own):
            break
    del found["self"]
    return found


def split_parameter(kind: type) -> str | None:
    """The parameter that chooses between training and test images, if there is one."""
    return next((key for key in ("train", "split", "image_set") if key in parameters(kind)), None)


def find_splits(kind: type) -> dict[str, dict[str, Any]]:
    """The splits by name, each with the argument that chooses it.

    Without such a parameter everything is `train`. Where a data set has no `train` or no `test`,
    that name means the nearest to it (`trainval`, `val`), because commands use it by default.
    """
    key = split_parameter(kind)
    if kind.__name__ == LSUN:
        return {split: {} for split in ("train", "val", "test")}
    if key is None:
        return {"train": {}}
    if key == "train":
        return {"train": {key: True}, "test": {key: False}}
    values = allowed_values(kind, key) or (parameters(kind)[key].default,)
    splits = {value: {key: value} for value in values}
    for alias, names in ALIASES.items():
        meant = next((name for name in names if name in splits), None)
        if alias not in splits and meant is not None:
            splits[alias] = splits[meant]
    return splits


def _renamed(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """Which splits have another name in torchvision, in words."""
    values = {split: str(value) for split, each in splits.items() for value in each.values()}
    renamed = [
        f"{a} is its {v}" for a, v in values.items() if a in ALIASES and v in values and a != v
    ]
    return f" ({', '.join(renamed)})" if renamed else ""


def allowed_values(kind: type, key: str) -> tuple[str, ...]:
    """The values of a parameter: torchvision lists them when it refuses one."""
    if kind.__name__ in SPLITS:
        return SPLITS[kind.__name__]
    try:
        kind(root="?", **{key: "?"})
    except ValueError as error:
        return listed_values(error)
    except Exception as error:  # it looks for its files first
        if missing := missing_package(kind.__name__, error):
            raise missing from None
    return ()


def listed_values(error: ValueError) -> tuple[str, ...]:
    """The values that a message of torchvision lists as valid."""
    return tuple(re.findall(r"'([^']*)'", str(error).partition("Valid values are")[2]))


def missing_package(name: str, error: BaseException) -> OfflineError | None:
    """What to say if a data set of torchvision lacks a package, which it reports in two ways."""
    cause = error if isinstance(error, ImportError) else error.__context__
    if not isinstance(cause, ImportError):
        return None
    package = (cause.name or "").partition(".")[0]
    return OfflineError(
        f"torchvision/{name} needs the package {package}", hint=f"pip install {package}"
    )


def read_options(kind: type, given: Mapping[str, str], typed: str) -> dict[str, Any]:
    """The arguments that KEY=VALUE pairs stand for, at the end of a name as it was typed. Raises
    InputError for one that is unknown, missing, or of the wrong type.
    """
    takes, name = parameters(kind), f"torchvision/{kind.__name__}"
    fixed = RESERVED | {split_parameter(kind)}
    options = {key: each for key, each in takes.items() if key not in fixed and _is_plain(each)}
    for key in given.keys() - options.keys():
        raise InputError(
            f"{name} has no option {key!r}",
            allowed=", ".join(options) or "none",
            near=nearest(key, options),
            hint=_as_split(key, given[key]) if key == split_parameter(kind) else "",
        )
    for key in (key for key, each in options.items() if each.default is each.empty):
        if not given.get(key):
            values = allowed_values(kind, key)
            hint = f"{typed},{key}={values[0]}"
            raise InputError(f"{name} needs {key}", allowed=", ".join(values), hint=hint)
    return {key: _value(name, key, text, options[key].default) for key, text in given.items()}


def _as_split(key: str, value: str) -> str:
    """What to type for an option that chooses the split."""
    split = {"true": "train", "false": "test"}.get(value.lower(), value)
    return f"--set split={split} with zoo train, --split {split} elsewhere, without {key}={value}"


def _is_plain(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty or isinstance(parameter.default, PLAIN)


def _value(name: str, key: str, text: str, default: Any) -> Any:
    """The text as the type of the parameter's default value."""
    if isinstance(default, bool):
        if text in ("true", "false"):
            return text == "true"
        raise InputError(f"{name} takes {key} as true or false", given=text)
    if isinstance(default, int) or (default is None and text.isdecimal()):
        try:
            return int(text)
        except ValueError:
            raise InputError(f"{name} takes {key} as a number", given=text) from None
    return text


def find_folder(name: str, given: str | None) -> Path:
    """The folder of a data set's files: the one `given`, else ZOO_DATA. Raises InputError."""
    folder = given or os.environ.get("ZOO_DATA")
    if not folder:
        raise InputError(
            f"torchvision/{name} needs the folder that holds its files",
            hint=f"torchvision/{name}:FOLDER, or set ZOO_DATA=FOLDER",
        )
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError as error:  # the home of an unknown user
        raise InputError(f"{folder} is not a usable folder: {error}") from None
