"""ProGAN: plugin contract, published sizes, growth."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

import zoo_progan
from zoo_core import load
from zoo_core.config import resolve
from zoo_core.errors import ConfigError
from zoo_core.interfaces import Batch, Networks, Progress
from zoo_core.nn.layers import EqualizedConv2d, EqualizedLinear
from zoo_core.nn.resample import average_to, fade
from zoo_core.noise import SeededNoise
from zoo_core.testing import CHECKS, Case
from zoo_core.training.losses import LOSSES
from zoo_progan.config import PRESETS, RUN, ProGANConfig
from zoo_progan.networks import ProGANDiscriminator, ProGANGenerator, reached
from zoo_progan.reference import network_from_reference
from zoo_progan.training import build_phases

STABLE, FADE = 100, 100  # of the small networks below: 16 pixels, three stages
GROWN = STABLE + 2 * (FADE + STABLE)


def preset(name: str) -> ProGANConfig:
    return resolve("progan", ProGANConfig, ("defaults", RUN), (name, PRESETS[name])).config


def small(**settings) -> ProGANConfig:
    keys = {"resolution": 16, "channel_base": 64, "channel_max": 8, "latent_size": 8}
    return ProGANConfig(stable_images=STABLE, fade_images=FADE, **{**keys, **settings})


def pair(config: ProGANConfig, images: int = GROWN) -> Networks:
    """Both networks after `images` images, with nonzero biases."""
    networks = Networks(ProGANGenerator(config), ProGANDiscriminator(config))
    for _, network in networks.named():
        network.images_seen.fill_(images)
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
    return networks


def at(network: nn.Module, images: int, *arguments) -> Tensor:
    network.images_seen.fill_(images)
    with torch.no_grad():
        return getattr(network, "grown", network)(*arguments)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def step_batch(resolution: int = 16) -> tuple[Batch, SeededNoise]:
    images = torch.rand(4, 3, resolution, resolution) * 2 - 1
    return Batch(images, None, None, torch.arange(4)), SeededNoise(0, range(4))


def slopes(judge: nn.Module, images: Tensor) -> Tensor:
    """[N]: the gradient norm at each image."""
    images = images.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(judge(images).sum(), images)
    return slope.square().sum((1, 2, 3)).sqrt()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("progan", tmp_path))


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [("paper1024", 23_086_795, 23_087_249), ("paper256", 23_051_989, 23_052_353)],
)
def test_the_published_sizes_to_the_unit(name: str, generator: int, discriminator: int):
    """Table 2: 23.1 million each at 1024 pixels; includes the RGB layers of all resolutions."""
    with torch.device("meta"):
        networks = ProGANGenerator(preset(name)), ProGANDiscriminator(preset(name))
    assert tuple(map(count, networks)) == (generator, discriminator)


def test_the_widths_are_those_of_table_2():
    assert preset("paper1024").widths() == [512, 512, 512, 512, 256, 128, 64, 32, 16]


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_power_of_two_builds_and_runs_at_every_stage(resolution: int, channels: int):
    config = small(resolution=resolution, channels=channels, channel_base=128, channel_max=2)
    networks = pair(config)
    for stage in range(len(config.widths())):
        for network in (networks.generator, networks.discriminator):
            network.images_seen.fill_(stage * (FADE + STABLE))  # at the end of its fade
        images = networks.generator.sample([0, 1])
        assert images.shape == (2, channels, resolution, resolution)
        assert networks.discriminator(images).shape == (2,)


@pytest.mark.parametrize(
    "settings", [{"resolution": 4}, {"resolution": 24}, {"resolution": 64, "channel_base": 32}]
)
def test_sizes_that_cannot_be_are_refused(settings):
    with pytest.raises(ConfigError):
        resolve("progan", ProGANConfig, ("--set", settings))


def test_every_layer_has_the_constant_of_he():
    """Section 4.1: sqrt(2 / fan in), including the last layers of both networks."""
    networks = pair(small())
    for network, num_layers in ((networks.generator, 9), (networks.discriminator, 10)):
        layers = [m for m in network.modules() if isinstance(m, EqualizedConv2d | EqualizedLinear)]
        assert len(layers) == num_layers
        for layer in layers:
            assert layer.scale == pytest.approx(math.sqrt(2 / layer.weight[0].numel()))


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_later_stages_are_not_computed(stage: int):
    networks = pair(small(), images=stage * (FADE + STABLE))
    called = []
    for _, network in networks.named():
        for number, block in enumerate(network.network.stages):
            block.register_forward_hook(lambda *_, number=number: called.append(number))
    networks.discriminator(networks.generator.grown(torch.randn(4, 8)))
    assert called == [*range(stage + 1), *reversed(range(stage + 1))]


def test_a_new_resolution_is_faded_into_the_generator():
    """Figure 2: a mix of the enlarged images of the resolution below and the new ones."""
    generator, latents = pair(small()).generator, torch.randn(3, 8)
    below = interpolate(at(generator, STABLE - 1, latents), scale_factor=2)
    new = at(generator, STABLE + FADE, latents)
    torch.testing.assert_close(at(generator, STABLE, latents), below)
    torch.testing.assert_close(at(generator, STABLE + 30, latents), 0.7 * below + 0.3 * new)


def test_a_new_resolution_is_faded_into_the_discriminator():
    discriminator, images = pair(small(stddev_group=0)).discriminator, torch.randn(3, 3, 8, 8)
    below = at(discriminator, STABLE - 1, avg_pool2d(images, 2))
    new = at(discriminator, STABLE + FADE, images)
    torch.testing.assert_close(at(discriminator, STABLE, images), below)
    faded = at(discriminator, STABLE + 30, images)
    assert not torch.allclose(faded, below)
    assert not torch.allclose(faded, new)


def test_pictures_have_full_size_while_the_generator_grows():
    generator = pair(small(), images=STABLE + FADE).generator
    images = generator.sample([0, 1])
    assert images.shape == (2, 3, 16, 16)
    assert torch.equal(images, interpolate(average_to(images, 8), scale_factor=2))


def test_the_discriminator_takes_full_size_and_the_size_reached():
    discriminator, images = (
        pair(small(), images=STABLE + 50).discriminator,
        torch.randn(4, 3, 16, 16),
    )
    torch.testing.assert_close(discriminator(images), discriminator(avg_pool2d(images, 2)))


def test_without_memory_networks_have_fully_grown():
    """On the meta device, so that `--dry-run` counts the operations of the last stage."""
    with torch.device("meta"):
        generator, discriminator = ProGANGenerator(small()), ProGANDiscriminator(small())
        images = generator(torch.empty(4, 8))
        assert images.shape == (4, 3, 16, 16)
        assert discriminator(images).shape == (4,)


@pytest.mark.parametrize("images", [0, STABLE + 30, GROWN])
def test_the_losses_see_real_and_fake_pictures_of_the_size_reached(images: int):
    """Augmentation sees the same images; real ones are faded like fake ones."""
    networks, seen = pair(small(), images=7), []
    networks.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch, noise = step_batch()
    for phase in build_phases(networks, small()):
        phase.loss(batch, Progress(images, noise))
    stage, alpha = reached(small(), images)
    real, side = fade(average_to(batch.images, 4 << stage), alpha), 4 << stage
    assert [given.shape for given in seen] == [(4, 3, side, side)] * 4  # real, fake, R1, fake again
    assert torch.equal(seen[0], real)
    assert torch.equal(seen[2], real)


def test_a_step_says_how_far_both_networks_and_the_average_are(tmp_path):
    case = Case.of("progan", tmp_path)
    training = case.training()
    for _ in range(3):
        case.step(training)
    networks = (training.networks.generator, training.networks.discriminator, training.averaged)
    before_the_last_step = 2 * case.resolved.run.batch_size
    for network in networks:
        assert int(network.state_dict()["images_seen"]) == before_the_last_step


def test_a_resume_inside_a_fade_is_exact(tmp_path):
    case = Case.of("progan", tmp_path)
    stage, alpha = reached(case.resolved.config, 40)
    assert (stage, alpha) == (2, 0.5)
    whole, parts = case.run("whole", 56), case.run("parts", 40)
    case.run("parts", 56)
    for name in ("weights.safetensors", "optim.safetensors"):
        ends = [(run.checkpoints / f"{56:012d}" / name).read_bytes() for run in (whole, parts)]
        assert ends[0] == ends[1], name


@pytest.mark.parametrize("name", ["", *PRESETS])
def test_the_last_step_of_a_recipe_is_fully_grown(name: str):
    layers = [("defaults", RUN), *([(name, PRESETS[name])] if name else [])]
    recipe = resolve("progan", ProGANConfig, *layers)
    before_the_last_step = recipe.run.images - recipe.run.batch_size
    stage, alpha = reached(recipe.config, before_the_last_step)
    assert (4 << stage, alpha) == (recipe.config.resolution, 1.0)


def test_the_weights_of_a_finished_run_have_fully_grown(tmp_path):
    run = Case.of("progan", tmp_path).run("run", 64)
    generator = load(run.path)
    assert reached(generator.config, generator.seen) == (2, 1.0)


@pytest.mark.parametrize("loss", ["non-saturating", "wasserstein"])
def test_the_losses_are_those_of_the_logits(loss: str):
    config = small(loss=loss)
    networks, (batch, noise) = pair(config), step_batch()
    fake = networks.generator.generate(noise)
    logits = networks.discriminator(batch.images), networks.discriminator(fake)
    judge, _, g_optimizer = build_phases(networks, config)
    for phase in (judge, g_optimizer):
        found = phase.loss(batch, Progress(GROWN, noise))["loss"]
        torch.testing.assert_close(found, getattr(LOSSES[loss], phase.name)(*logits))


@pytest.mark.parametrize("every", [1, 6])
def test_the_gradient_penalty_is_lambda_times_that_of_mixtures_of_real_and_fake(every: int):
    """In the discriminator's loss if it applies every step, else in a phase, times its interval."""
    config = small(loss="wasserstein", penalty=3.0, penalty_every=every)
    networks, (batch, noise) = pair(config), step_batch()
    fake = networks.generator.generate(noise)
    mixtures = torch.lerp(fake, batch.images, noise.uniform("mix").view(4, 1, 1, 1))
    expected = 3 * every * (slopes(networks.discriminator, mixtures) - 1).square().mean()
    if every == 1:
        expected += networks.discriminator(fake).mean()
        expected -= networks.discriminator(batch.images).mean()
    phases = build_phases(networks, config)
    *_, found = [phase.loss(batch, Progress(GROWN, noise)) for phase in phases[:-1]]
    torch.testing.assert_close(found["loss"], expected)


def test_r1_is_half_of_gamma_times_the_squared_slope_at_real_pictures_times_its_interval():
    config = small(penalty=3.0, penalty_every=6)
    networks, (batch, noise) = pair(config), step_batch()
    judge, penalty, _ = build_phases(networks, config)
    judge.loss(batch, Progress(GROWN, noise))
    found = penalty.loss(batch, Progress(GROWN, noise))["loss"]
    expected = 3 / 2 * 6 * slopes(networks.discriminator, batch.images).square().mean()
    torch.testing.assert_close(found, expected)


def test_the_published_loss_is_one_step_with_penalty_and_drift():
    """Appendix A.1: Wasserstein, 10 times the gradient penalty, 0.001 times the squared logits."""
    paper = preset("paper1024")
    assert (paper.loss, paper.penalty, paper.penalty_every) == ("wasserstein", 10, 1)
    assert paper.drift == 0.001
    config = small(loss=paper.loss, penalty=paper.penalty, penalty_every=1, drift=7.0)
    networks, logits = pair(config), []
    networks.discriminator.register_forward_hook(lambda _, given, out: logits.append(out))
    phases = build_phases(networks, config)
    assert [phase.name for phase in phases] == ["discriminator", "generator"]
    batch, noise = step_batch()
    terms = phases[0].loss(batch, Progress(GROWN, noise))
    real, fake = logits[:2]
    expected = fake.mean() - real.mean() + 7 * real.square().mean() + 10 * terms["penalty"]
    torch.testing.assert_close(terms["loss"], expected)


def test_the_mixtures_of_the_gradient_penalty_follow_from_the_noise():
    config = small(loss="wasserstein", penalty_every=1)
    discriminator_phase, _ = build_phases(pair(config), config)
    batch, noise = step_batch()
    once, again = (discriminator_phase.loss(batch, Progress(GROWN, noise)) for _ in range(2))
    assert torch.equal(once["penalty"], again["penalty"])


def test_a_lazy_penalty_is_weighted_by_its_interval():
    config = small(penalty=0.5, penalty_every=4)
    phases = build_phases(pair(config), config)
    assert [(p.name, p.every) for p in phases] == [
        ("discriminator", 1), ("penalty", 4), ("generator", 1),
    ]  # fmt: skip
    batch, noise = step_batch()
    for phase in phases[:2]:
        terms = phase.loss(batch, Progress(GROWN, noise))
    torch.testing.assert_close(terms["loss"], 0.5 / 2 * 4 * terms["penalty"])


@pytest.mark.parametrize("every", [1, 4])
def test_without_a_penalty_there_is_no_phase_for_it(every: int):
    config = small(penalty=0.0, penalty_every=every)
    phases = build_phases(pair(config), config)
    assert [phase.name for phase in phases] == ["discriminator", "generator"]
    batch, noise = step_batch()
    assert "penalty" not in phases[0].loss(batch, Progress(GROWN, noise))


@pytest.mark.parametrize("loss", ["wasserstein", "non-saturating"])
def test_both_networks_judge_the_same_fakes_once_made(loss: str):
    networks, calls = pair(small()), []
    networks.generator.network.register_forward_hook(lambda *_: calls.append(1))
    batch, noise = step_batch()
    for phase in build_phases(networks, small(loss=loss)):
        phase.loss(batch, Progress(GROWN, noise))
    assert len(calls) == 1


def test_the_discriminator_is_told_how_much_pictures_differ():
    """Section 3; without it an image's logit depends on that image alone."""
    images = torch.randn(4, 3, 16, 16)
    others = torch.cat([images[:1], images[:1].expand(3, -1, -1, -1)])
    told, untold = (pair(small(stddev_group=group)).discriminator for group in (4, 0))
    assert not torch.allclose(told(images)[0], told(others)[0])
    torch.testing.assert_close(untold(images)[0], untold(others)[0])


def test_latents_lie_on_a_sphere():
    latents = ProGANGenerator(small()).latents(range(50))
    torch.testing.assert_close(latents.square().mean(1), torch.ones(50))


def test_truncation_zero_is_one_picture():
    images = pair(small()).generator.sample([0, 1], truncation=0.0)
    assert torch.equal(images[0], images[1])


def test_a_fade_computes_in_bfloat16():
    config = small()
    networks = pair(config)
    batch, noise = step_batch()
    for phase in build_phases(networks, config):
        with torch.autocast("cpu", torch.bfloat16):
            terms = phase.loss(batch, Progress(STABLE + 30, noise))
        assert all(term.dtype == torch.float32 for term in terms.values())
        terms["loss"].backward(inputs=list(phase.module.parameters()))
        assert all(p.grad is None or p.grad.isfinite().all() for p in phase.module.parameters())


def test_unknown_names_of_the_public_implementation_are_refused():
    about = {"network": "generator", "dim_latent": 8, "depth_scale0": 4, "scales": []}
    with pytest.raises(ValueError, match=r"formatLayer\.module\.bias.*norm\.weight"):
        network_from_reference(about, {"norm.weight": torch.ones(4)})


def test_the_model_is_called_what_its_plugin_is():
    assert [spec.name for spec in zoo_progan.zoo_models()] == ["progan"]
