"""Halving and doubling convolutions: the matrix products match torch's values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from zoo_pix2pix import strided
from zoo_pix2pix.strided import DoublingConv2d, HalvingConv2d

BOTH = pytest.mark.parametrize("kind", [HalvingConv2d, DoublingConv2d])


class Operations(TorchDispatchMode):
    """Record the names of all operations."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*arguments, **(keywords or {}))


def theirs(layer: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The output of torch's own convolution."""
    kind = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.ConvTranspose2d
    return kind.forward(layer, images)


@BOTH
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(4, 4), (2, 6), (5, 3)])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_product_has_the_values_and_gradients_of_torch(kind, bias, size, order, monkeypatch):
    monkeypatch.setattr(strided, "LEAST_MAPS", 0)
    torch.manual_seed(0)
    layer = kind(3, 5, bias=bias).double().to(memory_format=order)
    images = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    given = [images, *layer.parameters()]

    def answers(out: torch.Tensor) -> list[torch.Tensor]:
        first = torch.autograd.grad(out.cos().sum(), given, create_graph=True)
        return [out, *first, *torch.autograd.grad(first[0].square().sum(), given[:2])]

    torch.testing.assert_close(answers(layer(images)), answers(theirs(layer, images)))


@BOTH
def test_a_product_is_twice_differentiable(kind, monkeypatch):
    monkeypatch.setattr(strided, "LEAST_MAPS", 0)
    layer = kind(2, 3).double()
    images = torch.randn(1, 2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(layer, (images,))


@BOTH
@pytest.mark.parametrize(("pixels", "product"), [(2, True), (32, False)])
def test_few_pixels_are_a_product_and_many_a_convolution(kind, pixels, product):
    layer = kind(256, 256).to(memory_format=torch.channels_last)
    with Operations() as seen:
        layer(torch.randn(2, 256, pixels, pixels))
    assert ("convolution" in seen.names) != product


@BOTH
def test_a_product_copies_no_weight_whose_channels_are_last(kind):
    layer = kind(256, 256).to(memory_format=torch.channels_last)
    matrix = strided._matrix(layer.weight)
    assert matrix.data_ptr() == layer.weight.data_ptr()
    layer(torch.randn(1, 256, 2, 2)).sum().backward()
    assert layer.weight.grad.stride() == layer.weight.stride()


@BOTH
@pytest.mark.parametrize("pixels", [2, 32])
@pytest.mark.parametrize("bias", [True, False])
def test_autocast_and_memory_order_are_those_of_torch(kind, pixels, bias):
    layer = kind(256, 256, bias=bias).to(memory_format=torch.channels_last)
    images = torch.randn(1, 256, pixels, pixels).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        ours, plain = layer(images), theirs(layer, images)
    assert ours.dtype is torch.bfloat16
    assert ours.stride() == plain.stride()
    torch.testing.assert_close(ours, plain, rtol=2**-6, atol=2**-6)
