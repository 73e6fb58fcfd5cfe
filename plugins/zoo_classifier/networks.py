"""Any timm backbone as a classifier: Wightman 2019, "PyTorch image models",
doi:10.5281/zenodo.4414861. Each backbone's own paper is named at the top of its module in timm.

Only timm's public functions are used: `create_model` with random weights, `forward_features` and
`forward_head` for pooled features, `forward_intermediates` with `feature_info` for feature maps.

Departures: images stay in -1..1 and are not normalized by ImageNet's mean and standard deviation; a
backbone with a fixed input size is built for `resolution` instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from zoo_classifier.config import ClassifierConfig
from zoo_core import Classifier, ConfigError, OfflineError, UnknownNameError, evaluating


class TimmClassifier(Classifier):
    """Images [N, C, R, R] in -1..1 to logits [N, K].

    Raises OfflineError if timm is missing, UnknownNameError if it has no such backbone, and
    ConfigError if the backbone does not support the settings or the image size.
    """

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.num_classes = config.num_classes
        check_backbone(config.backbone)
        try:
            self.backbone = create_backbone(config)
            self.width, self.channels = self._probe()
        except Exception as error:  # backbones raise errors of any type for unsupported settings
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ConfigError(
                f"the backbone {config.backbone} does not support {config.resolution} pixels with "
                f"these settings: {reason}"
            ) from error
        self.strides = tuple(stage["reduction"] for stage in self.backbone.feature_info)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, K]."""
        return self.backbone(images).float()

    def features(self, images: Tensor) -> Tensor:
        """The input of the last layer, float32 [N, D]."""
        return self.backbone.forward_head(
            self.backbone.forward_features(images), pre_logits=True
        ).float()

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`, shallow to deep."""
        return self.backbone.forward_intermediates(images, intermediates_only=True)

    @torch.no_grad()
    def _probe(self) -> tuple[int, tuple[int, ...]]:
        """The channels of features and maps, measured, because a head may widen pooled features."""
        images = torch.zeros(1, *self.image_shape)
        with evaluating(self):  # leave the running statistics alone
            features, maps = self.features(images), self.feature_maps(images)
        return features.shape[1], tuple(pixels.shape[1] for pixels in maps)


def check_backbone(name: str) -> None:
    """Raise OfflineError if timm is missing, UnknownNameError if it has no such architecture."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise OfflineError(
            f"the classifier's backbones need the package {error.name}",
            hint="pip install 'zoo-core[features]'",
        ) from None
    if not timm.is_model(name):
        raise UnknownNameError("timm backbone", name, timm.list_models())


def create_backbone(config: ClassifierConfig) -> nn.Module:
    """Build the backbone with random weights; options that are None keep the backbone's default."""
    import timm

    is_fixed = timm.get_pretrained_cfg_value(config.backbone, "fixed_input_size")
    backbone = timm.create_model(
        config.backbone,
        num_classes=config.num_classes,
        in_chans=config.channels,
        img_size=config.resolution if is_fixed else None,
        drop_rate=config.drop_rate or None,
        drop_path_rate=config.drop_path_rate or None,
    )
    for layer in backbone.modules():
        if type(layer) is nn.Conv2d and max(layer.stride) > 1 and layer.padding != "valid":
            layer.register_forward_pre_hook(pad_to_stride)
    return backbone


def pad_to_stride(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor] | None:
    """Zero-pad images smaller than the stride of `layer`; these zeros do not change its output.

    Without them torch's weight gradient in bfloat16 on a CPU reads memory past the image
    (docs/log.md).
    """
    assert isinstance(layer, nn.Conv2d)
    (images,) = inputs
    missing = [
        max(0, stride - side) if size > 2 * padding else 0
        for stride, side, size, padding in zip(
            layer.stride, images.shape[2:], layer.kernel_size, layer.padding, strict=True
        )
    ]
    return (pad(images, (0, missing[1], 0, missing[0])),) if any(missing) else None
