"""The configuration of pix2pix and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class Pix2PixConfig(ModelConfig, frozen=True, kw_only=True):
    """Defaults are a recipe for small machines; `paper256` is the published one."""

    generator: Annotated[
        Literal["unet", "resnet6", "resnet9"],
        setting("a U-Net, or a ResNet of 6 or 9 blocks (Johnson et al. 2016)"),
    ] = "unet"
    resolution: Annotated[int, setting("pixels a side, a power of two from 32", ge=32)] = 128
    channels: Annotated[Literal[1, 3], setting("1 for grey pictures, 3 for RGB")] = 3
    source_channels: Annotated[Literal[1, 3], setting("1 for grey sources, 3 for RGB")] = 3
    generator_width: Annotated[int, setting("feature maps of the first convolution", ge=1)] = 16
    discriminator_width: Annotated[int, setting("feature maps of the first convolution", ge=1)] = 32
    num_discriminator_layers: Annotated[
        int, setting("halvings of the size: 3 judges patches of 70 x 70, 0 single pixels", ge=0)
    ] = 3
    norm: Annotated[
        Literal["batch", "instance", "none"],
        setting("statistics of the batch, of each picture, or no normalization"),
    ] = "batch"
    dropout: Annotated[bool, setting("drop half of some features in the generator")] = True
    inference: Annotated[
        Literal["paper", "eval"],
        setting(
            "how trained networks make pictures: as in the paper, with dropout and the statistics "
            "of each picture, or without dropout and with running statistics"
        ),
    ] = "eval"
    loss: Annotated[
        Literal["non-saturating", "least-squares", "hinge", "relativistic"],
        setting("see zoo_core/losses.py"),
    ] = "non-saturating"
    l1: Annotated[float, setting("weight of the L1 distance to the real picture", ge=0)] = 100.0
    learning_rate: Annotated[float, setting("of both networks", gt=0)] = 2e-4
    beta1: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.5
    beta2: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.999
    flat_images: Annotated[int, setting("images at the full learning rate", ge=0)] = 0
    decay_images: Annotated[
        int,
        setting("images over which it then falls to 0, where it stays; 0: it never falls", ge=0),
    ] = 0

    def __post_init__(self) -> None:
        check_power_of_two("resolution", self.resolution, 32)
        deepest = self.resolution.bit_length() - 3
        if self.num_discriminator_layers > deepest:
            raise ValueError(
                f"num_discriminator_layers is at most {deepest} at {self.resolution} pixels, "
                f"not {self.num_discriminator_layers}"
            )


RUN = {
    "data": "line2emoji",
    "images": 40_000,
    "batch_size": 4,
    "ema_half_life": 1_000,
    "sample_every": 2_000,
    "checkpoint_every": 4_000,
}

# Sections 3.3 and 6.2 of the paper, as long as for the 400 pairs of its facades: 200 epochs. That
# the learning rate falls over the second half is the public reference code's.
_PAPER: dict[str, Any] = {
    "generator_width": 64,
    "discriminator_width": 64,
    "inference": "paper",
    "flat_images": 40_000,
    "decay_images": 40_000,
    "images": 80_000,
    "batch_size": 1,
    "mirror": True,
    "ema_half_life": 0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 32,
        "generator_width": 4,
        "discriminator_width": 4,
        "num_discriminator_layers": 2,
        "inference": "paper",
        "batch_size": 4,
        "images": 64,
        "log_every": 4,
    },
    "paper256": {**_PAPER, "resolution": 256, "jitter": 30},
    "paper128": {**_PAPER, "resolution": 128, "jitter": 15},
    # The generator of CycleGAN (Zhu et al. 2017, section 7.2) under the losses of pix2pix.
    "resnet9": {
        **_PAPER,
        "resolution": 256,
        "jitter": 30,
        "generator": "resnet9",
        "norm": "instance",
        "dropout": False,
    },
}
