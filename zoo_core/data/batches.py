"""The order in which packed images are shown, and the batches made of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.config import RunConfig
from zoo_core.data.loaders import load_with_workers
from zoo_core.data.packing import PackedData
from zoo_core.interfaces import Batch
from zoo_core.noise import SeededNoise, permutation
from zoo_core.runtime import Runtime


def batches(data: PackedData, run: RunConfig, runtime: Runtime, images: int) -> Iterator[Batch]:
    """Yield batches endlessly from global position `images` on, in the order of `BatchOrder`.

    Worker processes affect only the speed.
    """
    order = BatchOrder(data, run)
    positions = range(images, 1 << 62, run.batch_size)
    raw = (
        load_with_workers(order, positions, run.workers)
        if run.workers
        else map(order.__getitem__, positions)
    )
    for pictures, source, labels, ids in raw:
        yield Batch(
            images=runtime.place_images(pictures),
            labels=None if labels is None else labels.to(runtime.device),
            source=None if source is None else runtime.place_images(source),
            ids=ids,
        )


_Raw = tuple[Tensor, Tensor | None, Tensor | None, Tensor]


class BatchOrder(torch.utils.data.Dataset[_Raw]):
    """What is shown when: `order[p]` is the batch whose first image has global position p.

    Each epoch has its own shuffle, a function of (seed, epoch). Whether an image is mirrored is a
    function of (seed, position).
    """

    def __init__(self, data: PackedData, run: RunConfig):
        self.data, self.run = data, run
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def ids(self, start: int) -> NDArray[np.int64]:
        """Data set indices of the batch that begins at `start`."""
        size = len(self.data)
        positions = np.arange(start, start + self.run.batch_size)
        return np.array([self._epoch(int(p) // size)[int(p) % size] for p in positions])

    def __getitem__(self, start: int) -> _Raw:
        ids = self.ids(start)
        noise = SeededNoise(self.run.seed, range(start, start + len(ids)))
        pictures = self._shown(self.data.images, ids, noise)
        source = None if self.data.source is None else self._shown(self.data.source, ids, noise)
        labels = None if self.data.labels is None else torch.from_numpy(self.data.labels[ids])
        return pictures, source, labels, torch.from_numpy(ids)

    def _shown(
        self, pictures: NDArray[np.uint8], ids: NDArray[np.int64], noise: SeededNoise
    ) -> Tensor:
        """Packed images, randomly cropped and mirrored as the settings say."""
        jitter = self.run.jitter
        corners = noise.integers("jitter", jitter + 1, (2,)) if jitter else None
        shown = gather(pictures, ids, jitter, corners)
        if self.run.mirror:
            flip = (noise.uniform("mirror") < 0.5).view(-1, 1, 1, 1)
            shown = torch.where(flip, shown.flip(3), shown)
        return shown

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs = {  # a batch is no larger than the data set: it spans at most two epochs
                e: shuffle for e, shuffle in self._epochs.items() if e >= epoch - 1
            }
            self._epochs[epoch] = permutation(self.run.seed, "order", epoch, len(self.data))
        return self._epochs[epoch]


def gather(
    pictures: NDArray[np.uint8],  # [..., H, W, C]
    ids: NDArray[np.int64],  # [N]
    jitter: int = 0,  # pixels to crop from height and from width
    corners: Tensor | None = None,  # int64 [N, 2] in 0..jitter: top, left; None: the center
) -> Tensor:
    """Copy packed images: uint8 [N, C, H - jitter, W - jitter], channels last in memory."""
    rows = pictures[ids]
    if jitter:
        height, width = (side - jitter for side in rows.shape[1:3])
        places = [(jitter // 2, jitter // 2)] * len(ids) if corners is None else corners.tolist()
        rows = np.stack(
            [
                row[top : top + height, left : left + width]
                for row, (top, left) in zip(rows, places, strict=True)
            ]
        )
    return torch.from_numpy(rows).permute(0, 3, 1, 2)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """Convert float [N, C, H, W] in [-1, 1] to uint8 in 0..255 on the CPU, rounding to nearest."""
    scaled = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return scaled.to("cpu", torch.uint8).contiguous().numpy()
