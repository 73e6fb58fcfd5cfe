"""Configuration and presets of ProGAN."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class ProGANConfig(ModelConfig, frozen=True, kw_only=True):
    """The defaults are a small, stable recipe; `paper1024` and `paper256` are the published one."""

    resolution: Annotated[int, setting("pixels per side, a power of two from 8", ge=8)] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    latent_size: Annotated[int, setting("length of the latent vector", ge=1)] = 64
    channel_base: Annotated[
        int, setting("feature maps at resolution r: channel_base / r, up to channel_max", ge=1)
    ] = 512
    channel_max: Annotated[int, setting("maximum number of feature maps", ge=1)] = 64
    stddev_group: Annotated[
        int, setting("group size of the minibatch standard deviation; 0 disables it", ge=0)
    ] = 4
    first_resolution: Annotated[
        int, setting("resolution at which training starts, a power of two from 4", ge=4)
    ] = 4
    stable_images: Annotated[
        int, setting("images to train at each resolution between fades", ge=1)
    ] = 30_000
    fade_images: Annotated[int, setting("images over which a new resolution is faded in", ge=0)] = (
        30_000
    )
    loss: Annotated[
        Literal["wasserstein", "non-saturating"],
        setting("wasserstein uses the gradient penalty, non-saturating uses R1", group="loss"),
    ] = "non-saturating"
    penalty: Annotated[
        float,
        setting("lambda of the gradient penalty or gamma of R1; 0 disables it", ge=0, group="loss"),
    ] = 0.1
    penalty_every: Annotated[
        int,
        setting(
            "apply the penalty every N steps; 1 adds it to the discriminator's loss",
            ge=1,
            group="loss",
        ),
    ] = 8
    drift: Annotated[
        float,
        setting("weight of the squared logits of real images; 0 disables it", ge=0, group="loss"),
    ] = 0.0
    learning_rate: Annotated[
        float, setting("learning rate of both networks", gt=0, group="optimizer")
    ] = 2e-3
    beta1: Annotated[float, setting("beta1 of Adam", ge=0, lt=1, group="optimizer")] = 0.0
    beta2: Annotated[float, setting("beta2 of Adam", ge=0, lt=1, group="optimizer")] = 0.99

    def __post_init__(self) -> None:
        for name, least in (("resolution", 8), ("first_resolution", 4)):
            check_power_of_two(name, getattr(self, name), least)
        if self.first_resolution > self.resolution:
            raise ValueError(
                f"first_resolution must be at most the resolution ({self.resolution}), "
                f"not {self.first_resolution}"
            )
        if self.channel_base < self.resolution:
            raise ValueError(
                f"channel_base must be at least the resolution ({self.resolution}), "
                f"not {self.channel_base}"
            )

    def widths(self) -> list[int]:
        """Feature maps at 4 x 4 pixels, at 8 x 8, and so on up to `resolution`."""
        sides = [4 << stage for stage in range(self.resolution.bit_length() - 2)]
        return [min(self.channel_base // side, self.channel_max) for side in sides]


RUN = {"data": "critters", "images": 300_000, "batch_size": 32}

# Karras et al. 2018, table 2 and appendix A.1. The paper's batch on one device is 16 up to
# 128 x 128. The run ends when the last resolution has been trained for `stable_images`.
PAPER: dict[str, Any] = {
    "latent_size": 512,
    "channel_base": 16_384,
    "channel_max": 512,
    "stable_images": 800_000,
    "fade_images": 800_000,
    "loss": "wasserstein",
    "penalty": 10.0,
    "penalty_every": 1,
    "drift": 0.001,
    "learning_rate": 1e-3,
    "batch_size": 16,
    "ema_half_life": 11_085,  # a decay of 0.999 per step
    "ema_rampup": 0.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 16,
        "channel_base": 64,
        "channel_max": 8,
        "latent_size": 8,
        "stable_images": 8,
        "fade_images": 16,
        "penalty_every": 2,
        "batch_size": 8,
        "images": 64,
        "log_every": 8,
    },
    "paper256": {**PAPER, "resolution": 256, "images": 10_400_000},
    "paper1024": {**PAPER, "resolution": 1024, "images": 13_600_000},
}
