"""Networks as graphs."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from zoo_core.nn.convolution import conv2d
from zoo_core.nn.layers import EqualizedLinear
from zoo_core.nn.tracing import Growing, traced


class Counting(Growing):
    """Adds the number of images seen."""

    def forward(self, values):
        return values + self.seen


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, images):
        return conv2d(images, self.weight, padding=1)


def exported(network, *inputs):
    free = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    return torch.export.export(network, inputs, dynamic_shapes=free).module()


def recorded(network, *inputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.trace(network, inputs, check_trace=False)


@pytest.mark.parametrize("record", [exported, recorded])
def test_a_call_knows_that_it_is_recorded(record):
    class Telling(nn.Module):
        def forward(self, values):
            return values + 1 if traced() else values

    network, values = Telling(), torch.zeros(2)
    assert torch.equal(network(values), values)
    assert torch.equal(record(network, values)(values), values + 1)
    assert not traced()


@pytest.mark.parametrize("record", [exported, recorded])
def test_a_graph_knows_how_many_images_were_seen(record):
    network = Counting()
    network.images_seen.fill_(7)
    network.eval()
    assert float(record(network, torch.zeros(2))(torch.zeros(2))[0]) == 7


def test_a_graph_of_loaded_weights_knows_how_many_images_they_saw():
    network, other = Counting().eval(), Counting()
    other.images_seen.fill_(7)
    network.load_state_dict(other.state_dict())
    assert float(exported(network, torch.zeros(2))(torch.zeros(2))[0]) == 7


def test_the_images_seen_are_those_of_the_buffer_however_it_was_written():
    network = Counting()
    for count in (3, 5):
        network.images_seen.fill_(count)
        assert network.seen == copy.deepcopy(network).seen == count


def test_without_memory_a_great_many_images_were_seen():
    with torch.device("meta"):
        assert Counting().seen >= 1 << 60


def test_a_graph_of_a_convolution_holds_torch_s_own_operation():
    network, images = Convolved(), torch.randn(2, 3, 4, 4, requires_grad=True)
    graph = recorded(network, images)
    assert "aten::_convolution" in str(graph.graph)
    assert "PythonOp" not in str(graph.graph)


def test_a_layer_is_recorded_for_more_images_than_it_was_shown():
    layer = EqualizedLinear(4, 4)
    few, many = torch.randn(2, 4), torch.randn(50, 4)  # 8 numbers < 16 weights < 200 numbers
    torch.testing.assert_close(exported(layer, few)(many), layer(many))
