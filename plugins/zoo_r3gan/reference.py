"""Load the public implementation's weights into our networks, to compare outputs.

The names and shapes come from reference tensors only; the implementation's source was never read.
Names may begin with `Model.`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

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


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build the generator or discriminator that `about` describes, with the weights of `state`.

    Raises ValueError, listing the keys, if one of theirs is unknown or one of ours is not filled.
    """
    weights = _translate(state)
    network = {"generator": R3GANGenerator, "discriminator": R3GANDiscriminator}[about["network"]](
        _config(about, weights)
    )
    wrong = weights.keys() ^ network.state_dict().keys()
    if wrong:
        raise ValueError(f"missing or unexpected: {', '.join(sorted(wrong))}")
    network.load_state_dict(weights)
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


def _translate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert their weights to our names and shapes."""
    weights, unknown = {}, []
    for key, tensor in state.items():
        stage, layer, name = PLACE.fullmatch(key).groups()
        if name == FILTER and torch.allclose(tensor, torch.outer(fir(), fir())):
            continue
        if name not in NAMES:
            unknown.append(key)
            continue
        ours = NAMES[name]
        if ours == "basis":
            tensor = tensor.reshape(-1, 4, 4)
        elif ours == "embedding.weight":
            tensor = tensor.T
        weights[ours if stage is None else f"stages.{stage}.{layer}.{ours}"] = tensor
    if unknown:
        raise ValueError(f"unknown keys, or a filter other than [1, 3, 3, 1]: {', '.join(unknown)}")
    return weights


def _config(about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> R3GANConfig:
    """The configuration: sizes from `about`, from 4 x 4 up; image channels from the weights."""
    if about["network"] == "generator":
        channels = len(weights["to_images.weight"])
    else:
        channels = weights["from_images.weight"].shape[1]
    widths, expansion = tuple(about["widths"]), about["expansion"]
    return R3GANConfig(
        resolution=2 << len(widths),
        channels=channels,
        num_classes=about["condition_dim"] or 0,
        latent_size=about.get("noise_dim", 1),  # absent for a discriminator
        embedding_size=about["condition_embedding"] or 1,
        projection_size=about["condition_embedding"] or 1,
        widths=widths,
        num_blocks=tuple(about["blocks"]),
        group_size=tuple(
            width * expansion // groups
            for width, groups in zip(widths, about["cardinality"], strict=True)
        ),
        expansion=expansion,
        kernel_size=about["kernel"],
    )
