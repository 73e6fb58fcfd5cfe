"""The configuration of the variational autoencoder and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, setting


class VAEConfig(ModelConfig, frozen=True, kw_only=True):
    """Settings of the encoder and the decoder, which mirror each other."""

    resolution: Annotated[int, setting("pixels per side, a power of two from 16", ge=16)] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    latent_size: Annotated[int, setting("length of the latent vector", ge=1)] = 16
    width: Annotated[
        int, setting("feature maps at half the resolution; doubled per stage down to 4 x 4", ge=1)
    ] = 32
    sigma: Annotated[
        float,
        setting(
            "standard deviation of p(x|z) per pixel, for images in -1..1: smaller gives sharper "
            "reconstructions, larger gives latents closer to the prior",
            gt=0,
        ),
    ] = 0.6  # on critters 0.2 reconstructs better, but about a third of the samples are not figures
    learning_rate: Annotated[float, setting("learning rate of Adam", gt=0, group="optimizer")] = (
        2e-3
    )

    def __post_init__(self) -> None:
        if self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of two >= 16, not {self.resolution}")


RUN = {
    "data": "critters",
    "images": 60_000,
    "batch_size": 32,
    "ema_half_life": 2_500,
    "ema_rampup": 0.1,
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 16,
        "width": 8,
        "latent_size": 8,
        "batch_size": 8,
        "images": 64,
        "log_every": 8,
    },
}
