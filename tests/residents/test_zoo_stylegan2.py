"""StyleGAN2: plugin contract, published sizes, model-specific behavior."""

from __future__ import annotations

import functools

import pytest
import torch
from msgspec.structs import asdict
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import conv2d, softplus

from zoo_core.config import resolve
from zoo_core.errors import ConfigError
from zoo_core.interfaces import Batch, Networks, Progress
from zoo_core.nn.resample import downsample2d, fir, upsample2d
from zoo_core.noise import SeededNoise
from zoo_core.sampling.latents import mix_styles
from zoo_core.testing import CHECKS, Case
from zoo_core.training.regularizers import r1_penalty
from zoo_stylegan2.config import PRESETS, RUN, StyleGAN2Config
from zoo_stylegan2.networks import (
    ModulatedLayer,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    ToRGB,
    demodulation,
    downsampling_conv,
    upsampling_conv,
)
from zoo_stylegan2.training import build_phases, lazy_adam


def config(preset: str = "tiny", **changes: object) -> StyleGAN2Config:
    layers = (("defaults", RUN), (preset, PRESETS[preset]), ("test", changes))
    return resolve("stylegan2", StyleGAN2Config, *layers).config


def phases(settings: StyleGAN2Config):
    torch.manual_seed(0)
    networks = Networks(StyleGAN2Generator(settings), StyleGAN2Discriminator(settings))
    return networks, {phase.name: phase for phase in build_phases(networks, settings)}


def step(settings: StyleGAN2Config, size: int = 4) -> tuple[Batch, Progress]:
    """Batch and progress of a first step."""
    images = torch.rand(size, settings.channels, settings.resolution, settings.resolution) * 2 - 1
    labels = torch.arange(size) % settings.num_classes if settings.num_classes else None
    return Batch(images, labels, None, torch.arange(size)), Progress(0, SeededNoise(0, range(size)))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("stylegan2", tmp_path))


@pytest.mark.parametrize(
    ("preset", "generator", "discriminator"),
    [
        ("config-f", 30_370_060, 29_012_513),
        ("paper512", 30_276_583, 28_982_849),
        ("paper256", 24_767_458, 24_001_089),
        ("cifar", 20_215_315, 23_089_664),
    ],
)
def test_the_published_sizes_to_the_unit(preset: str, generator: int, discriminator: int):
    with torch.device("meta"):
        networks = StyleGAN2Generator(config(preset)), StyleGAN2Discriminator(config(preset))
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [generator, discriminator]


PUBLISHED = (
    "penalty", "learning_rate", "path_weight", "mixing_prob", "group_size",
    "num_mapping_layers", "channel_base", "ema_half_life", "ema_rampup",
)  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("cifar", (0.01, 0.0025, 0, 0, 32, 2, 16384, 500_000, 0.05)),
        ("paper256", (1, 0.0025, 2, 0.9, 8, 8, 16384, 20_000, 0)),
        ("paper512", (0.5, 0.0025, 2, 0.9, 8, 8, 32768, 20_000, 0)),
        ("paper1024", (2, 0.002, 2, 0.9, 4, 8, 32768, 10_000, 0)),
        ("config-f", (10, 0.002, 2, 0.9, 4, 8, 32768, 10_000, 0)),
        ("auto256", (0.8192, 0.0025, 2, 0.9, 4, 2, 16384, 5_000, 0.05)),
        ("auto1024", (52.4288, 0.002, 2, 0.9, 4, 2, 32768, 1_250, 0.05)),
    ],
)
def test_presets_have_the_published_values(preset: str, values: tuple[float, ...]):
    expected = dict(zip(PUBLISHED, values, strict=True))
    expected |= {"latent_size": 512, "style_size": 512, "channel_max": 512}
    expected |= {"penalty_every": 16, "path_every": 4, "beta1": 0, "beta2": 0.99}
    resolved = resolve("stylegan2", StyleGAN2Config, ("defaults", RUN), (preset, PRESETS[preset]))
    found = {**asdict(resolved.run), **asdict(resolved.config)}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("resolution", "batch_size"), [(64, 32), (256, 16), (1024, 4)])
def test_the_batch_of_an_auto_preset_fills_one_gpu(resolution: int, batch_size: int):
    assert PRESETS[f"auto{resolution}"]["batch_size"] == batch_size


@pytest.mark.parametrize("resolution", [4, 24, 100])
def test_other_resolutions_are_refused(resolution: int):
    with pytest.raises(ConfigError, match="resolution"):
        config(resolution=resolution)


def test_a_resolution_without_feature_maps_is_refused():
    with pytest.raises(ConfigError, match=r"channel_base must be at least the resolution \(128\)"):
        config(resolution=128)


@pytest.mark.parametrize("kind", ["resnet", "orig", "skip"])
@pytest.mark.parametrize(("resolution", "channels"), [(8, 1), (32, 3)])
def test_every_architecture_builds_and_runs(kind: str, resolution: int, channels: int):
    settings = config(resolution=resolution, channels=channels, discriminator=kind)
    images = StyleGAN2Generator(settings).sample([0, 1])
    assert images.shape == (2, channels, resolution, resolution)
    assert StyleGAN2Discriminator(settings)(images).shape == (2,)


@torch.no_grad()
@pytest.mark.parametrize("network", [StyleGAN2Generator, StyleGAN2Discriminator])
def test_weights_start_as_in_the_paper(network: type[nn.Module]):
    """N(0, 1), in the mapping layers N(0, 100^2); biases 0, in the style affines 1."""
    settings = config(resolution=16, channel_base=512, channel_max=512, num_classes=9)
    for name, parameter in network(settings).named_parameters():
        if name.endswith(("bias", "noise_strength")):
            assert (parameter == ("affine" in name)).all(), name
        else:
            spread, slack = float(parameter.std()), 3 / parameter.numel() ** 0.5
            expected = 100 if "mapping.layers" in name else 1
            assert spread == pytest.approx(expected, rel=slack), name


def test_shared_weights_with_scales_are_a_weight_for_every_picture():
    """Compare with equations 1 and 3 written out."""
    layer = ModulatedLayer(5, 7, 6, 4, up=False).double().eval()
    features, w = torch.randn(3, 5, 6, 6).double(), torch.randn(3, 4).double()
    styles = layer.affine(w)
    weights = layer.weight[None] * styles[:, None, :, None, None]
    weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    expected = torch.cat(
        [conv2d(x[None], k, padding=1) for x, k in zip(features, weights, strict=True)]
    )
    expected = nn.functional.leaky_relu(expected, 0.2) * 2**0.5
    torch.testing.assert_close(layer(features, w), expected, rtol=1e-6, atol=1e-6)


def test_demodulation_is_of_the_whole_weight():
    weight, styles = torch.randn(4, 3, 3, 3), torch.randn(2, 3)
    literal = (weight[None] * styles[:, None, :, None, None]).square().sum((2, 3, 4)).add(1e-8)
    torch.testing.assert_close(demodulation(weight, styles), literal.rsqrt())
    turned = demodulation(weight.transpose(0, 1), styles, transposed=True)
    torch.testing.assert_close(turned, literal.rsqrt())


@pytest.mark.parametrize("up", [False, True])
def test_the_modulated_layer_is_twice_differentiable(up: bool):
    layer = ModulatedLayer(2, 2, 4 if up else 2, 2, up).double().eval()
    nn.init.constant_(layer.noise_strength, 0.3)
    layer.taps = layer.taps.double()
    inputs = [torch.randn(2, 2, 2, 2).double(), torch.randn(2, 2).double()]
    for tensor in inputs:
        tensor.requires_grad_()
    assert gradcheck(layer, inputs)
    assert gradgradcheck(layer, inputs)


def test_to_rgb_is_twice_differentiable():
    layer = ToRGB(3, 2, 4).double()
    inputs = (
        torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(2, 4, dtype=torch.float64, requires_grad=True),
    )
    assert gradcheck(layer, inputs)
    assert gradgradcheck(layer, inputs)


@pytest.mark.parametrize("num_taps", [2, 3, 4, 5, 6])
def test_resampling_convolutions_of_a_single_one_resample(num_taps: int):
    images, taps = torch.randn(1, 1, 6, 6), torch.rand(num_taps)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    torch.testing.assert_close(upsampling_conv(images, weight, taps), upsample2d(images, taps))
    torch.testing.assert_close(downsampling_conv(images, weight, taps), downsample2d(images, taps))


@pytest.mark.parametrize(
    ("convolve", "channels"), [(upsampling_conv, (2, 3)), (downsampling_conv, (3, 2))]
)
def test_resampling_convolutions_are_twice_differentiable(convolve, channels: tuple[int, int]):
    taps = fir().double()
    inputs = (
        torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True),
        torch.randn(*channels, 3, 3, dtype=torch.float64, requires_grad=True),
    )
    assert gradcheck(lambda x, w: convolve(x, w, taps), inputs)
    assert gradgradcheck(lambda x, w: convolve(x, w, taps), inputs)


def test_styles_are_mixed_while_training_from_a_random_layer_on():
    generator = StyleGAN2Generator(config(resolution=32, mixing_prob=1.0)).train()
    noise = SeededNoise(0, range(200))
    ws, whole = generator.sample_ws(noise), generator.eval().sample_ws(noise)
    own = (ws == whole).all(dim=2)
    assert own[:, 0].all()
    assert not own[:, -1].any()
    assert (own.int().diff(dim=1) <= 0).all()  # after the crossover, the second style to the end
    assert len(own.sum(1).unique()) == generator.num_ws - 1


def test_the_share_of_mixed_pictures_is_the_setting():
    generator = StyleGAN2Generator(config(mixing_prob=0.25)).train()
    ws = generator.sample_ws(SeededNoise(0, range(1000)))
    mixed = (ws[:, 0] != ws[:, -1]).any(1).float().mean()
    assert float(mixed) == pytest.approx(0.25, abs=0.05)


def test_truncation_goes_towards_the_average_style():
    generator = StyleGAN2Generator(config())
    generator.average_w.normal_()
    full, half = (generator.eval().sample_ws(SeededNoise([5]), truncation=t) for t in (1.0, 0.5))
    torch.testing.assert_close(half, (full + generator.average_w) / 2)
    images = generator.sample([0, 1], truncation=0.0)
    assert torch.equal(images[0], images[1])


def test_the_average_style_follows_the_batch():
    generator = StyleGAN2Generator(config())
    generator.track_average(torch.full((4, 8), 2.0))
    torch.testing.assert_close(generator.average_w, torch.full((8,), 0.01))


def test_noise_is_fixed_in_evaluation_and_new_in_training():
    generator = StyleGAN2Generator(config())
    for block in generator.blocks:
        nn.init.ones_(block.conv1.noise_strength)
    ws = torch.randn(2, generator.num_ws, 8)
    assert torch.equal(generator.eval().synthesize(ws), generator.synthesize(ws))
    generator.train()
    assert not torch.equal(generator.synthesize(ws), generator.synthesize(ws))


def test_coarse_and_fine_styles_can_be_mixed_by_hand():
    generator = StyleGAN2Generator(config(resolution=16))
    mixed = mix_styles(generator, [0], [1], range(generator.num_ws))
    torch.testing.assert_close(mixed[0], generator.sample([1]))


def test_labels_change_the_picture_and_the_judgment():
    settings = config(num_classes=3)
    generator, discriminator = StyleGAN2Generator(settings), StyleGAN2Discriminator(settings)
    images = generator.sample([0, 0], labels=[0, 2])
    assert not torch.equal(images[0], images[1])
    same = images[:1].expand(2, -1, -1, -1)
    logits = discriminator(same, labels=torch.tensor([0, 2]))
    assert logits.shape == (2,)
    assert logits[0] != logits[1]


def test_a_conditional_generator_trains_on_the_labels_of_the_batch():
    settings = config(num_classes=3)
    _, found = phases(settings)
    batch = Batch(torch.zeros(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]), None, torch.arange(4))
    for phase in found.values():
        assert phase.loss(batch, Progress(0, SeededNoise(0, range(4))))["loss"].isfinite()


def test_penalties_are_phases_of_their_own_and_can_be_left_out():
    assert list(phases(config())[1]) == ["generator", "path_length", "discriminator", "r1"]
    assert list(phases(config(penalty=0.0, path_weight=0.0))[1]) == ["generator", "discriminator"]


def test_a_lazy_penalty_slows_its_optimizer_down():
    """Section 3.1: by k / (k + 1)."""
    settings = config(learning_rate=0.17, beta2=0.99)
    adam = lazy_adam(nn.Linear(1, 1), settings, every=16)
    assert adam.defaults["lr"] == pytest.approx(0.16)
    assert adam.defaults["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    plain = lazy_adam(nn.Linear(1, 1), settings, every=0)
    assert (plain.defaults["lr"], plain.defaults["betas"]) == (0.17, (0.0, 0.99))


@pytest.mark.parametrize(
    ("changes", "of_generator", "of_discriminator"),
    [({}, 4 / 5, 16 / 17), ({"path_weight": 0.0}, 1, 16 / 17), ({"penalty": 0.0}, 4 / 5, 1)],
)
def test_both_optimizers_are_slowed_down_by_their_own_penalty(
    changes: dict, of_generator: float, of_discriminator: float
):
    speed = {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9}
    _, found = phases(config(path_every=4, penalty_every=16, **speed, **changes))
    for name, phase in found.items():
        slower = of_generator if name in ("generator", "path_length") else of_discriminator
        (settings,) = phase.optimizer.param_groups
        assert settings["lr"] == pytest.approx(0.1 * slower)
        assert settings["betas"] == pytest.approx((0.5**slower, 0.9**slower))


@pytest.mark.parametrize("num_classes", [0, 3])
def test_the_losses_are_those_of_the_paper(num_classes: int):
    """Non-saturating and R1; both phases use the same images, with their classes."""
    settings = config(num_classes=num_classes, penalty=3.0, penalty_every=5)
    networks, found = phases(settings)
    batch, progress = step(settings)
    judge = functools.partial(networks.discriminator, labels=batch.labels)
    ws = networks.generator.sample_ws(progress.noise, labels=batch.labels)
    real, fake = judge(batch.images), judge(networks.generator.synthesize(ws))
    expected = {
        "generator": softplus(-fake).mean(),
        "discriminator": softplus(fake).mean() + softplus(-real).mean(),
        "r1": 3 / 2 * r1_penalty(judge, batch.images) * 5,
    }
    for name, loss in expected.items():
        torch.testing.assert_close(found[name].loss(batch, progress)["loss"], loss)


def test_the_average_style_follows_the_first_styles_of_the_generators_phase():
    settings = config(mixing_prob=1.0)
    networks, found = phases(settings)
    batch, progress = step(settings)
    w = networks.generator.eval().sample_ws(progress.noise)[:, 0]
    networks.generator.train().average_w.fill_(1)
    found["generator"].loss(batch, progress)
    torch.testing.assert_close(networks.generator.average_w, 0.995 + 0.005 * w.mean(0))


@pytest.mark.parametrize("num_classes", [0, 3])
def test_path_length_is_pulled_to_its_running_mean(num_classes: int):
    """Equation 4 on half of the batch: a path length is the root of the mean square over layers.

    The weight is 3, the interval 5.
    """
    settings = config(path_weight=3.0, path_every=5, num_classes=num_classes)
    networks, found = phases(settings)
    (batch, progress), phase = step(settings, 8), found["path_length"]
    phase.state.mean.fill_(0.25)
    labels = batch.labels[:4] if num_classes else None
    torch.manual_seed(1)
    ws = networks.generator.sample_ws(progress.noise[:4], labels=labels)
    images = networks.generator.synthesize(ws)
    y = torch.randn_like(images) / 8  # sqrt(8 * 8), the pixels
    (gradient,) = torch.autograd.grad((images * y).sum(), ws)
    lengths = gradient.flatten(1).norm(dim=1) / 2  # sqrt(4), the layers
    mean = 0.25 + 0.01 * (lengths.mean() - 0.25)
    torch.manual_seed(1)
    terms = phase.loss(batch, progress)
    torch.testing.assert_close(phase.state.mean, mean)
    torch.testing.assert_close(terms["path_length"], lengths.mean())
    torch.testing.assert_close(terms["loss"], 3 * 5 * (lengths - mean).square().mean())


def test_the_path_length_penalty_moves_mapping_and_synthesis():
    settings = config()
    networks, found = phases(settings)
    found["path_length"].loss(*step(settings))["loss"].backward()
    for name, parameter in networks.generator.named_parameters():
        if name.endswith(".weight"):
            assert parameter.grad.any(), name


def test_r1_is_weighted_by_its_interval():
    batch = Batch(torch.randn(4, 3, 8, 8), None, None, torch.arange(4))
    progress = Progress(0, SeededNoise(0, range(4)))
    losses = []
    for every in (1, 16):
        _, found = phases(config(penalty_every=every, penalty=0.5))
        terms = found["r1"].loss(batch, progress)
        assert found["r1"].every == every
        losses.append(float((terms["loss"] / terms["r1"]).detach()))
    assert losses == pytest.approx([0.25, 4.0])


def test_fake_pictures_are_made_once_a_step():
    networks, found = phases(config(path_weight=0.0))
    calls = []
    networks.generator.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    batch = Batch(torch.zeros(4, 3, 8, 8), None, None, torch.arange(4))
    for phase in found.values():
        phase.loss(batch, Progress(0, SeededNoise(0, range(4))))
    assert len(calls) == 1


def test_bfloat16_changes_pictures_by_rounding_only():
    generator = StyleGAN2Generator(config()).eval()
    exact = generator.sample([0, 1])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = generator.sample([0, 1])
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.1)
