"""What a run records of its images in `data.json`, to say how other images differ from them.

The fingerprint alone says that images are others, not in what: a decoder that rounds otherwise
changes all pixels by one level, and so would another data set of the same size by a hundred.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zoo_core.data.packing import PackedData

COMPARED = 64  # images whose mean levels are recorded, spread over the data


def describe(data: PackedData) -> dict[str, Any]:
    """Count, size, classes and labels of the images, and mean levels (0..255) of some of them."""
    ids = np.linspace(0, len(data) - 1, min(COMPARED, len(data))).astype(np.int64)
    sides = [data.images] if data.source is None else [data.images, data.source]
    labels = None if data.labels is None else hashlib.sha256(data.labels.tobytes()).hexdigest()[:24]
    return {
        "fingerprint": data.fingerprint,
        "images": len(data),
        "sizes": [" x ".join(map(str, side.shape[1:])) for side in sides],
        "classes": list(data.classes),
        "labels": labels,
        "levels": [[round(float(np.mean(side[int(i)])), 3) for i in ids] for side in sides],
    }


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In what images differ from those `before`, both as described above."""
    return ", ".join(_differences(before, now)) or _levels(before["levels"], now["levels"])


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before["images"] != now["images"]:
        yield f"{before['images']:,} images there, {now['images']:,} here"
    if before["sizes"] != now["sizes"]:
        there, here = (" and ".join(each["sizes"]) for each in (before, now))
        yield f"{there} pixels and channels there, {here} here"
    if before["classes"] != now["classes"]:
        yield _classes(before["classes"], now["classes"])
    elif before["labels"] != now["labels"] and before["images"] == now["images"]:
        yield "the labels of the images"


def _classes(before: Sequence[str], now: Sequence[str]) -> str:
    if len(before) != len(now):
        return f"{len(before)} classes there, {len(now)} here"
    pairs = enumerate(zip(before, now, strict=True))
    number, there, here = next((n, *pair) for n, pair in pairs if pair[0] != pair[1])
    return f"class {number} is {there!r} there, {here!r} here"


def _levels(before: Sequence[Sequence[float]], now: Sequence[Sequence[float]]) -> str:
    """How far apart the pixels are, where only they differ."""
    most = max(
        float(np.abs(np.subtract(there, here)).max())
        for there, here in zip(before, now, strict=True)
    )
    return (
        f"only pixel values: mean levels of {len(now[0])} images compared differ by up to "
        f"{most:.3g} of 255"
    )
