"""`zoo import`: other people's checkpoints as weights that the zoo loads."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import typer

from zoo_core.cli.output import (
    JSON_OPTION,
    complete_model,
    loaded_plugins,
    note,
    print_json,
    print_table,
    warn,
)

LICENCE_HINT = "--licence CC-BY-4.0, or --licence unknown, which cannot be published"


def import_checkpoint(
    file: Path = typer.Argument(None, help="A file of torch.save, a pickle, or safetensors."),
    out: Path = typer.Option(
        None, "--out", "-o", help="New folder, or new .safetensors file for the generator alone."
    ),
    licence: str = typer.Option(
        None, "--licence", help="Licence of the weights: an SPDX identifier, or unknown."
    ),
    source: str = typer.Option("", "--source", help="Where the file comes from, such as a URL."),
    model: str = typer.Option(
        None, "--model", help="The model it is for, if several fit.", autocompletion=complete_model
    ),
    part: str = typer.Option(None, "--part", help="Which network of several in the file."),
    assignments: list[str] = typer.Option(
        [], "--set", "-s", metavar="KEY=VALUE", help="A setting that the file does not tell."
    ),
    listing: bool = typer.Option(False, "--list", help="List the families of checkpoints."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Import somebody's checkpoint. Nothing in it is run.

    It is recognized by the names and shapes of its tensors, must fit the model exactly, and must
    draw images. The grid of them is written beside the weights.
    """
    from zoo_core.config import parse_assignments
    from zoo_core.errors import InputError

    if listing:
        _list(as_json)
        return
    if file is None or out is None:
        missing = "a FILE" if file is None else "--out"
        raise InputError(f"zoo import needs {missing}", hint="zoo import FILE --licence ID -o OUT")
    if licence is None:
        raise InputError("zoo import needs the licence of the weights", hint=LICENCE_HINT)
    settings = parse_assignments(assignments)
    plugins = loaded_plugins()

    from zoo_core.weights.importing import import_weights

    with contextlib.redirect_stdout(sys.stderr):  # a plugin may print
        done = import_weights(
            file,
            out,
            licence=licence,
            model=model,
            part=part,
            source=source,
            settings=settings,
            plugins=plugins,
        )
    note(f"recognized: {done.recognized}")
    for remark in done.notes:
        warn(remark)
    note(f"images: {done.grid}")
    if as_json:
        record = {key: str(value) for key, value in done._asdict().items() if key != "notes"}
        print_json("imported", [{**record, "notes": done.notes}], plugins.problems)
    else:
        typer.echo(done.path)


def _list(as_json: bool) -> None:
    plugins = loaded_plugins()
    records = [
        {
            "name": each.spec.name,
            "model": each.spec.model,
            "plugin": each.plugin,
            "source": each.spec.source,
            "summary": each.spec.summary,
        }
        for each in plugins.importers
    ]
    if as_json:
        print_json("importers", records, plugins.problems)
        return
    header = ("NAME", "MODEL", "SOURCE", "SUMMARY")
    print_table(header, [[r[key.lower()] for key in header] for r in records])
