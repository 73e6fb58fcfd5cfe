"""Output of all commands: data on stdout, everything else on stderr."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
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
    for line in aligned([header, *rows]):
        typer.echo(line)


def aligned(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Rows as lines with aligned columns."""
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(map(str.ljust, line, widths)).rstrip()


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


def on_terminal() -> bool:
    """Whether somebody sees stderr; a process may have none."""
    return sys.stderr is not None and sys.stderr.isatty()


def warn(message: str) -> None:
    """Print a warning on stderr."""
    typer.echo(f"warning: {message}", err=True)


def note(message: str) -> None:
    """Print a line on stderr."""
    typer.echo(message, err=True)


def describe_classes(task: Task, learns_classes: bool) -> str:
    """Whether a model learns classes: always, if it is told to, or never."""
    if not learns_classes:
        return "no"
    return "yes" if task in ("class-conditional", "classifier") else "optional"


def warn_problems(plugins: Plugins) -> None:
    """Print one warning per problem of a plugin."""
    for problem in plugins.problems:
        warn(str(problem))


def log_to_stderr() -> None:
    """Print what the library says in the same form as what the commands say."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say = warn if record.levelno >= logging.WARNING else note
            say(record.getMessage())

    logger = logging.getLogger("zoo")
    logger.handlers = [Handler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def loaded_plugins() -> Plugins:
    """Load all installed plugins, and warn about their problems."""
    from zoo_core.plugins.loading import load_plugins

    plugins = load_plugins()
    warn_problems(plugins)
    return plugins


def complete_model(incomplete: str) -> list[str]:
    """Complete the name of a model in the shell."""
    from zoo_core.plugins.loading import load_plugins

    return [name for name in load_plugins().models.names() if name.startswith(incomplete)]


def complete_weights(incomplete: str) -> list[str]:
    """Complete the name of registered weights in the shell."""
    from zoo_core.plugins.loading import load_plugins
    from zoo_core.weights.registry import load_registry

    return [n for n in load_registry(load_plugins()).names() if n.startswith(incomplete)]
