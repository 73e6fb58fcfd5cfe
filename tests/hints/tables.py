"""All rows."""

from __future__ import annotations

from hints import (
    drawing,
    evaluating,
    images,
    layouts,
    plugins,
    python,
    training,
)

ROWS = (
    *drawing.ROWS, *evaluating.ROWS, *images.ROWS, *layouts.ROWS, *training.ROWS, *plugins.ROWS,
    *python.ROWS,
)  # fmt: skip
