"""Map the public PyTorch implementation (facebookresearch/pytorch_GAN_zoo) to our networks, for the
tests against its tensors.

All that is known of it comes from these tensors:

- It scales a layer's bias like its weight, so our bias is theirs times the scale.
- Its generator can end with a tanh, which the paper's does not; that of its files here does.
- Its alpha is the weight of the lower resolution: 1 minus ours.
- One-hot labels are additional latents of its generator; its discriminator has an additional logit
  for each class.
- Its discriminator may lack the minibatch standard deviation. Where the shape of a weight shows
  that it has one, groups are of neighboring images, and the variance of G images is over G - 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import FoundNetwork, Recognized, WeightsError
from zoo_core.nn import EqualizedLinear, pixel_norm
from zoo_progan.networks import HE, DiscriminatorEnd, GrowingDiscriminator, GrowingGenerator

GENERATOR = {"stages.0.project": "formatLayer", "stages.0.conv": "groupScale0.0"}
DISCRIMINATOR = {
    "stages.0.conv": "groupScaleZero.0",
    "stages.0.dense": "groupScaleZero.1",
    "stages.0.judge": "decisionLayer",
}
FULLY_GROWN = 1 << 50  # images seen, after which every recipe has reached its last resolution
ALPHAS = tuple(part / 20 for part in range(21))  # for files that do not list their own


def recognize(found: FoundNetwork) -> Recognized | None:
    """What a network of the public code is, by its names and shapes; None for any other.

    Labels and a final tanh leave no trace: a generator that has them is taken for one without.
    Raises WeightsError for a discriminator, whose minibatch standard deviation is not ours.
    """
    shapes = {key.replace(".module.", "."): shape for key, shape in found.shapes.items()}
    if "decisionLayer.weight" in shapes and "fromRGBLayers.0.weight" in shapes:
        raise WeightsError("a ProGAN discriminator that divides its variances by G - 1")
    if "formatLayer.weight" not in shapes or "toRGBLayers.0.weight" not in shapes:
        return None
    scales = num_scales(shapes)
    resolution = 4 << scales
    config = {
        "resolution": resolution,
        "channels": shapes["toRGBLayers.0.weight"][0],
        "latent_size": shapes["formatLayer.weight"][1],
        "channel_max": shapes["toRGBLayers.0.weight"][1],
        "channel_base": shapes[f"toRGBLayers.{scales}.weight"][1] * resolution,
    }
    return Recognized(role="generator", config=config, summary=f"{resolution} px")


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> dict[str, Tensor]:
    """The state dict of our generator, fully grown, from that of a recognized one."""
    names = layer_names("generator", num_scales(tensors))
    state = {f"network.{key}": tensor for key, tensor in converted(tensors, names).items()}
    return {**state, "images_seen": torch.tensor(FULLY_GROWN)}


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build our network with their sizes and weights.

    Raises ValueError naming the keys that are missing or superfluous.
    """
    ours = converted(state, layer_names(about["network"], len(about["scales"])))
    network = build(
        about, {key.rpartition(".")[0]: t.shape for key, t in ours.items() if "weight" in key}
    )
    network.load_state_dict(ours)
    return network


def converted(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Their tensors under our `names`; biases are scaled like the weights.

    Raises ValueError naming the keys that are missing or superfluous.
    """
    expected = {
        f"{theirs}.module.{kind}" for theirs in names.values() for kind in ("weight", "bias")
    }
    if expected != state.keys():
        wrong = sorted(expected ^ state.keys())
        raise ValueError(f"missing or superfluous keys: {', '.join(wrong)[:200]}")
    ours = {}
    for name, theirs in names.items():
        weight, bias = state[f"{theirs}.module.weight"], state[f"{theirs}.module.bias"]
        ours[f"{name}.weight"] = weight
        ours[f"{name}.bias"] = bias * (HE / math.sqrt(weight[0].numel()))
    return ours


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


def layer_names(network: str, scales: int) -> dict[str, str]:
    """Map the name of each of our layers to theirs; `scales` doublings follow 4 x 4 pixels."""
    is_generator = network == "generator"
    names = dict(GENERATOR if is_generator else DISCRIMINATOR)
    ours, theirs = ("to_rgb", "toRGBLayers") if is_generator else ("from_rgb", "fromRGBLayers")
    for stage in range(scales + 1):
        names[f"{ours}.{stage}"] = f"{theirs}.{stage}"
    for scale in range(scales):
        for conv in (0, 1):
            names[f"stages.{scale + 1}.conv{conv}"] = f"scaleLayers.{scale}.{conv}"
    return names


def num_scales(names: Iterable[str]) -> int:
    """The number of doublings after 4 x 4 pixels."""
    return len({name.split(".")[1] for name in names if name.startswith("scaleLayers.")})


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
