"""Any backbone of timm as a classifier: Wightman 2019, "PyTorch image models",
doi:10.5281/zenodo.4414861. Every backbone has a paper of its own, named at the top of its module in
timm.

Only timm's public functions are used: `create_model` with random weights, `forward_features` and
`forward_head` for what is pooled, `forward_intermediates` with `feature_info` for feature maps.

Departures: pictures are taken as they are, in -1..1, not normalized by ImageNet's mean and standard
deviation; a backbone made for one size of picture is made for `resolution` instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from zoo_classifier.config import ClassifierConfig
from zoo_core import Classifier, ConfigError, OfflineError, UnknownNameError, evaluating


class TimmClassifier(Classifier):
    """Pictures [N, C, R, R] in -1..1 to logits [N, K].

    Raises OfflineError without timm, UnknownNameError if it has no such backbone, and ConfigError
    if the backbone cannot be built as it is wanted, or not take pictures of that size.
    """

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.num_classes = config.num_classes
        check_backbone(config.backbone)
        try:
            self.backbone = create_backbone(config)
            self.width, self.channels = self._probe()
        except Exception as error:  # whatever networks raise that were not made for this
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ConfigError(
                f"the backbone {config.backbone} cannot be made for pictures of "
                f"{config.resolution} pixels and the other settings: {reason}"
            ) from error
        self.strides = tuple(stage["reduction"] for stage in self.backbone.feature_info)

    def forward(self, images: Tensor) -> Tensor:
        """A logit for each class: float32 [N, K]."""
        return self.backbone(images).float()

    def features(self, images: Tensor) -> Tensor:
        """What the last layer starts from: float32 [N, D]."""
        return self.backbone.forward_head(
            self.backbone.forward_features(images), pre_logits=True
        ).float()

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`, shallow to deep."""
        return self.backbone.forward_intermediates(images, intermediates_only=True)

    @torch.no_grad()
    def _probe(self) -> tuple[int, tuple[int, ...]]:
        """The widths of features and maps, measured: pooling may widen what is pooled."""
        images = torch.zeros(1, *self.image_shape)
        with evaluating(self):  # statistics of normalizations stay as they are
            features, maps = self.features(images), self.feature_maps(images)
        return features.shape[1], tuple(pixels.shape[1] for pixels in maps)


def check_backbone(name: str) -> None:
    """Raise OfflineError without timm, and UnknownNameError if it has no such architecture."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise OfflineError(
            f"backbones need the package {error.name}", hint="pip install 'zoo-core[features]'"
        ) from None
    if not timm.is_model(name):
        raise UnknownNameError("backbone of timm", name, timm.list_models())


def create_backbone(config: ClassifierConfig) -> nn.Module:
    """Random weights; what is None is left to the backbone."""
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
            layer.register_forward_pre_hook(fill_up_to_the_stride)
    return backbone


def fill_up_to_the_stride(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor] | None:
    """Zeros behind pictures smaller than the stride of `layer`, where they are the padding anyway.

    Without them torch's gradient of a weight, in bfloat16 on a CPU, is whatever lies in memory
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
