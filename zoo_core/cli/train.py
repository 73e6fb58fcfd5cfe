"""`zoo train`: train a model; the same command again resumes the run."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.output import complete_model, loaded_plugins, log_to_stderr, note, warn
from zoo_core.errors import Interrupted
from zoo_core.filesystem import as_argument, spelled

if TYPE_CHECKING:
    from zoo_core.config import Resolved
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import ModelSpec
    from zoo_core.training.launch import Trained


SET_OPTION = typer.Option(
    [],
    "--set",
    "-s",
    metavar="KEY=VALUE",
    help="Change one setting; may be repeated. See `zoo show MODEL`.",
)
CHANGE_OPTION = typer.Option(
    [],
    "--change",
    metavar="KEY=VALUE,...",
    help="Go on from the last checkpoint with other settings; data=accept: with other images.",
)
FROM_OPTION = typer.Option(
    None, "--from", help="Start from weights: a registered name, a file or a run folder."
)


def train(
    model: str = typer.Argument(help="A model from `zoo list`.", autocompletion=complete_model),
    data: str = typer.Option(
        None, "--data", "-d", help="Data set, or path to a folder or zip file of images."
    ),
    preset: str = typer.Option(
        "", "--preset", "-p", help="Preset of the model; see `zoo show MODEL`."
    ),
    config: Path = typer.Option(
        None, "--config", "-c", help="YAML file with settings, or config.json of a run."
    ),
    assignments: list[str] = SET_OPTION,
    changes: list[str] = CHANGE_OPTION,
    start_from: str = FROM_OPTION,
    images: str = typer.Option(
        None,
        "--images",
        metavar="N",
        help="Train until N images have been seen in total, such as 200k.",
    ),
    evaluate_every: str = typer.Option(
        None,
        "--evaluate-every",
        metavar="N",
        help="Evaluate every N images; keep the best weights.",
    ),
    tag: str = typer.Option(
        None, "--tag", help="Second part of the run's name, MODEL.TAG [default: data and preset]."
    ),
    run_dir: Path = typer.Option(None, "--run-dir", help="Run folder [default: runs/MODEL.TAG]."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Print settings and estimated cost; do not train."
    ),
) -> None:
    """Train a model; the same command again resumes the run."""
    from zoo_core.config import parse_assignments
    from zoo_core.weights.run_settings import resolve_run

    log_to_stderr()
    plugins = loaded_plugins()
    spec = plugins.models.get(model)
    short = {"data": data, "images": images, "evaluate_every": evaluate_every}
    short["start_from"] = start_from
    resolved = resolve_run(
        spec,
        preset,
        config,
        ("--set", parse_assignments(assignments)),
        ("the command line", {key: value for key, value in short.items() if value is not None}),
        run_dir=run_dir,
        plugins=plugins,
    )
    change = _parsed(changes)
    if dry_run:
        _dry_run(spec, resolved, change, plugins)
    else:
        _train(spec, resolved, plugins, tag=tag or "", run_dir=run_dir, change=change)


def _train(spec: ModelSpec, resolved: Resolved, plugins: Plugins, **run: Any) -> None:
    """Start or resume the run, with a progress display; say that it is finished."""
    from zoo_core.cli.progress import ProgressDisplay, counting, receiving
    from zoo_core.training.launch import launch

    plugins.register("progress display", ProgressDisplay())
    with _stopping(), _naming_failed_observers(plugins), contextlib.redirect_stdout(sys.stderr):
        trained = launch(spec, resolved, plugins, **run, counting=counting, receiving=receiving)
    _say_finished(spec, trained)


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Let Ctrl-C do nothing more once it has stopped the run."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left that Ctrl-C could stop
        if isinstance(stop, KeyboardInterrupt):
            note("stopped at once; the same command goes on from the last checkpoint, if any")
        raise


@contextlib.contextmanager
def _naming_failed_observers(plugins: Plugins) -> Iterator[None]:
    """At the end warn about observers that raised; they were muted."""
    known = len(plugins.problems)
    try:
        yield
    finally:
        for problem in plugins.problems[known:]:
            if problem.stage.startswith("zoo_"):  # others were said when they happened
                warn(str(problem))


def _say_finished(spec: ModelSpec, trained: Trained) -> None:
    """Say where everything is, and what to type next."""
    from zoo_core.training.state import blueprint

    network = blueprint(spec, trained.settings.config)
    what = "" if network.num_classes else " --seeds 0-63"  # without seeds, a row per class
    if network.source_shape is not None:
        what = " --source FOLDER"
    use = {
        "generator": f"zoo sample {as_argument(trained.folder)}{what}",
        "classifier": f"zoo_core.load_features({spelled(trained.folder)!r})",
    }
    images, wanted = trained.images, trained.settings.run.images
    status = "already finished" if trained.was_finished else "finished"
    typer.echo(
        f"{status}: {images:,} images; weights, samples, log and checkpoints are in "
        f"{trained.folder}\nnext: {use[spec.role]}    "
        f"or train longer: --images {2 * max(images, wanted)}"
    )


def _parsed(changes: list[str]) -> dict[str, Any]:
    """The settings of all `--change` options; a comma inside a value is none before `key=`."""
    from zoo_core.config import parse_assignments

    parts = [part for option in changes for part in re.split(r",(?=\s*\w+\s*=)", option)]
    return dict(parse_assignments(parts, "--change"))


def _dry_run(spec: ModelSpec, resolved: Resolved, change: dict[str, Any], plugins: Plugins) -> None:
    """Print the resolved settings and the estimated cost of the run on this machine."""
    import json

    from zoo_core.training.amend import settings_of
    from zoo_core.training.changes import with_settings
    from zoo_core.training.estimate import estimate
    from zoo_core.training.launch import open_classes

    resolved = open_classes(spec, with_settings(resolved, settings_of(change), "--change"), plugins)
    note("timing a few training steps on random images")
    typer.echo(json.dumps(resolved.to_json() | {"estimate": estimate(spec, resolved)}, indent=2))
