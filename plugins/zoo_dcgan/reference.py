"""Map the public implementation's state dicts to our networks, and our outputs to the names in the
reference files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_dcgan.config import DCGANConfig
from zoo_dcgan.networks import DCGANDiscriminator, DCGANGenerator


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build our network with the weights of a public `state` dict and the sizes that they imply.

    Raises ValueError for an unknown network, and RuntimeError naming the keys that are missing or
    left over.
    """
    build = {"generator": _generator, "discriminator": _discriminator}.get(about["network"])
    if build is None:
        raise ValueError(f"DCGAN has no network {about['network']!r}")
    return build(dict(state))


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


def _generator(state: dict[str, Tensor]) -> nn.Module:
    # Our first layer is linear; theirs is a transposed convolution of a 1 x 1 image, with the same
    # weights in another order. Our Unflatten after it shifts all later indices by one.
    first = state.pop("main.0.weight")  # [latents, W, 4, 4]
    last = state[f"main.{max(map(_number, state))}.weight"]
    renamed = {f"main.{_number(key) + 1}.{_rest(key)}": value for key, value in state.items()}
    renamed["main.0.weight"] = first.flatten(1).t()
    config = DCGANConfig(
        resolution=_resolution(state, ends_in_4x4=False),
        channels=last.shape[1],
        latent_size=first.shape[0],
        generator_width=last.shape[0],
        max_width=first.shape[1],
    )
    return _loaded(DCGANGenerator(config), renamed)


def _discriminator(state: dict[str, Tensor]) -> nn.Module:
    first, last = (state[f"main.{end}.weight"] for end in (0, max(map(_number, state))))
    config = DCGANConfig(
        resolution=_resolution(state, ends_in_4x4=True),
        channels=first.shape[1],
        discriminator_width=first.shape[0],
        discriminator_norm="batch",
        max_width=last.shape[1],
    )
    return _loaded(DCGANDiscriminator(config), state)


def _resolution(state: Mapping[str, Tensor], ends_in_4x4: bool) -> int:
    """Resolution by the number of convolutions: each doubles or halves the size, from or to 4 x 4.

    Only the discriminator's last one (`ends_in_4x4`) does not.
    """
    convolutions = sum(tensor.dim() == 4 for tensor in state.values())
    return 4 << (convolutions - ends_in_4x4)


def _loaded(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    network.load_state_dict(state)
    return network.eval()


def _number(key: str) -> int:
    return int(key.split(".")[1])


def _rest(key: str) -> str:
    return key.split(".", 2)[2]
