"""Other sizes, by a FIR filter or by means: pure torch, any number of derivatives.

`taps` is a one-dimensional filter that sums to 1 and is applied along both axes, such as
[1, 3, 3, 1] / 8. Pictures are continued by zeros. One depthwise convolution with the outer product
was faster on a CPU than two with a row and a column (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import avg_pool2d, interpolate, pad

from zoo_core.nn.convolution import conv2d, conv_transpose2d

BINOMIAL = (1.0, 3.0, 3.0, 1.0)  # what the public StyleGAN2 resamples with


def fir(taps: Sequence[float] = BINOMIAL) -> Tensor:
    """float32 [K] that sums to 1, to be kept as a buffer."""
    values = torch.tensor(taps, dtype=torch.float32)
    return values / values.sum()


def upsample2d(images: Tensor, taps: Tensor) -> Tensor:
    """[N, C, H, W] to [N, C, 2 H, 2 W]: zeros between the pixels, then the filter, with gain 4."""
    after, before = _both_sides(len(taps) - 2)  # what is cut off, not padded
    kernel, channels = _depthwise(images, taps * 2), images.shape[1]
    if before == after:
        return conv_transpose2d(images, kernel, padding=before, stride=2, groups=channels)
    full = conv_transpose2d(images, kernel, stride=2, groups=channels)
    return full[:, :, before : full.shape[2] - after, before : full.shape[3] - after]


def downsample2d(images: Tensor, taps: Tensor) -> Tensor:
    """[N, C, H, W] to [N, C, H // 2, W // 2]: the filter, then every second pixel."""
    return _correlate(images, taps.flip(0), len(taps) - 2, stride=2)


def filter2d(images: Tensor, taps: Tensor, padding: int | None = None) -> Tensor:
    """[N, C, H, W] to the same shape, or with `padding` zeros a row, both sides together, to a
    larger or smaller one: H + padding - (K - 1).
    """
    return _correlate(images, taps.flip(0), len(taps) - 1 if padding is None else padding)


def average2d(images: Tensor) -> Tensor:
    """[N, C, H, W], H and W even, to [N, C, H / 2, W / 2]: means of 2 x 2 pixels.

    The second derivative of torch's own adds zeros that lie otherwise in memory than the gradient
    they are added to, which slows down whatever comes next (docs/log.md).
    """
    return _Average.apply(images)


def average_to(images: Tensor, side: int) -> Tensor:
    """[N, C, R, R] to [N, C, side, side], R a multiple of it: means of square blocks of pixels."""
    factor = images.shape[2] // side
    return images if factor == 1 else avg_pool2d(images, factor)


def fade(images: Tensor, alpha: float) -> Tensor:
    """Pictures [N, C, R, R] on the way from R / 2, with its large pixels, at alpha 0 to R at 1.

    What progressively grown networks are shown as real (Karras et al. 2018, figure 2).
    """
    if alpha == 1:
        return images
    return torch.lerp(interpolate(avg_pool2d(images, 2), scale_factor=2.0), images, alpha)


class _Average(Function):
    """Means of 2 x 2 pixels."""

    @staticmethod
    def forward(context: Any, images: Tensor) -> Tensor:
        return avg_pool2d(images, 2)

    @staticmethod
    def backward(context: Any, outer: Tensor) -> Tensor:
        return _Spread.apply(outer)


class _Spread(Function):
    """The adjoint of means: a quarter of each pixel to each of the four that it came from."""

    @staticmethod
    def forward(context: Any, images: Tensor) -> Tensor:
        return interpolate(images / 4, scale_factor=2)

    @staticmethod
    def backward(context: Any, outer: Tensor) -> Tensor:
        return _Average.apply(outer)


def _correlate(images: Tensor, taps: Tensor, padding: int, stride: int = 1) -> Tensor:
    kernel = _depthwise(images, taps)
    before, after = _both_sides(padding)
    if before == after:
        return conv2d(images, kernel, padding=before, stride=stride, groups=images.shape[1])
    images = pad(images, (before, after, before, after))
    return conv2d(images, kernel, stride=stride, groups=images.shape[1])


def _both_sides(padding: int) -> tuple[int, int]:
    """The larger half before the picture, as StyleGAN2 has it."""
    return padding - padding // 2, padding // 2


def _depthwise(images: Tensor, taps: Tensor) -> Tensor:
    """[C, 1, K, K]: the filter along both axes, once a channel."""
    kernel = (taps[:, None] * taps[None, :]).to(images.dtype)
    return kernel.expand(images.shape[1], 1, len(taps), len(taps))
