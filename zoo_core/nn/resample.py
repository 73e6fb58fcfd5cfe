"""Resampling with a FIR filter or by means: pure torch, differentiable to any order.

`taps` is a one-dimensional filter that sums to 1 and is applied along both axes, such as
[1, 3, 3, 1] / 8. Borders are padded with zeros. A filter is one depthwise convolution with the
outer product, because that is faster on a CPU than a row and a column (see docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import avg_pool2d, interpolate, pad

from zoo_core.nn.convolution import conv2d, conv_transpose2d

BINOMIAL = (1.0, 3.0, 3.0, 1.0)  # the filter of the public StyleGAN2 code


def fir(taps: Sequence[float] = BINOMIAL) -> Tensor:
    """Filter taps that sum to 1, float32 [K], to be stored as a buffer."""
    values = torch.tensor(taps, dtype=torch.float32)
    return values / values.sum()


def upsample2d(images: Tensor, taps: Tensor) -> Tensor:
    """Upsample [N, C, H, W] to [N, C, 2 H, 2 W]: zeros between pixels, then the filter, gain 4."""
    after, before = _split_padding(len(taps) - 2)  # rows and columns to crop
    kernel, channels = _depthwise(images, taps * 2), images.shape[1]
    if before == after:
        return conv_transpose2d(images, kernel, padding=before, stride=2, groups=channels)
    full = conv_transpose2d(images, kernel, stride=2, groups=channels)
    return full[:, :, before : full.shape[2] - after, before : full.shape[3] - after]


def downsample2d(images: Tensor, taps: Tensor) -> Tensor:
    """Downsample [N, C, H, W] to [N, C, H // 2, W // 2]: the filter, then every second pixel."""
    return _correlate(images, taps.flip(0), len(taps) - 2, stride=2)


def filter2d(images: Tensor, taps: Tensor, padding: int | None = None) -> Tensor:
    """Filter [N, C, H, W], by default to the same shape.

    `padding` is the number of zeros per row or column, both sides together; it gives a height of
    H + padding - (K - 1).
    """
    return _correlate(images, taps.flip(0), len(taps) - 1 if padding is None else padding)


def average2d(images: Tensor) -> Tensor:
    """Means of 2 x 2 pixels: [N, C, H, W], H and W even, to [N, C, H / 2, W / 2].

    The second derivative of torch's own pooling adds zeros in another memory order to the gradient,
    which slows down the operation that follows (see docs/log.md).
    """
    return _Average.apply(images)


def average_to(images: Tensor, side: int) -> Tensor:
    """Means of square blocks: [N, C, R, R] to [N, C, side, side], R a multiple of `side`."""
    factor = images.shape[2] // side
    return images if factor == 1 else avg_pool2d(images, factor)


def fade(images: Tensor, alpha: float) -> Tensor:
    """Blend images [N, C, R, R] with their R / 2 version: `alpha` 0 is R / 2, `alpha` 1 is R.

    These are the real images for progressively grown networks (Karras et al. 2018, figure 2).
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
    """The adjoint of 2 x 2 means: each of the four source pixels gets a quarter."""

    @staticmethod
    def forward(context: Any, images: Tensor) -> Tensor:
        return interpolate(images / 4, scale_factor=2)

    @staticmethod
    def backward(context: Any, outer: Tensor) -> Tensor:
        return _Average.apply(outer)


def _correlate(images: Tensor, taps: Tensor, padding: int, stride: int = 1) -> Tensor:
    kernel = _depthwise(images, taps)
    before, after = _split_padding(padding)
    if before == after:
        return conv2d(images, kernel, padding=before, stride=stride, groups=images.shape[1])
    images = pad(images, (before, after, before, after))
    return conv2d(images, kernel, stride=stride, groups=images.shape[1])


def _split_padding(padding: int) -> tuple[int, int]:
    """Split the padding, with the larger half before the image, as in StyleGAN2."""
    return padding - padding // 2, padding // 2


def _depthwise(images: Tensor, taps: Tensor) -> Tensor:
    """The filter along both axes as a depthwise kernel [C, 1, K, K]."""
    kernel = (taps[:, None] * taps[None, :]).to(images.dtype)
    return kernel.expand(images.shape[1], 1, len(taps), len(taps))
