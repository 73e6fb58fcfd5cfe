"""Settings of runs and weights: how images were read, and the configuration to start with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo_core.config import Resolved, read_settings_file
from zoo_core.errors import ConfigError, InputError
from zoo_core.filesystem import quoted
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import ModelSpec, resolve_settings
from zoo_core.weights.header import is_path, parse_metadata, read_header, weights_path
from zoo_core.weights.registry import load_registry, means_path


def settings_of_run(name: str | Path, plugins: Plugins) -> dict[str, Any]:
    """All settings of the run that the weights belong to; empty for weights outside a run.

    Raises ConfigError if its config.json is damaged.
    """
    if not is_path(name) or not means_path(name, load_registry(plugins)):  # read it if need be
        return {}
    config = weights_path(name).parent / "config.json"
    return _recorded(config) if config.is_file() else {}


def _recorded(config: Path) -> dict[str, Any]:
    """The settings in the config.json of a run. Raises ConfigError if it is damaged."""
    settings = read_settings_file(config)
    if "run" in settings or "config" in settings:  # no mappings, else their keys were here instead
        raise ConfigError(f"{config} is not the configuration of a run")
    return settings


def resolve_run(
    spec: ModelSpec,
    preset: str,
    config: Path | None,
    *given: tuple[str, Mapping[str, Any]],  # (origin, settings), lowest precedence first
    run_dir: Path | None,
    plugins: Plugins,
) -> Resolved:
    """All settings of a run: those of `resolve_settings`, on top of the weights' that it starts
    from, if it does: defaults < weights < preset < file < what was given.

    A run that exists is asked instead of the weights, which may be gone by then.
    """
    models = [found.spec for found in plugins.models]
    resolved = resolve_settings(spec, preset, config, *given, models=models)
    name = resolved.run.start_from
    if not name:
        return resolved
    recorded = run_dir / "config.json" if run_dir else None
    if recorded is not None and recorded.is_file():
        settings = _recorded(recorded)
    else:
        settings = _configuration(name, spec, plugins)
    own = {key: settings[key] for key in spec.config.__struct_fields__ if key in settings}
    return resolve_settings(spec, preset, config, *given, base=(f"the weights {name}", own))


def _configuration(name: str, spec: ModelSpec, plugins: Plugins) -> Mapping[str, Any]:
    """The configuration of the network at a path, or of registered weights."""
    if means_path(name, load_registry(plugins)):
        path = weights_path(name)
        about: Any = parse_metadata(read_header(path), str(path))
    else:
        about = load_registry(plugins).get(name)
    check_model(name, about.model, spec)
    return dict(about.config)


def check_model(name: str, model: str, spec: ModelSpec) -> None:
    """Raise InputError unless weights are those of this model."""
    if model != spec.name:
        raise InputError(
            f"{name} holds weights of {model}, from which {spec.name} cannot start",
            hint=f"zoo train {model} --from {quoted(name)}",
        )
