"""The configuration of the classifier and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import ModelConfig, setting


class ClassifierConfig(ModelConfig, frozen=True, kw_only=True):
    """The defaults are a small network for two CPU cores; `imagenet` is a published recipe."""

    backbone: Annotated[
        str, setting("timm architecture without a weights tag, such as resnet18")
    ] = "test_resnet"
    resolution: Annotated[
        int, setting("pixels per side; any size that the backbone accepts", ge=8)
    ] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    num_classes: Annotated[int, setting("number of classes; auto: those of the data", ge=2)] = 10
    drop_rate: Annotated[
        float, setting("dropout probability before the last layer", ge=0, lt=1)
    ] = 0.0
    drop_path_rate: Annotated[
        float,
        setting(
            "stochastic depth: probability of skipping the deepest residual branch", ge=0, lt=1
        ),
    ] = 0.0
    label_smoothing: Annotated[
        float,
        setting(
            "label smoothing: share of a label spread over all classes", ge=0, lt=1, group="loss"
        ),
    ] = 0.1
    optimizer: Annotated[
        Literal["adamw", "sgd"], setting("AdamW, or SGD with Nesterov momentum", group="optimizer")
    ] = "adamw"
    learning_rate: Annotated[float, setting("peak learning rate", gt=0, group="optimizer")] = 3e-3
    learning_rate_end: Annotated[
        float,
        setting(
            "learning rate at the start of the warm-up and at the end", ge=0, group="optimizer"
        ),
    ] = 3e-5
    warmup_images: Annotated[
        int, setting("images until the peak learning rate", ge=0, group="optimizer")
    ] = 1_500
    schedule_images: Annotated[
        int, setting("images until the final learning rate", ge=1, group="optimizer")
    ] = 18_000
    weight_decay: Annotated[
        float,
        setting(
            "weight decay; not applied to biases and normalization layers", ge=0, group="optimizer"
        ),
    ] = 0.05

    def __post_init__(self) -> None:
        architecture, dot, _ = self.backbone.partition(".")
        if dot:
            raise ValueError(
                f"backbone must be an architecture without a tag, {architecture}, not "
                f"{self.backbone}: training starts from random weights"
            )
        if self.warmup_images >= self.schedule_images:
            raise ValueError(
                f"warmup_images must be less than schedule_images, {self.schedule_images}, "
                f"not {self.warmup_images}"
            )


RUN = {
    "data": "digits",
    "images": 18_000,
    "batch_size": 32,
    "jitter": 4,
    "ema_half_life": 0,  # off: a learning rate that falls to nearly 0 averages too
    "evaluate_every": 3_000,
}

EPOCH = 1_281_167  # images in ImageNet's training split

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 16,
        "jitter": 0,
        "warmup_images": 8,
        "schedule_images": 64,
        "batch_size": 8,
        "images": 64,
        "log_every": 8,
    },
    # He et al. 2019, sections 2, 3.1, 5.1 and 5.2.
    "imagenet": {
        "backbone": "resnet50",
        "resolution": 224,
        "num_classes": 1000,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "learning_rate_end": 0.0,
        "weight_decay": 1e-4,
        "warmup_images": 5 * EPOCH,
        "schedule_images": 120 * EPOCH,
        "mirror": True,
        "jitter": 32,
        "batch_size": 256,
        "images": 120 * EPOCH,
        "log_every": 40_960,
        "checkpoint_every": EPOCH,
        "evaluate_every": EPOCH,
    },
}
