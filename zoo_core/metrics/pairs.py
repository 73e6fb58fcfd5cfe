"""Distances between translated images and their targets, collected batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from zoo_core.metrics.picture_sets import PictureSet
from zoo_core.metrics.similarity import DISTANCES, LPIPS_BACKBONES, load_lpips, pair_distances

LPIPS = "alex"  # the backbone that is usually reported


class PairVisitor:
    """Sums the wanted distances between the images it is shown and `targets`, in their order."""

    def __init__(self, targets: PictureSet, wanted: Sequence[str]):
        self.targets = targets.batches()
        self.wanted = [name for name in DISTANCES if name in wanted]
        self.lpips = load_lpips(LPIPS) if "lpips" in wanted else None
        self.count = 0
        self.sums: dict[str, float] = {}

    def __call__(self, images: Tensor, names: Sequence[str]) -> None:
        """Add a batch, uint8 [n, C, H, W]."""
        sides = (side.float() / 127.5 - 1 for side in (next(self.targets), images))
        found = pair_distances(*sides, wanted=self.wanted, lpips=self.lpips)
        for name, values in found.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(values.sum())
        self.count += len(images)

    def found(self) -> Iterator[tuple[str, float, dict[str, Any]]]:
        """Name, mean and extra protocol entries of each distance."""
        for name, total in self.sums.items():
            more = {"backbone": LPIPS_BACKBONES[LPIPS]} if name == "lpips" else {}
            yield name, total / self.count, more
