"""Convolutions: torch's values and derivatives of any order, computed only if needed."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from zoo_core.nn import convolution
from zoo_core.nn.convolution import conv2d, conv_transpose2d

GEOMETRIES = [  # stride, padding, groups, size of the images
    (1, 1, 1, 4),
    (1, 0, 2, 4),
    (2, 0, 1, 4),
    (2, 1, 2, 5),
    (2, 0, 1, 6),  # the kernel does not reach the last row and column
]
BOTH = [(conv2d, functional.conv2d), (conv_transpose2d, functional.conv_transpose2d)]


def tensors(groups: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    images = torch.randn(2, 4, size, size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 4 // groups, 3, 3, dtype=torch.float64, requires_grad=True)
    return images, weight


@pytest.mark.parametrize(("stride", "padding", "groups", "size"), GEOMETRIES)
@pytest.mark.parametrize(("ours", "theirs"), BOTH, ids=["plain", "transposed"])
def test_values_and_gradients_are_those_of_torch(ours, theirs, stride, padding, groups, size):
    given = tensors(groups, size)
    options = {"stride": stride, "padding": padding, "groups": groups}

    def answers(convolve) -> list[torch.Tensor]:
        """The output, its gradients, and the gradients of a penalty on the first one."""
        out = convolve(*given, **options)
        first = torch.autograd.grad(out.cos().sum(), given, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), given, retain_graph=True)
        return [out, *first, *second]

    torch.testing.assert_close(answers(ours), answers(theirs))


@pytest.mark.parametrize(("stride", "padding", "groups", "size"), GEOMETRIES[:4])
@pytest.mark.parametrize("convolve", [conv2d, conv_transpose2d])
def test_convolutions_are_twice_differentiable(convolve, stride, padding, groups, size):
    given = tensors(groups, size)

    def function(images, weight):
        return convolve(images, weight, stride=stride, padding=padding, groups=groups)

    assert gradcheck(function, given, fast_mode=True)
    assert gradgradcheck(function, given, fast_mode=True)  # including the weight's gradient


def test_a_bias_has_its_gradient():
    images, weight = tensors(1, 4)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda b: conv2d(images, weight, b, padding=1), bias)


def test_the_gradient_of_pictures_computes_none_of_the_weights(monkeypatch):
    images, weight = tensors(1, 4)
    calls = []
    gradient = convolution.Geometry.weight_gradient
    monkeypatch.setattr(
        convolution.Geometry, "weight_gradient", lambda *a: calls.append(1) or gradient(*a)
    )
    torch.autograd.grad(conv2d(images, weight).sum(), images, create_graph=True)
    assert not calls
    conv2d(images, weight).sum().backward()
    assert calls == [1]


def test_a_constant_kernel_costs_no_gradient(monkeypatch):
    monkeypatch.setattr(convolution.Geometry, "weight_gradient", None)
    images, weight = tensors(1, 4)
    conv2d(images, weight.detach()).sum().backward()
    assert weight.grad is None
    assert images.grad is not None


def test_a_change_in_place_of_the_input_is_noticed():
    images, weight = tensors(1, 4)
    features = images * 2
    out = conv2d(features, weight)
    features.mul_(3)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_autocast_is_followed_forward_and_backward():
    images, weight = (tensor.detach().float().requires_grad_() for tensor in tensors(1, 4))
    with torch.autocast("cpu", torch.bfloat16):
        out = conv2d(images, weight, padding=1)
        (slope,) = torch.autograd.grad(out.sum(), images, create_graph=True)
    assert out.dtype == torch.bfloat16
    assert slope.dtype == torch.float32
    slope.square().sum().backward()
    assert weight.grad.dtype == torch.float32
    exact = functional.conv2d(images, weight, padding=1)
    torch.testing.assert_close(out.float(), exact, rtol=0, atol=0.1)


class Transposed(TorchDispatchMode):
    """Records the dtypes that transposed convolutions compute in."""

    def __init__(self):
        super().__init__()
        self.dtypes = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if function is torch.ops.aten.convolution.default and arguments[6]:
            self.dtypes.append(arguments[0].dtype)
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize(
    ("stride", "groups", "dtype"),
    [(2, 4, torch.float32), (1, 4, torch.bfloat16), (2, 2, torch.bfloat16)],
    ids=["depthwise with a stride", "depthwise", "grouped with a stride"],
)
def test_float32_does_what_cpus_are_slow_at_in_bfloat16(stride, groups, dtype):
    torch.manual_seed(0)
    images = torch.randn(1, 4, 6, 6, requires_grad=True)
    kernel, bias = torch.rand(4, 4 // groups, 3, 3), torch.full((4,), 5.0)
    with Transposed() as seen, torch.autocast("cpu", torch.bfloat16):
        out = conv2d(images, kernel, stride=stride, groups=groups)
        torch.autograd.grad(out.sum(), images, create_graph=True)
        up = conv_transpose2d(images, kernel, bias, stride=stride, groups=groups)
    assert seen.dtypes == [dtype, dtype]
    assert up.dtype is torch.bfloat16
    exact = functional.conv_transpose2d(images, kernel, bias, stride=stride, groups=groups)
    torch.testing.assert_close(up.float(), exact, rtol=0, atol=0.1)
