"""Affine warps of pictures, differentiable any number of times.

Karras et al. 2020a, appendix B: continue the pictures by reflection, double their size through an
orthogonal wavelet filter, look every pixel up bilinearly, halve the size through the same filter.
All of it is linear in the pictures, so the derivative of a warp is its adjoint, and the derivative
of the adjoint is the warp; neither keeps an intermediate picture. (Torch 2.14 differentiates its
own `grid_sample` twice, earlier releases do not.)

Pictures are continued by their size less one, and by zeros from there. Departures, which change
rounding only: nothing is computed that no warp of the batch looks at; pictures that do not move are
left out, since the filter is orthogonal and would give them back; doubling and halving are products
with matrices that hold the reflection as well, on a CPU in a third to an eighth of the time of
convolutions; and a warp without a rotation is one such product an axis. On CUDA the adjoint of a
rotation adds in no fixed order, so that gradients differ in rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import affine_grid

# The low-pass filter of the sym6 wavelet (Daubechies 1992): orthogonal to itself at even distances.
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
BEFORE = 5  # taps before the one that stands on its pixel
AROUND = len(SYM6) - 2  # pixels of the double size that halving reads beyond the picture
BLOCK = 256  # rows of a matrix that are multiplied at once, without their columns of zeros
CPU_CHUNK = 16  # pictures rotated at once on a CPU, so that the doubled ones stay in its cache

Band = list[tuple[slice, slice, Tensor]]  # rows, columns, and the numbers that stand there


def linear(
    images: Tensor, function: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor]
) -> Tensor:
    """A linear function of images, whose derivative is its adjoint, and the other way round.

    Both compute in the dtype of the images, whatever autocast does.
    """
    return _Linear.apply(images, function, adjoint)


def warp(images: Tensor, transforms: Tensor) -> Tensor:
    """Move what images [N, C, S, S] show by `transforms`; the same dtype, computed in float32.

    `transforms` is float64 [N, 3, 3] on the CPU and acts on (x, y, 1), in pixels from the middle of
    the picture, y downward. Float64 images are computed in float64.
    """
    moved = (transforms != torch.eye(3, dtype=torch.float64)).any(2).any(1).nonzero().flatten()
    if not len(moved):
        return images
    inverse = torch.linalg.inv(transforms[moved])
    inverse[:, :2, 2] *= 2  # in pixels of the double size
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


class _Straight:
    """Warps that keep the axes or swap them, one a picture of `images` [n, C, S, S]: a product with
    one matrix [S, S] an axis.
    """

    def __init__(self, inverse: Tensor, images: Tensor):
        swaps = (inverse[:, 0, 0].abs() < inverse[:, 0, 1].abs())[:, None, None]
        inverse = inverse[:, [1, 0, 2]].where(swaps, inverse)  # for pictures that are transposed
        self.swaps = swaps[:, None].to(images.device, non_blocking=True)
        self.columns, self.rows = (
            _axis(inverse[:, axis, axis, None], inverse[:, axis, 2, None], images)
            for axis in (0, 1)
        )

    def function(self, images: Tensor) -> Tensor:
        """The warped pictures."""
        return self.rows @ images.mT.where(self.swaps, images) @ self.columns.mT

    def adjoint(self, gradient: Tensor) -> Tensor:
        """The gradient with respect to the pictures, from that to the warped ones."""
        images = self.rows.mT @ gradient @ self.columns
        return images.mT.where(self.swaps, images)


class _Turned:
    """Any warps, one a picture of `images` [n, C, S, S], looked up in one window of all doubled
    pictures.
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

        # affine_grid counts from edge to edge: -1 to 1, both where it looks and what it looks for.
        width, height, half = right - left, bottom - top, size + AROUND / 2
        middle = 3 * (size - 1) + 0.5  # of the picture, in rows of the doubling matrix
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
        """The warped pictures."""
        planes = _multiply(self.rows, self.columns, images.flatten(0, 1), *self.window[2:])
        planes = torch.grid_sampler_2d(planes.view(self.window), self._grid(), 0, 0, False)
        planes = _multiply(self.halve, self.halve, planes.flatten(0, 1), *self.shape[2:])
        return planes.view(self.shape)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """The gradient with respect to the pictures, from that to the warped ones."""
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
    """Which rows of `inverse` are straight, and chunks of those that are not, like to like."""
    mixes = inverse[:, :2, :2].abs() > 1e-9  # a quarter turn has a cosine of 6e-17
    straight = ~mixes.all(2).any(1)
    windows = _windows(inverse, size)
    order = (windows[:, 1] - windows[:, 0]).prod(1).argsort()
    groups: list[tuple[type, Tensor]] = [(_Straight, straight.nonzero().flatten())]
    groups += [(_Turned, rows) for rows in order[~straight[order]].split(chunk)]
    return [(kind, rows) for kind, rows in groups if len(rows)]


def _windows(inverse: Tensor, size: int) -> Tensor:
    """int64 [n, 2, 2]: the first row of the doubling matrix that each warp looks at, and the one
    after the last; for x and for y.
    """
    low, high = _places(size)[[0, -1]].tolist()
    corners = inverse.new_tensor([[low, high, low, high], [low, low, high, high], [1, 1, 1, 1]])
    seen = (inverse @ corners)[:, :2] + 3 * (size - 1)
    rows = 2 * (3 * size - 2)
    first = seen.amin(2).floor().long().clamp(0, rows - 1)
    end = (seen.amax(2).floor().long() + 2).clamp(1, rows)
    return torch.stack([first, end], 1)


def _places(size: int) -> Tensor:
    """float64 [2 S + AROUND]: what halving reads, from the middle of the picture."""
    first = -(size - 1) - BEFORE
    return torch.arange(first, first + 2 * size + AROUND, dtype=torch.float64)


def _axis(stretch: Tensor, shift: Tensor, images: Tensor) -> Tensor:
    """[n, 1, S, S]: double a side, look it up at `stretch` * place + `shift`, and halve it."""
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
    """The doubling of a side of `size` pixels, continued by reflection as far as there are pixels,
    and the halving of a side of 2 `size` pixels and `AROUND` more.
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
    """The rows from `first` to `end`, counted from `first`."""
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
    """`rows` @ planes @ `columns`.T, of planes [n, H, W] to [n, height, width]."""
    for band, length in ((columns, width), (rows, height)):
        result = planes.new_zeros(len(planes), length, planes.shape[1])
        for here, there, block in band:
            blocks = block.expand(len(planes), -1, -1)
            result[:, here].baddbmm_(blocks, planes.mT[:, there])
        planes = result
    return planes
