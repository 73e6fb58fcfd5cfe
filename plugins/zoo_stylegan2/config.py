"""Configuration and presets of StyleGAN2."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class StyleGAN2Config(ModelConfig, frozen=True, kw_only=True):
    """The defaults are a small version for two CPU cores; the published ones are presets."""

    resolution: Annotated[int, setting("pixels per side, a power of two from 8", ge=8, le=4096)] = (
        32
    )
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    num_classes: Annotated[
        int, setting("number of classes; auto: those of the data; 0 ignores labels", ge=0)
    ] = 0
    latent_size: Annotated[int, setting("length of the latent vector z", ge=1)] = 128
    style_size: Annotated[int, setting("length of the intermediate latent vector w", ge=1)] = 128
    num_mapping_layers: Annotated[int, setting("layers of the mapping network, z to w", ge=1)] = 2
    channel_base: Annotated[
        int, setting("feature maps at resolution r: channel_base / r, up to channel_max", ge=1)
    ] = 512
    channel_max: Annotated[int, setting("maximum number of feature maps", ge=1)] = 512
    discriminator: Annotated[
        Literal["resnet", "orig", "skip"],
        setting(
            "resnet: residual; orig: plain; skip: plain, with the image fed in at every resolution"
        ),
    ] = "resnet"
    group_size: Annotated[int, setting("group size of the minibatch standard deviation", ge=1)] = 4
    mixing_prob: Annotated[
        float, setting("share of training images that mix two styles", ge=0, le=1, group="loss")
    ] = 0.9
    penalty: Annotated[float, setting("weight gamma of R1; 0 disables it", ge=0, group="loss")] = (
        2.0
    )
    penalty_every: Annotated[int, setting("apply R1 every N steps", ge=1, group="loss")] = 8
    path_weight: Annotated[
        float, setting("weight of the path length penalty; 0 disables it", ge=0, group="loss")
    ] = 0.0
    path_every: Annotated[
        int, setting("apply the path length penalty every N steps", ge=1, group="loss")
    ] = 4
    learning_rate: Annotated[
        float, setting("learning rate of both networks", gt=0, group="optimizer")
    ] = 0.002
    beta1: Annotated[float, setting("beta1 of Adam", ge=0, lt=1, group="optimizer")] = 0.0
    beta2: Annotated[float, setting("beta2 of Adam", ge=0, lt=1, group="optimizer")] = 0.99

    def __post_init__(self) -> None:
        check_power_of_two("resolution", self.resolution, 8)
        if self.width(self.resolution) < 1:
            raise ValueError(
                f"channel_base must be at least the resolution ({self.resolution}), "
                f"not {self.channel_base}"
            )

    def width(self, size: int) -> int:
        """Feature maps at `size` x `size` pixels."""
        return min(self.channel_base // size, self.channel_max)


RUN = {
    "data": "critters",
    "batch_size": 16,
    "images": 300_000,
    "ema_half_life": 10_000,
    "ema_rampup": 0.1,
}


def published(
    resolution: int, batch_size: int, group_size: int, penalty: float, ema_half_life: int
) -> dict[str, Any]:
    """Settings that the published StyleGAN2 configurations share."""
    large = resolution >= 512
    return {
        "resolution": resolution,
        "latent_size": 512,
        "style_size": 512,
        "num_mapping_layers": 8,
        "channel_base": 32768 if large else 16384,
        "group_size": group_size,
        "penalty": penalty,
        "penalty_every": 16,
        "path_weight": 2.0,
        "learning_rate": 0.002 if resolution >= 1024 else 0.0025,
        "batch_size": batch_size,
        "images": 25_000_000,
        "ema_half_life": ema_half_life,
        "ema_rampup": 0.0,
    }


def auto(resolution: int) -> dict[str, Any]:
    """Settings by the rules of StyleGAN2-ADA's public code for any resolution on one GPU; the rule
    for the R1 weight is also in the paper (appendix C).
    """
    batch_size = min(4096 // resolution, 32)
    penalty = 0.0002 * resolution**2 / batch_size
    half_life = batch_size * 10_000 // 32
    return published(resolution, batch_size, min(batch_size, 4), penalty, half_life) | {
        "num_mapping_layers": 2,
        "ema_rampup": 0.05,
        "augment": "ada",
    }


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 8,
        "latent_size": 8,
        "style_size": 8,
        "channel_base": 64,
        "channel_max": 8,
        "penalty_every": 2,
        "path_weight": 2.0,
        "path_every": 2,
        "batch_size": 8,
        "images": 64,
        "log_every": 8,
    },
    "cpu64": {
        "resolution": 64,
        "latent_size": 512,
        "style_size": 512,
        "channel_base": 4096,
        "penalty_every": 16,
        "images": 600_000,
    },
    "cifar": published(32, 64, 32, 0.01, 500_000)
    | {
        "num_classes": 10,
        "num_mapping_layers": 2,
        "discriminator": "orig",
        "mixing_prob": 0.0,
        "path_weight": 0.0,
        "ema_rampup": 0.05,
        "images": 100_000_000,
        "augment": "ada",
    },
    "paper256": published(256, 64, 8, 1.0, 20_000),
    "paper512": published(512, 64, 8, 0.5, 20_000),
    "paper1024": published(1024, 32, 4, 2.0, 10_000),
    "config-f": published(1024, 32, 4, 10.0, 10_000),
    **{f"auto{resolution}": auto(resolution) for resolution in (64, 128, 256, 512, 1024)},
}
