"""The configuration of pix2pix and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class Pix2PixConfig(ModelConfig, frozen=True, kw_only=True):
    """The defaults suit small machines; `paper256` is the published recipe."""

    generator: Annotated[
        Literal["unet", "resnet6", "resnet9"],
        setting("U-Net, or ResNet with 6 or 9 blocks (Johnson et al. 2016)"),
    ] = "unet"
    resolution: Annotated[int, setting("pixels per side, a power of two from 32", ge=32)] = 128
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    source_channels: Annotated[Literal[1, 3], setting("1 for grayscale sources, 3 for RGB")] = 3
    generator_width: Annotated[
        int, setting("feature maps of the generator's first convolution", ge=1)
    ] = 16
    discriminator_width: Annotated[
        int, setting("feature maps of the discriminator's first convolution", ge=1)
    ] = 32
    num_discriminator_layers: Annotated[
        int, setting("stride-2 convolutions: 3 for 70 x 70 patches, 0 for single pixels", ge=0)
    ] = 3
    norm: Annotated[
        Literal["batch", "instance", "none"],
        setting("batch normalization, instance normalization, or none"),
    ] = "batch"
    dropout: Annotated[bool, setting("dropout (p = 0.5) in the generator")] = True
    inference: Annotated[
        Literal["paper", "eval"],
        setting(
            "when sampling: paper keeps dropout and normalizes each image by its own statistics, "
            "eval uses running statistics without dropout"
        ),
    ] = "eval"
    loss: Annotated[
        Literal["non-saturating", "least-squares", "hinge", "relativistic"],
        setting("adversarial loss; see zoo_core/training/losses.py", group="loss"),
    ] = "non-saturating"
    l1: Annotated[
        float, setting("weight of the L1 distance to the target image", ge=0, group="loss")
    ] = 100.0
    learning_rate: Annotated[
        float, setting("learning rate of both networks", gt=0, group="optimizer")
    ] = 2e-4
    beta1: Annotated[float, setting("beta1 of Adam", ge=0, lt=1, group="optimizer")] = 0.5
    beta2: Annotated[float, setting("beta2 of Adam", ge=0, lt=1, group="optimizer")] = 0.999
    flat_images: Annotated[
        int, setting("images at the full learning rate", ge=0, group="optimizer")
    ] = 0
    decay_images: Annotated[
        int,
        setting(
            "images over which the learning rate then falls to 0; 0 keeps it constant",
            ge=0,
            group="optimizer",
        ),
    ] = 0

    def __post_init__(self) -> None:
        check_power_of_two("resolution", self.resolution, 32)
        deepest = self.resolution.bit_length() - 3
        if self.num_discriminator_layers > deepest:
            raise ValueError(
                f"num_discriminator_layers must be at most {deepest} at {self.resolution} pixels, "
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

# Sections 3.3 and 6.2 of the paper; 200 epochs of its 400 facades pairs. The learning rate decay
# over the second half is from the public reference code.
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
    # CycleGAN's generator (Zhu et al. 2017, section 7.2) with pix2pix's losses.
    "resnet9": {
        **_PAPER,
        "resolution": 256,
        "jitter": 30,
        "generator": "resnet9",
        "norm": "instance",
        "dropout": False,
    },
}
