"""DCGAN: plugin contract, published sizes, model-specific behavior."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import Tensor, nn

import zoo_dcgan
from zoo_core.config import describe, fields, resolve
from zoo_core.errors import ConfigError
from zoo_core.interfaces import Batch, Networks, Phase, Progress
from zoo_core.noise import SeededNoise
from zoo_core.testing import CHECKS, Case
from zoo_core.training.losses import LOSSES
from zoo_dcgan.config import PRESETS, RUN, DCGANConfig
from zoo_dcgan.networks import DCGANDiscriminator, DCGANGenerator
from zoo_dcgan.training import build_phases

PAPER = resolve("dcgan", DCGANConfig, ("defaults", RUN), ("paper64", PRESETS["paper64"])).config
NOISE = SeededNoise(0, range(4))


def start(**settings: object) -> tuple[Networks, Batch, list[Phase]]:
    """New tiny networks with weights that spread the logits, a random batch, and the phases."""
    layers = ("tiny", PRESETS["tiny"]), ("--set", settings)
    config = resolve("dcgan", DCGANConfig, *layers).config
    networks = Networks(DCGANGenerator(config), DCGANDiscriminator(config))
    for parameter in networks.discriminator.parameters():
        nn.init.normal_(parameter, std=0.1)
    batch = Batch(torch.rand(4, 3, 16, 16) * 2 - 1, None, None, torch.arange(4))
    return networks, batch, build_phases(networks, config)


def terms_of(phases: list[Phase], batch: Batch) -> dict[str, dict[str, Tensor]]:
    """The loss terms of every phase; no optimizer step is taken."""
    return {phase.name: dict(phase.loss(batch, Progress(0, NOISE))) for phase in phases}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("dcgan", tmp_path))


def test_the_published_sizes_to_the_unit():
    """The public reference code at 64 pixels: latent size 100, widths 64, no biases."""
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
    latents = DCGANGenerator(PAPER).latents(range(200))
    assert latents.shape == (200, 100)
    assert -1 <= float(latents.min()) < -0.99
    assert 0.99 < float(latents.max()) <= 1


def test_truncation_zero_is_one_picture():
    images = DCGANGenerator(DCGANConfig()).sample([0, 1], truncation=0.0)
    assert torch.equal(images[0], images[1])


def test_both_networks_judge_the_same_fakes_once_made():
    (networks, batch, phases), calls = start(), []
    networks.generator.register_forward_hook(lambda *_: calls.append(1))
    assert list(terms_of(phases, batch)) == ["discriminator", "penalty", "generator"]
    assert len(calls) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_are_those_of_the_logits(loss: str):
    networks, batch, phases = start(loss=loss)
    fake = networks.generator.generate(NOISE)
    logits = networks.discriminator(batch.images), networks.discriminator(fake)
    terms = terms_of(phases, batch)
    for side in ("discriminator", "generator"):
        expected = getattr(LOSSES[loss], side)(*logits)
        torch.testing.assert_close(terms[side]["loss"], expected)


def test_the_penalty_is_r1_of_real_and_r2_of_fake_pictures_weighted_by_its_interval():
    networks, batch, phases = start(penalty=0.5, penalty_every=6)
    fake = networks.generator.generate(NOISE).detach()
    r1, r2 = (r1_of_logits(networks.discriminator, each) for each in (batch.images, fake))
    found = terms_of(phases, batch)["penalty"]
    torch.testing.assert_close([found["r1"], found["r2"]], [r1, r2])
    torch.testing.assert_close(found["loss"], 0.5 / 2 * 6 * (r1 + r2))


def r1_of_logits(judge: nn.Module, images: Tensor) -> Tensor:
    images = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(judge(images).sum(), images)
    return slope.square().sum((1, 2, 3)).mean()


def test_every_loss_of_the_core_can_be_chosen():
    assert describe(fields(DCGANConfig)["loss"]) == "one of " + ", ".join(LOSSES)


def test_without_a_penalty_there_is_no_phase_for_it():
    config = msgspec.structs.replace(PAPER, generator_width=2, discriminator_width=2)
    networks = Networks(DCGANGenerator(config), DCGANDiscriminator(config))
    assert [p.name for p in build_phases(networks, config)] == ["discriminator", "generator"]


def test_the_model_is_called_what_its_plugin_is():
    assert [spec.name for spec in zoo_dcgan.zoo_models()] == ["dcgan"]
