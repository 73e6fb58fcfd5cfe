"""Affine warps of images, differentiable to any order.

Karras et al. 2020a, appendix B: pad the images by reflection, double their size with an orthogonal
wavelet filter, sample bilinearly, halve the size with the same filter. All of this is linear in the
images, so the derivative of a warp is its adjoint and the derivative of the adjoint is the warp;
neither stores an intermediate image. (Torch 2.14 differentiates its own `grid_sample` twice;
earlier releases do not.)

The reflection padding is the size minus one on each side, followed by zeros. Departures, which only
change rounding:

- Only what some warp of the batch reads is computed.
- Images that do not move are skipped: the filter is orthogonal and would reproduce them.
- Doubling and halving are matrix products that include the reflection, which on a CPU takes a third
  to an eighth of the time of convolutions.
- A warp without rotation is one such product per axis.

On CUDA the adjoint of a rotation sums in no fixed order, so gradients differ by rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import affine_grid

# The low-pass filter of the sym6 wavelet (Daubechies 1992): orthogonal to its even shifts.
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
BEFORE = 5  # taps before the one aligned with its pixel
AROUND = len(SYM6) - 2  # doubled pixels that halving reads beyond the image
BLOCK = 256  # matrix rows multiplied at once, without their all-zero columns
CPU_CHUNK = 16  # images rotated at once on a CPU, so that the doubled ones fit its cache

Band = list[tuple[slice, slice, Tensor]]  # rows, columns and values of each block


def linear(
    images: Tensor, function: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor]
) -> Tensor:
    """Apply a linear function to images; its derivative is `adjoint`, and vice versa.

    Both compute in the dtype of the images, regardless of autocast.
    """
    return _Linear.apply(images, function, adjoint)


def warp(images: Tensor, transforms: Tensor) -> Tensor:
    """Move the content of images [N, C, S, S] by `transforms`; same dtype, computed in float32.

    `transforms` is float64 [N, 3, 3] on the CPU and acts on (x, y, 1), in pixels from the center of
    the image, y downward. Float64 images are computed in float64.
    """
    moved = (transforms != torch.eye(3, dtype=torch.float64)).any(2).any(1).nonzero().flatten()
    if not len(moved):
        return images
    inverse = torch.linalg.inv(transforms[moved])
    inverse[:, :2, 2] *= 2  # in pixels of the doubled images
    groups = _groups(inverse, images.shape[-1], CPU_CHUNK if images.is_cpu else len(moved))
    index = moved[torch.cat([rows for _, rows in groups])].to(images.device, non_blocking=True)
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    parts, warped = wide.index_select(0, index).split([len(rows) for _, rows in groups]), []
    for part, (kind, rows) in zip(parts, groups, strict=True):
        with torch.autocast(images.device.type, enabled=False):
            maps = kind(inverse[rows], part)
        warped.append(linear(part, maps.function, maps.adjoint))
    return wide.index_copy(0, index, torch.cat(warped)).to(images.dtype)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, function, adjoint):
        ctx.functions = function, adjoint
        with torch.autocast(images.device.type, enabled=False):
            return function(images)

    @staticmethod
    def backward(ctx, gradient):
        function, adjoint = ctx.functions
        return _Linear.apply(gradient, adjoint, function), None, None


class _AxisAligned:
    """Warps that keep or swap the axes, one per image of `images` [n, C, S, S].

    Each is a product with one matrix [S, S] per axis.
    """

    def __init__(self, inverse: Tensor, images: Tensor):
        swaps = (inverse[:, 0, 0].abs() < inverse[:, 0, 1].abs())[:, None, None]
        inverse = inverse[:, [1, 0, 2]].where(swaps, inverse)  # for images that are transposed
        self.swaps = swaps[:, None].to(images.device, non_blocking=True)
        self.columns, self.rows = (
            _axis(inverse[:, axis, axis, None], inverse[:, axis, 2, None], images)
            for axis in (0, 1)
        )

    def function(self, images: Tensor) -> Tensor:
        """Warp the images."""
        return self.rows @ images.mT.where(self.swaps, images) @ self.columns.mT

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Map the gradient at the warped images to the gradient at the images."""
        images = self.rows.mT @ gradient @ self.columns
        return images.mT.where(self.swaps, images)


class _General:
    """Arbitrary warps, one per image of `images` [n, C, S, S].

    All of them sample the same window of the doubled images.
    """

    def __init__(self, inverse: Tensor, images: Tensor):
        self.shape, size = images.shape, images.shape[-1]
        windows = _windows(inverse, size)
        left, top = windows[:, 0].amin(0).tolist()
        right, bottom = windows[:, 1].amax(0).tolist()
        double, self.halve = _bands(size, images.dtype, images.device)
        self.rows, self.columns = _part(double, top, bottom), _part(double, left, right)
        self.window = (*images.shape[:2], bottom - top, right - left)
        self.looked_up = (*images.shape[:2], 2 * size + AROUND, 2 * size + AROUND)

        # affine_grid counts -1 to 1 from edge to edge, for the source and for the output.
        width, height, half = right - left, bottom - top, size + AROUND / 2
        middle = 3 * (size - 1) + 0.5  # center of the image, in rows of the doubling matrix
        wanted = inverse.new_tensor([[half, 0, 0.5], [0, half, 0.5], [0, 0, 1]])
        found = inverse.new_tensor(
            [
                [2 / width, 0, 2 * (middle - left) / width - 1],
                [0, 2 / height, 2 * (middle - top) / height - 1],
            ]
        )
        theta = (found @ inverse @ wanted).to(images.dtype)
        self.theta = theta.to(images.device, non_blocking=True)

    def function(self, images: Tensor) -> Tensor:
        """Warp the images."""
        planes = _multiply(self.rows, self.columns, images.flatten(0, 1), *self.window[2:])
        planes = torch.grid_sampler_2d(planes.view(self.window), self._grid(), 0, 0, False)
        planes = _multiply(self.halve, self.halve, planes.flatten(0, 1), *self.shape[2:])
        return planes.view(self.shape)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """Map the gradient at the warped images to the gradient at the images."""
        halve = _transposed(self.halve)
        planes = _multiply(halve, halve, gradient.flatten(0, 1), *self.looked_up[2:])
        planes, _ = torch.ops.aten.grid_sampler_2d_backward(
            planes.view(self.looked_up),
            planes.new_zeros(()).expand(self.window),  # only its shape matters
            self._grid(), 0, 0, False, [True, False],
        )  # fmt: skip
        rows, columns = _transposed(self.rows), _transposed(self.columns)
        return _multiply(rows, columns, planes.flatten(0, 1), *self.shape[2:]).view(self.shape)

    def _grid(self) -> Tensor:
        return affine_grid(self.theta, self.looked_up, align_corners=False)


def _groups(inverse: Tensor, size: int, chunk: int) -> list[tuple[type, Tensor]]:
    """Rows of `inverse` that are straight, and chunks of the others with windows of like size."""
    mixes = inverse[:, :2, :2].abs() > 1e-9  # the cosine of a quarter turn is 6e-17, not 0
    straight = ~mixes.all(2).any(1)
    windows = _windows(inverse, size)
    order = (windows[:, 1] - windows[:, 0]).prod(1).argsort()
    groups: list[tuple[type, Tensor]] = [(_AxisAligned, straight.nonzero().flatten())]
    groups += [(_General, rows) for rows in order[~straight[order]].split(chunk)]
    return [(kind, rows) for kind, rows in groups if len(rows)]


def _windows(inverse: Tensor, size: int) -> Tensor:
    """int64 [n, 2, 2]: the first row of the doubling matrix that each warp reads and one past the
    last, for x and y.
    """
    low, high = _places(size)[[0, -1]].tolist()
    corners = inverse.new_tensor([[low, high, low, high], [low, low, high, high], [1, 1, 1, 1]])
    seen = (inverse @ corners)[:, :2] + 3 * (size - 1)
    rows = 2 * (3 * size - 2)
    first = seen.amin(2).floor().long().clamp(0, rows - 1)
    end = (seen.amax(2).floor().long() + 2).clamp(1, rows)
    return torch.stack([first, end], 1)


def _places(size: int) -> Tensor:
    """float64 [2 S + AROUND]: positions that halving reads, from the center of the image."""
    first = -(size - 1) - BEFORE
    return torch.arange(first, first + 2 * size + AROUND, dtype=torch.float64)


def _axis(stretch: Tensor, shift: Tensor, images: Tensor) -> Tensor:
    """[n, 1, S, S]: double an axis, sample it at `stretch` * position + `shift`, and halve it."""
    size = images.shape[-1]
    double, halve = _matrices(size, images.dtype, images.device)
    seen = stretch * _places(size) + shift + 3 * (size - 1)
    looked_up = images.new_zeros(())
    for row in (seen.floor(), seen.floor() + 1):
        weight = (1 - (seen - row).abs()).where((row >= 0) & (row < len(double)), 0.0)
        row = row.clamp(0, len(double) - 1).long().to(images.device, non_blocking=True)
        weight = weight[..., None].to(images.dtype).to(images.device, non_blocking=True)
        looked_up = looked_up + weight * double[row]
    return (halve @ looked_up)[:, None]


@lru_cache(maxsize=16)
def _matrices(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrices that double and that halve an axis.

    Doubling takes `size` pixels and pads them by reflection as far as there are pixels; halving
    takes 2 `size` + `AROUND` pixels.
    """
    places = torch.arange(-(size - 1), 2 * size - 1)
    pixels = (size - 1) - ((size - 1) - places.abs()).abs()
    double = torch.zeros(2 * len(places), size, dtype=torch.float64)
    halve = torch.zeros(size, 2 * size + AROUND, dtype=torch.float64)
    for number, tap in enumerate(SYM6):
        rows = 2 * torch.arange(len(places)) + number - BEFORE
        inside = (rows >= 0) & (rows < len(double))
        entries = (rows[inside], pixels[inside])
        double.index_put_(entries, double.new_tensor(tap), accumulate=True)
        halve[torch.arange(size), 2 * torch.arange(size) + number] = tap
    return double.to(dtype).to(device), halve.to(dtype).to(device)


@lru_cache(maxsize=16)
def _bands(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Band, Band]:
    """The same two matrices, without most of their zeros."""
    double, halve = _matrices(size, dtype, device)
    return _band(double), _band(halve)


def _band(matrix: Tensor) -> Band:
    band = []
    for start in range(0, len(matrix), BLOCK):
        block = matrix[start : start + BLOCK]
        used = block.any(0).nonzero().flatten().tolist()
        columns = slice(used[0], used[-1] + 1)
        band.append((slice(start, start + len(block)), columns, block[:, columns]))
    return band


def _part(band: Band, first: int, end: int) -> Band:
    """The rows from `first` to `end`, renumbered from 0."""
    part = []
    for rows, columns, block in band:
        start, stop = max(rows.start, first), min(rows.stop, end)
        if start < stop:
            inside = block[start - rows.start : stop - rows.start]
            part.append((slice(start - first, stop - first), columns, inside))
    return part


def _transposed(band: Band) -> Band:
    return [(columns, rows, block.mT) for rows, columns, block in band]


def _multiply(rows: Band, columns: Band, planes: Tensor, height: int, width: int) -> Tensor:
    """`rows` @ planes @ `columns`.T: planes [n, H, W] to [n, height, width]."""
    for band, length in ((columns, width), (rows, height)):
        result = planes.new_zeros(len(planes), length, planes.shape[1])
        for here, there, block in band:
            blocks = block.expand(len(planes), -1, -1)
            result[:, here].baddbmm_(blocks, planes.mT[:, there])
        planes = result
    return planes
