"""Plugin for DCGAN (Radford et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import ModelSpec, hookimpl
from zoo_dcgan.config import PRESETS, RUN, DCGANConfig

if TYPE_CHECKING:
    from zoo_core import Discriminator, Generator, Networks, Phase

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register DCGAN."""
    return [DCGAN]


def build_generator(config: DCGANConfig) -> Generator:
    """Build a generator with random weights."""
    from zoo_dcgan.networks import DCGANGenerator

    return DCGANGenerator(config)


def build_discriminator(config: DCGANConfig) -> Discriminator:
    """Build a discriminator with random weights."""
    from zoo_dcgan.networks import DCGANDiscriminator

    return DCGANDiscriminator(config)


def build_phases(networks: Networks, config: DCGANConfig) -> list[Phase]:
    """Build the training phases: discriminator, penalty, generator."""
    from zoo_dcgan.training import build_phases

    return build_phases(networks, config)


DCGAN = ModelSpec(
    name="dcgan",
    summary="strided convolutions and batch normalization: the first GAN to train reliably",
    task="unconditional",
    paper="Radford, Metz and Chintala 2015, arXiv:1511.06434",
    licence="Apache-2.0",
    config=DCGANConfig,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_discriminator=build_discriminator,
    build_phases=build_phases,
    parameters={"generator": 296_896, "discriminator": 167_648},
    latents="normal",
)
