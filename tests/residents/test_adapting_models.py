"""The rules of weights/adapting.py on the resident models."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo_classifier import CLASSIFIER
from zoo_core import Batch, Progress, SeededNoise
from zoo_core.errors import WeightsError
from zoo_core.generators import evaluating
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec, resolve_settings
from zoo_core.training.engine import run_phase
from zoo_core.training.state import build
from zoo_core.weights.adapting import Report, Weights, adapt
from zoo_dcgan import DCGAN
from zoo_gan import GAN
from zoo_pix2pix import PIX2PIX
from zoo_progan import PROGAN
from zoo_r3gan import R3GAN
from zoo_stylegan import STYLEGAN
from zoo_stylegan2 import STYLEGAN2


def config(spec: ModelSpec, **settings):
    return resolve_settings(spec, "tiny", None, ("the test", settings)).config


def network(spec: ModelSpec, role: str, seed: int = 1, **settings) -> nn.Module:
    torch.manual_seed(seed)
    made = spec.builders()[role](config(spec, **settings))
    for name, buffer in made.named_buffers():
        if name == "images_seen":
            buffer.fill_(1 << 40)  # fully grown
    return made


def adapted(
    spec: ModelSpec, role: str, before: dict, after: dict, rules=("channels", "classes")
) -> tuple[nn.Module, nn.Module, Report]:
    source, target = network(spec, role, **before), network(spec, role, seed=2, **after)
    weights = Weights(config(spec, **before), source.state_dict())
    tensors, report = adapt(
        spec, role, weights, config(spec, **after), (), target.state_dict(), rules
    )
    target.load_state_dict(tensors)
    return source, target, report


JUDGES = [GAN, DCGAN, PROGAN, STYLEGAN, STYLEGAN2, R3GAN]
by_name = {"ids": lambda each: each.name if isinstance(each, ModelSpec) else str(each)}


@pytest.mark.parametrize("channels", [(3, 1), (1, 3)])
@pytest.mark.parametrize("spec", JUDGES, **by_name)
def test_a_discriminator_judges_gray_images_as_before(spec, channels):
    before, after = ({"channels": count} for count in channels)
    source, target, report = adapted(spec, "discriminator", before, after)
    gray = torch.rand(4, 1, *[config(spec).resolution] * 2) * 2 - 1
    with evaluating(source), evaluating(target), torch.no_grad():
        expected, found = (
            judge(gray.expand(-1, count, -1, -1))
            for judge, count in ((source, channels[0]), (target, channels[1]))
        )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert set(report.converted.values()) == {"channels"}


@pytest.mark.parametrize("spec", [PROGAN, STYLEGAN, STYLEGAN2, R3GAN], **by_name)
def test_a_gray_generator_draws_the_luminance(spec):
    """Of those that end in no activation."""
    source, target, _ = adapted(spec, "generator", {"channels": 3}, {"channels": 1})
    with evaluating(source), evaluating(target), torch.no_grad():
        colors, gray = (each.generate(SeededNoise(range(3))) for each in (source, target))
    luminance = (colors * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(gray, luminance, atol=1e-5, rtol=1e-4)


def test_the_input_of_a_translator_is_not_its_output():
    before, after = {"source_channels": 3}, {"source_channels": 1}
    source, target, report = adapted(PIX2PIX, "generator", before, after)
    assert len(report.converted) == 1
    (key,) = report.converted
    torch.testing.assert_close(
        target.state_dict()[key], source.state_dict()[key].sum(1, keepdim=True)
    )


@pytest.mark.parametrize("spec", [STYLEGAN2, R3GAN], **by_name)
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_the_first_classes_keep_their_images_and_logits(spec, role):
    source, target, report = adapted(spec, role, {"num_classes": 5}, {"num_classes": 3})
    labels = torch.tensor([0, 1, 2])
    with evaluating(source), evaluating(target), torch.no_grad():
        if role == "generator":
            noise = SeededNoise(range(3))
            expected, found = (each.generate(noise, labels=labels) for each in (source, target))
        else:
            images = torch.rand(3, 3, *[config(spec).resolution] * 2)
            expected, found = (each(images, labels=labels) for each in (source, target))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert report.converted


def test_labels_beside_other_inputs_are_not_guessed():
    with pytest.raises(WeightsError, match="no rule says what becomes of"):
        adapted(GAN, "generator", {"num_classes": 5}, {"num_classes": 3})


def test_a_classifier_keeps_its_backbone():
    _, _, report = adapted(CLASSIFIER, "classifier", {"num_classes": 5}, {"num_classes": 3})
    assert len(report.converted) == 2  # weight and bias of the last layer


@pytest.mark.parametrize("larger", [True, False])
@pytest.mark.parametrize("spec", [STYLEGAN2, PROGAN, STYLEGAN], **by_name)
def test_layers_of_the_sizes_that_both_have_are_kept(spec, larger):
    size = config(spec).resolution
    sizes = {"resolution": size, "channel_base": 256}, {"resolution": 2 * size, "channel_base": 256}
    before, after = sizes if larger else sizes[::-1]
    for role in ("generator", "discriminator"):
        source, target, report = adapted(spec, role, before, after, rules=("resolution",))
        assert report.kept
        reads_colors_anew = spec is STYLEGAN2 and role == "discriminator"
        assert bool(report.fresh) == (larger or reads_colors_anew)
        ours, theirs = target.state_dict(), source.state_dict()
        for key in report.kept:
            name = spec.counterpart(role, key, config(spec, **after), config(spec, **before))
            assert torch.equal(ours[key], theirs[name])
        for key in report.fresh:
            fresh = network(spec, role, seed=2, **after).state_dict()[key]
            assert torch.equal(ours[key], fresh)


def test_the_discriminator_of_stylegan2_finds_its_blocks_by_size():
    sizes = {"resolution": 16, "channel_base": 256}, {"resolution": 32, "channel_base": 256}
    source, target, report = adapted(STYLEGAN2, "discriminator", *sizes, rules=("resolution",))
    assert torch.equal(target.blocks[1].conv0.weight, source.blocks[0].conv0.weight)
    assert torch.equal(target.conv.weight, source.conv.weight)
    assert {key.split(".")[1] for key in report.fresh} == {"0"}
    assert {key.split(".")[2] for key in report.unused} == {"from_rgb"}


def test_colors_of_stylegan_are_numbered_from_the_first_resolution():
    before, after = {"first_resolution": 4}, {"first_resolution": 8}
    source, target, _ = adapted(STYLEGAN, "generator", before, after, rules=())
    assert torch.equal(target.to_rgb[0].weight, source.to_rgb[1].weight)


def test_a_layer_that_the_source_lacks_is_not_made_up():
    before, after = {"num_mapping_layers": 2}, {"num_mapping_layers": 3}
    with pytest.raises(WeightsError, match=r"mapping\.layers\.2\.weight: none there"):
        adapted(STYLEGAN2, "generator", before, after, rules=("resolution", "classes", "channels"))


# Freeze-D


@pytest.mark.parametrize("spec", [*JUDGES, PIX2PIX], **by_name)
def test_layers_are_told_from_the_image_on_and_leave_the_last_one(spec):
    judge = network(spec, "discriminator")
    layers = judge.layers()
    frozen = {id(p) for layer in layers for p in layer.parameters()}
    everything = {id(p) for p in judge.parameters()}
    assert frozen < everything
    channels = config(spec).channels + (config(spec).source_channels if spec is PIX2PIX else 0)
    inputs = [p.shape[1] for p in layers[0].parameters() if p.dim() > 1]
    assert {channels, channels * config(spec).resolution ** 2}.intersection(inputs)
    assert all(any(True for _ in layer.parameters()) for layer in layers)


def test_the_path_length_of_stylegan2_needs_no_mapping_network_that_learns():
    settings = {"freeze_mapping": True, "path_weight": 2.0, "device": "cpu", "precision": "fp32"}
    resolved = resolve_settings(STYLEGAN2, "tiny", None, ("the test", settings))
    runtime = Runtime.detect("cpu", "fp32")
    state = build(STYLEGAN2, resolved, runtime)
    (phase,) = [each for each in state.phases if "path" in each.name]
    before = {key: t.clone() for key, t in state.networks.generator.state_dict().items()}
    images = torch.rand(4, *state.networks.generator.image_shape)
    batch = Batch(images=images, labels=None, source=None, ids=torch.arange(4))
    run_phase(phase, batch, Progress(0, SeededNoise(0, range(4))), runtime)
    after = state.networks.generator.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert not any(key.startswith("mapping.") for key in moved)
