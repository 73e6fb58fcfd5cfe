"""`zoo plugin`: list plugins and their problems, and check a model against the plugin contract."""

from __future__ import annotations

import typer

from zoo_core.cli.output import (
    JSON_OPTION,
    complete_model,
    loaded_plugins,
    note,
    print_json,
    print_table,
)

app = typer.Typer(
    help="List plugins, and check models.", no_args_is_help=True, rich_markup_mode=None
)

FINDS = {  # hook -> what its plugin provides without listing it
    "zoo_find_dataset": "data sets by name",
    "zoo_find_feature_extractor": "feature extractors by name",
}


@app.command("list")
def list_plugins(as_json: bool = JSON_OPTION) -> None:
    """List plugins with import times and the problems of broken ones."""
    from zoo_core.plugins.loading import load_plugins
    from zoo_core.weights.registry import load_registry

    plugins = load_plugins()
    load_registry(plugins)  # reports registry files that cannot be read
    kinds = (plugins.models, plugins.datasets, plugins.feature_extractors)
    records = []
    for info in plugins.infos:
        reasons = [
            f"{problem.stage}: {problem.reason}"
            for problem in plugins.problems
            if (problem.plugin, problem.distribution) == (info.name, info.distribution)
        ]
        brings = {
            contributions.kind: [o.spec.name for o in contributions if o.plugin == info.name]
            for contributions in kinds
            if info.hooks
        }
        records.append(
            {
                "name": info.name,
                "distribution": info.distribution,
                "status": info.status,
                "import_ms": round(info.import_seconds * 1000, 1),
                "brings": {kind: names for kind, names in brings.items() if names},
                "hooks": list(info.hooks),
                "reasons": reasons,
            }
        )
    if as_json:
        print_json("plugins", records, plugins.problems)
        return
    rows = []
    for record in records:
        provided = [
            f"{len(names)} {kind}{'s' * (len(names) > 1)}"
            for kind, names in record["brings"].items()
        ]
        provided += [found for hook, found in FINDS.items() if hook in record["hooks"]]
        text = "; ".join(record["reasons"]) or ", ".join(provided) or "observes runs"
        rows.append(
            (
                record["name"],
                record["distribution"],
                record["status"],
                f"{record['import_ms']:.1f} ms",
                text,
            )
        )
    print_table(("NAME", "DISTRIBUTION", "STATUS", "IMPORT", "PROVIDES OR PROBLEM"), rows)


@app.command("check")
def check(
    model: str = typer.Argument(help="A model from `zoo list`.", autocompletion=complete_model),
) -> None:
    """Check a model against the plugin contract, with its preset `tiny`."""
    from zoo_core.errors import PluginError

    plugins = loaded_plugins()
    spec = plugins.models.get(model)  # report an unknown name before the heavy imports
    from zoo_core.testing import parameters_of, run_contract

    failures = 0
    results = run_contract(model)
    for name, error in results:
        typer.echo(
            f"{'ok    ' if error is None else 'FAILED'}  {name}" + (f": {error}" if error else "")
        )
        failures += error is not None
    typer.echo(f"{len(results)} checks ran, {failures} failed")
    if not failures and not spec.parameters:
        note(f"to state how large it is, add to its ModelSpec: parameters={parameters_of(spec)},")
    if failures or not results:
        raise PluginError(f"{model} violates the plugin contract")
