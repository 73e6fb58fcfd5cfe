"""`zoo registry`: check a file that registers weights, and print its schema for editors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.output import JSON_OPTION, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo_core.spec import WeightsEntry

app = typer.Typer(
    help="Check a file that registers weights.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("validate")
def validate(
    file: Path = typer.Argument(help="A registry file, such as registry.yaml."),
    links: bool = typer.Option(
        False, "--links", help="Ask every server for the size of its file; read packaged ones."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Check a registry file, and with --links that each file is where it says.

    The exit code is 2 for an invalid file, and 5 if a place does not have its file.
    """
    from zoo_core.errors import DownloadError
    from zoo_core.weights.registry import parse_registry

    entries = parse_registry(file)
    records = _links(entries) if links else []
    bad = [record for record in records if record["problem"]]
    if as_json:
        names = [{"name": entry.name, "status": entry.status} for entry in entries]
        print_json("weights", names, links=records)
    else:
        if bad:
            print_table(
                ("NAME", "ROLE", "URL", "PROBLEM"),
                [(r["name"], r["role"], r["url"], r["problem"]) for r in bad],
            )
        told = f", {len(records) - len(bad)} of {len(records)} links work" if links else ""
        typer.echo(f"{file}: {len(entries)} weights, valid{told}")
    if bad:
        raise DownloadError(f"{len(bad)} of {len(records)} links of {file} do not work")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of registry files, for editors."""
    import json

    from zoo_core.weights.registry import registry_schema

    typer.echo(json.dumps(registry_schema(), indent=2))


def _links(entries: Iterable[WeightsEntry]) -> list[dict[str, Any]]:
    from zoo_core.errors import OfflineError
    from zoo_core.weights.hub import check_link, is_offline

    if is_offline():
        raise OfflineError("links cannot be followed", hint="omit --links, or unset ZOO_OFFLINE")
    return [
        {"name": entry.name, "role": role, "url": url, "problem": check_link(url, file)}
        for entry in entries
        for role, file in entry.files.items()
        for url in file.urls
    ]
