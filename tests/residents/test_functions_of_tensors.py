"""Every generator as a function of plain tensors, in the settings that the preset `tiny` lacks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo_core import Generator, load, load_plugins, resolve
from zoo_core.nn import Growing

TRUNCATION = 0.7
VARIANTS = {
    "gan": {"num_classes": 3},
    "dcgan": {"latents": "uniform"},
    "progan": {},
    "stylegan": {"truncation_layers": 2},
    "stylegan2": {"num_classes": 3},
    "r3gan": {"num_classes": 3},
    "projected": {"num_classes": 3},
    "projected:progan": {"generator": "progan"},
    "projected:stylegan2": {"generator": "stylegan2", "num_classes": 3},
}
TRANSLATORS = {
    "unet, own statistics": {"inference": "paper"},
    "unet, running statistics": {"inference": "eval"},
    "unet, instance": {"norm": "instance"},
    "resnet": {"generator": "resnet6"},
}


def built(model: str, settings: dict) -> Generator:
    """A generator of the preset `tiny` with these settings, as if it had been trained."""
    spec = load_plugins().models.get(model)
    layers = (("defaults", spec.run), ("tiny", spec.presets["tiny"]), ("test", settings))
    torch.manual_seed(0)
    generator = spec.build_main(resolve(spec.name, spec.config, *layers).config)
    if isinstance(generator, Growing):
        generator.images_seen.fill_(20)
    for name, tensor in generator.state_dict().items():
        if name.endswith(("average_w", "running_mean", "noise_strength", "noise_scale")):
            nn.init.normal_(tensor)
    return generator.eval()


def inputs(generator: Generator, seeds: range) -> tuple[torch.Tensor, ...]:
    labels = torch.tensor(seeds) % generator.num_classes if generator.num_classes else None
    latents = generator.latents(seeds)
    return (latents,) if labels is None else (latents, labels)


def check_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_a_graph_takes_classes_and_truncation_for_any_number_of_images(variant: str):
    generator = built(variant.partition(":")[0], VARIANTS[variant])
    few, many = (inputs(generator, range(count)) for count in (2, 5))
    truncated = {"truncation": TRUNCATION}
    batch = torch.export.Dim("batch")
    names = ("latents", "labels")[: len(few)]
    free = {name: {0: batch} for name in names} | {"truncation": None}
    graph = torch.export.export(generator, few, truncated, dynamic_shapes=free).module()
    check_equal(graph(*many, **truncated), generator(*many, **truncated))
    assert not torch.allclose(generator(*many, **truncated), generator(*many))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_a_truncated_sample_is_the_image_of_its_latents(variant: str):
    generator = built(variant.partition(":")[0], VARIANTS[variant])
    latents, *labels = inputs(generator, range(3))
    images = generator(latents, *labels, truncation=TRUNCATION)
    drawn = generator.sample(range(3), labels=labels[0] if labels else None, truncation=TRUNCATION)
    assert torch.equal(drawn, images.clamp(-1, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("variant", [*VARIANTS, "pix2pix"])
def test_it_samples_in_other_dtypes(variant: str, dtype: torch.dtype):
    generator = built(variant.partition(":")[0], VARIANTS.get(variant, {})).to(dtype)
    labels, shape = 0 if generator.num_classes else None, generator.source_shape
    images = generator.sample([3, 4], labels=labels, source=shape and torch.zeros(2, *shape))
    assert images.dtype == torch.float32
    assert bool(images.isfinite().all())


@pytest.mark.parametrize("variant", TRANSLATORS)
@torch.no_grad()
def test_a_graph_translates_any_number_of_sources(variant: str):
    translator = built("pix2pix", TRANSLATORS[variant])
    few, many = (torch.rand(count, *translator.source_shape) * 2 - 1 for count in (2, 5))
    free = ({0: torch.export.Dim("batch")},)
    graph = torch.export.export(translator, (few,), dynamic_shapes=free).module()
    for source in (few, many, many[:1]):
        check_equal(graph(source), translator(source))


def test_a_translation_without_noise_has_no_dropout():
    paper, plain = (built("pix2pix", {"inference": "paper", "dropout": d}) for d in (True, False))
    plain.load_state_dict(paper.state_dict())
    source = torch.rand(2, *paper.source_shape) * 2 - 1
    assert torch.equal(paper(source), plain(source))
    assert not torch.equal(paper.sample([0, 1], source=source), paper(source).clamp(-1, 1))


@pytest.mark.parametrize("name", ["stylegan.critters32", "stylegan2.critters32"])
def test_the_ws_of_latents_are_those_that_are_sampled(name: str):
    generator = load(name)
    ws = generator.ws(generator.latents(range(3)), truncation=TRUNCATION)
    drawn = generator.draw_ws(ws)
    assert torch.equal(drawn, generator.sample(range(3), truncation=TRUNCATION))


def test_a_graph_of_published_weights_is_fully_grown():
    generator = load("progan.critters32")
    latents = generator.latents(range(2))
    graph = torch.export.export(generator, (latents,)).module()
    assert graph(latents).shape == (2, 3, 32, 32)
    check_equal(graph(latents), generator(latents))
