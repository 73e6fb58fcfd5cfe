"""Configuration and presets of DCGAN."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class DCGANConfig(ModelConfig, frozen=True, kw_only=True):
    """The defaults are a stable recipe; `paper64` is the published one."""

    resolution: Annotated[int, setting("pixels per side, a power of two from 16", ge=16)] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    latent_size: Annotated[int, setting("length of the latent vector", ge=1)] = 64
    latents: Annotated[
        Literal["normal", "uniform"], setting("distribution of the latents; uniform is over -1..1")
    ] = "normal"
    generator_width: Annotated[
        int, setting("feature maps at half the resolution; doubled per stage down to 4 x 4", ge=1)
    ] = 32
    discriminator_width: Annotated[
        int, setting("feature maps at half the resolution; doubled per stage down to 4 x 4", ge=1)
    ] = 32
    max_width: Annotated[int, setting("maximum number of feature maps", ge=1)] = 512
    generator_norm: Annotated[
        Literal["batch", "none"], setting("normalization in the generator")
    ] = "batch"
    discriminator_norm: Annotated[
        Literal["batch", "none"], setting("normalization in the discriminator")
    ] = "none"
    loss: Annotated[
        Literal[
            "minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"
        ],
        setting("adversarial loss; see zoo_core/training/losses.py", group="loss"),
    ] = "relativistic"
    penalty: Annotated[
        float, setting("weight gamma of R1 and R2; 0 disables both", ge=0, group="loss")
    ] = 0.05
    penalty_every: Annotated[int, setting("apply R1 and R2 every N steps", ge=1, group="loss")] = 4
    learning_rate: Annotated[
        float, setting("learning rate of both networks", gt=0, group="optimizer")
    ] = 1e-3
    beta1: Annotated[float, setting("beta1 of Adam", ge=0, lt=1, group="optimizer")] = 0.0
    beta2: Annotated[float, setting("beta2 of Adam", ge=0, lt=1, group="optimizer")] = 0.99

    def __post_init__(self) -> None:
        check_power_of_two("resolution", self.resolution, 16)


RUN = {"data": "critters", "images": 100_000, "ema_half_life": 10_000, "ema_rampup": 0.1}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 16,
        "generator_width": 8,
        "discriminator_width": 8,
        "latent_size": 8,
        "batch_size": 8,
        "images": 64,
        "log_every": 8,
    },
    # Radford et al. 2015, section 4, with the widths of the public reference code.
    "paper64": {
        "resolution": 64,
        "latent_size": 100,
        "latents": "uniform",
        "generator_width": 64,
        "discriminator_width": 64,
        "generator_norm": "batch",
        "discriminator_norm": "batch",
        "loss": "non-saturating",
        "penalty": 0.0,
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "beta2": 0.999,
        "batch_size": 128,
        "images": 1_000_000,
        "ema_half_life": 0,
    },
}
