"""Loading networks in commands, which say what happens meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core.cli.output import log_to_stderr
from zoo_core.cli.progress import receiving

if TYPE_CHECKING:
    from zoo_core.generators import Generator
    from zoo_core.plugins.loading import Plugins


def load_generator(name: str, device: str, plugins: Plugins) -> Generator:
    """`zoo.load` with a bar while weights are downloaded, and its warnings on stderr."""
    from zoo_core.weights.loading import load

    log_to_stderr()
    with receiving(name) as on_progress:
        return load(name, device=device, plugins=plugins, on_progress=on_progress)
