"""Plugin for classifiers with any timm backbone, trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_classifier.config import PRESETS, RUN, ClassifierConfig
from zoo_core import ImporterSpec, ModelSpec, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from zoo_core import Classifier, FoundNetwork, Networks, Phase, Recognized

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register the classifier."""
    return [CLASSIFIER]


@hookimpl
def zoo_importers() -> list[ImporterSpec]:
    """Register the checkpoints that can be imported."""
    return [EFFICIENTNET_LITE]


def build_classifier(config: ClassifierConfig) -> Classifier:
    """Build the classifier with random weights."""
    from zoo_classifier.networks import TimmClassifier

    return TimmClassifier(config)


def build_phases(networks: Networks, config: ClassifierConfig) -> list[Phase]:
    """Build the single phase, which minimizes cross entropy."""
    from zoo_classifier.training import build_phases

    return build_phases(networks, config)


def recognize(found: FoundNetwork) -> Recognized | None:
    """Recognize a network of the public code."""
    from zoo_classifier.reference import recognize

    return recognize(found)


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> Mapping[str, Tensor]:
    """Map the tensors of a recognized network to ours."""
    from zoo_classifier.reference import convert

    return convert(tensors, recognized)


CLASSIFIER = ModelSpec(
    name="classifier",
    summary="any timm backbone, trained on labeled images; also usable as a feature extractor",
    task="classifier",
    paper="He et al. 2019, arXiv:1812.01187; for the backbones, see timm",
    licence="Apache-2.0",
    config=ClassifierConfig,
    presets=PRESETS,
    run=RUN,
    build_classifier=build_classifier,
    build_phases=build_phases,
    parameters={"classifier": 373_658},
)

EFFICIENTNET_LITE = ImporterSpec(
    name="efficientnet-lite",
    summary="efficientnet-lite*.pth, 0 to 4, as a classifier and feature extractor",
    source="https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch",
    model="classifier",
    recognize=recognize,
    convert=convert,
)
