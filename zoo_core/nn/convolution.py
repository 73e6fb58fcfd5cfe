"""Convolutions whose second derivative is fast, for penalties on gradients.

R1 and its kin differentiate the gradient with respect to the pictures. Torch differentiates the
backward pass of its own convolution by convolving whole pictures with each other, group after
group, and always for the weight too: several times slower than a backward pass (docs/log.md). Here
the gradient with respect to the pictures is the transposed convolution that it is, with derivatives
of its own; that with respect to the weight is a node of its own, which autograd skips while nobody
wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional


class Geometry(NamedTuple):
    """How a kernel moves over the pictures."""

    stride: int
    padding: int
    groups: int
    transposed: bool = False

    def apply(self, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Torch's convolution."""
        if self.transposed:
            return self._transpose(images, weight, bias)
        return functional.conv2d(images, weight, bias, self.stride, self.padding, 1, self.groups)

    def shape(self, images: Tensor, weight: Tensor) -> list[int]:
        """Of the output."""
        kernel, padding = weight.shape[2], 2 * self.padding
        if self.transposed:
            sides = [(side - 1) * self.stride + kernel - padding for side in images.shape[2:]]
            return [len(images), weight.shape[1] * self.groups, *sides]
        sides = [(side + padding - kernel) // self.stride + 1 for side in images.shape[2:]]
        return [len(images), len(weight), *sides]

    def adjoint(self, images: Tensor, weight: Tensor, size: torch.Size) -> Tensor:
        """From pictures of the output's size back to those of the input's `size`."""
        if self.transposed:
            return self._replace(transposed=False).apply(images, weight)
        # rows and columns that no position of the kernel reached
        reach = (side + 2 * self.padding - weight.shape[2] for side in size)
        missing = [pixels % self.stride for pixels in reach]
        return self._transpose(images, weight, None, missing)

    def _transpose(
        self, images: Tensor, weight: Tensor, bias: Tensor | None, missing: Sequence[int] = (0, 0)
    ) -> Tensor:
        """Torch's transposed convolution, with `missing` rows and columns more at the end."""
        options = (self.stride, self.padding, missing, self.groups)
        if not self._is_slow_in_bfloat16(images, weight):
            return functional.conv_transpose2d(images, weight, bias, *options)
        bias = None if bias is None else bias.float()
        with torch.autocast("cpu", enabled=False):  # it would make bfloat16 of them again
            out = functional.conv_transpose2d(images.float(), weight.float(), bias, *options)
        return out.to(torch.bfloat16)

    def _is_slow_in_bfloat16(self, images: Tensor, weight: Tensor) -> bool:
        """Whether oneDNN has but its reference for it, which takes 8 to 80 times as long as
        float32 does: transposed, depthwise, with a stride (docs/log.md).
        """
        depthwise = len(weight) == self.groups and weight.shape[1] == 1
        on_cpu = images.device.type == "cpu" and images.dtype is torch.bfloat16
        return on_cpu and depthwise and self.stride > 1

    def weight_gradient(
        self, outer: Tensor, images: Tensor, weight: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Of the weight and of the bias, as far as `wanted`."""
        both = [self.stride] * 2, [self.padding] * 2, [1, 1], self.transposed, [0, 0], self.groups
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            outer, images, weight, [outer.shape[1]], *both, (False, *wanted)
        )
        return of_weight, of_bias


def conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """As torch's own function: [N, in, H, W] by weight [out, in / groups, K, K]."""
    return _convolve(images, weight, bias, Geometry(stride, padding, groups))


def conv_transpose2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """As torch's own function: [N, in, H, W] by weight [in, out / groups, K, K]."""
    return _convolve(images, weight, bias, Geometry(stride, padding, groups, transposed=True))


def _convolve(images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    dtype = _autocast_dtype(images.device)  # autocast does not reach the backward of a Function
    if dtype is not None:
        images, weight = images.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    through = None
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        through = _WeightGradient.apply(weight, bias, images.detach(), [images], geometry)
    return _Convolution.apply(images, weight, bias, through, geometry)


def _autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What autocast would compute in there; None where it is off."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return None


class _Convolution(Function):
    """A convolution and the gradient of its pictures; that of its weight goes by `through`."""

    @staticmethod
    def forward(
        context: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        through: Tensor | None,
        geometry: Geometry,
    ) -> Tensor:
        context.save_for_backward(weight)
        context.geometry, context.size = geometry, images.shape[2:]
        return geometry.apply(images, weight, bias)

    @staticmethod
    def backward(context: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        inner = None
        if context.needs_input_grad[0]:
            inner = context.geometry.adjoint(outer, *context.saved_tensors, context.size)
        return inner, None, None, outer if context.needs_input_grad[3] else None, None


class _WeightGradient(Function):
    """Zeros as large as a convolution's output, through which a gradient reaches its weight.

    A node of its own because autograd skips whole nodes only. For the same reason it is not told
    that the pictures are its input; the list that they are in keeps their graph, so that even the
    gradient of a weight can be differentiated, if slowly.
    """

    @staticmethod
    def forward(
        context: Any,
        weight: Tensor,
        bias: Tensor | None,
        images: Tensor,  # detached
        attached: list[Tensor],
        geometry: Geometry,
    ) -> Tensor:
        context.save_for_backward(images, weight)
        context.attached, context.geometry = attached, geometry
        return images.new_zeros(()).expand(geometry.shape(images, weight))

    @staticmethod
    def backward(context: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = context.saved_tensors
        if torch.is_grad_enabled():
            (images,) = context.attached
        wanted = context.needs_input_grad[0], context.needs_input_grad[1]
        return *context.geometry.weight_gradient(outer, images, weight, wanted), *[None] * 3
