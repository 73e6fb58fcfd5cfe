"""Layers shared by several generations of GANs."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from zoo_core.nn.layers import (
    EqualizedConv2d,
    EqualizedLinear,
    conv2d_downsample,
    minibatch_stddev,
    pixel_norm,
    scaled,
    upsample_conv2d,
)


@pytest.mark.parametrize(("gain", "expected"), [(1.0, 1.0), (2**0.5, 2**0.5)])
@torch.no_grad()
def test_equalized_layers_keep_the_variance_times_their_gain(gain: float, expected: float):
    torch.manual_seed(0)
    linear = EqualizedLinear(400, 300, gain=gain)
    convolution = EqualizedConv2d(50, 60, 3, gain=gain)
    features, images = torch.randn(200, 400), torch.randn(8, 50, 16, 16)
    assert float(linear(features).std()) == pytest.approx(expected, rel=0.05)
    inside = convolution(images)[:, :, 1:-1, 1:-1]
    assert float(inside.std()) == pytest.approx(expected, rel=0.05)
    assert float(linear.weight.std()) == pytest.approx(1, rel=0.05)


def test_doubled_pixels_and_a_convolution_are_one_transposed_convolution():
    layer, images = EqualizedConv2d(3, 5, 3, gain=2.0, bias=0.3), torch.randn(2, 3, 6, 4)
    plain = layer(interpolate(images, scale_factor=2))
    torch.testing.assert_close(upsample_conv2d(images, layer), plain)


def test_a_convolution_and_averaged_pixels_are_one_strided_convolution():
    layer, images = EqualizedConv2d(3, 5, 3, gain=2.0, bias=0.3), torch.randn(2, 3, 6, 4)
    torch.testing.assert_close(conv2d_downsample(images, layer), avg_pool2d(layer(images), 2))


def test_a_learning_rate_multiplier_slows_weight_and_bias_down_and_changes_no_output():
    torch.manual_seed(0)
    plain, slow = EqualizedLinear(6, 5, bias=1.0), EqualizedLinear(6, 5, lr_multiplier=0.01)
    with torch.no_grad():
        slow.weight.copy_(plain.weight / 0.01)
        slow.bias.copy_(plain.bias / 0.01)
    features = torch.randn(3, 6)
    torch.testing.assert_close(slow(features), plain(features))
    for layer in (plain, slow):
        layer(features).sum().backward()
    torch.testing.assert_close(slow.weight.grad, plain.weight.grad * 0.01)
    torch.testing.assert_close(slow.bias.grad, plain.bias.grad * 0.01)


@pytest.mark.parametrize("count", [1, 100])
def test_the_smaller_of_features_and_weight_is_scaled(count: int):
    features, weight = torch.randn(count, 6), torch.randn(5, 6)
    some, other = scaled(features, weight, 3.0)
    assert (some is features) == (count == 100)
    assert (other is weight) == (count == 1)
    torch.testing.assert_close(some @ other.t(), features @ weight.t() * 3)


def test_a_layer_can_be_without_a_bias():
    assert EqualizedLinear(2, 2, bias=None).bias is None
    assert EqualizedConv2d(2, 2, 1, bias=None)(torch.zeros(1, 2, 3, 3)).abs().max() == 0


@pytest.mark.parametrize("shape", [(3, 8), (2, 8, 4, 4)])
def test_pixel_norm_leaves_every_pixel_a_mean_square_of_one(shape: tuple[int, ...]):
    normed = pixel_norm(torch.randn(shape) * 7)
    torch.testing.assert_close(normed.square().mean(1), torch.ones_like(normed[:, 0]))


def test_pixel_norm_computes_in_float32_under_autocast():
    features = torch.randn(2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pixel_norm(features), pixel_norm(features.clone()))
        assert pixel_norm(features.bfloat16()).dtype == torch.bfloat16
    torch.testing.assert_close(
        pixel_norm(features), features / features.square().mean(1, True).sqrt()
    )


def test_minibatch_stddev_is_that_of_the_group():
    features = torch.randn(6, 2, 3, 3, dtype=torch.float32)
    found = minibatch_stddev(features, group_size=3)
    assert found.shape == (6, 3, 3, 3)
    assert torch.equal(found[:, :2], features)
    group = features[[1, 3, 5]]  # rows 2 apart
    expected = group.std(0, correction=0).mean()
    torch.testing.assert_close(found[[1, 3, 5], 2], expected.expand(3, 3, 3))


def test_minibatch_stddev_in_several_channels():
    features = torch.randn(4, 4, 2, 2)
    found = minibatch_stddev(features, group_size=4, num_channels=2)
    for plane, part in enumerate((slice(0, 2), slice(2, 4))):
        expected = features[:, part].std(0, correction=0).mean()
        torch.testing.assert_close(found[0, 4 + plane], expected.expand(2, 2))


def test_equal_pictures_have_no_stddev_and_a_finite_slope():
    features = torch.ones(4, 2, 2, 2, requires_grad=True)
    found = minibatch_stddev(features, 4)
    assert float(found[:, 2].detach().max()) == pytest.approx(1e-4)
    found.sum().backward()
    assert bool(features.grad.isfinite().all())


@pytest.mark.parametrize("count", [3, 6])
def test_a_batch_that_groups_do_not_divide_is_one_group(count: int):
    features = torch.randn(count, 2, 2, 2)
    expected = features.std(0, correction=0).mean()
    torch.testing.assert_close(minibatch_stddev(features, 4)[:, 2], expected.expand(count, 2, 2))
