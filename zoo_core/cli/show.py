"""`zoo show`: details of a model, registered weights, or a weights file. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.output import (
    JSON_OPTION,
    aligned,
    complete_weights,
    describe_classes,
    loaded_plugins,
    print_json,
)
from zoo_core.errors import printable

if TYPE_CHECKING:
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import ModelSpec


def show(
    name: str = typer.Argument(
        help="A model, weights such as dcgan.critters32, a .safetensors file or a run folder.",
        autocompletion=complete_weights,
    ),
    preset: str = typer.Option(
        "", "--preset", "-p", help="Show only what this preset of a model changes."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Show a model, weights or a run.

    For a model: its settings and presets. For weights or a run: what they are and where they come
    from.
    """
    import msgspec

    from zoo_core.errors import InputError
    from zoo_core.spec import ModelSpec, WeightsEntry
    from zoo_core.weights.catalog import info
    from zoo_core.weights.header import is_path, is_spelled_as_path

    if is_path(name) and is_spelled_as_path(name) and not preset:  # without loading plugins
        _print_record(_file(name), as_json)
        return
    plugins = loaded_plugins()
    found = info(name, plugins=plugins)
    if preset and not isinstance(found, ModelSpec):
        raise InputError(f"{name} is no model, and has no presets", hint="omit --preset")
    if preset and isinstance(found, ModelSpec):
        _show_preset(found, preset, as_json)
    elif isinstance(found, WeightsEntry):
        record = msgspec.to_builtins(found)
        said = {key: value for key, value in record.items() if value != ""}  # no reason to yank
        _print_record(record if as_json else said, as_json)
    elif isinstance(found, ModelSpec):
        _show_model(found, plugins, as_json)
    else:
        _print_record(_file(name), as_json)


def _show_model(spec: ModelSpec, plugins: Plugins, as_json: bool) -> None:
    from zoo_core.weights.registry import load_registry

    record = {
        "name": spec.name,
        "summary": spec.summary,
        "task": spec.task,
        "learns_classes": spec.learns_classes,
        "paper": spec.paper,
        "licence": spec.licence,
        "parameters": dict(spec.parameters),
        "latents": spec.latents,
        "weights": [
            o.spec.name
            for o in load_registry(plugins)
            if o.spec.model == spec.name and o.spec.status == "active"
        ],
    }
    settings = _settings(spec)
    if as_json:
        print_json(
            "models", [{**record, "presets": spec.presets, "settings": settings}], plugins.problems
        )
        return
    if spec.latents is None:
        del record["latents"]
    classes = {"learns_classes": describe_classes(spec.task, spec.learns_classes)}
    _print_record(record | classes, False)
    typer.echo("\nPresets (zoo train NAME --preset PRESET):")
    for preset, values in spec.presets.items():
        typer.echo(f"  {preset}: " + ", ".join(f"{key}={value}" for key, value in values.items()))
    typer.echo("\nSettings (--set key=value, such as --set batch_size=32):")
    rows = [(s["group"], s["key"], s["default"], s["allowed"], s["meaning"]) for s in settings]
    _print_groups(("KEY", "DEFAULT", "ALLOWED", "MEANING"), rows)


def _show_preset(spec: ModelSpec, preset: str, as_json: bool) -> None:
    """The settings that a preset changes, beside their defaults."""
    from zoo_core.errors import UnknownNameError

    if preset not in spec.presets:
        raise UnknownNameError("preset", preset, spec.presets, hint=f"zoo show {spec.name}")
    new = spec.presets[preset]
    changed = [
        {**row, "preset": new[row["key"]]}
        for row in _settings(spec)
        if row["key"] in new and new[row["key"]] != row["default"]
    ]
    if as_json:
        print_json("presets", [{"model": spec.name, "name": preset, "settings": changed}])
        return
    typer.echo(f"zoo train {spec.name} --preset {preset} changes:")
    rows = [(s["group"], s["key"], s["default"], s["preset"], s["meaning"]) for s in changed]
    _print_groups(("KEY", "DEFAULT", preset.upper(), "MEANING"), rows)


def _print_groups(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print aligned columns, with the name of its group above each group of rows."""
    from zoo_core.config import GROUPS

    lines = [header, *(tuple(map(_text, row[1:])) for row in rows)]
    table = list(aligned(lines))
    typer.echo(f"  {table[0]}")
    for group, title in GROUPS.items():
        own = [line for row, line in zip(rows, table[1:], strict=True) if row[0] == group]
        if own:
            typer.echo(f"{title}:")
        for line in own:
            typer.echo(f"  {line}")


def _settings(spec: Any) -> list[dict[str, Any]]:
    """The settings of the model, then those of a run, with this model's defaults."""
    import msgspec

    from zoo_core.config import RunConfig, allowed_values, group_of, meaning

    rows = []
    for record in (spec.config, RunConfig):
        for field in msgspec.structs.fields(record):
            makes = field.default_factory  # for lists and mappings
            default = field.default if makes is msgspec.NODEFAULT else makes()
            default = spec.run.get(field.name, default)
            rows.append(
                {
                    "key": field.name,
                    "group": group_of(field.name, field.type),
                    "default": default,
                    "allowed": allowed_values(field.name, field.type),
                    "meaning": meaning(field.type),
                }
            )
    return rows


def _file(name: str) -> dict[str, Any]:
    """Read the metadata of a weights file from its header; no tensor is loaded."""
    import msgspec

    from zoo_core.weights.header import parse_metadata, read_header, weights_path

    path: Path = weights_path(name)
    header = read_header(path)
    numbers = sum(math.prod(info.shape) for info in header.tensors.values())
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "tensors": len(header.tensors),
        "numbers": numbers,
        **msgspec.to_builtins(parse_metadata(header, str(path))),
    }


def _print_record(record: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json("records", [record])
        return
    lines = dict(_flat(record))
    width = max(map(len, lines))
    for key, value in lines.items():
        typer.echo(printable(f"{key.ljust(width)}  {value}"))


def _flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield flat keys such as `files.generator.size`, each with its value as text."""
    for key, value in record.items():
        if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
            yield from _flat(value, f"{prefix}{key}.")
        elif key == "metrics" and value:
            for metric in value:
                protocol = ", ".join(f"{k} {v}" for k, v in metric["protocol"].items())
                yield f"{prefix}{key}.{metric['name']}", f"{metric['value']:g} ({protocol})"
        elif key == "classes":
            yield f"{prefix}{key}", ", ".join(f"{n} {name}" for n, name in enumerate(value)) or "-"
        elif isinstance(value, dict):
            yield f"{prefix}{key}", ", ".join(f"{k}={_text(v)}" for k, v in value.items()) or "-"
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)
