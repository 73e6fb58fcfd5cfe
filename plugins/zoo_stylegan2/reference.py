"""Map the public implementation's state dicts to our networks, and our outputs to the names in the
reference files.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.nn import downsample2d, filter2d, fir, upsample2d
from zoo_core.training import ADA, COLORING, COLUMNS, GEOMETRY
from zoo_stylegan2.config import StyleGAN2Config
from zoo_stylegan2.networks import (
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    downsampling_conv,
    upsampling_conv,
)

WHOLE_BATCH = 1 << 30  # a group size that divides no batch
TRUNCATIONS = tuple(tenth / 10 for tenth in range(11))
QUANTILES = tuple(percent / 100 for percent in range(5, 100, 5))
NORMAL = {"scale", "aniso", "xfrac", "brightness", "contrast", "saturation"}  # normally distributed
RENAMED = (  # patterns in the public keys, and our names for them
    (r"mapping\.w_avg", "average_w"),
    (r"mapping\.fc(\d+)\.", r"mapping.layers.\1."),
    (r"noise_const", "noise"),
    (r"\.const$", ".constant"),
    (r"torgb\.", "to_rgb."),
    (r"fromrgb\.", "from_rgb."),
    (r"\.skip\.", ".shortcut."),
    (r"^b4\.fc\.", "linear."),
    (r"^b4\.", ""),
)


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build our network with the sizes in `about` and the weights of a public `state` dict.

    Raises ValueError for an unknown network or another resampling filter, and RuntimeError naming
    the keys that are missing or left over.
    """
    kind = about["network"]
    if kind == "resample":
        return nn.Module()
    if kind == "augment":
        return ADA(1.0, target=None, cutout=1.0)
    if kind not in ("generator", "discriminator"):
        raise ValueError(f"StyleGAN2 has no network {kind!r}")
    config = StyleGAN2Config(
        resolution=about["resolution"],
        channels=_channels(state, kind, about["resolution"]),
        num_classes=about["c_dim"],
        latent_size=about.get("z_dim", 512),
        style_size=about.get("w_dim", 512),
        num_mapping_layers=about.get("mapping_layers", 8),
        channel_base=about["channel_base"],
        channel_max=about["channel_max"],
        discriminator=about.get("architecture", "resnet"),
        group_size=about.get("mbstd_group_size", 4) or WHOLE_BATCH,
    )
    network = StyleGAN2Generator(config) if kind == "generator" else _discriminator(config, state)
    network.load_state_dict(_renamed(state, config.resolution, kind))
    return network.eval()


def _discriminator(config: StyleGAN2Config, state: Mapping[str, Tensor]) -> StyleGAN2Discriminator:
    """Build the discriminator; sizes that `config` does not cover come from the weights."""
    outputs, inputs = state["b4.conv.weight"].shape[:2]
    return StyleGAN2Discriminator(
        config,
        num_mapping_layers=sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in state),
        direction_size=len(state["b4.out.weight"]),
        stddev_channels=inputs - outputs,
    )


def replay(
    about: Mapping[str, Any], network: nn.Module, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Compute the outputs that a reference file of this kind of network holds."""
    replays = {
        "generator": _replay_generator,
        "discriminator": _replay_discriminator,
        "resample": _replay_resample,
        "augment": _replay_augment,
    }
    return replays[about["network"]](network, inputs)


def _renamed(state: Mapping[str, Tensor], resolution: int, kind: str) -> dict[str, Tensor]:
    sizes = [1 << power for power in range(2, resolution.bit_length())]
    if kind == "discriminator":
        sizes = sizes[:0:-1]  # largest first; 4 x 4 is not a block
    renamed = {}
    for key, tensor in state.items():
        if key.endswith("resample_filter"):
            taps = fir()
            if not torch.allclose(tensor, taps[:, None] * taps):
                raise ValueError(f"{key} is not [1, 3, 3, 1]")
            continue
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        for number, size in enumerate(sizes):
            key = re.sub(rf"^(synthesis\.)?b{size}\.", f"blocks.{number}.", key)
        if kind == "generator" and key.endswith("conv0.weight"):
            tensor = tensor.transpose(0, 1)  # our upsampling layers store the transposed weight
        renamed[key] = tensor
    return renamed


def _channels(state: Mapping[str, Tensor], kind: str, resolution: int) -> int:
    if kind == "generator":
        return len(state["synthesis.b4.torgb.bias"])
    return state[f"b{resolution}.fromrgb.weight"].shape[1]


def _replay_generator(
    network: StyleGAN2Generator, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    def truncated_ws(truncation: float) -> Tensor:
        w = network.mapping(inputs["z"], inputs.get("labels"))
        w = network.average_w.lerp(w, truncation)
        return w[:, None].repeat(1, network.num_ws, 1)

    ws = truncated_ws(1.0).detach().requires_grad_()
    images = network.synthesize(ws)
    silent = copy.deepcopy(network)
    for name, parameter in silent.named_parameters():
        if name.endswith("noise_strength"):
            nn.init.zeros_(parameter)
    (gradient,) = torch.autograd.grad((images * inputs["pl_noise"]).sum(), ws)
    outputs = {
        "ws": ws,
        "images": images,
        "images_no_noise": silent.synthesize(ws),
        "grad_ws": gradient,
    }
    for truncation in TRUNCATIONS:
        outputs[f"ws_psi{truncation}"] = truncated = truncated_ws(truncation)
        outputs[f"images_psi{truncation}"] = network.synthesize(truncated)
    return outputs


def _replay_discriminator(
    network: StyleGAN2Discriminator, inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    images = inputs["images"].clone().requires_grad_()
    logits = network.logits(images, inputs.get("labels"))
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    return {"logits": logits[:, None], "grad_images": gradient}


def _replay_resample(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    images, taps = inputs["images"], inputs["filter"].sum(0)  # the filter is separable
    return {
        "filter2d": filter2d(images, taps),
        "up2": upsample2d(images, taps),
        "down2": downsample2d(images, taps),
        "conv3_up2": upsampling_conv(images, inputs["weight3"].transpose(0, 1), taps),
        "conv3_down2": downsampling_conv(images, inputs["weight3"], taps),
        "conv1_down2": torch.nn.functional.conv2d(downsample2d(images, taps), inputs["weight1"]),
    }


def _replay_augment(network: ADA, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each operation, each group and all of them, at p = 1, with a quantile for every draw."""
    # The public code does not rotate after stretching when draws are replaced.
    operations = [each for each in (*GEOMETRY, *COLORING) if each.name != "rotate_after"]
    names = {each.name: [each.name] for each in operations}
    for group in ("blit", "geom", "color"):
        names[group] = [each.name for each in operations if each.group == group]
    names["bgc"] = [each.name for each in operations]
    names["cutout"] = ["cutout"]
    return {
        f"{name}@{quantile:g}": network.augment(
            inputs["images"], _draws(happening, quantile, len(inputs["images"]))
        )
        for name, happening in names.items()
        for quantile in QUANTILES
    }


def _draws(happening: list[str], quantile: float, count: int) -> Tensor:
    """Draws with which exactly the operations in `happening` are applied.

    As the quantile of a normal number, the public code uses erfinv(2 q - 1), without the factor
    sqrt(2).
    """
    draws = torch.ones(count, ADA.num_draws, dtype=torch.float64)
    shrunk = (1 + math.erf(torch.tensor(2 * quantile - 1).double().erfinv().item() / 2**0.5)) / 2
    for name in happening:
        columns = COLUMNS[name]
        draws[:, columns] = shrunk if name in NORMAL else quantile
        draws[:, columns.start] = 0.0  # below any probability, so it is applied
    return draws
