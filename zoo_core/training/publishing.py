"""Publish trained or imported weights: files, card, grid and registry entry, in a folder or on the
Hugging Face hub.

Whatever can be refused is refused before anything is measured, drawn, written or sent. Published
weights say what they are, under which licence, how they were made, and how good they are by which
protocol; what is not known is an error or is said to be unknown.
"""

from __future__ import annotations

import hashlib
import logging
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from zoo_core.data.saving import save_grid
from zoo_core.errors import InputError
from zoo_core.filesystem import new_folder, typed_path, write_synced
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.spec import WEIGHTS_NAME, Metric, WeightsEntry, WeightsFile
from zoo_core.training.card import GRID, About, card
from zoo_core.training.grid import Grid, draw
from zoo_core.training.provenance import without_folders
from zoo_core.training.source import Source, read_source
from zoo_core.weights.header import is_repository
from zoo_core.weights.registry import load_registry, registry_text
from zoo_core.weights.repositories import CARD, REGISTRY, Repository, parse_repository
from zoo_core.weights.uploading import check_upload, upload

logger = logging.getLogger("zoo")

Measured = Sequence[Metric] | Callable[[], Sequence[Metric]]


class Publication(NamedTuple):
    """What was published, and where."""

    entry: WeightsEntry  # with the commit in its urls, if there is one
    place: str  # the folder, or hf://OWNER/REPO@COMMIT
    registry: str  # a registry file with that entry, as YAML, to paste


def publish(
    run: str | Path,  # folder of a run, weights in it, or what `zoo import` wrote
    name: str,  # MODEL.TAG, which nothing else has
    to: str | Path | None = None,  # a new folder, or hf://OWNER/REPO [default: published/NAME]
    *,
    metrics: Measured,  # what `evaluate` returns; a function is called when all else is checked
    licence: str | None = None,  # of the weights, SPDX [default: that of the images]
    summary: str = "",  # a line that describes them [default: what they were trained on]
    discriminator: bool = False,  # publish the newest discriminator, too
    plugins: Plugins | None = None,  # None: all that are installed
) -> Publication:
    """Publish weights with their card, metrics, a grid of fixed seeds and a registry entry.

    On the hub it is one commit, which `zoo.load("hf://OWNER/REPO")` reads.

    Raises InputError for a name or place that is taken or malformed, a licence that is unknown,
    metrics or a token that are missing, and weights of which nothing says how they were made;
    OfflineError without a connection or huggingface_hub; UploadError if the hub refuses; and what
    `load` raises. Nothing is written or uploaded then.
    """
    plugins = plugins or load_plugins()
    if not callable(metrics):
        metrics = _checked(metrics)
    source = read_source(run, licence, plugins)
    _check_name(name, source.record.model, plugins)
    target = _target(to, name)
    if not callable(metrics):
        _warn_of_others(metrics, source.path.resolve())
    files = {source.spec.role: source.data}
    if discriminator:
        files["discriminator"] = source.discriminator(plugins)
    measured = _checked(metrics()) if callable(metrics) else metrics
    grid = draw(source, plugins)
    entry = _entry(name, source, files, measured, summary, _urls(target, name, source, plugins))
    about = _about(source, grid, target, name)
    if isinstance(target, Path):
        _write(target, files, entry, about, grid)
        return Publication(entry, target.as_posix(), registry_text(entry))
    with _temporary() as folder:
        _fill(folder, files, entry, about, grid)
        commit = upload(folder, target, f"Publish {name}")
    entry = _at(entry, target._replace(revision=commit))
    return Publication(entry, f"hf://{target.name}@{commit}", registry_text(entry))


def _check_name(name: str, model: str, plugins: Plugins) -> None:
    if not WEIGHTS_NAME.fullmatch(name) or name.partition(".")[0] != model:
        raise InputError(
            "weights are published as MODEL.TAG in lower case",
            given=name[:80],
            allowed=f"{model}.TAG",
            hint=f"--name {model}.TAG",
        )
    if load_registry(plugins).matches(name):
        raise InputError(
            f"{name} is registered already, and published weights are never replaced",
            hint=f"--name {model}.OTHER_TAG",
        )


def _target(to: str | Path | None, name: str) -> Path | Repository:
    """Where to publish. Raises what `check_upload` raises, and InputError for a taken path."""
    if isinstance(to, str) and is_repository(to):
        repository = parse_repository(to)
        check_upload(repository)
        return repository
    path = Path("published", name) if to is None else typed_path(str(to))
    if path.exists() or not path.name:
        raise InputError(f"{path} exists already", hint="--to NEW_FOLDER")
    return path


def _checked(metrics: Sequence[Metric]) -> Sequence[Metric]:
    """The metrics without folders in their commands. Raises InputError if there are none."""
    if not metrics or not all(metric.protocol for metric in metrics):
        raise InputError(
            "weights are published with metrics and their protocol",
            hint="--evaluate, or --metrics-from FILE of zoo evaluate --json",
        )
    return [replace(each, command=_anonymous(each.command)) for each in metrics]


def _warn_of_others(metrics: Sequence[Metric], path: Path) -> None:
    """Warn of metrics whose command does not name the weights: a file may hold those of others."""
    for command in {each.command for each in metrics}:
        if not {path.name, path.parent.name} & {Path(word).name for word in shlex.split(command)}:
            logger.warning("is `%s` the command that measured %s?", command, path.parent.name)


def _anonymous(command: str) -> str:
    return shlex.join(without_folders(shlex.split(command)))


def _urls(
    target: Path | Repository, name: str, source: Source, plugins: Plugins
) -> Callable[[str], str]:
    """Where the file of a role will be: in the repository, or in the package of the plugin."""
    if isinstance(target, Repository):
        return lambda role: target.url(f"{role}.safetensors")
    owner = plugins.models.find(source.record.model).plugin
    module = next(info.module for info in plugins.infos if info.name == owner)
    package, tag = module.partition(":")[0].partition(".")[0], name.partition(".")[2]
    return lambda role: (
        f"package:{package}/weights/{tag}{'-discriminator' * (role == 'discriminator')}.safetensors"
    )


def _entry(
    name: str,
    source: Source,
    files: Mapping[str, bytes],
    metrics: Sequence[Metric],
    summary: str,
    url: Callable[[str], str],
) -> WeightsEntry:
    record = source.record
    side = source.network.image_shape[2]
    return WeightsEntry(
        name=name,
        model=record.model,
        summary=" ".join(summary.split()) or f"{record.trained_on}, {side} px",
        config=record.config,
        files={
            role: WeightsFile(
                urls=(url(role),), sha256=hashlib.sha256(data).hexdigest(), size=len(data)
            )
            for role, data in files.items()
        },
        licence=record.licence,
        trained_on=record.trained_on,
        images=record.images,
        command=source.command,
        metrics=tuple(metrics),
    )


def _at(entry: WeightsEntry, repository: Repository) -> WeightsEntry:
    """The entry with the files of one commit."""
    files = {
        role: replace(file, urls=(repository.url(f"{role}.safetensors"),))
        for role, file in entry.files.items()
    }
    return replace(entry, files=files)


def _about(source: Source, grid: Grid | None, target: Path | Repository, name: str) -> About:
    return About(
        spec=source.spec,
        record=source.record,
        cost=source.cost,
        precision=source.precision,
        drawn="" if grid is None else grid.shows,
        address=name if isinstance(target, Path) else f"hf://{target.name}",
        dataset=source.dataset,
    )


def _write(
    target: Path, files: Mapping[str, bytes], entry: WeightsEntry, about: About, grid: Grid | None
) -> None:
    try:
        with new_folder(target) as folder:
            _fill(folder, files, entry, about, grid)
    except OSError as error:
        raise InputError(
            f"cannot write {target}: {error.strerror}", hint="--to NEW_FOLDER"
        ) from None


@contextmanager
def _temporary() -> Iterator[Path]:
    """A folder for what is uploaded."""
    try:
        with tempfile.TemporaryDirectory(prefix="zoo-publish-") as folder:
            yield Path(folder)
    except OSError as error:
        raise InputError(
            f"cannot write what is to be uploaded: {error.strerror}",
            hint="free disk space, or name another folder in TMPDIR",
        ) from None


def _fill(
    folder: Path, files: Mapping[str, bytes], entry: WeightsEntry, about: About, grid: Grid | None
) -> None:
    for role, data in files.items():
        write_synced(folder / f"{role}.safetensors", data)
    if grid is not None:
        save_grid(folder / GRID, grid.pixels, grid.columns)
    write_synced(folder / REGISTRY, registry_text(entry).encode())
    write_synced(folder / CARD, card(entry, about).encode())
