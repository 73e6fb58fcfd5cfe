"""The original GAN: plugin contract, published sizes, model-specific behavior."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

import zoo_gan
from zoo_core.config import describe, fields, resolve
from zoo_core.errors import ConfigError
from zoo_core.interfaces import Batch, Networks, Phase, Progress
from zoo_core.noise import SeededNoise
from zoo_core.testing import CHECKS, Case
from zoo_core.training.losses import LOSSES
from zoo_gan.config import PRESETS, RUN, GANConfig
from zoo_gan.networks import GANDiscriminator, GANGenerator, Maxout
from zoo_gan.training import build_phases

NOISE = SeededNoise(range(4))
CERTAIN = {"input_dropout": 0.0, "hidden_dropout": 0.0}


def preset(name: str, **settings: object) -> GANConfig:
    layers = (("defaults", RUN), (name, PRESETS[name]), ("--set", settings))
    return resolve("gan", GANConfig, *layers).config


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def start(config: GANConfig) -> tuple[Networks, Batch, list[Phase]]:
    """New networks, a random batch, and the phases."""
    networks = Networks(GANGenerator(config), GANDiscriminator(config))
    images = torch.rand(4, *networks.generator.image_shape) * 2 - 1
    labels = torch.arange(4) % config.num_classes if config.num_classes else None
    batch = Batch(images, labels, None, torch.arange(4))
    return networks, batch, build_phases(networks, config)


def terms_of(phases: list[Phase], batch: Batch) -> dict[str, dict[str, Tensor]]:
    """The loss terms of every phase; no optimizer step is taken."""
    return {phase.name: dict(phase.loss(batch, Progress(0, NOISE))) for phase in phases}


def losses(config: GANConfig) -> dict[str, dict[str, Tensor]]:
    _, batch, phases = start(config)
    return terms_of(phases, batch)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("gan", tmp_path))


def test_the_published_sizes_to_the_unit():
    """The public MNIST settings; their discriminator has one more parameter, the logit's bias."""
    with torch.device("meta"):
        assert count(GANGenerator(preset("paper28"))) == 2_503_984
        assert count(GANDiscriminator(preset("paper28"))) == 1_231_441 - 1


@pytest.mark.parametrize("resolution", [4, 9, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_resolution_from_four_builds_and_runs(resolution: int, channels: int):
    config = preset("tiny", resolution=resolution, channels=channels)
    images = GANGenerator(config).sample([0, 1])
    assert images.shape == (2, channels, resolution, resolution)
    assert GANDiscriminator(config)(images).shape == (2,)


@pytest.mark.parametrize(
    "settings", [{"resolution": 3}, {"generator_widths": []}, {"discriminator_widths": [8, 0]}]
)
def test_networks_that_cannot_be_are_refused(settings: dict[str, object]):
    with pytest.raises(ConfigError):
        preset("tiny", **settings)


def test_a_maxout_unit_is_the_largest_of_its_pieces():
    torch.manual_seed(0)
    layer, features = Maxout(3, 2, 5), torch.randn(4, 3)
    pieces = [
        features @ layer.pieces.weight[rows].T + layer.pieces.bias[rows]
        for rows in (slice(0, 5), slice(5, 10))
    ]
    largest = torch.stack([piece.max(1).values for piece in pieces], 1)
    torch.testing.assert_close(layer(features), largest)


def test_layers_are_where_the_paper_has_them():
    generator, discriminator = (
        [type(layer).__name__ for layer in network.main]
        for network in (GANGenerator(preset("paper28")), GANDiscriminator(preset("paper28")))
    )
    assert generator == ["Linear", "ReLU", "Linear", "ReLU", "Linear", "Tanh", "Unflatten"]
    assert discriminator == ["Maxout", "Dropout", "Maxout", "Dropout", "Linear"]


def test_dropout_is_the_discriminators_and_for_training_only():
    discriminator = GANDiscriminator(preset("paper28"))
    shares = [layer.p for layer in discriminator.modules() if isinstance(layer, nn.Dropout)]
    assert shares == [0.2, 0.5, 0.5]
    images = torch.ones(2, 1, 28, 28)
    assert not torch.equal(discriminator(images), discriminator(images))
    discriminator.eval()
    assert torch.equal(discriminator(images), discriminator(images))


def test_dropout_never_hides_a_label():
    discriminator = GANDiscriminator(preset("paper28", num_classes=3, input_dropout=0.9))
    seen = []
    discriminator.main.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    labels = torch.arange(64) % 3
    discriminator(torch.ones(64, 1, 28, 28), labels=labels)
    assert torch.equal(seen[0][:, -3:], one_hot(labels, 3).float())
    assert float((seen[0][:, :-3] == 0).float().mean()) == pytest.approx(0.9, abs=0.01)


def test_latents_are_uniform_with_variance_one():
    generator, seen = GANGenerator(preset("paper28")), []
    generator.main.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    generator.sample(range(64))
    (latents,) = seen
    assert latents.shape == (64, 100)
    assert 0.99 * math.sqrt(3) < float(latents.abs().max()) <= math.sqrt(3)
    assert float(latents.var()) == pytest.approx(1, rel=0.03)


def test_truncation_zero_is_one_picture():
    images = GANGenerator(preset("tiny")).sample([0, 1], truncation=0.0)
    assert torch.equal(images[0], images[1])


def test_a_class_changes_the_picture_and_its_judgement():
    config = preset("tiny", num_classes=3)
    images = GANGenerator(config).sample([7, 7], labels=[0, 2])
    assert not torch.equal(images[0], images[1])
    discriminator, same = GANDiscriminator(config).eval(), images[:1].expand(2, -1, -1, -1)
    logits = discriminator(same, labels=torch.tensor([0, 2]))
    assert logits[0] != logits[1]


def test_a_model_without_classes_takes_no_notice_of_labels():
    discriminator, images = GANDiscriminator(preset("tiny")).eval(), torch.ones(2, 3, 8, 8)
    logits = discriminator(images, labels=torch.tensor([0, 2]))
    assert torch.equal(logits, discriminator(images))


def test_generated_pictures_are_of_the_classes_of_the_real_ones(monkeypatch):
    told: list[torch.Tensor] = []
    plain = zoo_gan.networks.with_labels

    def spy(features, labels, num_classes):
        told.append(labels)
        return plain(features, labels, num_classes)

    monkeypatch.setattr(zoo_gan.networks, "with_labels", spy)
    losses(preset("tiny", num_classes=3))
    assert len(told) == 1 + 2 + 2 + 2  # generated once; scored by three losses
    assert all(labels.tolist() == [0, 1, 2, 0] for labels in told)


def test_a_conditional_model_keeps_the_contract(tmp_path):
    spec = zoo_gan.GAN
    layers = (("defaults", spec.run), ("tiny", PRESETS["tiny"]), ("--set", {"num_classes": 3}))
    case = Case("gan", spec, resolve("gan", GANConfig, *layers), tmp_path)
    wanted = ("check_sample", "check_every_weight_gets_a_gradient", "check_exact_resume")
    for check in CHECKS:
        if check.__name__ in wanted:
            check(case)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_of_the_core_trains(loss: str):
    assert describe(fields(GANConfig)["loss"]) == "one of " + ", ".join(LOSSES)
    terms = losses(preset("tiny", loss=loss))
    assert list(terms) == ["discriminator", "penalty", "generator"]
    assert all(bool(value.isfinite()) for phase in terms.values() for value in phase.values())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_are_those_of_logits_given_the_same_labels(loss: str):
    networks, batch, phases = start(preset("tiny", loss=loss, num_classes=3, **CERTAIN))
    fake = networks.generator.generate(NOISE, labels=batch.labels)
    logits = [networks.discriminator(each, labels=batch.labels) for each in (batch.images, fake)]
    terms = terms_of(phases, batch)
    for side in ("discriminator", "generator"):
        expected = getattr(LOSSES[loss], side)(*logits)
        torch.testing.assert_close(terms[side]["loss"], expected)


def test_the_penalty_is_r1_of_real_and_r2_of_fake_pictures_weighted_by_its_interval():
    config = preset("tiny", penalty=0.5, penalty_every=6, num_classes=3, **CERTAIN)
    networks, batch, phases = start(config)
    fake = networks.generator.generate(NOISE, labels=batch.labels).detach()
    r1, r2 = (
        r1_of_logits(networks.discriminator, each, batch.labels) for each in (batch.images, fake)
    )
    found = terms_of(phases, batch)["penalty"]
    torch.testing.assert_close([found["r1"], found["r2"]], [r1, r2])
    torch.testing.assert_close(found["loss"], 0.5 / 2 * 6 * (r1 + r2))


def r1_of_logits(judge: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    images = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(judge(images, labels=labels).sum(), images)
    return slope.square().sum((1, 2, 3)).mean()


def test_minimax_is_equation_one():
    """V = E[log D(x)] + E[log(1 - D(G(z)))]: the generator's loss is its second half."""
    config = preset("tiny", loss="minimax", **CERTAIN)
    torch.manual_seed(0)
    terms = losses(config)
    torch.manual_seed(0)
    generator, discriminator = GANGenerator(config), GANDiscriminator(config)
    fake = discriminator(generator.generate(SeededNoise(range(4)))).sigmoid()
    torch.testing.assert_close(terms["generator"]["loss"], (1 - fake).log().mean())


def test_without_a_penalty_there_is_no_phase_for_it():
    assert list(losses(preset("tiny", penalty=0.0))) == ["discriminator", "generator"]


def test_the_model_is_called_what_its_plugin_is():
    assert [spec.name for spec in zoo_gan.zoo_models()] == ["gan"]
