"""The grid of a publication: seeds from 0 on, drawn anew by the weights that are published."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.data.batches import gather, to_uint8
from zoo_core.data.saving import grid_columns
from zoo_core.generators import Generator
from zoo_core.metrics.sides import Options, real_images, with_settings_of_run
from zoo_core.plugins.loading import Plugins
from zoo_core.runtime import Runtime
from zoo_core.training.source import Source
from zoo_core.weights.trial import attempt


class Grid(NamedTuple):
    """Images, row by row, and what they are."""

    pixels: NDArray[np.uint8]  # [N, C, H, W]
    columns: int
    shows: str  # in words


def draw(source: Source, plugins: Plugins) -> Grid | None:
    """Images of a generator; None for a classifier.

    What translates images is shown those of its run, at even distances, or made up ones where it
    was imported. Raises what opening the run's images raises.
    """
    network = source.network
    if not isinstance(network, Generator):
        return None
    columns = grid_columns(network.image_shape[2])
    count, sources = columns * columns, None
    if network.source_shape is not None:
        if not source.is_run:
            sheet = attempt(network, str(source.path))
            return Grid(sheet.pixels, sheet.columns, "Made-up sources and their translations")
        sources = _sources(source, network, count, plugins)
        count = len(sources)
    classes = network.num_classes
    labels = [number % classes for number in range(count)] if classes else None
    images = network.sample(range(count), labels=labels, source=sources)
    shows = f"{count} images, seeds 0 to {count - 1}"
    if sources is not None:
        shows = f"Translations of {count} images of its data, at even distances"
    return Grid(to_uint8(images), columns, shows + (", classes in turn" if classes else ""))


def _sources(source: Source, generator: Generator, count: int, plugins: Plugins) -> Tensor:
    """Source images of the run [N, C, H, W], spread over its data."""
    options = with_settings_of_run(str(source.path), Options(), plugins)
    data, _ = real_images(options, generator, plugins)
    assert data.source is not None  # a translator is trained on pairs
    ids = np.linspace(0, len(data) - 1, min(count, len(data))).astype(np.int64)
    return Runtime.detect("cpu", "fp32").place_images(gather(data.source, ids, 0))
