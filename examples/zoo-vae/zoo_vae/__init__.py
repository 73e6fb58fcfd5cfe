"""Plugin for the variational autoencoder (Kingma and Welling 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import ModelSpec, hookimpl

from zoo_vae.config import PRESETS, RUN, VAEConfig

if TYPE_CHECKING:
    from zoo_core import Generator, Networks, Phase

ZOO_API = 1


@hookimpl
def zoo_models() -> list[ModelSpec]:
    """Register the variational autoencoder."""
    return [VAE]


def build_generator(config: VAEConfig) -> Generator:
    """Build encoder and decoder with random weights."""
    from zoo_vae.networks import VAEGenerator

    return VAEGenerator(config)


def build_phases(networks: Networks, config: VAEConfig) -> list[Phase]:
    """Build the single phase."""
    from zoo_vae.training import build_phases

    return build_phases(networks, config)


VAE = ModelSpec(
    name="vae",
    summary="variational autoencoder: no discriminator, one loss; soft images",
    task="unconditional",
    paper="Kingma and Welling 2014, arXiv:1312.6114",
    licence="Apache-2.0",
    config=VAEConfig,
    presets=PRESETS,
    run=RUN,
    build_generator=build_generator,
    build_phases=build_phases,
    parameters={"generator": 432_355},
    latents="normal",
)
