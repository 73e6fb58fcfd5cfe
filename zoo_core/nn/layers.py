"""Layers that several generations of GANs share; each names its source.

Equalized learning rate (Karras et al. 2018, section 4.1): weights start from N(0, 1) and are scaled
at run time by what an initializer would have used, so that Adam moves all layers at one speed.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, linear

from zoo_core.nn.convolution import conv2d, conv_transpose2d


class EqualizedLinear(nn.Module):
    """[N, in] to [N, out].

    The weight's run-time scale is `gain` / sqrt(fan in). With `lr_multiplier` below 1 weight and
    bias learn that much more slowly, at the same output (StyleGAN, appendix C).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gain: float = 1.0,
        bias: float | None = 0.0,  # its first value; None: without one
        lr_multiplier: float = 1.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = None if bias is None else nn.Parameter(torch.full((out_features,), bias))
        self.scale = gain * lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier

    def forward(self, features: Tensor) -> Tensor:
        """Linear, without activation."""
        bias = self.bias
        if bias is not None and self.lr_multiplier != 1:
            bias = bias * self.lr_multiplier
        return linear(*scaled(features, self.weight, self.scale), bias)


class EqualizedConv2d(nn.Module):
    """[N, in, H, W] to [N, out, H, W], of an odd kernel, padded with zeros.

    The weight's run-time scale is `gain` / sqrt(fan in).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        gain: float = 1.0,
        bias: float | None = 0.0,  # its first value; None: without one
    ):
        super().__init__()
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = None if bias is None else nn.Parameter(torch.full((out_channels,), bias))
        self.scale = gain / math.sqrt(in_channels * kernel_size**2)
        self.padding = kernel_size // 2

    def forward(self, images: Tensor) -> Tensor:
        """Convolution, without activation."""
        return conv2d(*scaled(images, self.weight, self.scale), self.bias, padding=self.padding)


def double_and_convolve(images: Tensor, layer: EqualizedConv2d) -> Tensor:
    """A 3 x 3 `layer` of [N, in, H, W] with each pixel doubled along both axes: [N, out, 2 H, 2 W].

    Four products a pixel and map instead of nine, and no doubled picture is ever made.
    """
    kernel = 4 * _mean_of_shifts(layer).transpose(0, 1).flip(2, 3)
    return conv_transpose2d(images, kernel, layer.bias, stride=2, padding=1)


def convolve_and_halve(images: Tensor, layer: EqualizedConv2d) -> Tensor:
    """Means of 2 x 2 pixels of what a 3 x 3 `layer` makes of [N, in, H, W]: [N, out, H/2, W/2].

    Sixteen products a mean and map instead of thirty-six.
    """
    return conv2d(images, _mean_of_shifts(layer), layer.bias, stride=2, padding=1)


def _mean_of_shifts(layer: EqualizedConv2d) -> Tensor:
    """[out, in, 4, 4]: the mean of a 3 x 3 kernel and of that kernel a pixel on, in each direction
    and in both. To convolve and then to average 2 x 2 pixels is to convolve with it.
    """
    return avg_pool2d(layer.weight * layer.scale, 2, stride=1, padding=1)


def scaled(features: Tensor, weight: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """`scale` times the smaller of the two, which is as good for whatever multiplies them."""
    if features.numel() < weight.numel():
        return features * scale, weight
    return features, weight * scale


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast inside: for statistics, and for what is added up over many layers."""
    if device.type == "meta":  # counting operations, where there is nothing to round
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def pixel_norm(features: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Each pixel's (or row's) channels [N, C, ...] to a mean square of 1, measured in float32.

    Karras et al. 2018, section 4.2.
    """
    with full_precision(features.device):
        wide = torch.promote_types(features.dtype, torch.float32)
        # One pass over the features, without a copy of them in the wider type.
        norm = torch.linalg.vector_norm(features, dim=1, keepdim=True, dtype=wide)
        scale = torch.rsqrt(norm.square() / features.shape[1] + epsilon)
    return features * scale.to(features.dtype)


def minibatch_stddev(features: Tensor, group_size: int, num_channels: int = 1) -> Tensor:
    """Append `num_channels` constant channels to [N, C, H, W]: how much the pictures of a group
    differ (Karras et al. 2018, section 3, with the whole minibatch as one group), in float32.

    The members of a group of `group_size` stand N / `group_size` apart; where that is no whole
    number, all N are one group.
    """
    count, channels, height, width = features.shape
    size = count if count % group_size else group_size
    shape = (size, -1, num_channels, channels // num_channels, height, width)
    grouped = features.float().reshape(shape)
    # the population's, 1e-8: the root has a finite slope where all pictures are the same
    variance = (grouped - grouped.mean(0)).square().mean(0)
    spread = variance.add(1e-8).sqrt().mean((2, 3, 4))  # [N / size, channels]
    planes = spread.to(features.dtype).repeat(size, 1)[:, :, None, None]
    return torch.cat([features, planes.expand(-1, -1, height, width)], dim=1)
