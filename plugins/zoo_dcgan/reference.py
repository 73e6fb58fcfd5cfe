"""Map the public implementation's state dicts to our networks, and our outputs to the names in the
reference files.

Many have written the public networks again, under other names. They are known by their layers, in
order: 4 x 4 convolutions, and batch normalization after each inner one. What has no tensors leaves
no trace: dropout, another activation function than the public code's, or labels among the latents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo_core import FoundNetwork, Recognized, WeightsError
from zoo_dcgan.config import DCGANConfig
from zoo_dcgan.networks import DCGANDiscriminator, DCGANGenerator, stage_widths

NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
ORDERS = {"generator": "C(NC)+", "discriminator": "C(CN)+C"}  # of convolutions and normalizations
COUNTS = range(3, 11)  # convolutions: 16 to 2048 pixels
MAX_CHANNELS = 4  # of an image; with more, the last convolution is that of something else

Shapes = Mapping[str, tuple[int, ...]]


class Layers(NamedTuple):
    """The names of a network's modules, in order."""

    role: str
    convolutions: list[str]
    norms: list[str]

    @property
    def normalized(self) -> list[str]:
        """The convolutions that a normalization follows."""
        first = self.role == "discriminator"
        return self.convolutions[first:-1]

    def ours(self) -> dict[str, str]:
        """Their names to ours: one list, with activations between them.

        Our generator has an Unflatten after the first layer.
        """
        convolution, norm = (1, 2) if self.role == "generator" else (-1, 3)
        names = {each: f"main.{3 * i + convolution}" for i, each in enumerate(self.convolutions)}
        names |= {each: f"main.{3 * i + norm}" for i, each in enumerate(self.norms)}
        return {**names, self.convolutions[0]: "main.0"}


def recognize(found: FoundNetwork) -> Recognized | None:
    """What a network of the public code is, by its names and shapes; None for any other.

    Raises WeightsError for a generator that differs from ours in what the shapes tell.
    """
    layers = find_layers(found.shapes)
    if layers is None or len(layers.convolutions) not in COUNTS:
        return None
    _check_attributes(found.attributes, layers)
    shapes = [found.shapes[f"{name}.weight"] for name in layers.convolutions]
    if layers.role == "generator":
        _check_generator(found.shapes, layers, shapes)
        return _recognized("generator", _generator_config(shapes))
    if any(shape[2:] != (4, 4) for shape in shapes):
        return None
    return _recognized("discriminator", _discriminator_config(shapes))


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> dict[str, Tensor]:
    """The state dict of our network, from that of a recognized one.

    Our generator's first layer is linear; theirs is a transposed convolution of a 1 x 1 image, with
    the same weights in another order. A bias before a normalization is moved into its mean.
    """
    layers = find_layers({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    assert layers is not None
    names, ours = layers.ours(), {}
    for key, tensor in tensors.items():
        module, _, name = key.rpartition(".")
        ours[f"{names[module]}.{name}"] = tensor
    for convolution, norm in zip(layers.normalized, layers.norms, strict=True):
        bias = ours.pop(f"{names[convolution]}.bias", None)
        if bias is not None:
            ours[f"{names[norm]}.running_mean"] = ours[f"{names[norm]}.running_mean"] - bias
    if recognized.role == "generator":
        ours["main.0.weight"] = ours["main.0.weight"].flatten(1).t()  # [latents, W, 4, 4]
    return ours


def find_layers(shapes: Shapes) -> Layers | None:
    """The layers of a network that consists of those of a generator, or of a discriminator.

    They are in the order of the names or, as in safetensors, are sorted by their numbers.
    """
    modules: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        module, _, name = key.rpartition(".")
        modules.setdefault(module, {})[name] = shape
    for order in (list(modules), sorted(modules, key=_numbers)):
        kinds = "".join(_kind(modules[name]) for name in order)
        for role, pattern in ORDERS.items():
            if re.fullmatch(pattern, kinds):
                both = [
                    [name for name, each in zip(order, kinds, strict=True) if each == kind]
                    for kind in "CN"
                ]
                layers = Layers(role, *both)
                if _fit(layers, shapes):
                    return layers
    return None


def _kind(shapes: Shapes) -> str:
    """C for a convolution, N for batch normalization, ? for anything else."""
    if len(shapes.get("weight", ())) == 4 and shapes.keys() <= {"weight", "bias"}:
        return "C"
    return "N" if "running_mean" in shapes and shapes.keys() <= NORM else "?"


def _fit(layers: Layers, shapes: Shapes) -> bool:
    """Whether each layer takes what the one before it returns, and the last returns what it should.

    A PatchGAN differs from a discriminator only in the biases of its first and last convolutions.
    """
    weights = [shapes[f"{name}.weight"] for name in layers.convolutions]
    widths = [shapes[f"{name}.running_mean"][0] for name in layers.norms]
    if layers.role == "generator":
        if any(before[1] != after[0] for before, after in pairwise(weights)):
            return False
        outputs = [shape[1] for shape in weights]
        return outputs[:-1] == widths and outputs[-1] <= MAX_CHANNELS
    ends = layers.convolutions[0], layers.convolutions[-1]
    if any(f"{name}.bias" in shapes for name in ends):
        return False
    if any(before[0] != after[1] for before, after in pairwise(weights)):
        return False
    outputs = [shape[0] for shape in weights]
    return outputs[1:-1] == widths and outputs[-1] == 1


def _check_generator(shapes: Shapes, layers: Layers, weights: list[tuple[int, ...]]) -> None:
    """Raise WeightsError for sizes of a generator that ours cannot have."""
    sizes = {shape[2:] for shape in weights} - {(4, 4)}
    if sizes:
        given = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
        raise WeightsError("a DCGAN generator with other kernels", given=given, allowed="4 x 4")
    if f"{layers.convolutions[-1]}.bias" in shapes:
        raise WeightsError("a DCGAN generator whose last convolution has a bias", allowed="none")
    config = _generator_config(weights)
    widths = [shape[0] for shape in weights[1:]]
    ours = stage_widths(config["resolution"], config["generator_width"], config["max_width"])
    if widths != ours[::-1]:
        raise WeightsError(
            "a DCGAN generator with other widths",
            given="-".join(map(str, widths)),
            allowed=f"halved at each doubling, as in {'-'.join(map(str, ours[::-1]))}",
        )


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build our network with the weights of a public `state` dict and the sizes that they imply.

    Raises ValueError for an unknown network, and RuntimeError naming the keys that are missing or
    left over.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    recognized = recognize(FoundNetwork(place="", kind="", shapes=shapes))
    if recognized is None or recognized.role != about["network"]:
        raise ValueError(f"DCGAN has no network {about['network']!r} with these weights")
    build = DCGANGenerator if recognized.role == "generator" else DCGANDiscriminator
    network = build(DCGANConfig(**recognized.config))
    network.load_state_dict(convert(state, recognized))
    return network.eval()


def replay(
    about: Mapping[str, Any], network: nn.Module, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Outputs in evaluation and in training mode; the public discriminator ends in a sigmoid.

    The network's running statistics are restored afterward.
    """
    is_generator = about["network"] == "generator"
    given = inputs["latents"].flatten(1) if is_generator else inputs["images"]
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    found = {}
    for mode in ("eval", "train"):
        output = network.train(mode == "train")(given)
        name = f"images_{mode}" if is_generator else f"prob_{mode}"
        found[name] = output if is_generator else torch.sigmoid(output)
    network.load_state_dict(before)
    return found


def _check_attributes(attributes: Mapping[str, Any], layers: Layers) -> None:
    """Raise WeightsError for an attribute of a module that our layers have another value of."""
    is_generator = layers.role == "generator"
    single = layers.convolutions[0 if is_generator else -1]  # from or to 1 x 1 pixels
    allowed: dict[str, Any] = {f"{single}.padding": (0, 0)}
    for name in layers.convolutions:
        if name != single:
            allowed |= {f"{name}.stride": (2, 2), f"{name}.padding": (1, 1)}
    for name in attributes:
        if name.endswith("negative_slope"):
            allowed[name] = 0 if is_generator else 0.2
    for name, value in allowed.items():
        if attributes.get(name, value) != value:
            raise WeightsError(
                f"a DCGAN {layers.role} with another {name}"[:160],
                given=attributes[name],
                allowed=str(value),
            )


def _generator_config(shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    first, last = shapes[0], shapes[-1]
    return {
        "resolution": _resolution(shapes),
        "channels": last[1],
        "latent_size": first[0],
        "generator_width": last[0],
        "max_width": first[1],
        "generator_norm": "batch",
    }


def _discriminator_config(shapes: list[tuple[int, ...]]) -> dict[str, Any]:
    first, last = shapes[0], shapes[-1]
    return {
        "resolution": _resolution(shapes),
        "channels": first[1],
        "discriminator_width": first[0],
        "discriminator_norm": "batch",
        "max_width": last[1],
    }


def _recognized(role: str, config: dict[str, Any]) -> Recognized:
    width = config[f"{role}_width"]
    return Recognized(
        role=role,
        config=config,
        summary=f"{config['resolution']} px, width {width}, {_colors(config['channels'])}",
    )


def _colors(channels: int) -> str:
    return {1: "grayscale", 3: "RGB"}.get(channels, f"{channels} channels")


def _resolution(convolutions: list[tuple[int, ...]]) -> int:
    """Each convolution doubles or halves the size, except the one from or to 1 x 1 pixels."""
    return 4 << (len(convolutions) - 1)


def _numbers(name: str) -> list[tuple[int, str]]:
    """A key that sorts the parts of a name that are numbers by their values."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in name.split(".")]
