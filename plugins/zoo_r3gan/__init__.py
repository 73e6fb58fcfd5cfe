"""Plugin for R3GAN (Huang et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import ImporterSpec, ModelSpec, hookimpl
from zoo_r3gan.config import PRESETS, RUN, R3GANConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from zoo_core import Discriminator, FoundNetwork, Generator, Networks, Phase, Recognized

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register R3GAN."""
    return [R3GAN]


@hookimpl
def zoo_importers() -> list[ImporterSpec]:
    """Register the checkpoints that can be imported."""
    return [R3GAN_IMPORTER]


def build_generator(config: R3GANConfig) -> Generator:
    """Build a generator with random weights."""
    from zoo_r3gan.networks import R3GANGenerator

    return R3GANGenerator(config)


def build_discriminator(config: R3GANConfig) -> Discriminator:
    """Build a discriminator with random weights."""
    from zoo_r3gan.networks import R3GANDiscriminator

    return R3GANDiscriminator(config)


def build_phases(networks: Networks, config: R3GANConfig) -> list[Phase]:
    """Build the training phases: discriminator, generator."""
    from zoo_r3gan.training import build_phases

    return build_phases(networks, config)


def recognize(found: FoundNetwork) -> Recognized | None:
    """Recognize a network of the public code."""
    from zoo_r3gan.reference import recognize

    return recognize(found)


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> Mapping[str, Tensor]:
    """Map the tensors of a recognized network to ours."""
    from zoo_r3gan.reference import convert

    return convert(tensors, recognized)


R3GAN = ModelSpec(
    name="r3gan",
    summary="a modern baseline: relativistic loss with R1 and R2 on plain residual networks",
    task="unconditional",
    paper="Huang, Gokaslan, Kuleshov and Tompkin 2024, arXiv:2501.05441",
    licence="Apache-2.0",
    config=R3GANConfig,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_discriminator=build_discriminator,
    build_phases=build_phases,
    parameters={"generator": 247_136, "discriminator": 239_072},
    latents="normal",
)

R3GAN_IMPORTER = ImporterSpec(
    name="r3gan",
    summary="network-snapshot-*.pkl of R3GAN",
    source="https://github.com/brownvc/R3GAN",
    model="r3gan",
    recognize=recognize,
    convert=convert,
)
