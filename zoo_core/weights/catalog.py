"""What can be loaded: names of models and weights, what is known of each, and their files.

Nothing here imports torch or numpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from zoo_core.errors import InputError, UnknownNameError
from zoo_core.filesystem import exists
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.spec import ModelSpec, Task, WeightsEntry
from zoo_core.weights.header import (
    WeightsMetadata,
    is_path,
    is_spelled_as_path,
    parse_metadata,
    read_header,
    weights_path,
)
from zoo_core.weights.registry import load_registry, main_role, means_path

if TYPE_CHECKING:
    from zoo_core.data.progress import OnProgress


def list_models(
    pattern: str = "*",  # such as "style*"; wildcards as in a shell
    *,
    task: str | None = None,  # "unconditional", "class-conditional", "image-to-image", "classifier"
    plugin: str | None = None,  # of what is installed
    licence: str | None = None,  # of the code; with wildcards
    learns_classes: bool | None = None,
    plugins: Plugins | None = None,  # to search; by default all that are installed
) -> list[str]:
    """The names of installed models, in natural order. Raises UnknownNameError for a task."""
    models = (plugins or load_plugins()).models
    _check_task(task)
    return _in_natural_order(
        name
        for name, found in zip(models.names(), models, strict=True)
        if (_fits(name, pattern) or _fits(found.spec.name, pattern))
        and _fits(found.spec.licence, licence)
        and plugin in (None, found.plugin)
        and task in (None, found.spec.task)
        and learns_classes in (None, found.spec.learns_classes)
    )


def list_weights(
    pattern: str = "*",  # such as "*.critters*"; wildcards as in a shell
    *,
    model: str | None = None,  # with wildcards, as the next two
    licence: str | None = None,  # of the weights
    trained_on: str | None = None,  # such as "critters*"
    task: str | None = None,  # of the model, which must be installed
    yanked: bool = False,  # list those that are no longer loaded, too
    plugins: Plugins | None = None,  # to search; by default all that are installed
) -> list[str]:
    """The names of registered weights, in natural order. Raises UnknownNameError for a task."""
    plugins = plugins or load_plugins()
    registry = load_registry(plugins)
    _check_task(task)
    able = {found.spec.name for found in plugins.models if task in (None, found.spec.task)}
    return _in_natural_order(
        name
        for name, found in zip(registry.names(), registry, strict=True)
        if (_fits(name, pattern) or _fits(found.spec.name, pattern))
        and _fits(found.spec.model, model)
        and _fits(found.spec.licence, licence)
        and _fits(found.spec.trained_on, trained_on)
        and (task is None or found.spec.model in able)
        and (yanked or found.spec.status == "active")
    )


def info(
    name: str | Path, *, plugins: Plugins | None = None
) -> ModelSpec | WeightsEntry | WeightsMetadata:
    """What is known of a model, of registered weights, of those in a repository `hf://OWNER/REPO`,
    or of a weights file or run folder.

    It is the record that a plugin, a registry or the file itself holds. Raises UnknownNameError or
    AmbiguousNameError for a name, InputError for a path that is not there, and WeightsError for a
    file that says nothing about itself.
    """
    if is_path(name) and is_spelled_as_path(name):
        return _recorded(name)
    plugins = plugins or load_plugins()
    registry, name = load_registry(plugins), str(name)
    if means_path(name, registry) and means_path(name, plugins.models):
        return _recorded(name)
    if registry.matches(name):
        return registry.get(name)
    if exists(name) and not plugins.models.matches(name):
        return _recorded(name)
    return registry.get(name) if "." in name else plugins.models.get(name)


def fetch(
    name: str,
    *,
    roles: Iterable[str] | None = None,
    on_progress: OnProgress | None = None,
    plugins: Plugins | None = None,
) -> dict[str, Path]:
    """The verified files of registered weights by role, downloaded first if they are not here.

    `roles` are "generator", "discriminator" or "classifier"; by default the network that
    `zoo.load` loads. `on_progress(bytes, size)` is called during a download. Raises
    UnknownNameError or AmbiguousNameError for a name, InputError for a role that the weights do not
    have, WeightsError for yanked weights or a damaged package, DownloadError and OfflineError.
    """
    from zoo_core.weights.hub import fetch_file  # not for listing

    entry = load_registry(plugins or load_plugins()).usable(name)
    wanted: list[str] = [main_role(entry)] if roles is None else list(roles)
    for role in wanted:
        if role not in entry.files:
            raise InputError(f"{entry.name} has no {role}", allowed=", ".join(entry.files))
    return {role: fetch_file(entry.files[role], entry.name, on_progress) for role in wanted}


def _recorded(path: str | Path) -> WeightsMetadata:
    file = weights_path(path)
    return parse_metadata(read_header(file), str(file))


def _check_task(task: str | None) -> None:
    if task is not None and task not in get_args(Task):
        raise UnknownNameError("task", task, get_args(Task))


def _fits(text: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(text, pattern)


def _in_natural_order(names: Iterable[str]) -> list[str]:
    """Numbers inside names count as numbers: critters32 before critters128."""

    def key(name: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBER.split(name)]

    return sorted(names, key=key)


_NUMBER = re.compile(r"([0-9]+)")
