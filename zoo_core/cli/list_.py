"""`zoo list`: the installed models with their plugins and weights, or feature extractors."""

from __future__ import annotations

import typer

from zoo_core.cli.output import (
    JSON_OPTION,
    describe_classes,
    note,
    print_json,
    print_table,
    warn,
    warn_problems,
)


def list_models(
    pattern: str = typer.Argument(
        "*", help="Shell pattern for models or weights, such as 'style*'."
    ),
    features: bool = typer.Option(
        False, "--features", help="List feature extractors instead, and which more are found."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """List models with their plugins and weights, or feature extractors."""
    if features:
        _list_extractors(pattern, as_json)
        return
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
        ("NAME", "TASK", "CLASSES", "PLUGIN", "WEIGHTS", "SUMMARY"),
        [
            (
                r["name"],
                r["task"],
                describe_classes(r["task"], r["learns_classes"]),
                r["plugin"],
                " ".join(r["weights"]) or "-",
                r["summary"],
            )
            for r in records
        ],
    )


def _list_extractors(pattern: str, as_json: bool) -> None:
    """List what `zoo.load_features` and `--extractor` take by name."""
    from fnmatch import fnmatchcase

    from zoo_core.plugins.loading import load_plugins

    plugins = load_plugins()
    extractors = plugins.feature_extractors
    records = [
        {
            "name": name,
            "input_size": each.spec.input_size,
            "feature_maps": list(each.spec.widths),
            "licence": each.spec.licence,
            "plugin": each.plugin,
            "summary": each.spec.summary,
        }
        for name, each in zip(extractors.names(), extractors, strict=True)
        if fnmatchcase(name, pattern)
    ]
    spaces = plugins.namespaces("zoo_find_feature_extractor")
    if as_json:
        namespaces = [{"names": each.spec, "plugin": each.plugin} for each in spaces]
        print_json("feature_extractors", records, plugins.problems, namespaces=namespaces)
        return
    warn_problems(plugins)
    print_table(
        ("NAME", "PIXELS", "PLUGIN", "LICENCE", "SUMMARY"),
        [(r["name"], r["input_size"], r["plugin"], r["licence"], r["summary"]) for r in records],
    )
    for each in spaces:
        note(f"and {each.spec}")
    note("and every classifier: registered weights, a file, or the folder of a run")
