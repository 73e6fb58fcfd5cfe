"""Adam and AdamW step like torch's, in any memory layout of weights and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo_core.training.optimizers import Adam, AdamW

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
PAIRS = [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)]
SHAPES = [(8, 6, 3, 3), (8, 6, 1, 1), (1, 6, 3, 3), (8, 1, 3, 3), (5, 4), (7,), ()]


def stepped(kind, weights: list[Tensor], layout, gradients_layout, **settings) -> list[Tensor]:
    """The weights after three steps."""
    parameters = [nn.Parameter(_laid(weight, layout)) for weight in weights]
    optimizer = kind(parameters, lr=0.1, weight_decay=0.01, **settings)
    for number in range(3):
        for seed, parameter in enumerate(parameters):
            noise = torch.Generator().manual_seed(100 * number + seed)
            gradient = torch.randn(parameter.shape, generator=noise)
            parameter.grad = _laid(gradient, gradients_layout)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def _laid(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    return tensor.clone(memory_format=layout if tensor.dim() == 4 else torch.contiguous_format)


@pytest.mark.parametrize(("kind", "torchs"), PAIRS)
@pytest.mark.parametrize("gradients", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_steps_are_torchs_without_its_fused_kernel(kind, torchs, layout, gradients):
    weights = [torch.randn(shape) for shape in SHAPES]
    ours = stepped(kind, weights, layout, gradients, fused=True)
    theirs = stepped(torchs, weights, layout, layout, fused=False, foreach=False)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize(("kind", "torchs"), PAIRS)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_steps_are_those_of_torchs_fused_kernel_to_the_bit(kind, torchs, layout, amsgrad):
    weights = [torch.randn(shape) for shape in SHAPES]
    settings = {"fused": True, "amsgrad": amsgrad}
    ours = stepped(kind, weights, layout, layout, **settings)
    theirs = stepped(torchs, weights, layout, layout, **settings)
    assert all(map(torch.equal, ours, theirs))
    assert [weight.stride() for weight in ours] == [weight.stride() for weight in theirs]


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_a_fused_step_copies_no_gradient(kind):
    weight = nn.Parameter(torch.randn(8, 6, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn_like(weight)
    optimizer = kind([weight], fused=True)
    optimizer.step()
    with torch.autograd.profiler.profile() as profile:
        optimizer.step()
    names = [event.name for event in profile.function_events]
    assert any("_fused_adam" in name for name in names)
    assert "aten::clone" not in names
