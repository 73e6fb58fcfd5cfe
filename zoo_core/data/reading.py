"""The settings of a run that say how images are read, for commands that train nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo_core.config import RunConfig, fields, parse_assignments, read_value
from zoo_core.errors import ConfigError, nearest

OF_DATA = ("layout", "label_column", "holdout")  # those of a run say only how its own data are read
READING = ("data", "split", "fit", "levels", "bad_pictures", "reverse_pairs", "pack", *OF_DATA)


def read_assignments(assignments: list[str], hint: str) -> dict[str, Any]:
    """The values of `--set`. Raises ConfigError, which suggests `hint`, for any other setting."""
    try:
        given = parse_assignments(assignments)
    except ConfigError as error:  # its hint is for the settings of a model
        raise ConfigError(error.what, given=error.given, hint="--set levels=data") from None
    return read_settings(given, "--set", hint)


def read_settings(given: Mapping[str, Any], origin: str, hint: str) -> dict[str, Any]:
    """The values of settings that say how images are read. Raises ConfigError for any other."""
    for key in given:
        if key not in READING:
            raise ConfigError(
                f"{key!r} is not a setting of how images are read",
                allowed=", ".join(READING),
                near=nearest(key, READING),
            )
    kinds = fields(RunConfig)
    try:
        return {key: read_value(key, kinds[key], given[key], origin, "") for key in given}
    except ConfigError as error:
        raise ConfigError(error.what, given=error.given, allowed=error.allowed, hint=hint) from None
