"""The classifier: the contract, its timm backbones, and the recipe."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

import zoo_classifier
from zoo_classifier.config import PRESETS, RUN, ClassifierConfig
from zoo_classifier.networks import TimmClassifier, pad_to_stride
from zoo_classifier.training import build_phases
from zoo_core.config import resolve
from zoo_core.errors import ConfigError, OfflineError, UnknownNameError
from zoo_core.interfaces import Batch, Networks, Phase, Progress
from zoo_core.noise import SeededNoise
from zoo_core.testing import CHECKS, Case

# One per family: residual, inverted residual, ConvNeXt, transformer, widening head.
BACKBONES = {
    "test_resnet": 32,
    "test_efficientnet": 40,
    "test_convnext": 64,
    "vit_tiny_patch16_224": 32,
    "lcnet_050": 64,
}


def preset(name: str, **settings: object) -> ClassifierConfig:
    layers = (("defaults", RUN), (name, PRESETS[name]), ("--set", settings))
    return resolve("classifier", ClassifierConfig, *layers).config


def classifier(**settings: object) -> TimmClassifier:
    torch.manual_seed(0)
    return TimmClassifier(preset("tiny", **settings))


def phase(config: ClassifierConfig, network: TimmClassifier | None = None) -> Phase:
    (only,) = build_phases(Networks(classifier=network or TimmClassifier(config)), config)
    return only


def pictures(network: TimmClassifier, count: int) -> Batch:
    """Noise whose brightness grows with the class."""
    labels = torch.arange(count) % network.num_classes
    noise = torch.rand(count, *network.image_shape, generator=torch.Generator().manual_seed(0))
    bright = (labels / (network.num_classes - 1)).reshape(-1, 1, 1, 1)
    return Batch(noise + bright - 1, labels, None, torch.arange(count))


def start(count: int) -> Progress:
    return Progress(0, SeededNoise(0, range(count)))


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (2, 1)])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_zeros_up_to_the_stride_change_no_output(size, kernel, padding, stride):
    layer = nn.Conv2d(3, 4, kernel, stride, padding)
    images = torch.randn(2, 3, size, size)
    expected = layer(images)
    layer.register_forward_pre_hook(pad_to_stride)
    torch.testing.assert_close(layer(images), expected)


def test_no_convolution_sees_pictures_smaller_than_its_stride():
    """Otherwise torch's gradients contain the memory past the image."""
    network = classifier(backbone="test_resnet", resolution=16)
    sizes = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            forward = layer._conv_forward
            layer._conv_forward = lambda images, *rest, layer=layer, forward=forward: (
                sizes.append((layer.stride[0], images.shape[2])) or forward(images, *rest)
            )
    network(torch.zeros(2, *network.image_shape))
    assert sizes
    assert all(side >= stride for stride, side in sizes)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("classifier", tmp_path))


@pytest.mark.parametrize(("backbone", "resolution"), BACKBONES.items())
@pytest.mark.parametrize("channels", [1, 3])
def test_features_and_maps_are_of_the_sizes_stated(backbone: str, resolution: int, channels: int):
    network = classifier(backbone=backbone, resolution=resolution, channels=channels).eval()
    images = torch.zeros(2, channels, resolution, resolution)
    assert network(images).shape == (2, 10)
    assert network.features(images).shape == (2, network.width)
    assert [tuple(pixels.shape[1:]) for pixels in network.feature_maps(images)] == [
        (width, -(-resolution // stride), -(-resolution // stride))
        for width, stride in zip(network.channels, network.strides, strict=True)
    ]


def test_features_are_what_the_last_layer_starts_from():
    """If the head widens pooled features, the widened ones count."""
    network = classifier(backbone="lcnet_050", resolution=32).eval()
    images = pictures(network, 2).images
    assert (network.width, network.channels[-1]) == (1280, 256)
    logits = network.backbone.get_classifier()(network.features(images))
    torch.testing.assert_close(logits, network(images))


def test_sizes_are_known_without_memory_for_weights():
    with torch.device("meta"):
        network = TimmClassifier(preset("imagenet"))
    assert network.image_shape == (3, 224, 224)
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_557_032
    assert (network.num_classes, network.width) == (1000, 2048)
    assert network.channels == (64, 256, 512, 1024, 2048)
    assert network.strides == (2, 4, 8, 16, 32)


def test_measuring_leaves_no_trace():
    network = classifier()
    assert network.training
    assert all(module.training for module in network.modules())
    counts = [
        buffer for name, buffer in network.named_buffers() if name.endswith("batches_tracked")
    ]
    assert counts
    assert not any(map(int, counts))


def test_a_picture_is_judged_alone_in_evaluation_mode_only():
    network = classifier(drop_rate=0.5, drop_path_rate=0.5)
    images = pictures(network, 8).images
    assert not torch.allclose(network(images), network(images))
    network.eval()
    torch.testing.assert_close(network(images)[:1], network(images[:1]))


def test_half_precision_ends_in_single_precision():
    config = preset("tiny")
    only = phase(config)
    batch = pictures(only.module, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert only.module(batch.images).dtype == torch.float32
        assert only.module.features(batch.images).dtype == torch.float32
        assert only.loss(batch, start(8))["loss"].dtype == torch.float32


def test_an_unknown_backbone_comes_with_the_nearest():
    with pytest.raises(UnknownNameError, match="nearest: resnet18"):
        classifier(backbone="resnt18")


@pytest.mark.parametrize("backbone", ["resnet18.a1_in1k", "hf-hub:timm/resnet18.a1_in1k"])
def test_weights_of_a_tag_are_refused_at_once(backbone: str):
    with pytest.raises(ConfigError, match="random weights"):
        preset("tiny", backbone=backbone)


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "inception_v3", "resolution": 32},  # too small for it
        {"backbone": "test_vit", "resolution": 40},  # patches of 16
        {"backbone": "vgg11", "drop_path_rate": 0.1},  # no residual branches
    ],
)
def test_what_a_backbone_cannot_do_is_a_line_that_names_it(settings: dict[str, object]):
    with (
        torch.device("meta"),
        pytest.raises(ConfigError, match=f"the backbone {settings['backbone']}"),
    ):
        classifier(**settings)


def test_without_timm_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(OfflineError, match=r"timm; try: pip install 'zoo-core\[features\]'"):
        classifier()


def test_the_loss_is_cross_entropy_with_smoothed_labels():
    """Szegedy et al. 2016, section 7: 1 - epsilon for the label, epsilon / K for every class."""
    config = preset("tiny", label_smoothing=0.2)
    only = phase(config)
    only.module.eval()
    batch = pictures(only.module, 8)
    terms = only.loss(batch, start(8))
    logits = only.module(batch.images)
    wanted = one_hot(batch.labels, 10) * 0.8 + 0.02
    torch.testing.assert_close(
        terms["loss"], -(wanted * logits.log_softmax(1)).sum(1).mean(), rtol=1e-5, atol=0
    )
    right = sum(int(row.argmax()) == label for row, label in zip(logits, batch.labels, strict=True))
    assert float(terms["accuracy"]) == right / 8


def test_the_learning_rate_goes_up_and_comes_down():
    only = phase(
        preset(
            "tiny",
            learning_rate=1.0,
            learning_rate_end=0.2,
            warmup_images=100,
            schedule_images=300,
        )
    )
    rates = [only.schedule(images)["lr"] for images in (0, 50, 100, 200, 300, 1000)]
    assert rates == pytest.approx([0.2, 0.6, 1.0, 0.6, 0.2, 0.2])


def test_without_a_warm_up_it_begins_at_its_height():
    only = phase(preset("tiny", learning_rate=0.5, warmup_images=0))
    assert only.schedule(0) == {"lr": 0.5}


def test_a_warm_up_without_end_is_refused():
    with pytest.raises(ConfigError, match="warmup_images must be less than schedule_images"):
        preset("tiny", warmup_images=64)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_biases_and_normalizations_are_not_decayed(optimizer: str):
    only = phase(preset("tiny", optimizer=optimizer, weight_decay=0.3))
    decay = {
        id(parameter): group["weight_decay"]
        for group in only.optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in only.module.named_parameters():
        is_weight = name.endswith("weight") and parameter.dim() in (2, 4)
        assert decay[id(parameter)] == (0.3 if is_weight else 0.0), name


@pytest.mark.parametrize("settings", [{}, {"optimizer": "sgd", "learning_rate": 0.1}])
def test_two_classes_are_told_apart_after_a_few_steps(settings: dict[str, object]):
    config = preset("tiny", num_classes=2, schedule_images=1000, **settings)
    network = classifier(num_classes=2)
    only = phase(config, network)
    batch = pictures(network, 16)
    for step in range(8):
        for group in only.optimizer.param_groups:
            group.update(only.schedule(16 * step))
        only.loss(batch, start(16))["loss"].backward()
        only.optimizer.step()
        only.optimizer.zero_grad()
    assert float(only.loss(batch, start(16))["accuracy"]) == 1


def test_momentum_survives_a_resume(tmp_path):
    spec = zoo_classifier.CLASSIFIER
    layers = (("defaults", RUN), ("tiny", PRESETS["tiny"]), ("--set", {"optimizer": "sgd"}))
    case = Case("classifier", spec, resolve(spec.name, ClassifierConfig, *layers), tmp_path)
    (check,) = (check for check in CHECKS if check.__name__ == "check_exact_resume")
    check(case)


def test_the_model_is_called_what_its_plugin_is():
    assert [spec.name for spec in zoo_classifier.zoo_models()] == ["classifier"]
