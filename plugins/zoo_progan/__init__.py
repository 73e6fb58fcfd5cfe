"""Plugin for ProGAN (Karras et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import ImporterSpec, ModelSpec, hookimpl
from zoo_progan.config import PRESETS, RUN, ProGANConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from zoo_core import Discriminator, FoundNetwork, Generator, Networks, Phase, Recognized

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register ProGAN."""
    return [PROGAN]


@hookimpl
def zoo_importers() -> list[ImporterSpec]:
    """Register the checkpoints that can be imported."""
    return [PROGAN_IMPORTER]


def build_generator(config: ProGANConfig) -> Generator:
    """Build a generator with random weights."""
    from zoo_progan.networks import ProGANGenerator

    return ProGANGenerator(config)


def build_discriminator(config: ProGANConfig) -> Discriminator:
    """Build a discriminator with random weights."""
    from zoo_progan.networks import ProGANDiscriminator

    return ProGANDiscriminator(config)


def build_phases(networks: Networks, config: ProGANConfig) -> list[Phase]:
    """Build the training phases: discriminator, penalty, generator."""
    from zoo_progan.training import build_phases

    return build_phases(networks, config)


def counterpart(role: str, tensor: str, config: ProGANConfig, other: ProGANConfig) -> str:
    """The name of a tensor in a network of another resolution: stages are numbered from 4 x 4."""
    return tensor


def recognize(found: FoundNetwork) -> Recognized | None:
    """Recognize a network of the public code."""
    from zoo_progan.reference import recognize

    return recognize(found)


def convert(tensors: Mapping[str, Tensor], recognized: Recognized) -> Mapping[str, Tensor]:
    """Map the tensors of a recognized network to ours."""
    from zoo_progan.reference import convert

    return convert(tensors, recognized)


PROGAN = ModelSpec(
    name="progan",
    summary="progressive growing: starts at 4 x 4 pixels and doubles its resolution in training",
    task="unconditional",
    paper="Karras, Aila, Laine and Lehtinen 2018, arXiv:1710.10196",
    licence="Apache-2.0",
    config=ProGANConfig,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_discriminator=build_discriminator,
    build_phases=build_phases,
    parameters={"generator": 212_540, "discriminator": 212_433},
    counterpart=counterpart,
    latents="sphere",
)

PROGAN_IMPORTER = ImporterSpec(
    name="pytorch-gan-zoo",
    summary="*_s*_i*.pt of PGAN: the generator, without labels and without a final tanh",
    source="https://github.com/facebookresearch/pytorch_GAN_zoo",
    model="progan",
    recognize=recognize,
    convert=convert,
)
