"""Layers shared by several generations of GANs; each cites its source.

Equalized learning rate (Karras et al. 2018, section 4.1): weights start from N(0, 1) and are scaled
at run time by the usual initializer's constant, so that Adam moves all layers at the same speed.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, linear

from zoo_core.nn.convolution import conv2d, conv_transpose2d
from zoo_core.nn.tracing import traced


def standard_normal(*shape: int) -> nn.Parameter:
    """A parameter of this shape that starts from N(0, 1), float32."""
    parameter = nn.Parameter(torch.empty(shape))
    nn.init.normal_(parameter)
    return parameter


class EqualizedLinear(nn.Module):
    """Linear layer with equalized learning rate: [N, in] to [N, out].

    The weight is scaled at run time by `gain` / sqrt(fan in). With `lr_multiplier` below 1, weight
    and bias learn more slowly by that factor, with the same output (StyleGAN, appendix C).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gain: float = 1.0,
        bias: float | None = 0.0,  # initial value; None for no bias
        lr_multiplier: float = 1.0,
    ):
        super().__init__()
        self.weight = standard_normal(out_features, in_features)
        self.weight.data /= lr_multiplier
        self.bias = None if bias is None else nn.Parameter(torch.full((out_features,), bias))
        self.scale = gain * lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier

    def forward(self, features: Tensor) -> Tensor:
        """Apply the layer, without activation."""
        bias = self.bias
        if bias is not None and self.lr_multiplier != 1:
            bias = bias * self.lr_multiplier
        return linear(*scaled(features, self.weight, self.scale), bias)


class EqualizedConv2d(nn.Module):
    """Convolution with equalized learning rate: [N, in, H, W] to [N, out, H, W].

    The kernel is odd, with zero padding. The weight is scaled at run time by `gain` / sqrt(fan in).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        gain: float = 1.0,
        bias: float | None = 0.0,  # initial value; None for no bias
    ):
        super().__init__()
        self.weight = standard_normal(out_channels, in_channels, kernel_size, kernel_size)
        self.bias = None if bias is None else nn.Parameter(torch.full((out_channels,), bias))
        self.scale = gain / math.sqrt(in_channels * kernel_size**2)
        self.padding = kernel_size // 2

    def forward(self, images: Tensor) -> Tensor:
        """Apply the layer, without activation."""
        return conv2d(*scaled(images, self.weight, self.scale), self.bias, padding=self.padding)


def upsample_conv2d(images: Tensor, layer: EqualizedConv2d) -> Tensor:
    """Nearest upsampling and a 3 x 3 `layer`, fused: [N, in, H, W] to [N, out, 2 H, 2 W].

    Four products per pixel and map instead of nine, and the upsampled images are never stored.
    """
    kernel = 4 * _mean_of_shifts(layer).transpose(0, 1).flip(2, 3)
    return conv_transpose2d(images, kernel, layer.bias, stride=2, padding=1)


def conv2d_downsample(images: Tensor, layer: EqualizedConv2d) -> Tensor:
    """A 3 x 3 `layer` and 2 x 2 averaging, fused: [N, in, H, W] to [N, out, H/2, W/2].

    Sixteen products per mean and map instead of thirty-six.
    """
    return conv2d(images, _mean_of_shifts(layer), layer.bias, stride=2, padding=1)


def _mean_of_shifts(layer: EqualizedConv2d) -> Tensor:
    """The kernel [out, in, 4, 4] of a 3 x 3 convolution followed by 2 x 2 averaging.

    It is the mean of four copies of the 3 x 3 kernel: unshifted, and shifted by one pixel along
    either axis or both.
    """
    return avg_pool2d(layer.weight * layer.scale, 2, stride=1, padding=1)


def layer_groups(layers: nn.Sequential) -> list[nn.Module]:
    """The layers before the last one, each with the normalization and activation that follow it."""
    groups: list[nn.ModuleList] = []
    for module in layers:
        if any(parameter.dim() > 1 for parameter in module.parameters()):
            groups.append(nn.ModuleList())
        if groups:
            groups[-1].append(module)
    return list(groups[:-1])


def scaled(features: Tensor, weight: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Multiply the smaller of the two by `scale`; their product is the same either way."""
    if not traced() and features.numel() < weight.numel():
        return features * scale, weight
    return features, weight * scale


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Context without autocast, for statistics and for sums over many layers."""
    if device.type == "meta":  # only counts operations; nothing to round
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def pixel_norm(features: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Normalize each pixel's (or row's) channels [N, C, ...] to mean square 1, measured in float32.

    Karras et al. 2018, section 4.2.
    """
    with full_precision(features.device):
        wide = torch.promote_types(features.dtype, torch.float32)
        # One pass over the features, without a copy in the wider type.
        norm = torch.linalg.vector_norm(features, dim=1, keepdim=True, dtype=wide)
        scale = torch.rsqrt(norm.square() / features.shape[1] + epsilon)
    return features * scale.to(features.dtype)


def minibatch_stddev(features: Tensor, group_size: int, num_channels: int = 1) -> Tensor:
    """Append `num_channels` constant channels to [N, C, H, W]: the deviation within each group.

    Karras et al. 2018, section 3, where the whole minibatch is one group. Computed in float32.
    Members of a group of `group_size` are N / `group_size` apart; if that is not an integer, all N
    are one group.
    """
    count, channels, height, width = features.shape
    size = count if count % group_size else group_size
    shape = (size, -1, num_channels, channels // num_channels, height, width)
    grouped = features.float().reshape(shape)
    # Population variance; 1e-8 keeps the root's slope finite where all images are equal.
    variance = (grouped - grouped.mean(0)).square().mean(0)
    spread = variance.add(1e-8).sqrt().mean((2, 3, 4))  # [N / size, channels]
    planes = spread.to(features.dtype).repeat(size, 1)[:, :, None, None]
    return torch.cat([features, planes.expand(-1, -1, height, width)], dim=1)
