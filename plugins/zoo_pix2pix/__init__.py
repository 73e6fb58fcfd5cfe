"""Plugin for pix2pix (Isola et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import ImporterSpec, ModelSpec, hookimpl
from zoo_pix2pix.config import PRESETS, RUN, Pix2PixConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from zoo_core import Discriminator, FoundNetwork, Generator, Networks, Phase, Recognized

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register pix2pix."""
    return [PIX2PIX]


@hookimpl
def zoo_importers() -> list[ImporterSpec]:
    """Register the checkpoints that can be imported."""
    return [PIX2PIX_IMPORTER]


def build_generator(config: Pix2PixConfig) -> Generator:
    """Build a generator with random weights."""
    from zoo_pix2pix.networks import Pix2PixGenerator

    return Pix2PixGenerator(config)


def build_discriminator(config: Pix2PixConfig) -> Discriminator:
    """Build a discriminator with random weights."""
    from zoo_pix2pix.networks import PatchGAN

    return PatchGAN(config)


def build_phases(networks: Networks, config: Pix2PixConfig) -> list[Phase]:
    """Build the training phases: discriminator, generator."""
    from zoo_pix2pix.training import build_phases

    return build_phases(networks, config)


def recognize(found: FoundNetwork) -> Recognized | None:
    """Recognize a network of the public code."""
    from zoo_pix2pix.reference import recognize

    return recognize(found)


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> Mapping[str, Tensor]:
    """Map the tensors of a recognized network to ours."""
    from zoo_pix2pix.reference import convert

    return convert(tensors, recognized)


PIX2PIX = ModelSpec(
    name="pix2pix",
    summary="image-to-image translation from pairs: U-Net generator, PatchGAN discriminator",
    task="image-to-image",
    paper="Isola, Zhu, Zhou and Efros 2017, arXiv:1611.07004",
    licence="Apache-2.0",
    config=Pix2PixConfig,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_discriminator=build_discriminator,
    build_phases=build_phases,
    parameters={"generator": 2_617_507, "discriminator": 696_225},
)

PIX2PIX_IMPORTER = ImporterSpec(
    name="pix2pix-cyclegan",
    summary="*_net_G*.pth: U-Nets, and ResNets of 6 and 9 blocks; PatchGANs of pairs",
    source="https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix",
    model="pix2pix",
    recognize=recognize,
    convert=convert,
)
