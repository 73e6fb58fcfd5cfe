"""What `--change` may change in a run: settings of the optimization, never the networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from msgspec.structs import replace

from zoo_core.config import NUM_CLASSES, ModelConfig, Resolved, RunConfig, fields
from zoo_core.errors import ConfigError, InputError
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec
from zoo_core.training.changes import History, with_settings
from zoo_core.training.run_folder import RunFolder
from zoo_core.weights.tensors import layout

ACCEPT_DATA = ("data", "accept")  # the one change that is no setting: to go on with these images


def planned(
    spec: ModelSpec, folder: RunFolder, resolved: Resolved, change: Mapping[str, Any]
) -> tuple[History, Resolved]:
    """The history of a run, and its settings from here on: those of now, with `change` made.

    `resolved` is what a command says, as if nothing had ever changed. Raises InputError if that is
    another run, or if there is none to change; ConfigError for what may not change.
    """
    decided = _decided(resolved)
    folder.check(
        resolved,
        lambda settings: may_change(spec, folder.history(decided).now, settings),
        changing=change.keys(),
    )
    history = folder.history(decided)
    if not change:
        return history, history.now
    if not folder.config.exists():
        raise InputError(
            f"there is no run in {folder.path} to change", hint="--set in place of --change"
        )
    return history, amended(spec, history.now, change)


def accepts_data(change: Mapping[str, Any]) -> bool:
    """Whether a change says to go on with the images that are there now."""
    return ACCEPT_DATA in change.items()


def settings_of(change: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a change, without what accepts data."""
    return {key: value for key, value in change.items() if (key, value) != ACCEPT_DATA}


def amended(spec: ModelSpec, now: Resolved, change: Mapping[str, Any]) -> Resolved:
    """The settings of a run, `now`, with those in `change` instead.

    Raises ConfigError for a setting that is unknown, has an invalid value, or may not change: one
    of the data or the seed, or one that makes other networks.
    """
    settings = settings_of(change)
    for key in settings:
        _check_may_change(key, settings[key], spec)
    wanted = with_settings(now, settings, "--change")
    if wanted.auto_classes:
        raise _refusal(NUM_CLASSES, spec, "")
    if what := other_networks(spec, now.config, wanted.config):
        raise _refusal(", ".join(sorted(settings.keys() & fields(spec.config))), spec, what)
    return _decided(wanted)


def _decided(resolved: Resolved) -> Resolved:
    """The same with a precision that this machine is fast at, where it is `auto`."""
    if resolved.run.precision != "auto":
        return resolved
    precision = Runtime.detect(resolved.run.device, "auto").precision
    return replace(resolved, run=replace(resolved.run, precision=precision))


def may_change(spec: ModelSpec, now: Resolved, settings: Mapping[str, Any]) -> bool:
    """Whether `--change` would take all these settings."""
    try:
        amended(spec, now, settings)
    except ConfigError:
        return False
    return True


def other_networks(spec: ModelSpec, before: ModelConfig, now: ModelConfig) -> str:
    """The first difference between the networks of two configurations; empty if there is none."""
    if before == now:
        return ""
    there, here = _anatomy(spec, before), _anatomy(spec, now)
    changed = [key for key in {**there, **here} if there.get(key) != here.get(key)]
    return next((f"{key}: {there.get(key, 'none')} there, {here.get(key, 'none')} here"
                 for key in changed), "")  # fmt: skip


def _anatomy(spec: ModelSpec, config: ModelConfig) -> dict[str, str]:
    """Shapes, tensors and kinds of layers of all networks, on the meta device."""
    with torch.device("meta"):
        networks = {role: make(config) for role, make in spec.builders().items()}
    main = networks[spec.role]
    found = {"images": str(main.image_shape), "source images": str(main.source_shape)}
    for role, network in networks.items():
        for name, part in network.named_modules():
            found[f"{role}.{name}".rstrip(".")] = type(part).__name__
        for key, (kind, shape) in layout(network.state_dict()).items():
            found[f"{role}.{key}"] = f"{kind} {list(shape)}"
    return found


def _check_may_change(key: str, value: Any, spec: ModelSpec) -> None:
    if key in fields(RunConfig).keys() - RunConfig.FREE - RunConfig.CHANGEABLE:
        if key == "data":
            hint = "--change data=accept, with --data if they are elsewhere, to go on with others"
            raise ConfigError("the images of a run cannot change unasked", given=value, hint=hint)
        raise _refusal(key, spec, "")


def _refusal(key: str, spec: ModelSpec, what: str) -> ConfigError:
    return ConfigError(
        f"{key} cannot change in a run" + (": the networks would be others" if what else ""),
        given=what or None,
        allowed=f"{', '.join(sorted(RunConfig.CHANGEABLE))}, settings of {spec.name} that leave "
        "its networks as they are, and what --set may change at any time",
        hint="--run-dir NEW_FOLDER, with --set in place of --change",
    )
