"""`zoo publish`: weights with their card, metrics and registry entry, to a folder or the hub."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zoo_core.cli.output import JSON_OPTION, loaded_plugins, log_to_stderr, note, print_json

if TYPE_CHECKING:
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import Metric


def publish(
    run: str = typer.Argument(
        help="Folder of a run, weights in it such as best.safetensors, or what zoo import wrote."
    ),
    name: str = typer.Option(None, "--name", help="What they will be called: MODEL.TAG."),
    to: str = typer.Option(
        None, "--to", help="New folder, or hf://OWNER/REPO [default: published/MODEL.TAG]."
    ),
    licence: str = typer.Option(
        None, "--licence", help="SPDX identifier [default: the licence of the images]."
    ),
    metrics_from: Path = typer.Option(
        None, "--metrics-from", help="File with the output of zoo evaluate RUN --json."
    ),
    evaluate: bool = typer.Option(False, "--evaluate", help="Measure them now, as zoo evaluate."),
    discriminator: bool = typer.Option(
        False, "--discriminator", help="Publish the newest discriminator as well."
    ),
    summary: str = typer.Option(
        "", "--summary", help="A line that describes them [default: what they were trained on]."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Publish weights: files, card, grid of fixed seeds, and the registry entry, which is printed.

    On the Hugging Face hub this is one commit. Nothing is written without licence and metrics.
    """
    from zoo_core.cli.numbers import numbers_of_file
    from zoo_core.errors import InputError

    log_to_stderr()
    if name is None:
        raise InputError("zoo publish needs a name", hint="--name MODEL.TAG")
    if metrics_from is not None and evaluate:
        raise InputError("metrics are read or measured", hint="omit --evaluate or --metrics-from")
    read = [] if metrics_from is None else numbers_of_file(metrics_from)
    plugins = loaded_plugins()

    import msgspec

    from zoo_core.training.publishing import publish

    with contextlib.redirect_stdout(sys.stderr):  # a plugin may print
        done = publish(
            run,
            name,
            to,
            metrics=(lambda: _measured(run, plugins)) if evaluate else read,
            licence=licence,
            summary=summary,
            discriminator=discriminator,
            plugins=plugins,
        )
    note(f"published: {done.place}; the entry for a registry file follows")
    if as_json:
        record = {"place": done.place, "entry": msgspec.to_builtins(done.entry)}
        print_json("published", [record], plugins.problems)
    else:
        typer.echo(done.registry, nl=False)


def _measured(run: str, plugins: Plugins) -> list[Metric]:
    """What `zoo evaluate RUN` measures."""
    import shlex

    from zoo_core.cli.progress import counting, receiving
    from zoo_core.metrics.measuring import measure
    from zoo_core.metrics.sides import Options

    command = shlex.join(["zoo", "evaluate", run])
    options = Options(command=command, counting=counting, receiving=receiving)
    return measure(run, options, plugins)
