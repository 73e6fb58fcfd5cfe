"""Plugin for Projected GAN (Sauer et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import ModelSpec, hookimpl
from zoo_projected.config import PRESETS, RUN, ProjectedConfig

if TYPE_CHECKING:
    from zoo_core import Discriminator, Generator, Networks, Phase

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register Projected GAN."""
    return [PROJECTED]


def build_generator(config: ProjectedConfig) -> Generator:
    """Build a generator with random weights."""
    from zoo_projected.networks import FastGANGenerator, latent_generator

    return FastGANGenerator(config) if config.is_fastgan else latent_generator(config)


def build_discriminator(config: ProjectedConfig) -> Discriminator:
    """Build a discriminator with random weights on a pretrained extractor."""
    from zoo_core import load_features
    from zoo_projected.networks import ProjectedDiscriminator

    extractor = load_features(config.extractor, input_size=config.extractor_size)
    return ProjectedDiscriminator(config, extractor)


def build_phases(networks: Networks, config: ProjectedConfig) -> list[Phase]:
    """Build the training phases: discriminator, generator."""
    from zoo_projected.training import build_phases

    return build_phases(networks, config)


PROJECTED = ModelSpec(
    name="projected",
    summary="discriminators on the features of a pretrained network: fast convergence",
    task="unconditional",
    paper="Sauer, Chitta, Müller and Geiger 2021, arXiv:2111.01007",
    licence="Apache-2.0",
    config=ProjectedConfig,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_discriminator=build_discriminator,
    build_phases=build_phases,
    parameters={"generator": 3_431_272, "discriminator": 819_712},
    latents="sphere",
)
