"""Plugin for the original GAN (Goodfellow et al. 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import ModelSpec, hookimpl
from zoo_gan.config import PRESETS, RUN, GANConfig

if TYPE_CHECKING:
    from zoo_core import Discriminator, Generator, Networks, Phase

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register GAN."""
    return [GAN]


def build_generator(config: GANConfig) -> Generator:
    """Build a generator with random weights."""
    from zoo_gan.networks import GANGenerator

    return GANGenerator(config)


def build_discriminator(config: GANConfig) -> Discriminator:
    """Build a discriminator with random weights."""
    from zoo_gan.networks import GANDiscriminator

    return GANDiscriminator(config)


def build_phases(networks: Networks, config: GANConfig) -> list[Phase]:
    """Build the training phases: discriminator, penalty, generator."""
    from zoo_gan.training import build_phases

    return build_phases(networks, config)


GAN = ModelSpec(
    name="gan",
    summary="the original GAN: two multilayer perceptrons, one with maxout units; optional classes",
    task="unconditional",
    paper="Goodfellow et al. 2014, arXiv:1406.2661",
    licence="Apache-2.0",
    config=GANConfig,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_discriminator=build_discriminator,
    build_phases=build_phases,
    parameters={"generator": 1_890_304, "discriminator": 2_049_408},
    latents="uniform",
)
