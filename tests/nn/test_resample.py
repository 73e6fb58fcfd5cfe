"""Resampling against its definition: zeros between pixels, a convolution, every second pixel."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import avg_pool2d, interpolate

from zoo_core.nn.resample import (
    average2d,
    average_to,
    downsample2d,
    fade,
    filter2d,
    fir,
    upsample2d,
)

TAPS = [fir((1, 2, 1)), fir(), torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.rand(5), torch.rand(12)]


def literal(images: torch.Tensor, taps: torch.Tensor, up: int, down: int) -> torch.Tensor:
    """The definition as float64 loops: a true convolution, centered like StyleGAN2's."""
    count, channels, height, width = images.shape
    kernel = torch.outer(taps, taps).double() * up**2
    wide = torch.zeros(count, channels, height * up, width * up, dtype=torch.float64)
    wide[:, :, ::up, ::up] = images.double()
    size = len(taps)
    total = size - up if up > 1 else size - down
    if up == down == 1:
        total = size - 1
    before = (size + up - 1) // 2 if up > 1 else total - total // 2
    rows, columns = wide.shape[2] // down, wide.shape[3] // down
    out = torch.zeros(count, channels, rows, columns, dtype=torch.float64)
    for y in range(rows):
        for x in range(columns):
            for i in range(size):
                for j in range(size):
                    a, b = y * down + i - before, x * down + j - before
                    if 0 <= a < wide.shape[2] and 0 <= b < wide.shape[3]:
                        out[:, :, y, x] += kernel[size - 1 - i, size - 1 - j] * wide[:, :, a, b]
    return out


@pytest.mark.parametrize("taps", TAPS, ids=len)
@pytest.mark.parametrize(
    ("resample", "up", "down"), [(upsample2d, 2, 1), (downsample2d, 1, 2), (filter2d, 1, 1)]
)
def test_resampling_is_what_it_says(resample, up: int, down: int, taps: torch.Tensor):
    images = torch.randn(1, 2, 6, 4)
    found, expected = resample(images, taps), literal(images, taps, up, down)
    assert found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("resample", [upsample2d, downsample2d, filter2d])
def test_a_plain_picture_stays_as_bright_inside(resample):
    found = resample(torch.ones(1, 1, 12, 12), fir())
    torch.testing.assert_close(found[:, :, 2:-2, 2:-2], torch.ones_like(found[:, :, 2:-2, 2:-2]))


@pytest.mark.parametrize("resample", [upsample2d, downsample2d, filter2d])
def test_resampling_is_twice_differentiable(resample):
    images = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    taps = fir().double()
    assert gradcheck(lambda x: resample(x, taps), images)
    assert gradgradcheck(lambda x: resample(x, taps), images)


def test_averages_and_their_derivatives_are_those_of_pooling():
    images = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.equal(average2d(images), avg_pool2d(images, 2))
    assert gradcheck(average2d, images)
    assert gradgradcheck(average2d, images)


def test_the_second_derivative_of_averages_keeps_the_memory_order():
    seen = []
    images = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    features = images * 2
    (slope,) = torch.autograd.grad(average2d(features).square().sum(), images, create_graph=True)
    features.register_hook(lambda gradient: seen.append(gradient.stride()))
    slope.square().sum().backward()
    assert seen == [images.stride()]


def test_more_or_less_padding_makes_the_result_larger_or_smaller():
    images = torch.randn(1, 1, 9, 9)
    assert filter2d(images, fir(), padding=2).shape[2:] == (8, 8)
    assert filter2d(images, fir(), padding=4).shape[2:] == (10, 10)


def test_a_filter_sums_to_one():
    assert float(fir((1, 2, 1)).sum()) == 1
    assert fir().tolist() == [0.125, 0.375, 0.375, 0.125]


def test_pictures_fade_from_large_pixels_to_their_own():
    images = torch.randn(2, 3, 8, 8)
    coarse = interpolate(avg_pool2d(images, 2), scale_factor=2)
    torch.testing.assert_close(fade(images, 0.3), 0.7 * coarse + 0.3 * images)
    assert fade(images, 1.0) is images


def test_an_average_has_the_side_that_was_asked_for():
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(
        average_to(images, 4), images.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5))
    )
    assert average_to(images, 16) is images
