"""The command `zoo`. Only this package imports typer or prints; a command's heavy imports are
inside it.
"""

from __future__ import annotations

import os
import sys

import typer

from zoo_core.cli import data, evaluate, interpolate, list_, mix, plugin, sample, show, train
from zoo_core.errors import Interrupted, ZooError

app = typer.Typer(
    name="zoo",
    help="A zoo of generative image models: list, train, measure, sample.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_.list_models)
app.command("show")(show.show)
app.command("train")(train.train)
app.command("sample")(sample.sample)
app.command("interpolate")(interpolate.interpolate)
app.command("mix")(mix.mix)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(data.app, name="data")
app.add_typer(plugin.app, name="plugin")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"zoo {version('zoo-core')}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", help="Print the version.", is_eager=True, callback=_print_version
    ),
) -> None:
    """A zoo of generative image models: list, train, measure, sample."""


def main() -> None:
    """Entry point of the command: a user's mistake is one line and the documented exit code."""
    debug = "--debug" in sys.argv or os.environ.get("ZOO_DEBUG") == "1"
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments)
    except ZooError as error:
        if debug:
            raise
        stopped = isinstance(error, Interrupted)  # by request: nothing went wrong
        color = None if stopped or _plain() else typer.colors.RED
        typer.secho(f"{'' if stopped else 'error: '}{error}", err=True, fg=color)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `zoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _plain() -> bool:
    return bool(os.environ.get("NO_COLOR")) or not sys.stderr.isatty()
