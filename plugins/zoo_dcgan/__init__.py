"""Plugin for DCGAN (Radford et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import ImporterSpec, ModelSpec, hookimpl
from zoo_dcgan.config import PRESETS, RUN, DCGANConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from zoo_core import Discriminator, FoundNetwork, Generator, Networks, Phase, Recognized

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register DCGAN."""
    return [DCGAN]


@hookimpl
def zoo_importers() -> list[ImporterSpec]:
    """Register the checkpoints that can be imported."""
    return [DCGAN_IMPORTER]


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


def recognize(found: FoundNetwork) -> Recognized | None:
    """Recognize a network of the public code."""
    from zoo_dcgan.reference import recognize

    return recognize(found)


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> Mapping[str, Tensor]:
    """Map the tensors of a recognized network to ours."""
    from zoo_dcgan.reference import convert

    return convert(tensors, recognized)


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

DCGAN_IMPORTER = ImporterSpec(
    name="dcgan-examples",
    summary="netG_*.pth and netD_*.pth of the DCGAN example, any power of two from 16 pixels, and "
    "the same networks under other names",
    source="https://github.com/pytorch/examples",
    model="dcgan",
    recognize=recognize,
    convert=convert,
)
