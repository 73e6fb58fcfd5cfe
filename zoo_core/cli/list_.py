"""`zoo list`: the installed models, their plugins and their weights."""

from __future__ import annotations

import typer

from zoo_core.cli.output import (
    JSON_OPTION,
    describe_task,
    print_json,
    print_table,
    warn,
    warn_problems,
)


def list_models(
    pattern: str = typer.Argument(
        "*", help="Shell pattern for models or weights, such as 'style*'."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """List models with their plugins and weights."""
    from fnmatch import fnmatchcase

    from zoo_core.plugins.loading import load_plugins
    from zoo_core.weights.registry import load_registry

    plugins = load_plugins()
    weights = [contribution.spec for contribution in load_registry(plugins)]
    records = []
    for name, contribution in zip(plugins.models.names(), plugins.models, strict=True):
        model = contribution.spec
        own = [e.name for e in weights if e.model == model.name and e.status == "active"]
        if any(fnmatchcase(candidate, pattern) for candidate in (name, model.name, *own)):
            records.append(
                {
                    "name": name,
                    "task": model.task,
                    "learns_classes": model.learns_classes,
                    "plugin": contribution.plugin,
                    "distribution": contribution.distribution,
                    "summary": model.summary,
                    "weights": own,
                }
            )
    if as_json:
        print_json("models", records, plugins.problems)
        return
    warn_problems(plugins)
    if not records:
        warn(f"no models or weights match {pattern!r}")
        return
    print_table(
        ("NAME", "TASK", "PLUGIN", "WEIGHTS", "SUMMARY"),
        [
            (
                r["name"],
                describe_task(r["task"], r["learns_classes"]),
                r["plugin"],
                " ".join(r["weights"]) or "-",
                r["summary"],
            )
            for r in records
        ],
    )
