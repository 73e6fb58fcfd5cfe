"""Plugin for StyleGAN (Karras et al. 2019)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zoo_core import ModelSpec, hookimpl
from zoo_stylegan.config import PRESETS, RUN, StyleGANConfig

if TYPE_CHECKING:
    from zoo_core import Discriminator, Generator, Networks, Phase

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register StyleGAN."""
    return [STYLEGAN]


def build_generator(config: StyleGANConfig) -> Generator:
    """Build a generator with random weights."""
    from zoo_stylegan.networks import StyleGANGenerator

    return StyleGANGenerator(config)


def build_discriminator(config: StyleGANConfig) -> Discriminator:
    """Build a discriminator with random weights."""
    from zoo_stylegan.networks import StyleGANDiscriminator

    return StyleGANDiscriminator(config)


def build_phases(networks: Networks, config: StyleGANConfig) -> list[Phase]:
    """Build the training phases: discriminator, penalty, generator."""
    from zoo_stylegan.training import build_phases

    return build_phases(networks, config)


def counterpart(
    role: str, tensor: str, config: StyleGANConfig, other: StyleGANConfig
) -> str | None:
    """The name of a tensor in a network of another resolution.

    Blocks are numbered from the smallest size, colors from the one at which training starts.
    """
    found = re.fullmatch(r"((?:from|to)_rgb)\.(\d+)\.(.+)", tensor)
    if not found:
        return tensor
    ahead = config.first_resolution.bit_length() - other.first_resolution.bit_length()
    number = int(found[2]) + ahead
    return None if number < 0 else f"{found[1]}.{number}.{found[3]}"


STYLEGAN = ModelSpec(
    name="stylegan",
    summary="a style for every layer (AdaIN), noise inputs, progressive growing from 8 x 8 pixels",
    task="unconditional",
    paper="Karras, Laine and Aila 2019, arXiv:1812.04948",
    licence="Apache-2.0",
    config=StyleGANConfig,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_discriminator=build_discriminator,
    build_phases=build_phases,
    parameters={"generator": 304_089, "discriminator": 212_177},
    counterpart=counterpart,
    latents="normal",
)
