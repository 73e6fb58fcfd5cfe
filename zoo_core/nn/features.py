"""Shared parts of feature extractors: input preparation, and precision independent of training.

A metric on features is comparable only if the network, its weights, the resize, the normalization
and the precision are the same; `fingerprint` states them all in one line. Images are resized whole,
without cropping and without rounding to 256 levels in between.
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zoo_core.errors import InputError
from zoo_core.interfaces import Classifier, FeatureExtractor
from zoo_core.nn.layers import full_precision
from zoo_core.nn.tracing import traced

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow's conversion to gray


class Backbone(nn.Module, ABC):
    """A network without its preprocessing: takes float32 [N, 3, S, S], resized and normalized.

    A subclass sets `strides` (shallow to deep) if it offers feature maps, and `num_classes` if it
    is a classifier. Feature widths are measured, and strides that are far off are corrected.
    """

    strides: tuple[int, ...] = ()
    num_classes: int = 0

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Pooled features [N, D]."""

    def feature_maps(self, pixels: Tensor) -> list[Tensor]:
        """One map [N, C_i, H_i, W_i] per entry of `strides`."""
        return []

    def logits(self, pixels: Tensor) -> Tensor:
        """One logit per class: [N, K]; called only if `num_classes` is above 0."""
        raise NotImplementedError


class BackboneExtractor(FeatureExtractor):
    """A backbone with its preprocessing, which is what most extractors are.

    `weights` identifies the backbone's weights (see `digest`); `mean` and `std` apply to images in
    [0, 1]. Pooled features and logits are computed in float32, even under autocast; feature maps
    follow autocast. Raises InputError if the backbone cannot take images of `input_size`.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        name: str,
        weights: str,
        input_size: int,  # pixels per side
        mean: Sequence[float],
        std: Sequence[float],
        resize: str = "bicubic-antialias",  # a key of RESIZES
    ):
        super().__init__()
        self.backbone = backbone
        self.name, self.input_size, self.resize = name, input_size, resize
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1))
        self.num_classes = backbone.num_classes
        self.fingerprint = fingerprint(name, weights, f"{input_size}px", resize, mean=mean, std=std)
        self.train()
        self.width, self.channels, self.strides = self._probe()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, D]."""
        with exact_float32(self.mean.device):
            return self.backbone(self.prepare(images))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """One map [N, C_i, H_i, W_i] per entry of `channels`, differentiable in the images."""
        if not self.channels:
            raise InputError(f"{self.name} offers no feature maps")
        return self.backbone.feature_maps(self.prepare(images))

    def logits(self, images: Tensor) -> Tensor:
        """One logit per class: float32 [N, K]. Raises InputError if it is not a classifier."""
        if not self.num_classes:
            raise InputError(f"{self.name} is not a classifier")
        with exact_float32(self.mean.device):
            return self.backbone.logits(self.prepare(images))

    def prepare(self, images: Tensor) -> Tensor:
        """Convert images to the backbone's input: float32 [N, 3, S, S], normalized."""
        device, size = self.mean.device, (self.input_size, self.input_size)
        with exact_float32(device):
            pixels = resized(self.batches(images), size, self.resize, device)
            return (pixels - self.mean) / self.std

    @torch.no_grad()
    def _probe(self) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """Measure the widths of features and maps; networks report them in different ways."""
        pixels = torch.zeros(1, 3, self.input_size, self.input_size, device=self.mean.device)
        try:
            features, maps = self.backbone(pixels), self.backbone.feature_maps(pixels)
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{self.name} cannot take images of this size: {reason}", given=self.input_size
            ) from error
        assert features.dim() == 2, "pooled features must be [N, D]"
        strides = tuple(
            _stride(stated, self.input_size, one.shape[3])
            for stated, one in zip(self.backbone.strides, maps, strict=True)
        )
        return features.shape[1], tuple(one.shape[1] for one in maps), strides


def _stride(stated: int, size: int, side: int) -> int:
    """The stride of a map of `side` pixels: `stated` if rounding and borders can explain it."""
    return stated if abs(side - size / stated) <= 1 + side / 10 else round(size / side)


class ClassifierFeatures(FeatureExtractor):
    """A zoo classifier as a feature extractor; images are resized to the classifier's size."""

    def __init__(self, classifier: Classifier, *, name: str, resize: str = "bicubic-antialias"):
        super().__init__()
        self.classifier = classifier
        self.name, self.resize = name, resize
        self.width, self.num_classes = classifier.width, classifier.num_classes
        self.channels, self.strides = classifier.channels, classifier.strides
        self.fingerprint = fingerprint(
            name,
            digest(classifier.state_dict()),
            f"{classifier.image_shape[2]}px",
            resize,
            mean=(0.5,),
            std=(0.5,),
        )
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, D]."""
        with exact_float32(self._device()):
            return self.classifier.features(self.prepare(images))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """One map [N, C_i, H_i, W_i] per entry of `channels`, differentiable in the images."""
        if not self.channels:
            raise InputError(f"{self.name} offers no feature maps")
        return self.classifier.feature_maps(self.prepare(images))

    def logits(self, images: Tensor) -> Tensor:
        """One logit per class: float32 [N, K]."""
        with exact_float32(self._device()):
            return self.classifier(self.prepare(images))

    def prepare(self, images: Tensor) -> Tensor:
        """Convert images to the classifier's input: float32 [N, C, H, W] in -1..1."""
        channels, *size = self.classifier.image_shape
        with exact_float32(self._device()):
            pixels = resized(self.batches(images), tuple(size), self.resize, self._device())
            if channels == 1:
                pixels = (pixels * pixels.new_tensor(LUMA).reshape(3, 1, 1)).sum(1, keepdim=True)
            return pixels * 2 - 1  # as with mean 0.5 and std 0.5

    def _device(self) -> torch.device:
        return next(self.classifier.parameters()).device


@contextlib.contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Compute in float32, without autocast and TF32, even if they are enabled outside.

    Once these switches have been set, torch's older ones for TF32 can no longer be read.
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
    """Convert images [N, C, H, W], gray or RGB, uint8 or float in -1..1, to float32 RGB in 0..1.

    Raises InputError for anything else.
    """
    known = images.dtype == torch.uint8 or images.is_floating_point()
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not known:
        raise InputError(
            "a feature extractor cannot take these images",
            given=f"{images.dtype} {list(images.shape)}",
            allowed="[N, 1 or 3, H, W], uint8 in 0..255 or float in -1..1",
        )
    pixels = images.float() / 255 if images.dtype == torch.uint8 else (images.float() + 1) / 2
    return pixels.expand(-1, 3, -1, -1)


def resized(
    batches: Iterable[Tensor], size: tuple[int, int], resize: str, device: torch.device
) -> Tensor:
    """Images of any sizes as float32 RGB [N, 3, *size] in 0..1, in the order of the batches."""
    parts = [RESIZES[resize](as_rgb(each.to(device)), size) for each in batches]
    if not parts:
        raise InputError("there are no images to take features of")
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def resize_linear(images: Tensor, size: tuple[int, int], **options: object) -> Tensor:
    """Resize [N, C, H, W] to [N, C, *size] like torch's `interpolate`, from float to float.

    A linear resize is one matrix per axis. Two matrix products are 2 to 15 times as fast on a CPU
    as `interpolate` with antialiasing (from 32 or 64 to 224 pixels), and their gradient is the same
    in every run, unlike that of `interpolate` on CUDA.
    """
    rows, columns = (
        _resampling(source, target, images.device, **options)
        for source, target in zip(images.shape[2:], size, strict=True)
    )
    return rows @ images @ columns.T


_MATRICES: dict[tuple[object, ...], Tensor] = {}  # by the arguments of `_resampling`
MAX_MATRICES = 16


def _resampling(source: int, target: int, device: torch.device, **options: object) -> Tensor:
    """The matrix [target, source] that resizes one axis, found by resizing the identity.

    It is kept, so that a graph that is recorded after a call holds its numbers: ONNX resizes
    otherwise than torch does, where torch 2.9 writes it.
    """
    key = (source, target, device, *options.items())
    matrix = _MATRICES.get(key)
    if matrix is None and traced():
        return _resized_identity(source, target, device, **options)
    if matrix is None:
        with torch.inference_mode(False), torch.no_grad():  # for calls of any mode
            matrix = _resized_identity(source, target, device, **options)
        if len(_MATRICES) >= MAX_MATRICES:
            _MATRICES.clear()
        _MATRICES[key] = matrix
    return matrix


def _resized_identity(source: int, target: int, device: torch.device, **options: object) -> Tensor:
    identity = torch.eye(source, device=device)[None, None]
    return interpolate(identity, size=(target, source), **options)[0, 0]


def _bicubic_antialias(images: Tensor, size: tuple[int, int]) -> Tensor:
    return resize_linear(images, size, mode="bicubic", antialias=True, align_corners=False)


# Resize functions by their names in fingerprints: float [N, C, H, W] and a size to float
# [N, C, *size]. Images that already have the size stay unchanged. Values are not clamped: bicubic
# may overshoot 0..1 slightly.
RESIZES: Mapping[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    "bicubic-antialias": _bicubic_antialias,
}


def fingerprint(
    name: str, weights: str, *details: str, mean: Sequence[float], std: Sequence[float]
) -> str:
    """One line that states everything a metric on features depends on.

    `weights` is their `digest`; `mean` and `std` apply to images in [0, 1], one number for all
    channels or one for each, and are 0 and 1 for a network that takes them as they are.
    """
    normalization = f"mean:{_briefly(mean)}", f"std:{_briefly(std)}"
    return " ".join((name, f"sha256:{weights}", *details, *normalization, "float32"))


def _briefly(values: Sequence[float]) -> str:
    """Numbers to 6 digits, as precisely as float32 pixels tell them apart; one if all are equal."""
    texts = [f"{value:g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else ",".join(texts)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Short sha256 of weights: their shapes, dtypes and values in order, but not their names.

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
