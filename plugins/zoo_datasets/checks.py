"""What every data set here checks when it is opened, and how it names what it would show."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata

from zoo_core import DataError

SPLITS = ("train", "test")
SMALLEST, LARGEST = 8, 2048  # pixels a side of what is drawn rather than cut


def check_split(dataset: str, split: str) -> None:
    """Raise DataError unless `split` is train or test."""
    if split not in SPLITS:
        raise DataError(
            f"data set {dataset!r} has no such split",
            given=repr(split),
            allowed=", ".join(SPLITS),
            hint="--set split=train",
        )


def check_drawn_resolution(dataset: str, resolution: int) -> None:
    """Raise DataError unless a picture can sensibly be drawn at `resolution` pixels a side."""
    if not SMALLEST <= resolution <= LARGEST:
        raise DataError(
            f"data set {dataset!r} cannot be drawn at that resolution",
            given=resolution,
            allowed=f"{SMALLEST} to {LARGEST}",
            hint="--set resolution=64",
        )


def versions(dataset: str, *distributions: str) -> list[str]:
    """The installed version of each distribution, without importing any of them.

    Raises DataError for the first that is not installed.
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
    resolution: int,  # pixels a side
    split: str,
    count: int,
    rendering: int,  # raised by hand when our own code would draw other pixels
    packages: list[str],  # from `versions`: what decides the pixels besides our code
) -> str:
    """A digest that changes whenever a picture or the order would."""
    parts = [dataset, resolution, split, count, rendering, packages]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
