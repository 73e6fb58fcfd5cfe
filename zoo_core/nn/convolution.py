"""Convolutions with a fast second derivative, for gradient penalties such as R1.

These penalties differentiate the gradient with respect to the images. Torch's double backward
convolves whole images with each other, group by group, and always computes the weight's gradient
too: several times slower than a backward pass (see docs/log.md). Here the gradient with respect to
the images is an explicit transposed convolution with its own derivatives, and the gradient with
respect to the weight is a separate autograd node, which is skipped when it is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from zoo_core.nn.tracing import traced


class Geometry(NamedTuple):
    """Stride, padding and groups of a convolution, plain or transposed."""

    stride: int
    padding: int
    groups: int
    transposed: bool = False

    def apply(self, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Apply torch's convolution."""
        if self.transposed:
            return self._transpose(images, weight, bias)
        return functional.conv2d(images, weight, bias, self.stride, self.padding, 1, self.groups)

    def shape(self, images: Tensor, weight: Tensor) -> list[int]:
        """The shape of the output."""
        kernel, padding = weight.shape[2], 2 * self.padding
        if self.transposed:
            sides = [(side - 1) * self.stride + kernel - padding for side in images.shape[2:]]
            return [len(images), weight.shape[1] * self.groups, *sides]
        sides = [(side + padding - kernel) // self.stride + 1 for side in images.shape[2:]]
        return [len(images), len(weight), *sides]

    def adjoint(self, images: Tensor, weight: Tensor, size: torch.Size) -> Tensor:
        """Apply the adjoint: from images of the output's size to the input's spatial `size`."""
        if self.transposed:
            return self._replace(transposed=False).apply(images, weight)
        # rows and columns that the kernel never reaches
        reach = (side + 2 * self.padding - weight.shape[2] for side in size)
        missing = [pixels % self.stride for pixels in reach]
        return self._transpose(images, weight, None, missing)

    def _transpose(
        self, images: Tensor, weight: Tensor, bias: Tensor | None, missing: Sequence[int] = (0, 0)
    ) -> Tensor:
        """Torch's transposed convolution, with `missing` extra rows and columns at the end."""
        options = (self.stride, self.padding, missing, self.groups)
        if not self._is_slow_in_bfloat16(images, weight):
            return functional.conv_transpose2d(images, weight, bias, *options)
        bias = None if bias is None else bias.float()
        with torch.autocast("cpu", enabled=False):  # it would cast them back
            out = functional.conv_transpose2d(images.float(), weight.float(), bias, *options)
        return out.to(torch.bfloat16)

    def _is_slow_in_bfloat16(self, images: Tensor, weight: Tensor) -> bool:
        """Whether this transposed convolution is depthwise and strided, in bfloat16 on a CPU.

        oneDNN only has a reference kernel for it: 8 to 80 times the time of float32 (see
        docs/log.md).
        """
        depthwise = len(weight) == self.groups and weight.shape[1] == 1
        on_cpu = images.device.type == "cpu" and images.dtype is torch.bfloat16
        return on_cpu and depthwise and self.stride > 1

    def weight_gradient(
        self, grad_output: Tensor, images: Tensor, weight: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of the weight and the bias; None for one that is not `wanted`."""
        both = [self.stride] * 2, [self.padding] * 2, [1, 1], self.transposed, [0, 0], self.groups
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            grad_output, images, weight, [grad_output.shape[1]], *both, (False, *wanted)
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
    """Like torch's own function: images [N, in, H, W], weight [out, in / groups, K, K]."""
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
    """Like torch's own function: images [N, in, H, W], weight [in, out / groups, K, K]."""
    return _convolve(images, weight, bias, Geometry(stride, padding, groups, transposed=True))


def _convolve(images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    dtype = _autocast_dtype(images.device)  # autocast does not apply in a Function's backward
    if dtype is not None:
        images, weight = images.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    inputs = [images, weight] if bias is None else [images, weight, bias]
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    if traced() or not wanted:  # a graph holds torch's own operations only
        return geometry.apply(images, weight, bias)
    weight_path = None
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        weight_path = _WeightGradient.apply(weight, bias, images.detach(), [images], geometry)
    return _Convolution.apply(images, weight, bias, weight_path, geometry)


def _autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype that autocast uses on the device; None if it is off."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return None


class _Convolution(Function):
    """A convolution and its images' gradient; the weight's gradient flows through `weight_path`."""

    @staticmethod
    def forward(
        context: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        weight_path: Tensor | None,
        geometry: Geometry,
    ) -> Tensor:
        context.save_for_backward(weight)
        context.geometry, context.size = geometry, images.shape[2:]
        return geometry.apply(images, weight, bias)

    @staticmethod
    def backward(context: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_input = None
        if context.needs_input_grad[0]:
            grad_input = context.geometry.adjoint(grad_output, *context.saved_tensors, context.size)
        return grad_input, None, None, grad_output if context.needs_input_grad[3] else None, None


class _WeightGradient(Function):
    """Zeros in the shape of a convolution's output, through which the weight gets its gradient.

    This is a separate node because autograd only skips whole nodes. For the same reason the images
    are not a tracked input: they are passed in a list, which keeps their graph, so that even the
    weight's gradient can be differentiated, if slowly.
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
    def backward(context: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = context.saved_tensors
        if torch.is_grad_enabled():
            (images,) = context.attached
        wanted = context.needs_input_grad[0], context.needs_input_grad[1]
        return *context.geometry.weight_gradient(grad_output, images, weight, wanted), *[None] * 3
