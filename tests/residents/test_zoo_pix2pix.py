"""pix2pix: the contract, the published sizes, and the model's own features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import zoo_pix2pix
from zoo_core.config import resolve
from zoo_core.errors import ConfigError
from zoo_core.interfaces import Batch, Networks, Progress
from zoo_core.noise import SeededNoise
from zoo_core.runtime import Runtime
from zoo_core.testing import CHECKS, Case
from zoo_core.training.engine import run_phase
from zoo_core.training.losses import LOSSES
from zoo_pix2pix.config import PRESETS, RUN, Pix2PixConfig
from zoo_pix2pix.networks import (
    PatchGAN,
    Pix2PixGenerator,
    ReflectionPad,
    join,
    normalize_each,
)
from zoo_pix2pix.reference import network_from_reference
from zoo_pix2pix.training import build_phases

GOLDEN = Path(__file__).parents[1] / "golden"


def small(**settings) -> Pix2PixConfig:
    """A configuration with few weights."""
    sizes = {"resolution": 32, "generator_width": 2, "discriminator_width": 2}
    return Pix2PixConfig(**{**sizes, "num_discriminator_layers": 1, **settings})


def preset(name: str) -> Pix2PixConfig:
    return resolve("pix2pix", Pix2PixConfig, ("defaults", RUN), (name, PRESETS[name])).config


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def pictures(config: Pix2PixConfig, number: int, channels: int = 3) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(number, channels, config.resolution, config.resolution) * 2 - 1


def batch_of(config: Pix2PixConfig, number: int = 2) -> Batch:
    images, source = pictures(config, 2 * number).chunk(2)
    return Batch(images, None, source, torch.arange(number))


def training(config: Pix2PixConfig):
    """The networks and the phases that train them."""
    torch.manual_seed(0)
    networks = Networks(Pix2PixGenerator(config), PatchGAN(config))
    return networks, build_phases(networks, config)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("pix2pix", tmp_path))


def test_the_published_sizes_to_the_unit():
    with torch.device("meta"):
        assert count(Pix2PixGenerator(preset("paper256"))) == 54_413_955
        assert count(PatchGAN(preset("paper256"))) == 2_768_705
        assert count(Pix2PixGenerator(preset("resnet9"))) == 11_378_179


@pytest.mark.parametrize("generator", ["unet", "resnet6", "resnet9"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_every_generator_norm_and_power_of_two_builds_and_runs(generator, norm, resolution):
    config = small(
        generator=generator, norm=norm, resolution=resolution, source_channels=1, inference="paper"
    )
    source = pictures(config, 2, channels=1)
    images = Pix2PixGenerator(config).sample([0, 1], source=source)
    assert images.shape == (2, 3, resolution, resolution)
    assert PatchGAN(config)(images, source=source).dtype == torch.float32


def test_the_innermost_level_is_one_pixel():
    sizes = []
    generator = Pix2PixGenerator(small(resolution=64))
    generator.translator.downs[-1].register_forward_hook(lambda *call: sizes.append(call[2].shape))
    generator.sample([0], source=pictures(small(resolution=64), 1))
    assert sizes == [(1, 16, 1, 1)]


@pytest.mark.parametrize("values", [{"resolution": 16}, {"resolution": 48}])
def test_other_resolutions_are_refused(values):
    with pytest.raises(ConfigError):
        resolve("pix2pix", Pix2PixConfig, ("--set", values))


def test_more_halvings_than_the_resolution_has_are_refused():
    values = {"resolution": 64, "num_discriminator_layers": 5}
    with pytest.raises(
        ConfigError, match="num_discriminator_layers must be at most 4 at 64 pixels, not 5"
    ):
        resolve("pix2pix", Pix2PixConfig, ("--set", values))
    deepest = small(resolution=64, num_discriminator_layers=4)
    logits = PatchGAN(deepest)(pictures(deepest, 2), source=pictures(deepest, 2))
    assert logits.shape == (2, 1, 2, 2)


@pytest.mark.parametrize(("layers", "side"), [(0, 1), (1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_the_published_size(layers: int, side: int):
    config = small(resolution=128, num_discriminator_layers=layers)
    images = pictures(config, 1).requires_grad_()
    logits = PatchGAN(config).eval()(images, source=pictures(config, 1))
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    seen = images.grad[0].any(0)
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == side


def test_the_discriminator_sees_the_source():
    config = small()
    discriminator = PatchGAN(config).eval()
    images, source = pictures(config, 2)[:1], pictures(config, 2)[1:]
    assert not torch.equal(
        discriminator(images, source=source), discriminator(images, source=-source)
    )


@pytest.mark.parametrize(
    ("resolution", "levels"), [(32, [3]), (64, [4]), (128, [4, 5]), (256, [4, 5, 6])]
)
def test_dropout_is_at_the_levels_of_the_reference_code(resolution: int, levels: list[int]):
    with torch.device("meta"):
        generator = Pix2PixGenerator(Pix2PixConfig(resolution=resolution))
    assert list(generator.translator.dropped) == levels


@pytest.mark.parametrize("generator", ["unet", "resnet6"])
def test_hidden_convolutions_have_biases_with_instance_normalization_only(generator: str):
    def biased(norm: str) -> list[bool]:
        network = Pix2PixGenerator(small(generator=generator, norm=norm))
        kinds = nn.Conv2d | nn.ConvTranspose2d
        return [m.bias is not None for m in network.modules() if isinstance(m, kinds)]

    assert all(biased("instance"))
    assert sum(biased("batch")) == 1


@pytest.mark.parametrize("network", [Pix2PixGenerator, PatchGAN])
def test_weights_start_as_in_the_paper(network):
    torch.manual_seed(0)
    for layer in network(Pix2PixConfig(resolution=64)).modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 10_000:
            assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.03)
        if isinstance(layer, nn.BatchNorm2d) and len(layer.weight) > 100:
            assert float(layer.weight.detach().mean()) == pytest.approx(1, abs=0.01)
            assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.3)
        if getattr(layer, "bias", None) is not None:
            assert not layer.bias.any()


def test_under_paper_a_picture_is_normalized_as_a_batch_of_one():
    config = small(inference="paper", dropout=False)
    generator, source = Pix2PixGenerator(config), pictures(config, 3)
    with torch.no_grad():
        alone = [generator.generate(SeededNoise([0]), source=one) for one in source.split(1)]
    torch.testing.assert_close(generator.sample(range(3), source=source), torch.cat(alone))


def test_under_eval_the_running_statistics_normalize():
    config = small(inference="eval")
    generator, source = Pix2PixGenerator(config), pictures(config, 2)
    before = generator.sample([0, 1], source=source)
    generator.translator.ups[1][2].running_mean += 1
    assert not torch.equal(generator.sample([0, 1], source=source), before)


@pytest.mark.parametrize("generator", ["unet", "resnet6"])
@pytest.mark.parametrize("inference", ["paper", "eval"])
def test_the_seed_matters_under_paper_only(generator: str, inference: str):
    config = small(generator=generator, inference=inference)
    source = pictures(config, 1).repeat(2, 1, 1, 1)
    images = Pix2PixGenerator(config).sample([0, 1], source=source)
    assert torch.equal(images[0], images[1]) == (inference == "eval")


def test_half_of_the_features_drop_out_and_the_rest_doubles():
    generator = Pix2PixGenerator(small(inference="paper")).eval()
    dropped = generator.translator.dropout(torch.ones(2, 64, 8, 8), SeededNoise([0, 1]), "dropout")
    assert dropped.unique().tolist() == [0, 2]
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)


def test_sampling_changes_no_statistic():
    config = small(inference="paper")
    generator = Pix2PixGenerator(config)
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    generator.sample([0, 1], source=pictures(config, 2))
    assert all(torch.equal(value, before[key]) for key, value in generator.state_dict().items())


def test_each_picture_is_normalized_as_torch_does():
    features = torch.randn(3, 4, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    ours, theirs = normalize_each(features), nn.functional.instance_norm(features)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn(3, 4, 8, 8)
    gradients = [torch.autograd.grad((o * weights).sum(), features)[0] for o in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_padding_one_axis_at_a_time_is_padding_both():
    features = torch.randn(2, 3, 8, 8)
    assert torch.equal(ReflectionPad(3)(features), nn.ReflectionPad2d(3)(features))


def test_both_networks_judge_the_same_fakes_once_made():
    config = small()
    networks, phases = training(config)
    calls = []
    networks.generator.translator.register_forward_hook(lambda *_: calls.append(1))
    batch = batch_of(config)
    for phase in phases:
        phase.loss(batch, Progress(0, SeededNoise(0, range(2))))
    assert [phase.name for phase in phases] == ["discriminator", "generator"]
    assert len(calls) == 1


@pytest.mark.parametrize("loss", ["non-saturating", "least-squares", "hinge", "relativistic"])
def test_the_losses_are_those_of_the_paper(loss: str):
    """Half of the discriminator's loss; the generator's loss plus 100 times L1 (eq. 4)."""
    config = small(loss=loss, dropout=False)
    networks, (judge, g_optimizer) = training(config)
    batch = batch_of(config)
    fake = networks.generator.generate(SeededNoise(0), source=batch.source)
    logits = [networks.discriminator(each, source=batch.source) for each in (batch.images, fake)]
    of_judge, of_maker = (
        phase.loss(batch, Progress(0, SeededNoise(0, range(2)))) for phase in (judge, g_optimizer)
    )
    torch.testing.assert_close(of_judge["loss"], LOSSES[loss].discriminator(*logits) / 2)
    torch.testing.assert_close(of_maker["adversarial"], LOSSES[loss].generator(*logits))
    torch.testing.assert_close(of_maker["l1"], (fake - batch.images).abs().mean())
    torch.testing.assert_close(of_maker["loss"], of_maker["adversarial"] + 100 * of_maker["l1"])


def test_the_learning_rate_is_flat_and_then_falls_to_zero():
    _, phases = training(small(learning_rate=0.5, flat_images=10, decay_images=10))
    for phase in phases:
        rates = [phase.schedule(images)["lr"] for images in (0, 10, 15, 20, 30)]
        assert rates == [0.5, 0.5, 0.25, 0, 0]


def test_without_decay_the_learning_rate_stays():
    assert [phase.schedule for phase in training(small())[1]] == [None, None]


@pytest.mark.parametrize("generator", ["unet", "resnet6"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_step_in_bfloat16_has_finite_losses_in_float32(generator: str, norm: str):
    config = small(generator=generator, norm=norm)
    runtime = Runtime(torch.device("cpu"), torch.bfloat16, torch.channels_last)
    networks, phases = training(config)
    for _, network in networks.named():
        runtime.place(network)
    for phase in phases:
        terms = run_phase(phase, batch_of(config), Progress(0, SeededNoise(0, range(2))), runtime)
        assert all(term.dtype == torch.float32 for term in terms.values())


def test_a_tensor_without_a_place_is_refused():
    tensors = load_file(GOLDEN / "pix2pix_patchgan3.safetensors").items()
    state = {key[6:]: tensor for key, tensor in tensors if key.startswith("param/")}
    about = {"network": "patchgan"}
    network_from_reference(about, state)
    with pytest.raises(RuntimeError, match=r'Unexpected key.* "main\.12\.bias"'):
        network_from_reference(about, {**state, "model.12.bias": torch.zeros(1)})
    del state["model.11.bias"]
    with pytest.raises(RuntimeError, match=r'Missing key.* "main\.11\.bias"'):
        network_from_reference(about, state)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_the_normalization_of_a_reference_is_that_of_its_tensors(norm: str):
    network = PatchGAN(small(norm=norm)).eval()
    state = {key.replace("main", "model"): value for key, value in network.state_dict().items()}
    if norm == "instance":  # as in old files
        state["model.3.running_mean"] = torch.zeros(8)
    source, images = pictures(small(), 2), pictures(small(), 2)
    loaded = network_from_reference({"network": "patchgan"}, state)
    assert torch.equal(loaded(images, source=source), network(images, source=source))


def test_references_of_another_padding_are_refused():
    with pytest.raises(ValueError, match="replicate"):
        network_from_reference({"network": "resnet", "padding_type": "replicate"}, {})


def test_the_published_recipes_train_as_long_as_their_learning_rate_lasts():
    for name in ("paper256", "paper128", "resnet9"):
        assert preset(name).flat_images + preset(name).decay_images == PRESETS[name]["images"]


def test_the_model_is_called_what_its_plugin_is():
    assert [spec.name for spec in zoo_pix2pix.zoo_models()] == ["pix2pix"]


def test_what_is_joined_gets_a_gradient_that_lies_as_it_does():
    layout = torch.channels_last
    skip, features = (
        torch.randn(1, 3, 4, 4).to(memory_format=layout).requires_grad_() for _ in range(2)
    )
    gradients = []
    features = features * 1
    joined = join(skip, features)
    features.register_hook(gradients.append)
    outer = torch.randn_like(joined)
    joined.backward(outer)
    assert gradients[0].is_contiguous(memory_format=layout)
    assert torch.equal(gradients[0], outer[:, 3:])
    assert torch.equal(skip.grad, outer[:, :3])
