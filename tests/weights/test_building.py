"""Networks that are built to be filled: nothing is drawn, unless it would be missed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoo_core.nn import standard_normal
from zoo_core.weights.building import build_to_fill


class Derived(nn.Module):
    """A network with random numbers that its weights file does not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = standard_normal(8)
        self.register_buffer("other", self.weight.data * 2, persistent=False)
        self.register_buffer("another", nn.Linear(8, 8).weight.data, persistent=False)


def initialized(init: Callable[[Tensor], Tensor]) -> nn.Module:
    layer = nn.Linear(8, 8)
    init(layer.weight)
    return layer


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(8, 8),
        lambda: nn.Conv2d(3, 8, 3),
        lambda: nn.Embedding(8, 8),
        lambda: initialized(nn.init.xavier_normal_),
        lambda: initialized(nn.init.kaiming_normal_),
        lambda: nn.ParameterList([standard_normal(8, 8)]),
    ],
)
def test_torchs_random_generator_is_left_alone(build):
    before = torch.get_rng_state()
    assert isinstance(build_to_fill(build), nn.Module)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_numbers_that_no_file_holds_are_drawn():
    torch.manual_seed(3)
    expected = Derived()
    torch.manual_seed(3)
    network = build_to_fill(Derived)
    assert torch.equal(network.other, expected.other)
    assert torch.equal(network.another, expected.another)


def test_a_generator_of_its_own_draws_as_always():
    def build() -> nn.Module:
        layer = nn.Linear(8, 8)
        nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(5))
        return layer

    assert torch.equal(build_to_fill(build).weight, build().weight)


def test_drawing_until_it_fits_ends():
    def build() -> nn.Module:
        layer = nn.Linear(8, 8)
        with torch.no_grad():
            layer.weight.zero_()
        while not (layer.weight > 0).all():
            nn.init.uniform_(layer.weight, 0.1, 1)
        return layer

    assert isinstance(build_to_fill(build), nn.Linear)


def test_a_network_that_fails_without_random_numbers_is_built_with_them():
    def build() -> nn.Module:
        layer = nn.Linear(8, 8)
        torch.nn.init.zeros_(layer.weight)
        nn.init.normal_(layer.weight)
        if not layer.weight.any():
            raise ValueError("not a number was drawn")
        return layer

    assert build_to_fill(build).weight.any()
