"""The settings of the run that weights come from, which say how its images were read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo_core.config import read_settings_file
from zoo_core.weights.header import is_path, weights_path


def settings_of_run(name: str | Path) -> dict[str, Any]:
    """All settings of the run that the weights belong to; empty for weights outside a run.

    Raises ConfigError if its config.json is damaged.
    """
    if not is_path(name):
        return {}
    config = weights_path(name).parent / "config.json"
    return read_settings_file(config) if config.is_file() else {}
