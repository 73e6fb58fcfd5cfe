"""What a plugin returns must be records of the right type, with usable names."""

from __future__ import annotations

from typing import Any

from zoo_core.config import RunConfig
from zoo_core.errors import PluginError, text_of
from zoo_core.plugins.contributions import Spec
from zoo_core.spec import NAME, DatasetSpec, ModelSpec


def kind_of(value: Any) -> str:
    """The name of a value's type, for a message."""
    return type(value).__name__


def checked_find(spec: Any, kind: type[Spec]) -> Spec | None:
    """What a finder returned: None, or a record of type `kind`. Raises TypeError or ValueError."""
    if spec is not None and not isinstance(spec, kind):
        raise TypeError(f"must return a {kind.__name__} or None, returned {kind_of(spec)}")
    return checked_name(spec) if isinstance(spec, DatasetSpec) else spec


def checked_name(spec: Any) -> Any:
    """A model or data set with a usable name. Raises ValueError."""
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        allowed = "lower-case letters and digits, separated by single - or _"
        raise ValueError(f"{spec.name!r} is not a usable name ({allowed})")
    return spec


def checked_model(spec: ModelSpec) -> ModelSpec:
    """A model with usable name, settings and presets. Raises ValueError."""
    checked_name(spec)
    clash = sorted({*spec.config.__struct_fields__} & {*RunConfig.__struct_fields__})
    if clash:
        raise ValueError(
            f"configuration of {spec.name!r} redefines run settings: {', '.join(clash)}"
        )
    if "tiny" not in spec.presets:
        raise ValueError(f"model {spec.name!r} has no preset called 'tiny'")
    return spec


def reason_of(error: BaseException) -> str:
    """What happened, in one line."""
    text = text_of(error)
    if isinstance(error, PluginError):
        return text
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
