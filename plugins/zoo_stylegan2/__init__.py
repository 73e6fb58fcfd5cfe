"""Plugin for StyleGAN2 (Karras et al. 2020)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zoo_core import ImporterSpec, ModelSpec, hookimpl
from zoo_stylegan2.config import PRESETS, RUN, StyleGAN2Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from zoo_core import Discriminator, FoundNetwork, Generator, Networks, Phase, Recognized

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register StyleGAN2."""
    return [STYLEGAN2]


@hookimpl
def zoo_importers() -> list[ImporterSpec]:
    """Register the checkpoints that can be imported."""
    return [STYLEGAN2_IMPORTER]


def build_generator(config: StyleGAN2Config) -> Generator:
    """Build a generator with random weights."""
    from zoo_stylegan2.networks import StyleGAN2Generator

    return StyleGAN2Generator(config)


def build_discriminator(config: StyleGAN2Config) -> Discriminator:
    """Build a discriminator with random weights."""
    from zoo_stylegan2.networks import StyleGAN2Discriminator

    return StyleGAN2Discriminator(config)


def build_phases(networks: Networks, config: StyleGAN2Config) -> list[Phase]:
    """Build the training phases: generator, path length, discriminator, R1."""
    from zoo_stylegan2.training import build_phases

    return build_phases(networks, config)


def counterpart(
    role: str, tensor: str, config: StyleGAN2Config, other: StyleGAN2Config
) -> str | None:
    """The name of a tensor in a network of another resolution.

    The discriminator numbers its blocks from the largest size; the first one alone takes colors.
    """
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", tensor)
    ahead = config.resolution.bit_length() - other.resolution.bit_length()
    if role != "discriminator" or not ahead or not found:
        return tensor
    block, rest = int(found[1]) - ahead, found[2]
    is_missing = block < 0 or (rest.startswith("from_rgb") and config.discriminator != "skip")
    return None if is_missing else f"blocks.{block}.{rest}"


def recognize(found: FoundNetwork) -> Recognized | None:
    """Recognize a network of the public code."""
    from zoo_stylegan2.reference import recognize

    return recognize(found)


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> Mapping[str, Tensor]:
    """Map the tensors of a recognized network to ours."""
    from zoo_stylegan2.reference import convert

    return convert(tensors, recognized)


STYLEGAN2 = ModelSpec(
    name="stylegan2",
    summary="styles by weight demodulation, lazy regularization: the reference for image quality",
    task="unconditional",
    paper="Karras et al. 2020, arXiv:1912.04958",
    licence="Apache-2.0",
    config=StyleGAN2Config,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_discriminator=build_discriminator,
    build_phases=build_phases,
    parameters={"generator": 419_587, "discriminator": 567_441},
    counterpart=counterpart,
    latents="normal",
)

STYLEGAN2_IMPORTER = ImporterSpec(
    name="stylegan2-ada",
    summary="network-snapshot-*.pkl of StyleGAN2-ADA, and StyleGAN2's of StyleGAN3's code and of "
    "StudioGAN",
    source="https://github.com/NVlabs/stylegan2-ada-pytorch",
    model="stylegan2",
    recognize=recognize,
    convert=convert,
)
