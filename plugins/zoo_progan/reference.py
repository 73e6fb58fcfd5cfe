"""Map the public PyTorch implementation (facebookresearch/pytorch_GAN_zoo) to our networks, for the
tests against its tensors.

All that is known of it comes from these tensors:

- It scales a layer's bias like its weight, so our bias is theirs times the scale.
- Its generator ends with a tanh, which the paper's does not.
- Its alpha is the weight of the lower resolution: 1 minus ours.
- One-hot labels are additional latents of its generator; its discriminator has an additional logit
  for each class.
- Its discriminator may lack the minibatch standard deviation. Where the shape of a weight shows
  that it has one, groups are of neighboring images, and the variance of G images is over G - 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.nn import EqualizedLinear, pixel_norm
from zoo_progan.networks import HE, DiscriminatorEnd, GrowingDiscriminator, GrowingGenerator

GENERATOR = {"stages.0.project": "formatLayer", "stages.0.conv": "groupScale0.0"}
DISCRIMINATOR = {
    "stages.0.conv": "groupScaleZero.0",
    "stages.0.dense": "groupScaleZero.1",
    "stages.0.judge": "decisionLayer",
}
ALPHAS = tuple(part / 20 for part in range(21))  # for files that do not list their own


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build our network with their sizes and weights.

    Raises ValueError naming the keys that are missing or superfluous.
    """
    names = layer_names(about)
    expected = {
        f"{theirs}.module.{kind}" for theirs in names.values() for kind in ("weight", "bias")
    }
    if expected != state.keys():
        raise ValueError(
            f"missing or superfluous keys: {', '.join(sorted(expected ^ state.keys()))}"
        )
    network = build(about, {name: state[f"{names[name]}.module.weight"].shape for name in names})
    ours = {}
    for name, theirs in names.items():
        ours[f"{name}.weight"] = state[f"{theirs}.module.weight"]
        ours[f"{name}.bias"] = state[f"{theirs}.module.bias"] * network.get_submodule(name).scale
    network.load_state_dict(ours)
    return network


def replay(
    about: Mapping[str, Any], network: nn.Module, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Images of latents `z` and `labels`, or logits of `images`, for each of their alphas."""
    last = len(about["scales"])
    latents = [inputs[name] for name in ("z", "labels") if name in inputs]
    outputs = {}
    for old in about.get("alphas", ALPHAS):
        alpha = 1 - old if last else 1.0  # the first stage is not faded in
        if about["network"] == "generator":
            images = network(pixel_norm(torch.cat(latents, 1)), last, alpha)
            outputs[f"images_alpha{old}"] = torch.tanh(images)
        else:
            outputs[f"logits_alpha{old}"] = network(inputs["images"], last, alpha)
    return outputs


def layer_names(about: Mapping[str, Any]) -> dict[str, str]:
    """Map the name of each of our layers to theirs."""
    is_generator = about["network"] == "generator"
    names = dict(GENERATOR if is_generator else DISCRIMINATOR)
    ours, theirs = ("to_rgb", "toRGBLayers") if is_generator else ("from_rgb", "fromRGBLayers")
    for stage in range(len(about["scales"]) + 1):
        names[f"{ours}.{stage}"] = f"{theirs}.{stage}"
    for scale in range(len(about["scales"])):
        for conv in (0, 1):
            names[f"stages.{scale + 1}.conv{conv}"] = f"scaleLayers.{scale}.{conv}"
    return names


def build(about: Mapping[str, Any], shapes: Mapping[str, torch.Size]) -> nn.Module:
    """Build our network with their sizes and random weights; `shapes` holds all weight shapes."""
    widths = [about["depth_scale0"], *about["scales"]]
    if about["network"] == "generator":
        latent_size, channels = shapes["stages.0.project"][1], shapes["to_rgb.0"][0]
        return GrowingGenerator(latent_size, widths, channels)
    network = GrowingDiscriminator(widths, shapes["from_rgb.0"][1], stddev_group=0)
    has_spread = shapes["stages.0.conv"][1] > widths[0]
    network.stages[0] = End(widths[0], 4 * has_spread, shapes["stages.0.judge"][0])
    return network


class End(DiscriminatorEnd):
    """Features [N, W, 4, 4] to logits [N, num_logits]."""

    def __init__(self, width: int, stddev_group: int, num_logits: int):
        super().__init__(width, stddev_group)
        self.judge = EqualizedLinear(width, num_logits, gain=HE)

    def with_spread(self, features: Tensor) -> Tensor:
        """[N, W + 1, 4, 4]; a batch that does not divide into groups is one group."""
        count = len(features)
        group = count if count % self.stddev_group else self.stddev_group
        if group == 1:
            return torch.cat([features, torch.zeros_like(features[:, :1])], 1)
        deviations = (features.unflatten(0, (-1, group)).var(1) + 1e-8).sqrt()
        spread = deviations.mean((1, 2, 3)).repeat_interleave(group)
        return torch.cat([features, spread[:, None, None, None].expand(-1, 1, 4, 4)], 1)
