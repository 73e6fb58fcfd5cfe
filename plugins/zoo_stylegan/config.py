"""Configuration and presets of StyleGAN."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class StyleGANConfig(ModelConfig, frozen=True, kw_only=True):
    """The defaults are for two CPU cores; `paper1024` is the published recipe."""

    resolution: Annotated[int, setting("pixels per side, a power of two from 8", ge=8)] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    latent_size: Annotated[int, setting("length of the latent vector z", ge=1)] = 128
    style_size: Annotated[int, setting("length of the intermediate latent vector w", ge=1)] = 128
    num_mapping_layers: Annotated[
        int, setting("layers of the mapping network, z to w", ge=1, le=32)
    ] = 4
    channel_base: Annotated[
        int, setting("feature maps at resolution r: channel_base / r, up to channel_max", ge=1)
    ] = 512
    channel_max: Annotated[int, setting("maximum number of feature maps", ge=1)] = 64
    first_resolution: Annotated[
        int, setting("resolution at which training starts, a power of two from 4", ge=4)
    ] = 8
    stable_images: Annotated[
        int, setting("images to train at each resolution between fades", ge=1)
    ] = 15_000
    fade_images: Annotated[int, setting("images over which a new resolution is faded in", ge=0)] = (
        15_000
    )
    mixing_prob: Annotated[
        float, setting("share of training images that mix two styles", ge=0, le=1, group="loss")
    ] = 0.9
    truncation_layers: Annotated[
        int, setting("truncation applies to the styles of the first N layers", ge=0)
    ] = 8
    penalty: Annotated[float, setting("weight gamma of R1; 0 disables it", ge=0, group="loss")] = (
        10.0
    )
    penalty_every: Annotated[
        int,
        setting(
            "apply R1 every N steps; 1 adds it to the discriminator's loss", ge=1, group="loss"
        ),
    ] = 8
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

    def widths(self) -> dict[int, int]:
        """Feature maps by resolution: 4, 8, and so on up to `resolution`."""
        sides = [4 << block for block in range(self.resolution.bit_length() - 2)]
        return {side: min(self.channel_base // side, self.channel_max) for side in sides}


RUN = {
    "data": "critters",
    "images": 300_000,
    "batch_size": 32,
    "ema_half_life": 10_000,
    "ema_rampup": 0.1,
}

# Karras et al. 2019, section 2 and appendix C. FFHQ is not included: pass its path with --data.
PAPER: dict[str, Any] = {
    "latent_size": 512,
    "style_size": 512,
    "num_mapping_layers": 8,
    "channel_base": 16_384,
    "channel_max": 512,
    "stable_images": 600_000,
    "fade_images": 600_000,
    "penalty": 10.0,
    "penalty_every": 1,
    "learning_rate": 1e-3,
    "mirror": True,
    "images": 25_000_000,
    "ema_rampup": 0.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 16,
        "latent_size": 8,
        "style_size": 8,
        "num_mapping_layers": 2,
        "channel_base": 64,
        "channel_max": 8,
        "stable_images": 8,
        "fade_images": 32,
        "penalty_every": 2,
        "batch_size": 8,
        "images": 64,
        "log_every": 8,
    },
    "paper256": {**PAPER, "resolution": 256},
    "paper1024": {**PAPER, "resolution": 1024},
}
