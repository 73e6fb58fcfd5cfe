"""Map the state dicts of the public PyTorch implementation (pix2pix and CycleGAN) to our networks,
and compute the outputs that its reference files hold.

Others have written its ResNet again, with another name for the layers of a block, with biases
before batch normalization, or with weights in instance normalization. A batch normalization by each
image's own statistics (`inference=paper`) is an instance normalization with weights.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import FoundNetwork, Recognized, SeededNoise, WeightsError
from zoo_pix2pix.config import Pix2PixConfig
from zoo_pix2pix.networks import PatchGAN, Pix2PixGenerator

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
DEPTHS = range(5, 13)  # of a U-Net: 32 to 4096 pixels
BLOCKS = (6, 9)  # of a ResNet
BLOCK = re.compile(r"^(model\.\d+)\.[a-z_]+\.(\d+\.)")  # a layer of a residual block
RESNET_RESOLUTION = 256  # a ResNet translates any size; this is what the public code trains at

Shapes = Mapping[str, tuple[int, ...]]
Names = dict[str, str]  # their module name to ours


def recognize(found: FoundNetwork) -> Recognized | None:
    """What a network of the public code is, by its names and shapes; None for any other.

    A U-Net does not tell whether it was trained with dropout. Raises WeightsError for one of the
    public code's options that our networks do not have.
    """
    shapes = _as_published(found.shapes)
    if "model.model.0.weight" in shapes and "model.model.3.weight" in shapes:
        return _recognize_unet(shapes)
    if "model.1.weight" in shapes and any(".conv_block." in name for name in shapes):
        return _recognize_resnet(shapes)
    if _is_patchgan(shapes):
        return _recognize_patchgan(shapes)
    return None


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> dict[str, Tensor]:
    """The state dict of our network, from that of a recognized one.

    Raises WeightsError for a tensor that has no counterpart.
    """
    state = _as_published(tensors)
    if str(recognized.config.get("generator")).startswith("resnet"):
        state = _with_our_norms(state)
    if "net.5.weight" in state:  # their PixelGAN may lack the last bias
        state = {"net.5.bias": torch.zeros(1), **state}
    names = _names(state, recognized)
    ours = {}
    for key, tensor in state.items():
        module, _, name = key.rpartition(".")
        if module not in names:
            raise WeightsError(f"{key[:80]} has no counterpart in our {recognized.role}")
        ours[f"{names[module]}.{name}"] = tensor
    return ours


def network_from_reference(about: dict[str, Any], state: dict[str, Tensor]) -> nn.Module:
    """Our network with the weights of `state`, in evaluation mode; sizes follow from its shapes.

    Raises ValueError if the network is unknown or the padding is not reflection, and RuntimeError
    naming the keys that are left over on either side.
    """
    if about.get("padding_type", "reflect") != "reflect":
        raise ValueError(f"our ResNets use reflection padding, not {about['padding_type']!r}")
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    recognized = recognize(FoundNetwork(place="", kind="", shapes=shapes))
    if recognized is None:
        raise ValueError(f"pix2pix has no network {about['network']!r} with these weights")
    config = Pix2PixConfig(**{**recognized.config, "dropout": False})  # has no parameters
    network = Pix2PixGenerator(config) if recognized.role == "generator" else PatchGAN(config)
    network.load_state_dict(convert(state, recognized))
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


def _recognize_unet(shapes: Shapes) -> Recognized:
    depth, first = _depth(shapes), shapes["model.model.0.weight"]
    if depth not in DEPTHS:
        raise WeightsError(
            "a pix2pix U-Net of another depth",
            given=depth,
            allowed=f"{DEPTHS[0]} to {DEPTHS[-1]} halvings",
        )
    config = {
        "generator": "unet",
        "resolution": 1 << depth,
        "source_channels": first[1],
        "channels": shapes["model.model.3.weight"][1],
        "generator_width": first[0],
        "norm": _norm(shapes, "model.model.1.model.1"),
        "dropout": True,
    }
    return _generator(config, f"U-Net {1 << depth}")


def _recognize_resnet(shapes: Shapes) -> Recognized:
    num_blocks, after = _blocks(shapes)
    if num_blocks not in BLOCKS:
        raise WeightsError("a ResNet of another depth", given=num_blocks, allowed="6 or 9 blocks")
    if "model.10.conv_block.0.weight" in shapes:
        raise WeightsError("a ResNet with zero padding", allowed="reflection padding")
    if f"model.{after}.weight" not in shapes:
        raise WeightsError("a ResNet that upsamples without transposed convolutions")
    with_weights = "model.2.weight" in shapes and "model.2.running_mean" not in shapes
    config = {
        "generator": f"resnet{num_blocks}",
        "resolution": RESNET_RESOLUTION,
        "source_channels": shapes["model.1.weight"][1],
        "channels": shapes[f"model.{after + 7}.weight"][0],
        "generator_width": shapes["model.1.weight"][0],
        "norm": _norm(shapes, "model.1"),
        "dropout": _second(shapes) == 6,
    }
    kind = f"ResNet {num_blocks} blocks"
    if not with_weights:
        return _generator(config, kind)
    config |= {"norm": "batch", "inference": "paper", "dropout": False}
    return _generator(config, kind, "instance norm with weights")


def _generator(config: dict[str, Any], kind: str, norm: str = "") -> Recognized:
    norm = norm or {"none": "no norm"}.get(config["norm"], f"{config['norm']} norm")
    summary = f"{kind}, width {config['generator_width']}, {norm}"
    return Recognized(role="generator", config=config, summary=summary)


def _is_patchgan(shapes: Shapes) -> bool:
    """Whether the names are those of a PatchGAN, `model.N`, or of a PixelGAN, `net.N`."""
    if "net.0.weight" in shapes:
        return "net.5.weight" in shapes and len(shapes["net.0.weight"]) == 4
    convolutions = [shape for shape in shapes.values() if len(shape) == 4]
    names = all(re.fullmatch(r"model\.\d+\.[a-z_]+", name) for name in shapes)
    square = all(shape[2:] == (4, 4) for shape in convolutions)
    has_logits = any(shape[0] == 1 for shape in convolutions)
    return names and square and has_logits and len(convolutions) > 2 and "model.0.bias" in shapes


def _recognize_patchgan(shapes: Shapes) -> Recognized:
    theirs = _list(shapes)
    inputs = shapes[f"{theirs}.0.weight"][1]
    sizes = {2: (1, 1), 4: (3, 1), 6: (3, 3)}  # only the sum of both matters
    if inputs not in sizes:
        raise WeightsError(
            "a PatchGAN that does not judge pairs", given=f"{inputs} channels", allowed="2, 4 or 6"
        )
    num_convolutions = sum(len(shape) == 4 for shape in shapes.values())
    num_layers = 0 if theirs == "net" else num_convolutions - 2
    config = {
        "resolution": 1 << (num_convolutions + 2),
        "source_channels": sizes[inputs][0],
        "channels": sizes[inputs][1],
        "discriminator_width": shapes[f"{theirs}.0.weight"][0],
        "num_discriminator_layers": num_layers,
        "norm": _norm(shapes, f"{theirs}.2"),
    }
    kind = f"PatchGAN of {num_layers} layers" if num_layers else "PixelGAN"
    return Recognized(role="discriminator", config=config, summary=kind)


def _names(shapes: Mapping[str, Any], recognized: Recognized) -> Names:
    if recognized.role == "discriminator":
        theirs = _list(shapes)
        places = {key.split(".")[1] for key in shapes}
        return {f"{theirs}.{place}": f"main.{place}" for place in places}
    return (
        _unet_names(shapes) if recognized.config["generator"] == "unet" else _resnet_names(shapes)
    )


def _unet_names(shapes: Mapping[str, Any]) -> Names:
    """Their blocks are nested, each one inside the previous."""
    depth = _depth(shapes)
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
    return names


def _resnet_names(shapes: Mapping[str, Any]) -> Names:
    """Theirs is one list of layers, with the blocks starting at index 10."""
    num_blocks, after = _blocks(shapes)
    second = _second(shapes)
    names = {f"model.{i}": f"translator.encoder.{i}" for i in range(10)}
    names |= {f"model.{after + i}": f"translator.decoder.{i}" for i in range(9)}
    for block in range(num_blocks):
        theirs, ours = f"model.{10 + block}.conv_block", f"translator.blocks.{block}"
        names |= {f"{theirs}.{i}": f"{ours}.first.{i}" for i in (1, 2)}
        names |= {f"{theirs}.{second + i}": f"{ours}.second.{1 + i}" for i in (0, 1)}
    return names


def _depth(names: Mapping[str, Any]) -> int:
    return max(key.split(".").count("model") for key in names) - 1


def _blocks(names: Mapping[str, Any]) -> tuple[int, int]:
    """The number of residual blocks, and the index of the layer after them."""
    num_blocks = len({key.split(".")[1] for key in names if "conv_block" in key})
    return num_blocks, 10 + num_blocks


def _second(names: Mapping[str, Any]) -> int:
    """The index of the second convolution of a residual block; dropout shifts it."""
    return 5 if "model.10.conv_block.5.weight" in names else 6


def _list(names: Mapping[str, Any]) -> str:
    return "net" if "net.0.weight" in names else "model"


def _norm(names: Mapping[str, Any], hidden: str) -> str:
    """The `norm` setting: only batch normalization has tensors, and only instance normalization
    leaves a bias in the `hidden` convolution.
    """
    if any(key.endswith("running_mean") for key in names):
        return "batch"
    return "instance" if f"{hidden}.bias" in names else "none"


def _as_published(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state under the public names, without the unused running statistics that instance
    normalization kept in old files.
    """
    renamed = {BLOCK.sub(r"\1.conv_block.\2", key, count=1): each for key, each in state.items()}
    return {
        key: value
        for key, value in renamed.items()
        if not key.endswith(STATISTICS) or f"{key.rpartition('.')[0]}.weight" in renamed
    }


def _with_our_norms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a ResNet whose normalizations have weights, as ours has it.

    Ours has no biases before them: they move the mean, which is subtracted. Running statistics are
    made up where there are none, for images that are normalized by their own.
    """
    ours = dict(state)
    for key, scale in state.items():
        norm, _, name = key.rpartition(".")
        if name != "weight" or scale.dim() != 1:
            continue
        means = f"{norm}.running_mean"
        ours.setdefault(means, torch.zeros_like(scale))
        ours.setdefault(f"{norm}.running_var", torch.ones_like(scale))
        before, _, number = norm.rpartition(".")
        bias = ours.pop(f"{before}.{int(number) - 1}.bias", None)
        if bias is not None:
            ours[means] = ours[means] - bias
    return ours
