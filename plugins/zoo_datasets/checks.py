"""Checks and fingerprints that the data sets of this plugin share."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata

from zoo_core import DataError

SPLITS = ("train", "test")
SMALLEST, LARGEST = 8, 2048  # pixels per side, for data sets drawn at any resolution


def check_split(dataset: str, split: str) -> None:
    """Raise DataError unless `split` is train or test."""
    if split not in SPLITS:
        raise DataError(
            f"data set {dataset!r} has no such split",
            given=repr(split),
            allowed=", ".join(SPLITS),
        )


def check_drawn_resolution(dataset: str, resolution: int) -> None:
    """Raise DataError unless `resolution` (pixels per side) is within 8..2048."""
    if not SMALLEST <= resolution <= LARGEST:
        raise DataError(
            f"data set {dataset!r} cannot be drawn at this resolution",
            given=resolution,
            allowed=f"{SMALLEST} to {LARGEST}",
            hint="--set resolution=64 with zoo train, --resolution 64 with zoo data show",
        )


def versions(dataset: str, *distributions: str) -> list[str]:
    """The installed version of each distribution, without importing any of them.

    Raises DataError for the first one that is not installed.
    """
    found = []
    for distribution in distributions:
        try:
            found.append(f"{distribution}=={metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            raise DataError(
                f"data set {dataset!r} needs the package {distribution}",
                hint="pip install 'zoo-core[demo]'",
            ) from None
    return found


def fingerprint(
    dataset: str,
    resolution: int,  # pixels per side
    split: str,
    count: int,
    rendering: int,  # version number of our own drawing code, raised by hand
    packages: list[str],  # from `versions`: the packages that also determine the pixels
) -> str:
    """A digest that changes whenever an image or the order changes."""
    parts = [dataset, resolution, split, count, rendering, packages]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
