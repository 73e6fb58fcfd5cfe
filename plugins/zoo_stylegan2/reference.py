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

from zoo_core import FoundNetwork, Recognized, WeightsError
from zoo_core.nn import downsample2d, filter2d, fir, upsample2d
from zoo_core.training import ADA, COLORING, COLUMNS, GEOMETRY
from zoo_stylegan2.config import StyleGAN2Config
from zoo_stylegan2.networks import (
    MAPPING_LR_MULTIPLIER,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    downsampling_conv,
    upsampling_conv,
)

BLOCK = re.compile(r"(?:synthesis\.)?b(\d{1,4})\.")
LINEAR = {"affine", "embed", "skip", "b4.out"}  # layers without activation
WHOLE_BATCH = 1 << 30  # a group size that divides no batch
TRUNCATIONS = tuple(tenth / 10 for tenth in range(11))
QUANTILES = tuple(percent / 100 for percent in range(5, 100, 5))
NORMAL = {"scale", "aniso", "xfrac", "brightness", "contrast", "saturation"}  # normally distributed
Shapes = Mapping[str, tuple[int, ...]]
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


def recognize(found: FoundNetwork) -> Recognized | None:
    """What a network of the public code is, by its names, shapes and attributes; None for others.

    Raises WeightsError for one of the public code's options that our networks do not have.
    """
    sizes = {int(match[1]) for match in map(BLOCK.match, found.shapes) if match}
    if "b4.conv.weight" in found.shapes and "b4.out.weight" in found.shapes:
        check_attributes(found)
        return _recognize_discriminator(found, max(sizes))
    if "synthesis.input.freqs" in found.shapes:
        raise WeightsError("a StyleGAN3 generator", allowed="StyleGAN2's, of the same files")
    check_studiogan(found.shapes)
    if "mapping.w_avg" in found.shapes and sizes:
        return _recognize_generator(found, max(sizes))
    return None


def check_attributes(found: FoundNetwork) -> None:
    """Raise WeightsError for an attribute of a module that our networks have another value of."""
    for key, value in found.attributes.items():
        module, _, name = key.rpartition(".")
        kind = module.rpartition(".")[2]
        plain = kind in LINEAR or module in LINEAR
        allowed: dict[str, tuple[Any, ...]] = {
            "activation": ("linear",) if plain else ("lrelu",),
            "bias_gain": (MAPPING_LR_MULTIPLIER,)
            if kind.startswith("fc") and kind != "fc"
            else (1,),
            "use_noise": (True,),
        }
        if value not in allowed.get(name, (value,)):
            raise WeightsError(
                f"a StyleGAN2 network with another {name} in {module}"[:160],
                given=value,
                allowed=str(allowed[name][0]),
            )


def check_studiogan(shapes: Shapes) -> None:
    """Raise WeightsError for a network of StudioGAN that is not its StyleGAN2.

    Its DCGAN upsamples from a linear layer without normalization and ends in a 3 x 3 convolution,
    which ours does not; of its ResNets (SNGAN, SAGAN, BigGAN and relatives) we have none.
    """
    starts = {name.partition(".")[0] for name in shapes}
    first = {name.split(".")[3] for name in shapes if name.startswith("blocks.0.0.")}
    if first and starts & {"linear0", "linear1"}:
        raise WeightsError(
            "a StudioGAN network with another backbone",
            given="deep_conv" if first & {"deconv0", "conv0"} else "a ResNet",
            allowed="stylegan2",
        )


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> dict[str, Tensor]:
    """The state dict of our network, from that of a recognized one.

    Raises WeightsError for another resampling filter than [1, 3, 3, 1].
    """
    sizes = [1 << power for power in range(2, recognized.config["resolution"].bit_length())]
    if recognized.role == "discriminator":
        sizes = sizes[:0:-1]  # largest first; 4 x 4 is not a block
    renamed = {}
    for key, tensor in tensors.items():
        if key.endswith("resample_filter"):
            taps = fir()
            if not torch.allclose(tensor.float(), taps[:, None] * taps):
                raise WeightsError(f"{key[:80]} is not [1, 3, 3, 1]")
            continue
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        for number, size in enumerate(sizes):
            key = re.sub(rf"^(synthesis\.)?b{size}\.", f"blocks.{number}.", key)
        if recognized.role == "generator" and key.endswith("conv0.weight"):
            tensor = tensor.transpose(0, 1)  # our upsampling layers store the transposed weight
        renamed[key] = tensor
    return renamed


def network_from_reference(about: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """Build our network with the weights of a public `state` dict and the sizes that they imply.

    Raises ValueError for an unknown network, WeightsError for another resampling filter, and
    RuntimeError naming the keys that are missing or left over.
    """
    kind = about["network"]
    if kind == "resample":
        return nn.Module()
    if kind == "augment":
        return ADA(1.0, target=None, cutout=1.0)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    attributes = {"b4.mbstd.group_size": about.get("mbstd_group_size", 4)}
    recognized = recognize(FoundNetwork(place="", kind="", shapes=shapes, attributes=attributes))
    if recognized is None or recognized.role != kind:
        raise ValueError(f"StyleGAN2 has no network {kind!r} with these weights")
    config = StyleGAN2Config(**recognized.config)
    network = StyleGAN2Generator(config) if kind == "generator" else _discriminator(config, shapes)
    network.load_state_dict(convert(state, recognized))
    return network.eval()


def _discriminator(config: StyleGAN2Config, shapes: Shapes) -> StyleGAN2Discriminator:
    """Build the discriminator; sizes that `config` does not cover come from the weights."""
    outputs, inputs = shapes["b4.conv.weight"][:2]
    return StyleGAN2Discriminator(
        config,
        num_mapping_layers=_num_layers(shapes),
        direction_size=shapes["b4.out.weight"][0],
        stddev_channels=inputs - outputs,
    )


def _recognize_generator(found: FoundNetwork, resolution: int) -> Recognized:
    shapes = found.shapes
    if any(".skip." in key for key in shapes) or "synthesis.b4.torgb.bias" not in shapes:
        raise WeightsError(
            "a StyleGAN2 generator of another architecture", allowed="the skip generator"
        )
    check_attributes(found)
    style_size, inputs = shapes["mapping.fc0.weight"]
    num_classes = shapes.get("mapping.embed.weight", (0, 0))[1]
    config = {
        "resolution": resolution,
        "channels": shapes["synthesis.b4.torgb.bias"][0],
        "num_classes": num_classes,
        "latent_size": inputs - style_size * bool(num_classes),
        "style_size": style_size,
        "num_mapping_layers": _num_layers(shapes),
        "channel_max": shapes["synthesis.b4.const"][0],
        "channel_base": shapes[f"synthesis.b{resolution}.conv1.weight"][0] * resolution,
    }
    classes = f", {num_classes} classes" if num_classes else ""
    return Recognized(role="generator", config=config, summary=f"{resolution} px{classes}")


def _recognize_discriminator(found: FoundNetwork, resolution: int) -> Recognized:
    shapes = found.shapes
    colors = shapes[f"b{resolution}.fromrgb.weight"]
    kind = "skip" if "b4.fromrgb.weight" in shapes else "orig"
    if f"b{resolution}.skip.weight" in shapes:
        kind = "resnet"
    config = {
        "resolution": resolution,
        "channels": colors[1],
        "num_classes": shapes.get("mapping.embed.weight", (0, 0))[1],
        "channel_max": shapes["b4.conv.weight"][0],
        "channel_base": colors[0] * resolution,
        "discriminator": kind,
        "group_size": found.attributes.get("b4.mbstd.group_size", 4) or WHOLE_BATCH,
    }
    return Recognized(role="discriminator", config=config, summary=f"{resolution} px, {kind}")


def _num_layers(shapes: Shapes) -> int:
    return sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", key)) for key in shapes)


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
