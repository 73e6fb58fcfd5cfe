"""Weights that the zoo publishes, a classifier and an extractor, in onnxruntime beside torch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from test_functions_of_tensors import built

from zoo_core import WeightsMetadata, export, load_plugins, load_registry, resolve
from zoo_core.weights.tensors import save_weights

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
NAMES = load_registry(load_plugins()).names()


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_agree_with_torch(name: str, tmp_path: Path):
    done = export(name, tmp_path / "out.onnx")
    assert done.difference < 1e-3
    assert done.inputs[next(iter(done.inputs))][0] == "batch"


def test_all_of_them_are_tried():
    assert len(NAMES) >= 8


def exported(model: str, settings: dict, folder: Path, **options: object):
    """The preset `tiny` of a model with these settings, exported."""
    spec = load_plugins().models.get(model)
    layers = (("defaults", spec.run), ("tiny", spec.presets["tiny"]), ("test", settings))
    config = resolve(spec.name, spec.config, *layers).config
    about = WeightsMetadata(
        model=model, role=spec.role, config=msgspec.to_builtins(config), images=16,
        licence="CC0-1.0", trained_on="bars", zoo_version="0.1.0",
    )  # fmt: skip
    torch.manual_seed(0)
    save_weights(folder / "weights.safetensors", built(model, settings), about)
    return export(folder / "weights.safetensors", folder / "out.onnx", **options)


def test_a_classifier_agrees_with_torch(tmp_path: Path):
    done = exported("classifier", {"backbone": "test_resnet"}, tmp_path)
    assert done.output == "logits"
    assert done.difference < 1e-3


@pytest.mark.parametrize("network", ["resnet6", "unet"])
def test_a_translator_takes_the_sizes_that_its_network_does(network: str, tmp_path: Path):
    done = exported("pix2pix", {"generator": network}, tmp_path, free_size=True)
    step = {"resnet6": 4, "unet": 32}[network]  # a U-Net halves 32 pixels down to one
    assert done.inputs == {"source": ["batch", 3, f"{step}*height", f"{step}*width"]}
    assert done.difference < 1e-3


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({"inference": "paper"}, "statistics of each image, without dropout"),
        ({"inference": "eval"}, "running statistics, without dropout"),
        ({"norm": "instance"}, "without dropout"),
    ],
)
def test_pix2pix_says_which_test_mode_is_exported(settings: dict, mode: str):
    assert built("pix2pix", settings).test_mode == mode


def test_a_timm_extractor_agrees_with_torch_on_images_of_another_size(tmp_path: Path):
    done = export(
        "timm/tf_efficientnet_lite0.in1k", tmp_path / "out.onnx", image_size=32, uint8=True
    )
    assert (done.output, done.inputs) == ("features", {"images": ["batch", 3, 32, 32]})
    assert done.difference < 1e-3
