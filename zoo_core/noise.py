"""Random numbers as a pure function of (seed, purpose, index): no state, no order of calls.

The bits come from Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011), a counter-based generator: the key is a hash of (seed, purpose), the counter is (index,
block). The noise of seed 17 is therefore the same alone, in a batch of 64 and for every device, and
an exact resume needs no RNG state. Torch's own generators promise neither: their numbers depend on
the tensor's size and the kind of device. Everything here is computed in numpy on the CPU.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class SeededNoise:
    """A row of random numbers for every (seed, index) pair.

    `seeds` is one seed for all rows (training) or one per row (sampling). `indices` is likewise one
    or one per row: the global sample index in training, 0 in sampling. Both are integers in
    0 .. 2**64 - 1. Raises ValueError if there are not as many seeds as indices.
    """

    def __init__(
        self, seeds: int | Sequence[int], indices: int | Sequence[int] | NDArray[np.uint64] = 0
    ):
        one_each = (int, np.integer)
        rows = {len(given) for given in (seeds, indices) if not isinstance(given, one_each)}
        if len(rows) > 1:
            raise ValueError(f"there must be as many seeds as indices, given {len(seeds)} seeds")
        self._rows = rows.pop() if rows else 1
        self._seeds = [int(s) for s in ([seeds] if isinstance(seeds, one_each) else seeds)]
        self._indices = np.broadcast_to(np.asarray(indices, dtype=np.uint64), (self._rows,))
        self._end: SeededNoise | None = None
        self._t = torch.zeros(self._rows)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, rows: slice) -> SeededNoise:
        """The same noise, restricted to some rows."""
        seeds = self._seeds if len(self._seeds) == 1 else self._seeds[rows]
        some = SeededNoise(seeds[0] if len(seeds) == 1 else seeds, self._indices[rows])
        return some if self._end is None else some.interpolate(self._end[rows], self._t[rows])

    def interpolate(self, end: SeededNoise, t: Tensor) -> SeededNoise:
        """Noise between this one and `end`: a row is this noise at t = 0, and `end` at t = 1.

        The distribution stays the same in between: normal numbers are rotated along a circle,
        uniform ones likewise after a mapping to normal ones, and integers switch at t = 0.5. A row
        with the same seed and index in both is left alone: rotating numbers towards themselves
        would enlarge them. `t` is float [rows] in 0..1.
        """
        between = SeededNoise(
            self._seeds if len(self._seeds) > 1 else self._seeds[0], self._indices
        )
        arrived = torch.tensor(
            [own == other for own, other in zip(self._streams(), end._streams(), strict=True)]
        )
        between._end, between._t = end, t.masked_fill(arrived, 0)
        return between

    def normal(self, purpose: str, shape: Sequence[int] = ()) -> Tensor:
        """Standard normal float32 [rows, *shape] on the CPU, by Box and Muller (1958)."""
        size = math.prod(shape)
        bits = self._bits(purpose, size + size % 2)
        # float64, rounded once at the end, because libraries differ in the last bit of log and cos.
        uniform = (bits.astype(np.float64) + 1) * 2.0**-32  # in (0, 1]: log is finite
        radius = np.sqrt(-2 * np.log(uniform[:, 0::2]))
        angle = 2 * math.pi * uniform[:, 1::2]
        values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)
        values = values.reshape(bits.shape)[:, :size].astype(np.float32)
        own = torch.from_numpy(values).reshape(self._rows, *shape)
        return own if self._end is None else self._turned(own, self._end.normal(purpose, shape))

    def uniform(self, purpose: str, shape: Sequence[int] = ()) -> Tensor:
        """Uniform float32 [rows, *shape] in [0, 1), on the CPU."""
        bits = self._bits(purpose, math.prod(shape))
        values = (bits >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)
        own = torch.from_numpy(values).reshape(self._rows, *shape)
        if self._end is None:
            return own
        ends = [
            (end.double() + 2**-25).clamp_(max=1 - 2**-25)
            for end in (own, self._end.uniform(purpose, shape))
        ]
        turned = self._turned(*map(torch.special.ndtri, ends))
        return torch.special.ndtr(turned).sub_(2**-25).clamp_(0, 1 - 2**-24).float()

    def integers(self, purpose: str, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Uniform int64 [rows, *shape] in 0 .. high - 1, on the CPU; `high` is in 1 .. 2**32."""
        if not 1 <= high <= 1 << 32:
            raise ValueError(f"high must be in 1 .. 2**32, given {high}")
        scaled = (self._bits(purpose, math.prod(shape)) * np.uint64(high)) >> _HALF
        own = torch.from_numpy(scaled.astype(np.int64)).reshape(self._rows, *shape)
        if self._end is None:
            return own
        changed = self._per_row(self._t, own) >= 0.5
        return torch.where(changed, self._end.integers(purpose, high, shape), own)

    def latents(self, purpose: str, shape: Sequence[int], distribution: str) -> Tensor:
        """Latents float32 [rows, *shape] on the CPU, distributed as `Generator` defines it."""
        if distribution == "uniform":
            return self.uniform(purpose, shape) * 2 - 1
        normal = self.normal(purpose, shape)
        return _on_sphere(normal) if distribution == "sphere" else normal

    def _streams(self) -> list[tuple[int, int]]:
        """Seed and index of every row."""
        seeds = self._seeds * (self._rows // len(self._seeds))
        return list(zip(seeds, self._indices.tolist(), strict=True))

    def _turned(self, own: Tensor, end: Tensor) -> Tensor:
        angle = self._per_row(self._t * (math.pi / 2), own)
        return own * angle.cos() + end * angle.sin()

    @staticmethod
    def _per_row(values: Tensor, like: Tensor) -> Tensor:
        return values.view(-1, *[1] * (like.dim() - 1))

    def _bits(self, purpose: str, size: int) -> NDArray[np.uint64]:
        """uint64 [rows, size] of 32 random bits each."""
        keys = np.array([stream_key(s, purpose) for s in self._seeds], dtype=np.uint64)[:, None]
        blocks = np.arange(-(-size // 4), dtype=np.uint64)[None, :]
        shape = (self._rows, blocks.shape[1])
        counter = (
            np.broadcast_to(blocks, shape),
            np.zeros(shape, dtype=np.uint64),  # 2**34 numbers per row are enough
            np.broadcast_to(self._indices[:, None] & _LOW, shape),
            np.broadcast_to(self._indices[:, None] >> _HALF, shape),
        )
        words = philox4x32(counter, (keys & _LOW, keys >> _HALF))
        return np.stack(words, axis=2).reshape(self._rows, 4 * blocks.size)[:, :size]


def _on_sphere(rows: Tensor) -> Tensor:
    """Rows [N, ...] scaled to mean square 1, as pixel normalization does (Karras et al. 2018)."""
    flat = rows.flatten(1)
    norm = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return (flat * torch.rsqrt(norm.square() / flat.shape[1] + 1e-8)).view(rows.shape)


def philox4x32(
    counter: tuple[NDArray[np.uint64], ...],  # 4 words of 32 bits, as uint64
    key: tuple[NDArray[np.uint64], ...],  # 2 words of 32 bits, as uint64
) -> tuple[NDArray[np.uint64], ...]:
    """Ten rounds of Philox4x32 (section 2.2 of the paper), on any broadcastable arrays of words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def stream_key(seed: int, purpose: str, *more: int) -> int:
    """The 64-bit key of a stream; also used to reseed torch's own generators at every step."""
    text = ":".join([str(seed), purpose, *map(str, more)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def permutation(seed: int, purpose: str, epoch: int, size: int) -> NDArray[np.int64]:
    """A shuffle of 0 .. size - 1, determined by (seed, purpose, epoch)."""
    noise = SeededNoise(seed, [epoch])
    high, low = noise._bits(purpose, 2 * size).reshape(2, size)
    return np.argsort((high << _HALF) | low, kind="stable")
