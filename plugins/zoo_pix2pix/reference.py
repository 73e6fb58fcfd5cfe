"""Load the public PyTorch implementation's weights into our networks, for the golden tests."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import SeededNoise
from zoo_pix2pix.config import Pix2PixConfig
from zoo_pix2pix.networks import PatchGAN, Pix2PixGenerator


def network_from_reference(about: dict[str, Any], state: dict[str, Tensor]) -> nn.Module:
    """Our network with the weights of `state`, in evaluation mode; sizes follow from its shapes.

    Raises ValueError if a key is left over on either side, or if the padding is not reflection.
    """
    if about.get("padding_type", "reflect") != "reflect":
        raise ValueError(f"our ResNets use reflection padding, not {about['padding_type']!r}")
    state = _without_old_statistics(state)
    network, names = {"unet": _unet, "resnet": _resnet}.get(about["network"], _patchgan)(state)
    if "net.5.weight" in state:  # their PixelGAN may lack the last bias
        state = {"net.5.bias": torch.zeros(1), **state}
    ours = {}
    for key, tensor in state.items():
        module, _, name = key.rpartition(".")
        if module not in names:
            raise ValueError(f"{key} has no counterpart in our {about['network']}")
        ours[f"{names[module]}.{name}"] = tensor
    problem = network.load_state_dict(ours, strict=False)
    if problem.missing_keys or problem.unexpected_keys:
        raise ValueError(f"missing: {problem.missing_keys}; unexpected: {problem.unexpected_keys}")
    return network.eval()


def replay(
    about: dict[str, Any], network: nn.Module, inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Images for `source`, or logits for `pair`, in evaluation and in training mode."""
    outputs = {}
    for mode, moved in (("eval", network.eval()), ("train", copy.deepcopy(network).train())):
        with torch.no_grad():
            if isinstance(network, Pix2PixGenerator):
                source = inputs["source"]
                noise = SeededNoise(range(len(source)))
                outputs[f"images_{mode}"] = moved.generate(noise, source=source)
            else:
                source, images = inputs["pair"].chunk(2, dim=1)
                outputs[f"logits_{mode}"] = moved(images, source=source)
    return outputs


Names = dict[str, str]  # their module name to ours


def _unet(state: dict[str, Tensor]) -> tuple[nn.Module, Names]:
    """U-Net and names; their blocks are nested, each one inside the previous."""
    depth = max(key.split(".").count("model") for key in state) - 1
    blocks = ["model.model", "model.model.1.model"]
    while len(blocks) < depth:
        blocks.append(f"{blocks[-1]}.3.model")
    names = {}
    for level, block in enumerate(blocks):
        places = {"1": "downs.{}.1", "2": "downs.{}.2", "5": "ups.{}.1", "6": "ups.{}.2"}
        if level == 0:
            places = {"0": "downs.{}.1", "3": "ups.{}.1"}
        elif level == depth - 1:
            places = {"1": "downs.{}.1", "3": "ups.{}.1", "4": "ups.{}.2"}
        for theirs, ours in places.items():
            names[f"{block}.{theirs}"] = f"translator.{ours.format(level)}"
    first, last = state["model.model.0.weight"], state["model.model.3.weight"]
    config = Pix2PixConfig(
        resolution=1 << depth,
        source_channels=first.shape[1],
        channels=last.shape[1],
        generator_width=first.shape[0],
        norm=_norm(state, "model.model.1.model.1"),
        dropout=False,  # has no parameters
    )
    return Pix2PixGenerator(config), names


def _resnet(state: dict[str, Tensor]) -> tuple[nn.Module, Names]:
    """ResNet and names; theirs is one list of layers, with the blocks starting at index 10."""
    num_blocks = len({key.split(".")[1] for key in state if "conv_block" in key})
    after = 10 + num_blocks
    second = 5 if "model.10.conv_block.5.weight" in state else 6  # dropout shifts the index
    names = {f"model.{i}": f"translator.encoder.{i}" for i in range(10)}
    names |= {f"model.{after + i}": f"translator.decoder.{i}" for i in range(9)}
    for block in range(num_blocks):
        theirs, ours = f"model.{10 + block}.conv_block", f"translator.blocks.{block}"
        names |= {f"{theirs}.{i}": f"{ours}.first.{i}" for i in (1, 2)}
        names |= {f"{theirs}.{second + i}": f"{ours}.second.{1 + i}" for i in (0, 1)}
    config = Pix2PixConfig(
        generator=f"resnet{num_blocks}",
        source_channels=state["model.1.weight"].shape[1],
        channels=state[f"model.{after + 7}.weight"].shape[0],
        generator_width=state["model.1.weight"].shape[0],
        norm=_norm(state, "model.1"),
        dropout=False,  # has no parameters
    )
    return Pix2PixGenerator(config), names


def _patchgan(state: dict[str, Tensor]) -> tuple[nn.Module, Names]:
    """PatchGAN and names; same layers as ours, in `model`, or in `net` for a PixelGAN."""
    theirs = "net" if "net.0.weight" in state else "model"
    first = state[f"{theirs}.0.weight"]
    num_convolutions = sum(tensor.ndim == 4 for tensor in state.values())
    config = Pix2PixConfig(
        resolution=1 << (num_convolutions + 2),
        source_channels=first.shape[1] // 2,  # only their sum matters
        channels=first.shape[1] - first.shape[1] // 2,
        discriminator_width=first.shape[0],
        num_discriminator_layers=0 if theirs == "net" else num_convolutions - 2,
        norm=_norm(state, f"{theirs}.2"),
    )
    network = PatchGAN(config)
    return network, {f"{theirs}.{i}": f"main.{i}" for i in range(len(network.main))}


def _norm(state: dict[str, Tensor], hidden: str) -> str:
    """The `norm` setting: only batch normalization has tensors, and only instance normalization
    leaves a bias in the `hidden` convolution.
    """
    if any(key.endswith("running_mean") for key in state):
        return "batch"
    return "instance" if f"{hidden}.bias" in state else "none"


def _without_old_statistics(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the unused running statistics that instance normalization kept in old files."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return {
        key: tensor
        for key, tensor in state.items()
        if not key.endswith(statistics) or f"{key.rpartition('.')[0]}.weight" in state
    }
