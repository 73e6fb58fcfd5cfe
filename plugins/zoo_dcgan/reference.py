"""Map the public implementation's state dicts to our networks, and our outputs to the names in the
reference files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import FoundNetwork, Recognized
from zoo_dcgan.config import DCGANConfig
from zoo_dcgan.networks import DCGANDiscriminator, DCGANGenerator

NAME = re.compile(r"main\.\d+\.(weight|bias|running_mean|running_var|num_batches_tracked)")

Shapes = Mapping[str, tuple[int, ...]]


def recognize(found: FoundNetwork) -> Recognized | None:
    """What a network of the public code is, by its names and shapes; None for any other.

    Both networks are one list of layers. The generator's begins with a convolution from 1 x 1
    pixels and its normalization, the discriminator's with a convolution that has none.
    """
    shapes = found.shapes
    if "main.0.weight" not in shapes or not all(map(NAME.fullmatch, shapes)):
        return None
    convolutions = [shape for shape in shapes.values() if len(shape) == 4]
    if not 4 <= len(convolutions) <= 10 or any(shape[2:] != (4, 4) for shape in convolutions):
        return None
    if "main.1.running_mean" in shapes:
        return _recognized("generator", _generator_config(shapes))
    return _recognized("discriminator", _discriminator_config(shapes))


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> dict[str, Tensor]:
    """The state dict of our network, from that of a recognized one.

    Our generator's first layer is linear; theirs is a transposed convolution of a 1 x 1 image, with
    the same weights in another order. Our Unflatten after it shifts all later indices by one.
    """
    if recognized.role == "discriminator":
        return dict(tensors)
    first = "main.0.weight"  # [latents, W, 4, 4]
    renamed = {
        f"main.{_number(key) + 1}.{_rest(key)}": value
        for key, value in tensors.items()
        if key != first
    }
    return {first: tensors[first].flatten(1).t(), **renamed}


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


def _generator_config(shapes: Shapes) -> dict[str, Any]:
    first, last = shapes["main.0.weight"], shapes[f"main.{max(map(_number, shapes))}.weight"]
    return {
        "resolution": _resolution(shapes),
        "channels": last[1],
        "latent_size": first[0],
        "generator_width": last[0],
        "max_width": first[1],
        "generator_norm": "batch",
    }


def _discriminator_config(shapes: Shapes) -> dict[str, Any]:
    first, last = shapes["main.0.weight"], shapes[f"main.{max(map(_number, shapes))}.weight"]
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


def _resolution(shapes: Shapes) -> int:
    """Each convolution doubles or halves the size, except the one from or to 1 x 1 pixels."""
    return 4 << (sum(len(shape) == 4 for shape in shapes.values()) - 1)


def _number(key: str) -> int:
    return int(key.split(".")[1])


def _rest(key: str) -> str:
    return key.split(".", 2)[2]
