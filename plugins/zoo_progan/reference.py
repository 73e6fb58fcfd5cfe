"""The public PyTorch implementation (facebookresearch/pytorch_GAN_zoo) in our terms, for the tests
against its tensors, which are all that is known of it:

- it scales a layer's bias like its weight, so that ours is theirs times the scale;
- its generator ends with a tanh, which the paper's does not;
- its alpha is the weight of the lower resolution, which is 1 less ours;
- labels, one-hot, are more latents of its generator; its discriminator has a logit more for each;
- its discriminator may have no minibatch standard deviation; where the shape of a weight says that
  it has, groups are of neighbors, and deviations of G pictures are divided by G - 1.
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
ALPHAS = tuple(part / 20 for part in range(21))  # for a file that does not list its own


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Our network of their sizes, with their weights. Raises ValueError that names the keys of
    theirs that are missing or superfluous.
    """
    names = layer_names(about)
    expected = {
        f"{theirs}.module.{kind}" for theirs in names.values() for kind in ("weight", "bias")
    }
    if expected != state.keys():
        raise ValueError(f"missing or superfluous: {', '.join(sorted(expected ^ state.keys()))}")
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
    """Pictures of latents `z` and `labels`, or logits of `images`, for every alpha of theirs."""
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
    """The name of each of our layers to that of theirs."""
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
    """Our network of their sizes, with random weights; `shapes` has those of all weights."""
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
        """[N, W + 1, 4, 4]; a group is all pictures where they cannot be grouped."""
        count = len(features)
        group = count if count % self.stddev_group else self.stddev_group
        if group == 1:
            return torch.cat([features, torch.zeros_like(features[:, :1])], 1)
        deviations = (features.unflatten(0, (-1, group)).var(1) + 1e-8).sqrt()
        spread = deviations.mean((1, 2, 3)).repeat_interleave(group)
        return torch.cat([features, spread[:, None, None, None].expand(-1, 1, 4, 4)], 1)
