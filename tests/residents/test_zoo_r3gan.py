"""R3GAN: the contract, the published sizes, second derivatives, and the model's own features."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.nn.functional import softplus

import zoo_r3gan
from zoo_core.config import resolve
from zoo_core.errors import ConfigError, WeightsError
from zoo_core.interfaces import Batch, Networks, Progress
from zoo_core.noise import SeededNoise
from zoo_core.testing import (
    CHECKS,
    Case,
    check_every_weight_gets_a_gradient,
    check_exact_resume,
    check_seed_determines_image,
)
from zoo_core.training.regularizers import r1_penalty
from zoo_r3gan.config import PRESETS, RUN, R3GANConfig
from zoo_r3gan.networks import R3GANDiscriminator, R3GANGenerator, ResidualBlock
from zoo_r3gan.reference import network_from_reference
from zoo_r3gan.training import R3GANLoss, build_phases

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = R3GANConfig(resolution=8, widths=(8, 4), group_size=4, latent_size=4, penalty_every=1)


def preset(name: str) -> R3GANConfig:
    return resolve("r3gan", R3GANConfig, ("defaults", RUN), (name, PRESETS[name])).config


def small(**settings) -> R3GANConfig:
    return msgspec.structs.replace(SMALL, **settings)


def awake(network: nn.Module) -> nn.Module:
    """The network with N(0, 0.3^2) weights everywhere; freshly built blocks are identities."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


def pair(config: R3GANConfig) -> Networks:
    return Networks(awake(R3GANGenerator(config)), awake(R3GANDiscriminator(config)))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def batch(config: R3GANConfig, size: int = 4) -> Batch:
    images = torch.rand(size, config.channels, config.resolution, config.resolution) * 2 - 1
    labels = torch.arange(size) % config.num_classes if config.num_classes else None
    return Batch(images, labels, None, torch.arange(size))


def at(images: int, size: int = 4) -> Progress:
    return Progress(images, SeededNoise(0, range(size)))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("r3gan", tmp_path))


@pytest.mark.parametrize(
    "check",
    [check_every_weight_gets_a_gradient, check_exact_resume, check_seed_determines_image],
    ids=lambda check: check.__name__,
)
def test_contract_with_labels(check, tmp_path):
    case = Case.of("r3gan", tmp_path)
    config = small(num_classes=3, embedding_size=2, projection_size=2)
    check(replace(case, resolved=msgspec.structs.replace(case.resolved, config=config)))


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [  # in millions, the public implementation has 20.78 and 21.28, 22.43 and 22.38, ...
        ("cifar", 20_781_952, 21_280_512),
        ("ffhq64", 22_429_824, 22_381_440),
        ("ffhq256", 23_057_952, 23_009_568),
        ("imagenet32", 82_914_304, 86_548_992),
        ("imagenet64", 103_570_432, 107_205_120),
    ],
)
def test_the_published_sizes_to_the_unit(name: str, generator: int, discriminator: int):
    with torch.device("meta"):
        networks = R3GANGenerator(preset(name)), R3GANDiscriminator(preset(name))
    assert tuple(map(count, networks)) == (generator, discriminator)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_power_of_two_builds_and_runs(resolution: int, channels: int):
    widths = (4,) * (resolution.bit_length() - 2)
    config = R3GANConfig(resolution=resolution, channels=channels, widths=widths, group_size=4)
    images = R3GANGenerator(config).sample([0, 1])
    assert images.shape == (2, channels, resolution, resolution)
    assert R3GANDiscriminator(config)(images).shape == (2,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolution": 4}, "resolution"),
        ({"resolution": 48}, "power of two >= 8, not 48"),
        ({"resolution": 64}, "widths must have 5 numbers, one per size from 4 to 64 pixels, not 4"),
        ({"num_blocks": "[1, 2]"}, "num_blocks must have 4 numbers"),
        ({"group_size": "[8, 8, 8]"}, "group_size must have 4 numbers"),
        ({"group_size": 24}, "group_size 24 must divide width x expansion, which is 256"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(settings: dict, message: str):
    with pytest.raises(ConfigError, match=message) as error:
        resolve("r3gan", R3GANConfig, ("--set", settings))
    assert "\n" not in str(error.value)


def test_blocks_and_groups_may_differ_from_size_to_size():
    config = small(num_blocks=(1, 2), group_size=(2, 8), kernel_size=5)
    generator, discriminator = R3GANGenerator(config), R3GANDiscriminator(config)
    for stages in (generator.stages, discriminator.stages[::-1]):
        found = [[m for m in stage if isinstance(m, ResidualBlock)] for stage in stages]
        assert [len(blocks) for blocks in found] == [1, 2]
        assert [tuple(blocks[0].mix.weight.shape[1:]) for blocks in found] == [(2, 5, 5), (8, 5, 5)]


def test_weights_start_as_in_fixup():
    """Blocks start as identities; their other layers have He's gain times L^(-1/4)."""
    network = R3GANDiscriminator(R3GANConfig(widths=(64,) * 4, num_blocks=2))
    found = [module for module in network.modules() if isinstance(module, ResidualBlock)]
    gain = math.sqrt(2 / 1.04) * 8**-0.25
    for block in found:
        assert float(block.expand.weight.detach().std()) == pytest.approx(gain / 8, rel=0.05)
        assert float(block.mix.weight.detach().std()) == pytest.approx(gain / 12, rel=0.05)
        assert not block.expand.bias.any()
        assert not block.mix.bias.any()
        assert not block.project.weight.any()
    assert len(found) == 8


@torch.no_grad()
def test_what_is_not_in_a_block_starts_by_its_fan_in():
    """The generator uses basis and embedding as they are, so their fan-in counts as 1; the
    discriminator sums over their pixels or columns.
    """
    sizes = {"latent_size": 16, "embedding_size": 9, "projection_size": 100}
    config = R3GANConfig(resolution=16, widths=(64, 256, 256), num_classes=400, **sizes)
    generator, discriminator = R3GANGenerator(config), R3GANDiscriminator(config)
    start, end = generator.stages[0][0], discriminator.stages[-1][-1]
    for weights, expected in [
        (generator.embedding.weight, 1),
        (start.linear.weight, 1 / 5),
        (start.basis, 1),
        (generator.stages[1][0].conv.weight, 1 / 8),
        (generator.to_images.weight, 1 / 16),
        (discriminator.from_images.weight, 3**-0.5),
        (discriminator.stages[1][-1].conv.weight, 1 / 16),
        (end.basis, 1 / 4),
        (end.linear.weight, 1 / 8),
        (discriminator.embedding.weight, 1 / 10),
    ]:
        assert float(weights.std()) == pytest.approx(expected, rel=0.1)


def test_the_penalty_has_its_numerical_gradient():
    config = small(widths=(4, 2), group_size=2)
    network = awake(R3GANDiscriminator(config)).double()
    images = batch(config, 2).images.double().requires_grad_()
    names, parameters = zip(*network.named_parameters(), strict=True)

    def penalty(*values: Tensor) -> Tensor:
        logits = functional_call(network, dict(zip(names, values, strict=True)), images)
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return slope.square().sum()

    assert gradcheck(penalty, parameters, fast_mode=True)
    block = network.stages[0][0]
    features = torch.randn(2, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert gradgradcheck(block, features, fast_mode=True)


def test_bfloat16_gives_float32_logits_and_a_penalty_close_by():
    network, images = awake(R3GANDiscriminator(SMALL)), batch(SMALL).images
    exact = r1_penalty(network, images)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(images).dtype == torch.float32
        rough = r1_penalty(network, images)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0)
    rough.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_the_penalties_come_from_the_pass_of_the_loss():
    networks = pair(SMALL)
    calls = {"generator": 0, "discriminator": 0}
    for role, network in networks.named():
        network.register_forward_hook(lambda *_, role=role: calls.update({role: calls[role] + 1}))
    training = R3GANLoss(networks, SMALL)
    data = batch(SMALL)
    terms = training.discriminator_loss(data, at(0))
    assert calls == {"generator": 1, "discriminator": 2}
    r1 = r1_penalty(networks.discriminator, data.images)
    r2 = r1_penalty(networks.discriminator, networks.generator.generate(at(0).noise))
    torch.testing.assert_close([terms["r1"], terms["r2"]], [r1, r2])
    adversarial = terms["loss"] - SMALL.penalty / 2 * (r1 + r2)
    real = networks.discriminator(data.images)
    fake = networks.discriminator(networks.generator.generate(at(0).noise))
    torch.testing.assert_close(adversarial, softplus(fake - real).mean())


def test_lazy_penalties_are_multiplied_by_their_interval():
    training = R3GANLoss(pair(SMALL), small(penalty_every=4, penalty=0.5, penalty_end=0.5))
    data = batch(SMALL)
    found = [training.discriminator_loss(data, at(4 * step)) for step in range(5)]
    assert ["r1" in terms for terms in found] == [True, False, False, False, True]
    assert training.penalty_weight(0, 0) == 4 * 0.5 / 2


def test_without_a_penalty_none_is_computed():
    training = R3GANLoss(pair(SMALL), small(penalty=0.0, penalty_end=0.0))
    assert "r1" not in training.discriminator_loss(batch(SMALL), at(0))


def test_learning_rate_beta2_and_gamma_follow_half_a_cosine():
    config = preset("ffhq64")
    phases = build_phases(pair(small()), config)
    training = R3GANLoss(pair(SMALL), config)
    for images, rate, beta2, gamma in [
        (0, 2e-4, 0.9, 2.0),
        (10_000_000, 1.25e-4, 0.945, 1.1),
        (20_000_000, 5e-5, 0.99, 0.2),
        (90_000_000, 5e-5, 0.99, 0.2),
    ]:
        for phase in phases:
            settings = phase.schedule(images)
            assert settings["lr"] == pytest.approx(rate)
            assert settings["betas"] == pytest.approx((0.0, beta2))
        assert training.penalty_weight(images, 0) == pytest.approx(gamma / 2)


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"tiny"}))
def test_the_half_life_of_the_average_grows_as_long_as_the_schedules(name: str):
    values = PRESETS[name]
    assert values["ema_rampup"] * values["schedule_images"] == values["ema_half_life"]


def test_a_pair_of_real_and_fake_has_one_label():
    config = small(num_classes=3)
    networks = pair(config)
    training, data, seen = R3GANLoss(networks, config), batch(config), []
    networks.discriminator.register_forward_hook(
        lambda _, __, keywords, ___: seen.append(keywords["labels"]), with_kwargs=True
    )
    training.discriminator_loss(data, at(0))
    expected = networks.generator.generate(at(0).noise, labels=data.labels)
    torch.testing.assert_close(training._fake, expected)
    training.generator_loss(data, at(0))
    assert len(seen) == 4
    assert all(labels is data.labels for labels in seen)


def test_the_generator_is_judged_against_the_real_pictures():
    networks = pair(SMALL)
    training, data = R3GANLoss(networks, SMALL), batch(SMALL)
    training.discriminator_loss(data, at(0))
    fake = networks.discriminator(networks.generator.generate(at(0).noise))
    expected = softplus(networks.discriminator(data.images) - fake).mean()
    torch.testing.assert_close(training.generator_loss(data, at(0))["loss"], expected)


def test_labels_change_picture_and_judgment():
    networks = pair(small(num_classes=2))
    images = networks.generator.sample([7, 7], labels=[0, 1])
    assert not torch.equal(images[0], images[1])
    one, other = networks.discriminator(images[:1].repeat(2, 1, 1, 1), labels=torch.tensor([0, 1]))
    assert one != other


def test_truncation_zero_is_one_picture():
    images = awake(R3GANGenerator(SMALL)).sample([0, 1], truncation=0.0)
    assert torch.equal(images[0], images[1])


ABOUT = {
    "network": "generator", "noise_dim": 12, "widths": [16, 16, 8], "cardinality": [4, 4, 2],
    "blocks": [2, 2, 2], "expansion": 2, "kernel": 3, "condition_dim": None,
    "condition_embedding": 0,
}  # fmt: skip


def reference_state() -> dict[str, Tensor]:
    tensors = load_file(GOLDEN / "r3gan_generator_uncond.safetensors")
    return {k[len("param/") :]: v for k, v in tensors.items() if k.startswith("param/")}


def test_reference_names_may_begin_with_model():
    state = reference_state()
    plain = network_from_reference(ABOUT, state).state_dict()
    prefixed = network_from_reference(ABOUT, {f"Model.{k}": v for k, v in state.items()})
    torch.testing.assert_close(prefixed.state_dict(), plain)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"MainLayers.0.Layers.0.Basis": None}, "stages.0.0.basis"),
        ({"MainLayers.0.Layers.0.Mystery": torch.zeros(1)}, "no network 'generator' with these"),
        ({"MainLayers.0.Layers.9.LinearLayer.weight": torch.zeros(1)}, "stages.0.9.linear.weight"),
        ({"MainLayers.1.Layers.0.Resampler.Kernel": torch.ones(4, 4)}, "1.Layers.0.Resampler"),
    ],
)
def test_reference_weights_that_do_not_fit_are_named(change: dict, named: str):
    state = {key: v for key, v in (reference_state() | change).items() if v is not None}
    with pytest.raises((ValueError, RuntimeError, WeightsError), match=named):
        network_from_reference(ABOUT, state)


def test_the_model_is_called_what_its_plugin_is():
    assert [spec.name for spec in zoo_r3gan.zoo_models()] == ["r3gan"]
