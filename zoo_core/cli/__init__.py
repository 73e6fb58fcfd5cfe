"""The `zoo` command.

Only this package imports typer or prints. Heavy imports are inside the functions of the commands.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import typer

from zoo_core.cli.output import on_terminal
from zoo_core.cli.streams import standard_streams
from zoo_core.errors import Interrupted, ZooError

# Command -> its module and the attribute in it: a function, or a group of commands called `app`.
COMMANDS = {
    "list": ("list_", "list_models"),
    "show": ("show", "show"),
    "train": ("train", "train"),
    "sample": ("sample", "sample"),
    "interpolate": ("interpolate", "interpolate"),
    "mix": ("mix", "mix"),
    "evaluate": ("evaluate", "evaluate"),
    "publish": ("publish", "publish"),
    "import": ("import_", "import_checkpoint"),
    "export": ("export", "export_network"),
    "data": ("data", "app"),
    "weights": ("weights", "app"),
    "registry": ("registry", "app"),
    "plugin": ("plugin", "app"),
}


def build(only: str | None = None) -> typer.Typer:
    """Build the application with all commands, or with `only` one.

    Importing and declaring the others would take as long as `zoo list` itself.
    """
    app = typer.Typer(
        name="zoo",
        help="A zoo of generative image models: train them, sample them, evaluate them.",
        no_args_is_help=True,
        rich_markup_mode=None,  # rich would double the time of --help
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    for name, (module, attribute) in COMMANDS.items():
        if only in (None, name):
            found = getattr(import_module(f"zoo_core.cli.{module}"), attribute)
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name)
            else:
                app.command(name)(found)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"zoo {version('zoo-core')}")
        raise typer.Exit


def options(
    debug: bool = typer.Option(False, "--debug", help="Show the full traceback of an error."),
    version: bool = typer.Option(
        False,
        "--version",
        help="Print the version and exit.",
        is_eager=True,
        callback=_print_version,
    ),
) -> None:
    """A zoo of generative image models: train them, sample them, evaluate them."""


def main() -> None:
    """Entry point: report a ZooError as one line on stderr and exit with its documented code."""
    debug = "--debug" in sys.argv or os.environ.get("ZOO_DEBUG") == "1"
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    first = arguments[0] if arguments else ""
    with standard_streams():
        _run(first if first in COMMANDS else None, arguments, debug)


def _run(only: str | None, arguments: list[str], debug: bool) -> None:
    try:
        build(only)(arguments)
    except ZooError as error:
        if debug:
            raise
        _report(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before a command runs; typer handles one in it
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:  # `zoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _report(error: ZooError) -> None:
    stopped = isinstance(error, Interrupted)  # on request; not an error
    color = None if stopped or os.environ.get("NO_COLOR") or not on_terminal() else typer.colors.RED
    typer.secho(f"{'' if stopped else 'error: '}{error}", err=True, fg=color)
