"""Output of all commands: data on stdout, everything else on stderr."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from zoo_core.data.packing import PackedData
    from zoo_core.pictures import PictureDataset
    from zoo_core.plugins.contributions import Problem
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import Task

SCHEMA = 1  # version of all --json output; fields are added, never renamed

JSON_OPTION = typer.Option(False, "--json", help="Print JSON.")


def finite(value: float) -> float:
    """Validate that the value of an option is neither NaN nor infinite."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; lines are not wrapped."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        typer.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def print_json(
    kind: str, records: Sequence[Any], problems: Iterable[Problem] = (), **more: Sequence[Any]
) -> None:
    """Print one object: the schema version, the records under `kind`, and problems of plugins.

    `more` holds records of other kinds.
    """
    import json

    found = [
        {"plugin": p.plugin, "distribution": p.distribution, "stage": p.stage, "reason": p.reason}
        for p in problems
    ]
    typer.echo(
        json.dumps(
            {"schema": SCHEMA, kind: records, **more, "problems": found}, indent=2, default=str
        )
    )


def warn(message: str) -> None:
    """Print a warning on stderr."""
    typer.echo(f"warning: {message}", err=True)


def note(message: str) -> None:
    """Print a line on stderr."""
    typer.echo(message, err=True)


def describe_task(task: Task, learns_classes: bool) -> str:
    """Add to the task of a model that it can learn classes, unless the task says so."""
    is_said = task in ("class-conditional", "classifier")
    return f"{task}, classes" if learns_classes and not is_said else task


def warn_problems(plugins: Plugins) -> None:
    """Print one warning per problem of a plugin."""
    for problem in plugins.problems:
        warn(str(problem))


def warn_ignored(source: PictureDataset) -> None:
    """Warn about files in image formats that are not read."""
    if source.ignored:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in source.ignored.items())
        warn(f"left out {kinds}, which are not images")


def warn_left_out(packed: PackedData) -> None:
    """Warn about images that could not be used."""
    for name, reason in packed.skipped[:5]:
        warn(f"skipped {name}: {reason}")
    warn_remarks(packed)
    if packed.skipped:
        warn(f"skipped {len(packed.skipped)} of {len(packed.skipped) + len(packed)} images")


def warn_remarks(images: Any) -> None:
    """Say what was done to images that their owner may not expect."""
    for remark, count in getattr(images, "remarks", {}).items():
        warn(f"{count} {remark}")


def log_to_stderr() -> None:
    """Print warnings of the library in the same form as those of the commands."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warn(record.getMessage())

    logger = logging.getLogger("zoo")
    logger.addHandler(Handler(logging.WARNING))
    logger.propagate = False


def loaded_plugins() -> Plugins:
    """Load all installed plugins, and warn about their problems."""
    from zoo_core.plugins.loading import load_plugins

    plugins = load_plugins()
    warn_problems(plugins)
    return plugins


def settings_of_run(name: str) -> dict[str, Any]:
    """The settings of the run that the weights belong to; empty for weights outside a run."""
    from zoo_core.training.run_folder import RunFolder
    from zoo_core.weights.header import is_path, weights_path

    if not is_path(name):
        return {}
    folder = RunFolder(weights_path(name).parent)
    return folder.read_config()["run"] if folder.config.is_file() else {}


def complete_model(incomplete: str) -> list[str]:
    """Complete the name of a model in the shell."""
    from zoo_core.plugins.loading import load_plugins

    return [name for name in load_plugins().models.names() if name.startswith(incomplete)]


def complete_weights(incomplete: str) -> list[str]:
    """Complete the name of registered weights in the shell."""
    from zoo_core.plugins.loading import load_plugins
    from zoo_core.weights.registry import load_registry

    return [n for n in load_registry(load_plugins()).names() if n.startswith(incomplete)]
