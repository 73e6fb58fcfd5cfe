"""All rows."""

from __future__ import annotations

from hints import (
    drawing,
    evaluating,
    exporting,
    images,
    importing,
    layouts,
    plugins,
    publishing,
    python,
    registered,
    starting,
    training,
)

ROWS = (
    *drawing.ROWS, *evaluating.ROWS, *images.ROWS, *layouts.ROWS, *training.ROWS, *plugins.ROWS,
    *python.ROWS, *exporting.ROWS, *importing.ROWS, *publishing.ROWS, *registered.ROWS,
    *starting.ROWS,
)  # fmt: skip
