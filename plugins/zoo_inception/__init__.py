"""The 2015 Inception network, the only extractor whose Frechet distance is called FID."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import FeatureExtractorSpec, hookimpl

if TYPE_CHECKING:
    from zoo_core import FeatureExtractor

ZOO_API = 1


@hookimpl
def zoo_feature_extractors() -> list[FeatureExtractorSpec]:
    """Register the Inception network of 2015-12-05."""
    return [INCEPTION]


def build(input_size: int) -> FeatureExtractor:
    """Load the network with its weights."""
    from zoo_inception.network import load

    return load(input_size)


INCEPTION = FeatureExtractorSpec(
    name="inception-2015",
    summary="Inception-v3 of the TensorFlow graph of 2015-12-05, for FID and KID",
    licence="Apache-2.0",
    input_size=299,
    mean=(128 / 255, 128 / 255, 128 / 255),
    std=(128 / 255, 128 / 255, 128 / 255),
    build=build,
    distance="fid",
)
