"""Map the state dicts of public PyTorch ports of EfficientNet-lite to our classifier.

They number their blocks throughout; timm, whose network we use, numbers stages and blocks in them.
The networks have neither squeeze-and-excitation nor swish, and compute the same (Liu 2020,
https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from zoo_core import FoundNetwork, Recognized

TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
       "_fc": "classifier"}  # fmt: skip
WITHOUT_EXPANSION = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw",
                     "_bn2": "bn2"}  # fmt: skip
WITH_EXPANSION = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
                  "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip


class Lite(NamedTuple):
    """One of the five networks."""

    depths: tuple[int, ...]  # blocks in each stage
    width: int  # feature maps that enter the head
    resolution: int


LITES = {
    "tf_efficientnet_lite0": Lite((1, 2, 2, 3, 3, 4, 1), 320, 224),
    "tf_efficientnet_lite1": Lite((1, 3, 3, 4, 4, 5, 1), 320, 240),
    "tf_efficientnet_lite2": Lite((1, 3, 3, 4, 4, 5, 1), 352, 260),
    "tf_efficientnet_lite3": Lite((1, 3, 3, 5, 5, 6, 1), 384, 280),
    "tf_efficientnet_lite4": Lite((1, 4, 4, 6, 6, 8, 1), 448, 300),
}


def recognize(found: FoundNetwork) -> Recognized | None:
    """Which EfficientNet-lite a network is, by its names and shapes; None for any other."""
    shapes = found.shapes
    if "_conv_stem.weight" not in shapes or any("._se_" in name for name in shapes):
        return None
    num_blocks = len({name.split(".")[1] for name in shapes if name.startswith("_blocks.")})
    for backbone, lite in LITES.items():
        if (sum(lite.depths), lite.width) == (num_blocks, shapes["_conv_head.weight"][1]):
            config = {
                "backbone": backbone,
                "resolution": lite.resolution,
                "channels": shapes["_conv_stem.weight"][1],
                "num_classes": shapes["_fc.weight"][0],
            }
            summary = f"{backbone}, {config['num_classes']} classes"
            return Recognized(role="classifier", config=config, summary=summary)
    return None


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> dict[str, Tensor]:
    """The state dict of our classifier, from that of a recognized network.

    Raises KeyError for a module that has no counterpart.
    """
    names = dict(_names(LITES[recognized.config["backbone"]]))
    ours = {}
    for key, tensor in tensors.items():
        module, _, name = key.rpartition(".")
        ours[f"backbone.{names[module]}.{name}"] = tensor
    return ours


def _names(lite: Lite) -> Iterator[tuple[str, str]]:
    """Pairs of their module name and ours."""
    yield from TOP.items()
    number = 0
    for stage, depth in enumerate(lite.depths):
        inside = WITH_EXPANSION if stage else WITHOUT_EXPANSION
        for block in range(depth):
            for theirs, ours in inside.items():
                yield f"_blocks.{number}.{theirs}", f"blocks.{stage}.{block}.{ours}"
            number += 1
