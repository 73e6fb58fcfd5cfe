"""The configuration of StyleGAN and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class StyleGANConfig(ModelConfig, frozen=True, kw_only=True):
    """Defaults are for two CPU cores; `paper1024` is the published recipe."""

    resolution: Annotated[int, setting("pixels a side, a power of two from 8", ge=8)] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grey pictures, 3 for RGB")] = 3
    latent_size: Annotated[int, setting("length of the latent vector z", ge=1)] = 128
    style_size: Annotated[int, setting("length of the intermediate latent vector w", ge=1)] = 128
    num_mapping_layers: Annotated[int, setting("layers from z to w", ge=1, le=32)] = 4
    channel_base: Annotated[
        int, setting("feature maps at a resolution are this divided by it", ge=1)
    ] = 512
    channel_max: Annotated[int, setting("feature maps are never more than this", ge=1)] = 64
    first_resolution: Annotated[
        int, setting("pixels a side that training starts with, a power of two from 4", ge=4)
    ] = 8
    stable_images: Annotated[
        int, setting("images seen at a resolution before the next is faded in", ge=1)
    ] = 15_000
    fade_images: Annotated[int, setting("images seen while a resolution is faded in", ge=0)] = (
        15_000
    )
    mixing_prob: Annotated[
        float, setting("share of pictures that are trained with two styles", ge=0, le=1)
    ] = 0.9
    truncation_layers: Annotated[
        int, setting("layers, from the first on, whose styles truncation moves", ge=0)
    ] = 8
    penalty: Annotated[float, setting("weight gamma of R1; 0 switches it off", ge=0)] = 10.0
    penalty_every: Annotated[
        int, setting("steps between two penalties; 1 puts R1 into the loss", ge=1)
    ] = 8
    learning_rate: Annotated[float, setting("of both networks", gt=0)] = 2e-3
    beta1: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.0
    beta2: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.99

    def __post_init__(self) -> None:
        for name, least in (("resolution", 8), ("first_resolution", 4)):
            check_power_of_two(name, getattr(self, name), least)
        if self.first_resolution > self.resolution:
            raise ValueError(
                f"first_resolution has to be at most resolution, {self.resolution}, "
                f"not {self.first_resolution}"
            )
        if self.channel_base < self.resolution:
            raise ValueError(
                f"channel_base has to be at least the resolution, {self.resolution}, "
                f"not {self.channel_base}"
            )

    def widths(self) -> dict[int, int]:
        """Feature maps at 4 pixels a side, at 8, and so on up to the resolution."""
        sides = [4 << block for block in range(self.resolution.bit_length() - 2)]
        return {side: min(self.channel_base // side, self.channel_max) for side in sides}


RUN = {
    "data": "critters",
    "images": 300_000,
    "batch_size": 32,
    "ema_half_life": 10_000,
    "ema_rampup": 0.1,
}

# Karras et al. 2019, section 2 and appendix C. FFHQ is not among the data sets: --data is needed.
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
