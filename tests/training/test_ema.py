import copy

import pytest
import torch
from torch import nn

from zoo_core.training.ema import EMA, decay


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("constant", torch.ones(2), persistent=False)


def to_one(network):
    with torch.no_grad():
        network.weight.fill_(1)


def test_after_a_half_life_of_images_a_new_weight_counts_half():
    live = Net()
    ema = EMA(live, half_life=320, rampup=0)
    to_one(live)
    for step in range(10):
        ema.update(1000 + 32 * step, 32)
    torch.testing.assert_close(ema.network.weight, torch.full([3], 0.5))


def test_two_updates_of_32_are_one_of_64():
    live = Net()
    small, large = EMA(live, 100, 0), EMA(live, 100, 0)
    to_one(live)
    small.update(1000, 32)
    small.update(1032, 32)
    large.update(1032, 64)
    torch.testing.assert_close(small.network.weight, large.network.weight)
    assert 0.3 < large.network.weight[0] < 0.4  # 1 - 0.5 ** 0.64


def test_a_half_life_of_zero_copies():
    live = Net()
    ema = EMA(live, 0, 0.05)
    nn.init.normal_(live.weight)
    ema.update(5, 5)
    assert torch.equal(ema.network.weight, live.weight)


@pytest.mark.parametrize(
    ("images", "half_life", "rampup", "current"),
    [
        (1000, 500, 0.05, 50),  # early: a fraction of the images seen
        (10_000, 500, 0.05, 500),  # reached
        (10**9, 500, 0.05, 500),
        (1000, 500, 0, 500),  # no ramp-up
    ],
)
def test_the_half_life_is_at_most_a_share_of_the_images_seen(images, half_life, rampup, current):
    assert decay(images, 25, half_life, rampup) == pytest.approx(0.5 ** (25 / current))


def test_nothing_of_the_random_start_is_kept_at_the_first_image():
    assert decay(0, 32, 10_000, 0.05) == 0


def test_floating_point_buffers_are_averaged():
    live = Net()
    ema = EMA(live, 100, 0)
    live.norm.running_mean.fill_(8)
    ema.update(1000, 200)
    torch.testing.assert_close(ema.network.norm.running_mean, torch.full([3], 6.0))


def test_integer_buffers_are_copied():
    live = Net()
    ema = EMA(live, 100, 0)
    live.norm.num_batches_tracked.fill_(7)
    ema.update(1000, 1)
    assert ema.network.norm.num_batches_tracked == 7


def test_buffers_that_are_not_saved_are_averaged_too():
    live = Net()
    ema = EMA(live, 100, 0)
    live.constant.fill_(3)
    ema.update(1000, 100)
    assert ema.network.constant.tolist() == [2, 2]


def test_a_weight_in_two_places_is_averaged_once():
    live = Net()
    live.again = nn.Module()
    live.again.weight = live.weight
    ema = EMA(live, 100, 0)
    to_one(live)
    ema.update(1000, 100)
    torch.testing.assert_close(ema.network.weight, torch.full([3], 0.5))


def test_the_average_needs_no_gradient_and_is_in_evaluation_mode():
    live = Net()
    ema = EMA(live, 100, 0)
    assert not any(weight.requires_grad for weight in ema.network.parameters())
    assert not any(module.training for module in ema.network.modules())
    assert live.training
    assert live.weight.requires_grad


def test_an_update_leaves_the_live_network_alone():
    live = Net()
    ema = EMA(live, 100, 0)
    to_one(live)
    before = copy.deepcopy(live.state_dict())
    ema.update(1000, 32)
    for name, value in live.state_dict().items():
        assert torch.equal(value, before[name])


def test_networks_that_moved_since_are_still_averaged():
    live = Net()
    ema = EMA(live, 100, 0)
    live.double()  # like a move to a device, this replaces the tensors of the modules
    ema.network.double()
    to_one(live)
    live.norm.running_mean.fill_(1)
    ema.update(1000, 100)
    expected = torch.full([3], 0.5, dtype=torch.float64)
    torch.testing.assert_close(ema.network.weight, expected)
    torch.testing.assert_close(ema.network.norm.running_mean, expected)


def test_loaded_weights_are_where_the_average_goes_on():
    live = Net()
    to_one(live)
    ema = EMA(Net(), 100, 0)
    ema.network.load_state_dict(live.state_dict())
    ema.update(1000, 100)
    torch.testing.assert_close(ema.network.weight, torch.full([3], 0.5))
