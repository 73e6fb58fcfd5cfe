"""The configuration of R3GAN and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from zoo_core import Count, ModelConfig, check_power_of_two, setting

PerStage = Count | tuple[Count, ...]  # one number for every stage, or one for each


class Stage(NamedTuple):
    """The residual blocks at one size of picture."""

    width: int  # feature maps between blocks
    hidden: int  # feature maps inside a block
    num_groups: int  # of its grouped convolution: the paper's cardinality
    num_blocks: int


class R3GANConfig(ModelConfig, frozen=True, kw_only=True):
    """Defaults are a small relative for two CPU cores; the published ones are presets.

    What has a partner called `_end` goes there along half a cosine over `schedule_images`.
    """

    resolution: Annotated[int, setting("pixels a side, a power of two from 8", ge=8, le=4096)] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grey pictures, 3 for RGB")] = 3
    num_classes: Annotated[
        int, setting("classes of the pictures; 0: labels are not used", ge=0)
    ] = 0
    latent_size: Annotated[int, setting("length of the latent vector", ge=1)] = 64
    embedding_size: Annotated[
        int, setting("length of a label's embedding in the generator", ge=1)
    ] = 64
    projection_size: Annotated[
        int, setting("length of a label's embedding in the discriminator", ge=1)
    ] = 64
    widths: Annotated[
        tuple[Count, ...],
        setting("feature maps at 4 pixels a side, 8, and so on to the resolution"),
    ] = (128, 96, 64, 32)
    num_blocks: Annotated[
        PerStage, setting("residual blocks at every size, or a number for each")
    ] = 1
    expansion: Annotated[int, setting("how many times wider a block is inside", ge=1)] = 2
    group_size: Annotated[
        PerStage, setting("feature maps a group of a block's convolution, like num_blocks")
    ] = 16
    kernel_size: Annotated[Literal[1, 3, 5, 7], setting("of a block's grouped convolution")] = 3
    penalty: Annotated[
        float, setting("weight gamma of R1 and R2; 0 here and at its end: neither", ge=0)
    ] = 10.0
    penalty_end: Annotated[float, setting("gamma in the end", ge=0)] = 2.0
    penalty_every: Annotated[int, setting("steps between two penalties", ge=1)] = 4
    learning_rate: Annotated[float, setting("of both networks", gt=0)] = 5e-4
    learning_rate_end: Annotated[float, setting("learning rate in the end", gt=0)] = 1e-4
    beta1: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.0
    beta2: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.9
    beta2_end: Annotated[float, setting("beta2 in the end", ge=0, lt=1)] = 0.99
    schedule_images: Annotated[int, setting("images until the end values", ge=1)] = 150_000

    def __post_init__(self) -> None:
        check_power_of_two("resolution", self.resolution, 8)
        num_stages = self.resolution.bit_length() - 2
        for name in ("widths", "num_blocks", "group_size"):
            values = getattr(self, name)
            if isinstance(values, tuple) and len(values) != num_stages:
                raise ValueError(
                    f"{name} has to be {num_stages} numbers, for 4 to {self.resolution} pixels a "
                    f"side, not {len(values)}"
                )
        for width, group_size in zip(self.widths, self._each(self.group_size), strict=True):
            if width * self.expansion % group_size:
                raise ValueError(
                    f"group_size {group_size} has to divide a width times expansion, "
                    f"not {width * self.expansion}"
                )

    @property
    def stages(self) -> list[Stage]:
        """From 4 pixels a side up to the resolution."""
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
    """Settings that the configurations of the paper share.

    The half-life of the average reaches its end together with everything else, but along a line.
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
    """Settings of the two ImageNet configurations."""
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
