"""The configuration of R3GAN and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from zoo_core import Count, ModelConfig, check_power_of_two, setting

PerStage = Count | tuple[Count, ...]  # one number for all stages, or one per stage


class Stage(NamedTuple):
    """The residual blocks at one resolution."""

    width: int  # feature maps between blocks
    hidden: int  # feature maps inside a block
    num_groups: int  # of the grouped convolution; the paper's cardinality
    num_blocks: int


class R3GANConfig(ModelConfig, frozen=True, kw_only=True):
    """The defaults are a small variant for two CPU cores; the published recipes are presets.

    Each setting with a counterpart `*_end` moves to that value over `schedule_images`, along half a
    cosine.
    """

    resolution: Annotated[int, setting("pixels per side, a power of two from 8", ge=8, le=4096)] = (
        32
    )
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    num_classes: Annotated[
        int, setting("number of classes; auto: those of the data; 0 ignores labels", ge=0)
    ] = 0
    latent_size: Annotated[int, setting("length of the latent vector", ge=1)] = 64
    embedding_size: Annotated[int, setting("size of the generator's label embedding", ge=1)] = 64
    projection_size: Annotated[
        int, setting("size of the discriminator's label embedding", ge=1)
    ] = 64
    widths: Annotated[
        tuple[Count, ...],
        setting("feature maps at 4 x 4, 8 x 8 and so on, up to the resolution"),
    ] = (128, 96, 64, 32)
    num_blocks: Annotated[
        PerStage, setting("residual blocks per size: one number for all sizes, or one each")
    ] = 1
    expansion: Annotated[int, setting("expansion factor of the width inside a block", ge=1)] = 2
    group_size: Annotated[
        PerStage,
        setting("feature maps per group of the grouped convolutions; one number or one per size"),
    ] = 16
    kernel_size: Annotated[
        Literal[1, 3, 5, 7], setting("kernel size of the grouped convolutions")
    ] = 3
    penalty: Annotated[
        float,
        setting(
            "weight gamma of R1 and R2; 0 here and in penalty_end disables both", ge=0, group="loss"
        ),
    ] = 10.0
    penalty_end: Annotated[float, setting("final gamma", ge=0, group="loss")] = 2.0
    penalty_every: Annotated[int, setting("apply R1 and R2 every N steps", ge=1, group="loss")] = 4
    learning_rate: Annotated[
        float, setting("initial learning rate of both networks", gt=0, group="optimizer")
    ] = 5e-4
    learning_rate_end: Annotated[float, setting("final learning rate", gt=0, group="optimizer")] = (
        1e-4
    )
    beta1: Annotated[float, setting("beta1 of Adam", ge=0, lt=1, group="optimizer")] = 0.0
    beta2: Annotated[float, setting("initial beta2 of Adam", ge=0, lt=1, group="optimizer")] = 0.9
    beta2_end: Annotated[float, setting("final beta2", ge=0, lt=1, group="optimizer")] = 0.99
    schedule_images: Annotated[
        int, setting("images until the final values are reached", ge=1, group="optimizer")
    ] = 150_000

    def __post_init__(self) -> None:
        check_power_of_two("resolution", self.resolution, 8)
        num_stages = self.resolution.bit_length() - 2
        for name in ("widths", "num_blocks", "group_size"):
            values = getattr(self, name)
            if isinstance(values, tuple) and len(values) != num_stages:
                raise ValueError(
                    f"{name} must have {num_stages} numbers, one per size from 4 to "
                    f"{self.resolution} pixels, not {len(values)}"
                )
        for width, group_size in zip(self.widths, self._each(self.group_size), strict=True):
            if width * self.expansion % group_size:
                raise ValueError(
                    f"group_size {group_size} must divide width x expansion, "
                    f"which is {width * self.expansion}"
                )

    @property
    def stages(self) -> list[Stage]:
        """The stages from 4 x 4 up to the resolution."""
        sizes = zip(
            self.widths, self._each(self.group_size), self._each(self.num_blocks), strict=True
        )
        return [
            Stage(width, width * self.expansion, width * self.expansion // group_size, num_blocks)
            for width, group_size, num_blocks in sizes
        ]

    def _each(self, value: int | tuple[int, ...]) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * len(self.widths)


RUN = {
    "data": "critters",
    "batch_size": 32,
    "images": 150_000,
    "ema_half_life": 5_000,
    "ema_rampup": 0.1,
}


def published(
    widths: tuple[int, ...],
    penalty: float,
    augment_prob: float,
    batch_size: int,
    *,
    schedule_images: int = 20_000_000,
    ema_half_life: int = 500_000,
) -> dict[str, Any]:
    """The settings that the paper's configurations share.

    The EMA half-life reaches its final value together with the other schedules, but linearly.
    """
    return {
        "resolution": 2 << len(widths),
        "widths": widths,
        "num_blocks": 2,
        "penalty": penalty,
        "penalty_end": penalty / 10,
        "penalty_every": 1,
        "learning_rate": 2e-4,
        "learning_rate_end": 5e-5,
        "schedule_images": schedule_images,
        "batch_size": batch_size,
        "images": 250_000_000,
        "ema_half_life": ema_half_life,
        "ema_rampup": ema_half_life / schedule_images,
        "augment": "fixed",
        "augment_prob": augment_prob,
        "augment_rampup": schedule_images,
        "augment_color": 0.5,
        "augment_cutout": 1.0,
        "log_every": 40_960,
        "sample_every": 1_024_000,
        "checkpoint_every": 1_024_000,
    }


def imagenet(num_stages: int, penalty: float, augment_prob: float) -> dict[str, Any]:
    """The settings that the two ImageNet configurations share."""
    slow = {"schedule_images": 200_000_000, "ema_half_life": 50_000_000}
    shared = published((1536,) * num_stages, penalty, augment_prob, 4096, **slow)
    return shared | {"group_size": 32, "num_classes": 1000, "projection_size": 1536}


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 16,
        "latent_size": 8,
        "widths": (8, 8, 8),
        "group_size": 8,
        "penalty_every": 2,
        "batch_size": 8,
        "images": 64,
        "log_every": 8,
    },
    "cifar": published((768,) * 4, 0.05, 0.55, 512, ema_half_life=5_000_000)
    | {"num_classes": 10, "projection_size": 768},
    "ffhq64": published((768, 768, 768, 768, 384), 2.0, 0.3, 256),
    "ffhq256": published((768, 768, 768, 768, 384, 192, 96), 150.0, 0.3, 256),
    "imagenet32": imagenet(4, 0.5, 0.5),
    "imagenet64": imagenet(5, 1.0, 0.4),
}
