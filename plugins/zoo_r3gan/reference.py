"""Map the public implementation's state dicts to our networks, and compute the outputs that its
reference files hold.

The names and shapes come from reference tensors only; the implementation's source was never read.
Names may begin with `Model.`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import FoundNetwork, Recognized, WeightsError
from zoo_core.nn import fir
from zoo_r3gan.config import R3GANConfig
from zoo_r3gan.networks import R3GANDiscriminator, R3GANGenerator

PLACE = re.compile(r"(?:Model\.)?(?:MainLayers\.(\d+)\.Layers\.(\d+)\.)?(.+)")
NAMES = {  # the part after the layer position, theirs to ours
    "ExtractionLayer.Layer.weight": "from_images.weight",
    "AggregationLayer.Layer.weight": "to_images.weight",
    "EmbeddingLayer.weight": "embedding.weight",
    "Basis": "basis",
    "Basis.weight": "basis",
    "LinearLayer.weight": "linear.weight",
    "LinearLayer.Layer.weight": "conv.weight",
    "LinearLayer1.Layer.weight": "expand.weight",
    "NonLinearity1.Bias": "expand.bias",
    "LinearLayer2.Layer.weight": "mix.weight",
    "NonLinearity2.Bias": "mix.bias",
    "LinearLayer3.Layer.weight": "project.weight",
}
FILTER = "Resampler.Kernel"

Shapes = Mapping[tuple[str | None, str | None, str], tuple[int, ...]]


def recognize(found: FoundNetwork) -> Recognized | None:
    """What a network of the public code is, by its names and shapes; None for any other."""
    shapes = {}
    for key, shape in found.shapes.items():
        stage, layer, name = PLACE.fullmatch(key).groups()
        if name != FILTER and name not in NAMES:
            return None
        shapes[stage, layer, NAMES.get(name, name)] = shape
    ends = {("generator", "to_images"), ("discriminator", "from_images")}
    for role, end in ends:
        if (None, None, f"{end}.weight") in shapes:
            return _recognized(role, shapes)
    return None


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> dict[str, Tensor]:
    """The state dict of our network, from that of a recognized one.

    Raises WeightsError for a filter other than [1, 3, 3, 1].
    """
    weights = {}
    for key, tensor in tensors.items():
        stage, layer, name = PLACE.fullmatch(key).groups()
        if name == FILTER:
            if not torch.allclose(tensor.float(), torch.outer(fir(), fir())):
                raise WeightsError(f"{key[:80]} is not [1, 3, 3, 1]")
            continue
        ours = NAMES[name]
        if ours == "basis":
            tensor = tensor.reshape(-1, 4, 4)
        elif ours == "embedding.weight":
            tensor = tensor.T
        weights[ours if stage is None else f"stages.{stage}.{layer}.{ours}"] = tensor
    return weights


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build the generator or discriminator whose weights are in `state`.

    Raises ValueError for an unknown network, and RuntimeError, listing the keys, if one of theirs
    is left over or one of ours is not filled.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    recognized = recognize(FoundNetwork(place="", kind="", shapes=shapes))
    if recognized is None or recognized.role != about["network"]:
        raise ValueError(f"R3GAN has no network {about['network']!r} with these weights")
    build = R3GANGenerator if recognized.role == "generator" else R3GANDiscriminator
    network = build(R3GANConfig(**recognized.config))
    network.load_state_dict(convert(state, recognized))
    return network


def replay(
    about: Mapping[str, Any], network: nn.Module, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Images for `z`; or the logits of `images`, and the gradient of their sum by the images.

    `labels` are one-hot [N, num_classes] if the model has classes.
    """
    labels = inputs["labels"].argmax(1) if "labels" in inputs else None
    if about["network"] == "generator":
        return {"images": network(inputs["z"], labels)}
    images = inputs["images"].detach().requires_grad_()
    logits = network(images, labels=labels)
    (gradient,) = torch.autograd.grad(logits.sum(), images, retain_graph=True)
    return {"logits": logits, "grad_images": gradient}


def _recognized(role: str, shapes: Shapes) -> Recognized:
    """The configuration that follows from the shapes, by (stage, layer, our name)."""
    is_generator = role == "generator"
    num_stages = 1 + max(int(stage) for stage, _, _ in shapes if stage is not None)
    order = range(num_stages) if is_generator else reversed(range(num_stages))  # from 4 x 4 up
    stages = [_stage(str(stage), shapes) for stage in order]
    embedding = shapes.get((None, None, "embedding.weight"), (0, 0))  # theirs is transposed
    size, num_classes = embedding
    end = shapes[None, None, "to_images.weight" if is_generator else "from_images.weight"]
    config = {
        "resolution": 2 << num_stages,
        "channels": end[0] if is_generator else end[1],
        "num_classes": num_classes,
        "widths": tuple(stage["width"] for stage in stages),
        "num_blocks": tuple(stage["num_blocks"] for stage in stages),
        "group_size": tuple(stage["group_size"] for stage in stages),
        "expansion": stages[0]["expansion"],
        "kernel_size": stages[0]["kernel_size"],
    }
    if is_generator:
        config["latent_size"] = shapes["0", "0", "linear.weight"][1] - size
    if num_classes:
        config["embedding_size" if is_generator else "projection_size"] = size
    classes = f", {num_classes} classes" if num_classes else ""
    summary = f"{config['resolution']} px, widths {'-'.join(map(str, config['widths']))}{classes}"
    return Recognized(role=role, config=config, summary=summary)


def _stage(stage: str, shapes: Shapes) -> dict[str, int]:
    """The sizes of the residual blocks of a stage, by those of its first one."""
    mixes = [key for key in shapes if key[0] == stage and key[2] == "mix.weight"]
    hidden, group_size, kernel_size, _ = shapes[mixes[0]]
    width = shapes[stage, mixes[0][1], "expand.weight"][1]
    return {
        "width": width,
        "num_blocks": len(mixes),
        "group_size": group_size,
        "expansion": hidden // width,
        "kernel_size": kernel_size,
    }
