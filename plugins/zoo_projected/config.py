"""The configuration of Projected GAN and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, check_power_of_two, setting


class ProjectedConfig(ModelConfig, frozen=True, kw_only=True):
    """The defaults are a small variant for two CPU cores; `paper256` is the published recipe."""

    resolution: Annotated[
        int, setting("pixels per side, a power of two from 8 to 1024", ge=8, le=1024)
    ] = 64
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    num_classes: Annotated[
        int, setting("number of classes; auto: those of the data; 0 ignores labels", ge=0)
    ] = 0
    generator: Annotated[
        str, setting("fastgan, fastgan-lite (half the depth), or the name of a model in the zoo")
    ] = "fastgan"
    generator_settings: Annotated[
        dict[str, Any], setting("settings of the model named by generator")
    ] = {}
    latent_size: Annotated[int, setting("length of fastgan's latent vector", ge=1)] = 256
    generator_width: Annotated[
        int, setting("feature maps of fastgan at 128 x 128; other sizes scale with it", ge=1)
    ] = 16
    extractor: Annotated[
        str, setting("feature extractor of the discriminators; must offer feature maps")
    ] = "timm/tf_efficientnet_lite0.in1k"
    extractor_size: Annotated[
        int, setting("pixels per side of the extractor's input; smaller is faster", ge=32)
    ] = 96
    projection_width: Annotated[
        int, setting("channels of the shallowest projection; each deeper one doubles them", ge=1)
    ] = 32
    discriminator_width: Annotated[
        int, setting("feature maps before each discriminator's last convolution", ge=8)
    ] = 128
    discriminator_norm: Annotated[
        Literal["batch", "none"], setting("normalization in the discriminators")
    ] = "none"
    last_kernel: Annotated[
        int,
        setting(
            "kernel size of the discriminators' last convolution; smaller gives more patches", ge=1
        ),
    ] = 1
    embedding_size: Annotated[int, setting("size of the discriminators' class embedding", ge=1)] = (
        128
    )
    class_size: Annotated[
        int, setting("channels in which features are compared with the class embedding", ge=1)
    ] = 64
    penalty: Annotated[
        float,
        setting(
            "weight gamma of R1 and R2 on the projected maps; 0 disables both", ge=0, group="loss"
        ),
    ] = 80.0
    learning_rate: Annotated[
        float, setting("learning rate of both networks", gt=0, group="optimizer")
    ] = 1e-3
    beta1: Annotated[float, setting("beta1 of Adam", ge=0, lt=1, group="optimizer")] = 0.0
    beta2: Annotated[float, setting("beta2 of Adam", ge=0, lt=1, group="optimizer")] = 0.99

    def __post_init__(self) -> None:
        check_power_of_two("resolution", self.resolution, 8)
        if self.is_fastgan and self.generator_settings:
            raise ValueError(f"generator_settings cannot be used with generator={self.generator}")
        if self.is_fastgan and self.width(self.resolution) < 1:
            raise ValueError(
                f"generator_width must be at least {self.resolution // 128} at "
                f"{self.resolution} pixels, not {self.generator_width}"
            )

    @property
    def is_fastgan(self) -> bool:
        """Whether the generator is this plugin's own, FastGAN."""
        return self.generator in ("fastgan", "fastgan-lite")

    def width(self, size: int) -> int:
        """Feature maps of FastGAN at `size` pixels per side.

        As multiples of those at 128: 16 at 4, 8 at 8, 4 at 16, 2 at 32 and 64, then 1, 1/2, 1/4 and
        1/8.
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
    # Sauer et al. 2021, section 4 and appendix; sizes from the public code.
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
