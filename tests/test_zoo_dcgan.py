"""DCGAN: the contract, the paper's sizes, and what is special."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import nn

import zoo_dcgan
from zoo_core.config import describe, fields, resolve
from zoo_core.errors import ConfigError
from zoo_core.interfaces import Batch, Networks, Progress
from zoo_core.losses import LOSSES
from zoo_core.noise import SeededNoise
from zoo_core.testing import CHECKS, Case
from zoo_dcgan.config import PRESETS, RUN, DCGANConfig
from zoo_dcgan.networks import DCGANDiscriminator, DCGANGenerator
from zoo_dcgan.training import build_phases

PAPER = resolve("dcgan", DCGANConfig, ("defaults", RUN), ("paper64", PRESETS["paper64"])).config


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("dcgan", tmp_path))


def test_the_published_sizes_to_the_unit():
    """The public reference code at 64 pixels: latents of 100, widths of 64, no biases."""
    assert count(DCGANGenerator(PAPER)) == 3_576_704
    assert count(DCGANDiscriminator(PAPER)) == 2_765_568


@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_power_of_two_builds_and_runs(resolution: int, channels: int):
    config = DCGANConfig(
        resolution=resolution, channels=channels, generator_width=2, discriminator_width=2
    )
    images = DCGANGenerator(config).sample([0, 1])
    assert images.shape == (2, channels, resolution, resolution)
    assert DCGANDiscriminator(config)(images).shape == (2,)


@pytest.mark.parametrize("resolution", [8, 24, 48])
def test_other_resolutions_are_refused(resolution: int):
    with pytest.raises(ConfigError):
        resolve("dcgan", DCGANConfig, ("--set", {"resolution": resolution}))


def test_widths_stop_growing_at_the_limit():
    config = DCGANConfig(resolution=256, generator_width=64, max_width=128)
    convolutions = [
        m for m in DCGANGenerator(config).modules() if isinstance(m, nn.ConvTranspose2d)
    ]
    assert max(convolution.out_channels for convolution in convolutions) == 128


def test_normalization_is_where_the_paper_has_it():
    """Section 3: everywhere but on the generator's output and the discriminator's input."""
    generator, discriminator = DCGANGenerator(PAPER).main, DCGANDiscriminator(PAPER).main
    assert [type(layer).__name__ for layer in generator][-2:] == ["ConvTranspose2d", "Tanh"]
    assert [type(layer).__name__ for layer in discriminator][:3] == [
        "Conv2d", "LeakyReLU", "Conv2d",
    ]  # fmt: skip
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in generator) == 4
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in discriminator) == 3


def test_weights_start_as_in_the_paper():
    torch.manual_seed(0)
    for network in (DCGANGenerator(PAPER), DCGANDiscriminator(PAPER)):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 10_000:
                assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.03)
                assert layer.bias is None


def test_uniform_latents_fill_minus_one_to_one():
    latents = DCGANGenerator(PAPER).latents(SeededNoise(range(200)))
    assert latents.shape == (200, 100)
    assert -1 <= float(latents.min()) < -0.99
    assert 0.99 < float(latents.max()) <= 1


def test_truncation_zero_is_one_picture():
    images = DCGANGenerator(DCGANConfig()).sample([0, 1], truncation=0.0)
    assert torch.equal(images[0], images[1])


def test_both_networks_judge_the_same_fakes_once_made():
    config = resolve("dcgan", DCGANConfig, ("tiny", PRESETS["tiny"])).config
    generator, discriminator = DCGANGenerator(config), DCGANDiscriminator(config)
    calls = []
    generator.register_forward_hook(lambda *_: calls.append(1))
    phases = build_phases(Networks(generator, discriminator), config)
    batch = Batch(torch.zeros(4, 3, 16, 16), None, None, torch.arange(4))
    for phase in phases:
        phase.loss(batch, Progress(0, SeededNoise(0, range(4))))
    assert [phase.name for phase in phases] == ["discriminator", "penalty", "generator"]
    assert len(calls) == 1


def test_every_loss_of_the_core_can_be_chosen():
    assert describe(fields(DCGANConfig)["loss"]) == "one of " + ", ".join(LOSSES)


def test_without_a_penalty_there_is_no_phase_for_it():
    config = msgspec.structs.replace(PAPER, generator_width=2, discriminator_width=2)
    networks = Networks(DCGANGenerator(config), DCGANDiscriminator(config))
    assert [p.name for p in build_phases(networks, config)] == ["discriminator", "generator"]


def test_the_model_is_called_what_its_plugin_is():
    assert [spec.name for spec in zoo_dcgan.zoo_models()] == ["dcgan"]
