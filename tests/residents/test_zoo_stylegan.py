"""StyleGAN: plugin contract, published sizes, growth, styles and noise."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu, linear, softplus

import zoo_stylegan
from zoo_core.config import resolve
from zoo_core.errors import ConfigError
from zoo_core.interfaces import Batch, Networks, Phase, Progress
from zoo_core.nn.resample import fade, filter2d
from zoo_core.noise import SeededNoise
from zoo_core.testing import CHECKS, Case
from zoo_core.training.regularizers import r1_penalty
from zoo_core.training.schedules import growth
from zoo_core.weights.loading import load
from zoo_stylegan.config import PRESETS, RUN, StyleGANConfig
from zoo_stylegan.networks import (
    StyledLayer,
    StyleGANDiscriminator,
    StyleGANGenerator,
    UpsamplingConv2d,
    adain,
    reached,
)
from zoo_stylegan.training import build_phases

LAST = 1 << 40  # images, enough for full growth


def preset(name: str, **settings: object) -> StyleGANConfig:
    layers = (("defaults", RUN), (name, PRESETS[name]), ("--set", settings))
    return resolve("stylegan", StyleGANConfig, *layers).config


TINY = preset("tiny")  # 8 pixels for 8 images, 16 pixels faded in over 32


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def generator(images_seen: int = LAST, **settings: object) -> StyleGANGenerator:
    """A tiny generator with nonzero noise scales."""
    torch.manual_seed(0)
    network = StyleGANGenerator(preset("tiny", **settings))
    network.images_seen.fill_(images_seen)
    for layer in network.modules():
        if isinstance(layer, StyledLayer):
            nn.init.normal_(layer.noise_scale)
    return network


def discriminator(images_seen: int = LAST, **settings: object) -> StyleGANDiscriminator:
    torch.manual_seed(0)
    network = StyleGANDiscriminator(preset("tiny", **settings))
    network.images_seen.fill_(images_seen)
    return network


def phases(config: StyleGANConfig) -> tuple[Networks, list[Phase]]:
    networks = Networks(StyleGANGenerator(config), StyleGANDiscriminator(config))
    return networks, build_phases(networks, config)


def pictures(side: int = 16) -> torch.Tensor:
    return torch.rand(4, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("stylegan", tmp_path))


def test_the_published_sizes_to_the_unit():
    """The totals printed by the public implementation include layers to and from RGB at 4 x 4."""
    with torch.device("meta"):
        whole = preset("paper1024", first_resolution=4)
        assert count(StyleGANGenerator(whole)) == 26_219_627
        assert count(StyleGANDiscriminator(whole)) == 23_087_249
        assert count(StyleGANGenerator(preset("paper1024"))) == 26_219_627 - 1_539
        assert count(StyleGANDiscriminator(preset("paper1024"))) == 23_087_249 - 2_048
        assert count(StyleGANGenerator(preset("paper256"))) == 26_084_690
        assert count(StyleGANDiscriminator(preset("paper256"))) == 23_050_305


@pytest.mark.parametrize("resolution", [8, 16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("first_resolution", [4, 8])
def test_every_power_of_two_builds_and_runs(resolution: int, channels: int, first_resolution: int):
    settings = {
        "resolution": resolution, "channels": channels, "first_resolution": first_resolution,
    }  # fmt: skip
    for images_seen in (0, LAST):
        images = generator(images_seen, **settings).sample([0, 1])
        assert images.shape == (2, channels, resolution, resolution)
        assert discriminator(images_seen, **settings)(images).shape == (2,)


@pytest.mark.parametrize(
    "settings",
    [
        {"resolution": 4}, {"resolution": 24}, {"first_resolution": 12},
        {"first_resolution": 32}, {"channel_base": 8},
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused(settings: dict[str, object]):
    with pytest.raises(ConfigError):
        preset("tiny", **settings)


def test_weights_start_as_in_appendix_c():
    network = StyleGANGenerator(preset("tiny", channel_base=1024, channel_max=64))
    layer = network.blocks[0].first
    assert bool((network.constant == 1).all())
    assert bool((layer.noise_scale == 0).all())
    assert layer.style.bias.tolist() == [1.0] * 64 + [0.0] * 64
    assert float(network.blocks[0].convolution.weight.detach().std()) == pytest.approx(1, rel=0.03)


# The whole networks, step by step as in the paper


def equalized(layer: nn.Module, gain: float) -> torch.Tensor:
    """A weight at the scale of the initialization of He et al. 2015."""
    return layer.weight * gain / layer.weight[0].numel() ** 0.5


def blurred(features: torch.Tensor) -> torch.Tensor:
    taps = torch.tensor([1.0, 2.0, 1.0])
    kernel = (torch.outer(taps, taps) / 16).expand(features.shape[1], 1, 3, 3)
    return conv2d(features, kernel, padding=1, groups=features.shape[1])


def literal_layer(features: torch.Tensor, layer: StyledLayer, w: torch.Tensor) -> torch.Tensor:
    """Noise, bias, leaky ReLU, AdaIN (figure 1b, equation 1)."""
    features = features + layer.noise_const * layer.noise_scale + layer.bias
    features = leaky_relu(features, 0.2)
    style = linear(w, equalized(layer.style, 1.0), layer.style.bias)[:, :, None, None]
    scale, shift = style.chunk(2, 1)
    variance, mean = torch.var_mean(features, (2, 3), correction=0, keepdim=True)
    return (features - mean) / (variance + 1e-8).sqrt() * scale + shift


def test_the_mapping_network_is_the_one_of_appendix_c():
    mapping, z = generator().mapping, torch.randn(3, 8)
    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in mapping.layers:
        assert float(layer.weight.detach().std()) == pytest.approx(100, rel=0.3)  # learns slowly
        nn.init.normal_(layer.bias, std=100.0)
        w = leaky_relu(linear(w, 0.01 * equalized(layer, 2**0.5), 0.01 * layer.bias), 0.2)
    torch.testing.assert_close(mapping(z), w)


def test_the_synthesis_network_is_the_one_of_figure_1b():
    network, ws = generator().eval(), torch.randn(2, 6, 8)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    features = network.constant
    for number, block in enumerate(network.blocks):
        if number:
            features = interpolate(features, scale_factor=2)
            weight = equalized(block.enter.convolution, 2**0.5)
            features = blurred(conv2d(features, weight, padding=1))
        features = literal_layer(features, block.first, ws[:, 2 * number])
        features = conv2d(features, equalized(block.convolution, 2**0.5), padding=1)
        features = literal_layer(features, block.second, ws[:, 2 * number + 1])
    last = network.to_rgb[-1]
    images = conv2d(features, equalized(last, 1.0), last.bias)
    torch.testing.assert_close(network.synthesize(ws), images, rtol=1e-4, atol=1e-4)


def test_the_discriminator_is_progans_with_a_blur_before_it_halves():
    judge = discriminator()
    for name, parameter in judge.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)

    def convolved(layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
        padding = layer.weight.shape[2] // 2
        return conv2d(features, equalized(layer, 2**0.5), layer.bias, padding=padding)

    features = leaky_relu(convolved(judge.from_rgb[-1], pictures()), 0.2)
    for block in reversed(judge.blocks):
        features = blurred(leaky_relu(convolved(block.convolution, features), 0.2))
        features = leaky_relu(avg_pool2d(convolved(block.down, features), 2), 0.2)
    deviation = (features.var(0, correction=0) + 1e-8).sqrt().mean()
    features = torch.cat([features, deviation.expand(4, 1, 4, 4)], 1)
    features = leaky_relu(convolved(judge.convolution, features), 0.2).flatten(1)
    weight = equalized(judge.linear, 2**0.5)
    features = leaky_relu(linear(features, weight, judge.linear.bias), 0.2)
    logits = linear(features, equalized(judge.logit, 1.0), judge.logit.bias)
    torch.testing.assert_close(judge(pictures()), logits.flatten(), rtol=1e-4, atol=1e-4)


# Upsampling and AdaIN


def test_upsampling_doubles_pixels_convolves_and_blurs():
    layer, features = UpsamplingConv2d(3, 5), torch.randn(2, 3, 6, 6)
    plain = layer.convolution(interpolate(features, scale_factor=2))
    torch.testing.assert_close(layer(features), filter2d(plain, layer.taps))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_adain_gives_every_map_the_mean_and_deviation_of_its_style(memory_format):
    features = (torch.randn(2, 3, 8, 8) * 5 + 2).to(memory_format=memory_format)
    style = torch.randn(2, 6)
    result = adain(features, style)
    deviation, mean = torch.std_mean(result, (2, 3), correction=0)
    torch.testing.assert_close(deviation, style[:, :3].abs())
    torch.testing.assert_close(mean, style[:, 3:])
    normalized = (features - features.mean((2, 3), keepdim=True)) / features.std(
        (2, 3), keepdim=True, correction=0
    )
    expected = normalized * style[:, :3, None, None] + style[:, 3:, None, None]
    torch.testing.assert_close(result, expected)


# Growth


@pytest.mark.parametrize(("images_seen", "side"), [(0, 8), (7, 8), (8, 16), (24, 16), (LAST, 16)])
def test_both_networks_grow_with_the_images_seen(images_seen: int, side: int):
    network, judge, sides = generator(images_seen), discriminator(images_seen), []
    assert network.synthesize_grown(torch.randn(2, 6, 8)).shape == (2, 3, side, side)
    assert network.sample([0]).shape == (1, 3, 16, 16)
    for layer in judge.from_rgb:
        layer.register_forward_hook(lambda _, inputs, output: sides.append(output.shape[2]))
    judge(pictures())
    assert max(sides) == side


def test_without_a_value_on_the_meta_device_networks_are_fully_grown():
    with torch.device("meta"):
        assert reached(TINY, StyleGANGenerator(TINY).seen) == (1, 1.0)


def test_pixels_are_repeated_until_they_are_grown():
    images = generator(0).sample([0])
    torch.testing.assert_close(images, interpolate(images[:, :, ::2, ::2], scale_factor=2.0))


def test_a_new_resolution_begins_where_the_old_one_ended():
    ws = torch.randn(2, 6, 8)
    old, new = (generator(seen).eval().synthesize(ws) for seen in (7, 8))
    torch.testing.assert_close(new, old)
    before, after = (discriminator(seen)(pictures()) for seen in (7, 8))
    torch.testing.assert_close(after, before)


def test_a_fade_ends_in_the_new_resolution_alone():
    network, judge = generator(LAST), discriminator(LAST)
    for layer in (network.to_rgb[0], judge.from_rgb[0]):
        nn.init.constant_(layer.weight, float("nan"))
    assert bool(network.sample([0]).isfinite().all())
    assert bool(judge(pictures()).isfinite().all())


def test_within_a_fade_both_resolutions_count():
    ws = torch.randn(2, 6, 8)
    start, middle, end = (generator(seen).eval().synthesize(ws) for seen in (8, 8 + 32 // 4, LAST))
    torch.testing.assert_close(middle, start + (end - start) / 4)


def test_larger_pictures_are_averaged_for_the_discriminator():
    judge = discriminator(0)
    assert torch.equal(judge(pictures()), judge(avg_pool2d(pictures(), 2)))


def test_real_pictures_are_blended_as_generated_ones_are():
    networks, (first, *_) = phases(TINY)
    seen = []
    networks.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for images in (0, 16):
        batch = Batch(pictures(), None, None, torch.arange(4))
        first.loss(batch, Progress(images, SeededNoise(range(4))))
    small, large = avg_pool2d(pictures(), 2), pictures()
    torch.testing.assert_close(seen[0], small)
    torch.testing.assert_close(seen[2], interpolate(small, scale_factor=2.0) * 0.75 + large * 0.25)
    assert [tuple(images.shape[2:]) for images in seen] == [(8, 8)] * 2 + [(16, 16)] * 2


def test_a_step_tells_both_networks_how_many_images_were_seen():
    networks, (first, *_) = phases(TINY)
    first.loss(Batch(pictures(), None, None, torch.arange(4)), Progress(24, SeededNoise(range(4))))
    assert [int(network.images_seen) for _, network in networks.named()] == [24, 24]


def test_the_contract_resumes_inside_a_fade(tmp_path):
    """`check_exact_resume` stops after two steps of 8 images; its weights hold `images_seen`."""
    stage, alpha = growth(16, 2, TINY.fade_images, TINY.stable_images)
    assert stage == 1
    assert 0 < alpha < 1
    case = Case.of("stylegan", tmp_path)
    run = case.run("run", 24)
    loaded = load(run.path)
    assert int(loaded.images_seen) == 16  # before the last step
    assert reached(TINY, loaded.seen) == (1, alpha)


# Styles


def test_latents_are_normalized_before_they_are_mapped():
    network = generator().eval()
    z = torch.randn(3, 8)
    torch.testing.assert_close(network.mapping(z), network.mapping(z * 7))


def test_mixed_styles_change_once_at_a_layer_of_their_own():
    network, noise = generator(mixing_prob=1.0), SeededNoise(range(64))
    first, second = (
        network.mapping(network.latents_of(noise, purpose))
        for purpose in ("latents", "latents.mixed")
    )
    ws = network.sample_ws(noise)
    is_first = (ws == first[:, None]).all(2)
    is_second = (ws == second[:, None]).all(2)
    assert bool((is_first ^ is_second).all())
    crossover = is_first.sum(1)
    assert bool((is_first == (torch.arange(6) < crossover[:, None])).all())
    assert set(crossover.tolist()) == {1, 2, 3, 4, 5}


def test_styles_change_below_the_layers_that_are_grown():
    network, noise = generator(0, mixing_prob=1.0), SeededNoise(range(64))
    first = network.mapping(network.latents_of(noise))
    crossover = (network.sample_ws(noise) == first[:, None]).all(2).sum(1)
    assert set(crossover.tolist()) == {1, 2, 3}


def test_a_style_reaches_its_own_layer_and_later_ones():
    network, ws, outputs = generator().eval(), torch.randn(1, 6, 8), []
    for layer in network.modules():
        if isinstance(layer, StyledLayer):
            layer.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    network.synthesize(ws)
    plain = outputs.copy()
    for number in range(6):
        outputs.clear()
        changed = ws.clone()
        changed[:, number] += 1
        network.synthesize(changed)
        same = [torch.equal(old, new) for old, new in zip(plain, outputs, strict=True)]
        assert same == [True] * number + [False] * (6 - number)


def test_a_share_of_the_pictures_is_mixed_and_only_while_training():
    noise = SeededNoise(range(400))
    for network, share in ((generator(mixing_prob=0.5), 0.5), (generator().eval(), 0.0)):
        ws = network.sample_ws(noise)
        mixed = (ws != ws[:, :1]).any(2).any(1).float().mean()
        assert float(mixed) == pytest.approx(share, abs=0.06 if share else 0.0)


def test_the_average_style_follows_the_generator_in_training_only():
    network, noise = generator(), SeededNoise(range(8))
    w = network.mapping(network.latents_of(noise)).mean(0)
    network.eval().sample_ws(noise)
    assert not network.average_w.any()
    network.train().sample_ws(noise)
    torch.testing.assert_close(network.average_w, 0.005 * w)


def test_truncation_moves_the_first_layers_towards_the_average():
    network = generator(truncation_layers=4).eval()
    network.average_w.normal_()
    noise = SeededNoise([1, 2])
    whole, half = network.sample_ws(noise), network.sample_ws(noise, truncation=0.5)
    torch.testing.assert_close(half[:, :4], (whole[:, :4] + network.average_w) / 2)
    assert torch.equal(half[:, 4:], whole[:, 4:])
    assert not torch.equal(*network.sample([1, 2], truncation=0.0))


def test_truncation_zero_of_all_layers_is_one_picture():
    assert torch.equal(*generator().sample([0, 1], truncation=0.0))


# Noise inputs


def test_noise_is_new_for_every_picture_and_step_while_training():
    network = generator().train()
    ws = torch.randn(1, 6, 8).expand(2, -1, -1)
    images = network.synthesize(ws)
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images, network.synthesize(ws))
    for block in network.blocks:  # keep noise only on the constant, shared by all images
        for layer in (block.first, block.second):
            nn.init.zeros_(layer.noise_scale)
    nn.init.ones_(network.blocks[0].first.noise_scale)
    images = network.synthesize(ws)
    assert not torch.equal(images[0], images[1])


def test_noise_is_fixed_in_evaluation_mode_and_part_of_the_weights():
    network = generator().eval()
    ws = torch.randn(1, 6, 8).expand(2, -1, -1)
    images = network.synthesize(ws)
    torch.testing.assert_close(images[0], images[1])
    assert torch.equal(images, network.synthesize(ws))
    network.blocks[1].first.noise_const.neg_()
    assert not torch.equal(images, network.synthesize(ws))
    assert "blocks.1.first.noise_const" in network.state_dict()


# Training


def losses(config: StyleGANConfig) -> tuple[Networks, dict[str, dict[str, torch.Tensor]]]:
    """The networks, without an optimizer step, and the terms of every phase at 16 images."""
    torch.manual_seed(0)
    networks, steps = phases(config)
    batch = Batch(pictures(), None, None, torch.arange(4))
    progress = Progress(16, SeededNoise(range(4)))
    return networks, {phase.name: dict(phase.loss(batch, progress)) for phase in steps}


def test_r1_is_of_the_real_pictures_as_they_are_shown():
    networks, terms = losses(TINY)
    assert list(terms) == ["discriminator", "penalty", "generator"]
    r1 = r1_penalty(networks.discriminator, fade(pictures(), 0.25))
    torch.testing.assert_close(terms["penalty"]["r1"], r1)
    expected = TINY.penalty / 2 * TINY.penalty_every * r1
    torch.testing.assert_close(terms["penalty"]["loss"], expected)


def test_r1_of_every_step_is_part_of_the_discriminators_loss():
    config = preset("tiny", penalty_every=1, penalty=10.0)
    _, terms = losses(config)
    assert list(terms) == ["discriminator", "generator"]
    judged = terms["discriminator"]
    _, lazy = losses(preset("tiny", penalty=10.0))
    torch.testing.assert_close(
        judged["loss"], lazy["discriminator"]["loss"] + 10.0 / 2 * lazy["penalty"]["r1"]
    )


def test_without_a_weight_there_is_no_penalty():
    _, terms = losses(preset("tiny", penalty=0.0))
    assert list(terms) == ["discriminator", "generator"]
    _, terms = losses(preset("tiny", penalty=0.0, penalty_every=1))
    assert "r1" not in terms["discriminator"]


def test_the_losses_are_the_non_saturating_ones_on_the_same_fakes():
    networks, terms = losses(TINY)
    torch.manual_seed(0)
    again, _ = phases(TINY)
    again.generator.images_seen.fill_(16)
    images = again.generator.synthesize_grown(again.generator.sample_ws(SeededNoise(range(4))))
    real, fake = map(networks.discriminator, (fade(pictures(), 0.25), images))
    judged = softplus(-real).mean() + softplus(fake).mean()
    torch.testing.assert_close(terms["discriminator"]["loss"], judged)
    torch.testing.assert_close(terms["generator"]["loss"], softplus(-fake).mean())


def test_half_precision_leaves_w_as_it_is():
    network, z = generator(), torch.randn(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        w = network.mapping(z)
    assert torch.equal(w, network.mapping(z))


def test_half_precision_keeps_pictures_and_logits_in_float32():
    network, judge = generator(16), discriminator(16)
    with torch.autocast("cpu", torch.bfloat16):
        images = network.synthesize_grown(network.sample_ws(SeededNoise(range(4))))
        logits = judge(images)
    assert images.dtype == logits.dtype == torch.float32
    logits.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters())


def test_the_model_is_called_what_its_plugin_is():
    assert [spec.name for spec in zoo_stylegan.zoo_models()] == ["stylegan"]
