"""The settings of a run that say how images are read, for commands that train nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from zoo_core.config import RunConfig, fields, parse_assignments, read_value
from zoo_core.errors import ConfigError, nearest

OF_DATA = ("layout", "label_column", "holdout")  # those of a run say only how its own data are read
OF_FILES = ("layout", "label_column", "holdout", "levels")  # what your own files mean
READING = ("data", "split", "fit", "levels", "bad_pictures", "reverse_pairs", "pack", *OF_DATA)


def read_assignments(
    assignments: list[str], hint: str, allowed: Collection[str] = READING
) -> dict[str, Any]:
    """The values of `--set`. Raises ConfigError, which suggests `hint`, for any other setting."""
    given = parse_assignments(assignments, example="levels=data")
    return read_settings(given, "--set", hint, allowed)


def read_settings(
    given: Mapping[str, Any], origin: str, hint: str, allowed: Collection[str] = READING
) -> dict[str, Any]:
    """The values of settings that say how images are read. Raises ConfigError for any other."""
    for key in given:
        if key not in allowed:
            raise ConfigError(
                f"{key!r} is not a setting of how images are read",
                allowed=", ".join(allowed),
                near=nearest(key, allowed),
            )
    kinds = fields(RunConfig)
    try:
        return {key: read_value(key, kinds[key], given[key], origin, "") for key in given}
    except ConfigError as error:
        raise ConfigError(error.what, given=error.given, allowed=error.allowed, hint=hint) from None
