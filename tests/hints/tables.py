"""All rows."""

from __future__ import annotations

from hints import drawing, evaluating, images, plugins, python, training

ROWS = (
    *drawing.ROWS, *evaluating.ROWS, *images.ROWS, *training.ROWS, *plugins.ROWS, *python.ROWS
)  # fmt: skip
