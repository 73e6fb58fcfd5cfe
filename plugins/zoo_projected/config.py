"""The configuration of Projected GAN and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class ProjectedConfig(ModelConfig, frozen=True, kw_only=True):
    """Defaults are a small relative for two CPU cores; `paper256` is the published one."""

    resolution: Annotated[
        int, setting("pixels a side, a power of two from 8 to 1024", ge=8, le=1024)
    ] = 64
    channels: Annotated[Literal[1, 3], setting("1 for grey pictures, 3 for RGB")] = 3
    num_classes: Annotated[
        int, setting("classes of the pictures; 0: labels are not used", ge=0)
    ] = 0
    generator: Annotated[
        str, setting("fastgan, fastgan-lite of half the depth, or a model whose generator it is")
    ] = "fastgan"
    generator_settings: Annotated[
        dict[str, Any], setting("keys of that model's own configuration")
    ] = {}
    latent_size: Annotated[int, setting("length of the latent vector of a fastgan", ge=1)] = 256
    generator_width: Annotated[
        int, setting("feature maps of a fastgan at 128 pixels a side; others follow", ge=1)
    ] = 16
    extractor: Annotated[
        str, setting("network whose feature maps are judged; it has to offer some")
    ] = "timm/tf_efficientnet_lite0.in1k"
    extractor_size: Annotated[
        int, setting("pixels a side that it is shown pictures at; fewer are cheaper", ge=32)
    ] = 96
    projection_width: Annotated[
        int, setting("channels that the shallowest map is mixed to; doubled with depth", ge=1)
    ] = 32
    discriminator_width: Annotated[
        int, setting("feature maps at the end of every discriminator", ge=8)
    ] = 128
    discriminator_norm: Annotated[
        Literal["batch", "none"], setting("normalization in the discriminators")
    ] = "none"
    last_kernel: Annotated[
        int, setting("pixels a side of their last convolution; fewer leave more patches", ge=1)
    ] = 1
    embedding_size: Annotated[
        int, setting("length of a class's embedding in the discriminators", ge=1)
    ] = 128
    class_size: Annotated[
        int, setting("length of what is compared with the embedding of a class", ge=1)
    ] = 64
    penalty: Annotated[
        float, setting("weight gamma of R1 and R2 on the projected maps; 0 switches both off", ge=0)
    ] = 80.0
    learning_rate: Annotated[float, setting("of both networks", gt=0)] = 1e-3
    beta1: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.0
    beta2: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.99

    def __post_init__(self) -> None:
        check_power_of_two("resolution", self.resolution, 8)
        if self.is_fastgan and self.generator_settings:
            raise ValueError(f"generator_settings are for other generators than {self.generator}")
        if self.is_fastgan and self.width(self.resolution) < 1:
            raise ValueError(
                f"generator_width has to be at least {self.resolution // 128} for "
                f"{self.resolution} pixels a side, not {self.generator_width}"
            )

    @property
    def is_fastgan(self) -> bool:
        """Whether the generator is one of this plugin."""
        return self.generator in ("fastgan", "fastgan-lite")

    def width(self, size: int) -> int:
        """Feature maps of a FastGAN at `size` pixels a side, in multiples of those at 128: 16 at 4,
        8 at 8, 4 at 16, 2 at 32 and 64, then 1, 1/2, 1/4 and 1/8.
        """
        return self.generator_width * (64 if size <= 32 else 128) // size


RUN = {
    "data": "openmoji",
    "batch_size": 16,
    "images": 100_000,
    "ema_half_life": 10_000,
    "ema_rampup": 0.05,
    "augment": "diffaugment",
    "diffaugment": ["translation", "cutout"],
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "latent_size": 8,
        "generator_width": 2,
        "extractor_size": 32,
        "projection_width": 8,
        "discriminator_width": 16,
        "batch_size": 4,
        "images": 32,
        "log_every": 4,
    },
    # Sauer et al. 2021, section 4 and appendix, with the sizes of the public code.
    "paper256": {
        "resolution": 256,
        "generator_width": 128,
        "extractor_size": 256,
        "projection_width": 64,
        "discriminator_width": 512,
        "discriminator_norm": "batch",
        "last_kernel": 4,
        "penalty": 0.0,
        "diffaugment": ["color", "translation", "cutout"],
        "learning_rate": 2e-4,
        "batch_size": 64,
        "images": 10_000_000,
        "ema_half_life": 20_000,
    },
}
