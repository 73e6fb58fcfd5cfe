"""What feature extractors share: pictures of any kind to the pixels a network was trained on, and
numbers that do not depend on how training computes.

A number measured on features is comparable only if the network, its weights, the resize and the
precision are the same; `fingerprint` is all of that in a line. Pictures are resized whole, without
a crop and without rounding back to 256 levels in between.
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zoo_core.errors import InputError
from zoo_core.interfaces import Classifier, FeatureExtractor
from zoo_core.nn.layers import full_precision

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow makes a picture grey


class Backbone(nn.Module, ABC):
    """A network behind its input: takes float32 [N, 3, S, S], resized and normalized.

    A subclass sets `strides` (shallow to deep) if it offers feature maps, and `num_classes` if it
    is a classifier. How wide its features are is measured, and strides that are far off are
    corrected.
    """

    strides: tuple[int, ...] = ()
    num_classes: int = 0

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Pooled features [N, D]."""

    def feature_maps(self, pixels: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `strides`."""
        return []

    def logits(self, pixels: Tensor) -> Tensor:
        """A logit for each class: [N, K]; called only if `num_classes` is above 0."""
        raise NotImplementedError


class BackboneExtractor(FeatureExtractor):
    """A backbone with its input in front: what most extractors are.

    `weights` identifies the backbone's weights (see `digest`), `mean` and `std` apply to pictures
    in [0, 1]. Pooled features and logits are computed in float32, whatever autocast does around
    them; feature maps follow autocast. Raises InputError if the backbone cannot take pictures of
    `input_size`.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        name: str,
        weights: str,
        input_size: int,  # pixels a side
        mean: Sequence[float],
        std: Sequence[float],
        resize: str = "bicubic-antialias",  # of RESIZES
    ):
        super().__init__()
        self.backbone = backbone
        self.name, self.input_size, self.resize = name, input_size, resize
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1))
        self.num_classes = backbone.num_classes
        self.fingerprint = fingerprint(name, weights, f"{input_size}px", resize)
        self.train()
        self.width, self.channels, self.strides = self._probe()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, D]."""
        with exact_float32(images.device):
            return self.backbone(self.prepare(images))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`, differentiable in the images."""
        if not self.channels:
            raise InputError(f"{self.name} offers no feature maps")
        return self.backbone.feature_maps(self.prepare(images))

    def logits(self, images: Tensor) -> Tensor:
        """A logit for each class: float32 [N, K]. Raises InputError if it is no classifier."""
        if not self.num_classes:
            raise InputError(f"{self.name} is no classifier")
        with exact_float32(images.device):
            return self.backbone.logits(self.prepare(images))

    def prepare(self, images: Tensor) -> Tensor:
        """Pictures as the backbone takes them: float32 [N, 3, S, S], normalized."""
        with exact_float32(images.device):
            pixels = RESIZES[self.resize](as_rgb(images), (self.input_size, self.input_size))
            return (pixels - self.mean) / self.std

    @torch.no_grad()
    def _probe(self) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """Widths of the features and of the maps, measured: what networks say of them varies."""
        pixels = torch.zeros(1, 3, self.input_size, self.input_size, device=self.mean.device)
        try:
            features, maps = self.backbone(pixels), self.backbone.feature_maps(pixels)
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{self.name} cannot take pictures of that size: {reason}", given=self.input_size
            ) from error
        assert features.dim() == 2, "pooled features are [N, D]"
        strides = tuple(
            _stride(stated, self.input_size, one.shape[3])
            for stated, one in zip(self.backbone.strides, maps, strict=True)
        )
        return features.shape[1], tuple(one.shape[1] for one in maps), strides


def _stride(stated: int, size: int, side: int) -> int:
    """The stride of a map of `side` pixels: the stated one, if rounding and borders explain it."""
    return stated if abs(side - size / stated) <= 1 + side / 10 else round(size / side)


class ClassifierFeatures(FeatureExtractor):
    """A classifier of the zoo as a feature extractor, with pictures resized to its own size."""

    def __init__(self, classifier: Classifier, *, name: str, resize: str = "bicubic-antialias"):
        super().__init__()
        self.classifier = classifier
        self.name, self.resize = name, resize
        self.width, self.num_classes = classifier.width, classifier.num_classes
        self.channels, self.strides = classifier.channels, classifier.strides
        weights = digest(classifier.state_dict())
        self.fingerprint = fingerprint(name, weights, f"{classifier.image_shape[2]}px", resize)
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, D]."""
        with exact_float32(images.device):
            return self.classifier.features(self.prepare(images))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`, differentiable in the images."""
        if not self.channels:
            raise InputError(f"{self.name} offers no feature maps")
        return self.classifier.feature_maps(self.prepare(images))

    def logits(self, images: Tensor) -> Tensor:
        """A logit for each class: float32 [N, K]."""
        with exact_float32(images.device):
            return self.classifier(self.prepare(images))

    def prepare(self, images: Tensor) -> Tensor:
        """Pictures as the classifier takes them: float32 [N, C, H, W] in -1..1."""
        channels, *size = self.classifier.image_shape
        with exact_float32(images.device):
            pixels = RESIZES[self.resize](as_rgb(images), tuple(size))
            if channels == 1:
                pixels = (pixels * pixels.new_tensor(LUMA).reshape(3, 1, 1)).sum(1, keepdim=True)
            return pixels * 2 - 1


@contextlib.contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Compute in float32: no autocast and no TF32, whatever is switched on around it.

    Torch's older switches cannot be read once somebody has used these.
    """
    backends = torch.backends
    switches: list[Any] = [backends.cuda.matmul, backends.cudnn.conv]
    switches += [backends.mkldnn.matmul, backends.mkldnn.conv]
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "ieee"
    try:
        with full_precision(device):
            yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision


def as_rgb(images: Tensor) -> Tensor:
    """Pictures [N, C, H, W], grey or RGB, uint8 or float in -1..1, as float32 RGB in 0..1.

    Raises InputError for anything else.
    """
    known = images.dtype == torch.uint8 or images.is_floating_point()
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not known:
        raise InputError(
            "these are no pictures for a feature extractor",
            given=f"{images.dtype} {list(images.shape)}",
            allowed="[N, 1 or 3, H, W], uint8 in 0..255 or float in -1..1",
        )
    pixels = images.float() / 255 if images.dtype == torch.uint8 else (images.float() + 1) / 2
    return pixels.expand(-1, 3, -1, -1)


def resize_linear(images: Tensor, size: tuple[int, int], **options: object) -> Tensor:
    """[N, C, H, W] to [N, C, *size] as torch's `interpolate` would, from float to float.

    Every linear resize is a matrix along each axis. As two products of matrices it was 2 to 15
    times as fast on a CPU as `interpolate` with antialiasing, from 32 or 64 to 224 pixels, and its
    gradient is the same in every run, which that of `interpolate` on CUDA is not.
    """
    rows, columns = (
        _resampling(source, target, images.device, **options)
        for source, target in zip(images.shape[2:], size, strict=True)
    )
    return rows @ images @ columns.T


def _resampling(source: int, target: int, device: torch.device, **options: object) -> Tensor:
    """The matrix [target, source] that resizes one axis: a picture of the identity, resized."""
    identity = torch.eye(source, device=device)[None, None]
    return interpolate(identity, size=(target, source), **options)[0, 0]


def _bicubic_antialias(images: Tensor, size: tuple[int, int]) -> Tensor:
    return resize_linear(images, size, mode="bicubic", antialias=True, align_corners=False)


# By name, as it stands in fingerprints: float [N, C, H, W] and a size to float [N, C, *size]. What
# is of that size already is left as it is. Nothing is clamped: bicubic may leave 0..1 a little.
RESIZES: Mapping[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    "bicubic-antialias": _bicubic_antialias,
}


def fingerprint(name: str, weights: str, *details: str) -> str:
    """What a number measured on features depends on, in a line."""
    return " ".join((name, f"sha256:{weights}", *details, "float32"))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Short sha256 of weights: of shapes, dtypes and values in order, not of their names.

    "unloaded" if they are on the meta device and have no values.
    """
    state = hashlib.sha256()
    for tensor in tensors.values():
        if tensor.is_meta:
            return "unloaded"
        state.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
        flat = tensor.detach().to("cpu").contiguous().reshape(-1)
        state.update(memoryview(flat.view(torch.uint8).numpy()))
    return state.hexdigest()[:12]
