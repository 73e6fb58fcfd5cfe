"""Interfaces of discriminators, classifiers, feature extractors and training phases.

The network classes here are abstract; a plugin's class is final and never subclassed.
Shapes are N images, C channels, H by W pixels; images are float32 in [-1, 1] unless said otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.arguments import Images
from zoo_core.errors import InputError
from zoo_core.generators import Generator
from zoo_core.noise import SeededNoise


class Discriminator(nn.Module, ABC):
    """Scores images: the larger the logit, the more real the image is taken to be.

    A subclass that ends with a minibatch standard deviation (`minibatch_stddev`) sets
    `stddev_group`, so that a step on slices of its batch keeps the groups whole.
    """

    stddev_group: int = 1  # images whose features it compares; 1: every logit is of one image alone
    about: Any = None  # the WeightsMetadata of its file, if it was loaded or created

    @abstractmethod
    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits, never probabilities: float32 [N], or [N, ...] for a patch discriminator."""

    def layers(self) -> list[nn.Module]:
        """The layers before the last one, from the image on; `freeze_d` freezes the first of them.

        By default none: nothing can be frozen.
        """
        return []


class Classifier(nn.Module, ABC):
    """Classifies images; its inner activations serve as features elsewhere.

    A subclass sets `image_shape`, `num_classes` (K), `width` (D), and `channels` with `strides`
    (shallow to deep) if it offers feature maps. Images are float32 [N, C, H, W] in [-1, 1].
    """

    image_shape: tuple[int, int, int]  # C, H, W
    num_classes: int
    classes: tuple[str, ...] = ()  # their names, where the weights say so
    about: Any = None  # the WeightsMetadata of its file, if it was loaded or created
    width: int
    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    source_shape: None = None

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """A logit for each class: [N, K]."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """The input of the last layer: [N, D]."""

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`."""
        return []


class FeatureExtractor(nn.Module, ABC):
    """A frozen network that turns images into features, with its own resize and normalization.

    A subclass sets `width` (D), `channels` with `strides` (shallow to deep) if it offers feature
    maps, and `num_classes` (K) if it is a classifier. `fingerprint` identifies weights, resize,
    normalization and dtype: metrics measured under different fingerprints cannot be compared.

    Images are [N, C, H, W] of any size, gray or RGB: uint8 in 0..255, or float in [-1, 1]. With a
    `reader`, which `zoo.load_features` sets, they are also what `data/given.py` lists: arrays,
    pictures of Pillow, paths. It refuses floats that are clearly in 0..255 or in 0..1. Without
    one, as in training, nothing is checked.

    Its weights always come from its own source. They are left out of the state dict of any module
    that contains it, so that no checkpoint repeats or changes them.
    """

    width: int
    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    num_classes: int = 0
    fingerprint: str
    reader: Callable[[Images], Iterable[Tensor]] | None = None
    distance: str = "fd"  # name of the Frechet distance of its features

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, D]."""

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`, differentiable in the images.

        Raises InputError if the network has none.
        """
        raise InputError(f"{type(self).__name__} offers no feature maps")

    def batches(self, images: Images) -> Iterable[Tensor]:
        """What was given for images as tensors [N, C, H, W], each of one size."""
        return (images,) if self.reader is None else self.reader(images)

    def logits(self, images: Tensor) -> Tensor:
        """A logit for each class: float32 [N, K]. Raises InputError if it is not a classifier."""
        raise InputError(f"{type(self).__name__} is not a classifier")

    def train(self, mode: bool = True) -> FeatureExtractor:
        """Stay frozen and in evaluation mode, whatever the parent module does."""
        self.requires_grad_(False)
        return super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> FeatureExtractor:
        """Stay frozen."""
        return super().requires_grad_(False)

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Nothing: the weights are in no state dict, not even a parent module's."""
        return OrderedDict() if destination is None else destination

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *details: Any
    ) -> None:
        """Load the current weights of this module, since the given state dict has none."""
        state_dict.update(super().state_dict(prefix=prefix, keep_vars=True))
        super()._load_from_state_dict(state_dict, prefix, *details)


@dataclass(frozen=True)
class Networks:
    """The networks of one model; None where the model has no such network."""

    generator: Generator | None = None
    discriminator: Discriminator | None = None
    classifier: Classifier | None = None

    @property
    def main(self) -> Generator | Classifier:
        """The main network: the one averaged, evaluated and published."""
        network = self.generator or self.classifier
        assert network is not None
        return network

    def named(self) -> Iterator[tuple[str, nn.Module]]:
        """(role, network) for each network that exists."""
        for role, network in vars(self).items():
            if network is not None:
                yield role, network


@dataclass(frozen=True)
class Batch:
    """The real images of a step."""

    images: Tensor  # float32 [N, C, H, W], -1..1
    labels: Tensor | None  # int64 [N], for a model with classes
    source: Tensor | None  # float32 [N, C, H, W], -1..1
    ids: Tensor  # int64 [N], positions in the data set, on the CPU

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Progress:
    """Where a run stands: schedules and random numbers may depend on nothing else."""

    images_seen: int  # before this step
    noise: SeededNoise  # one row per image of the batch that a loss is given
    batch_size: int = 0  # images of the whole step, of which that may be a slice; 0: as many

    @property
    def step(self) -> int:
        """The number of this step, for what is done in every k-th one."""
        return self.images_seen // (self.batch_size or len(self.noise))


@dataclass(frozen=True)
class Phase:
    """One optimizer step of a training step: the module to update, its optimizer, and the loss.

    `loss` returns named scalar terms; the one called "loss" is minimized, all of them are logged.
    Only the parameters of `module` get gradients, so a loss need not freeze the other networks; it
    may pass tensors with their autograd graph on to the next phase of the same step. Phases may
    share an optimizer, as a lazy regularizer does.

    With `micro_batch`, `build_phases` is called once for each slice of a batch, and the losses of a
    slice are given that slice only; their gradients and terms are averaged. So a loss must be a
    mean over images; a phase with a `state` cannot be sliced.
    """

    name: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[Batch, Progress], Mapping[str, Tensor]]
    every: int = 1  # run only in every n-th step
    schedule: Callable[[int], Mapping[str, Any]] | None = (
        None  # images seen -> optimizer settings such as lr and betas
    )
    state: nn.Module | None = None  # buffers that must survive a resume, such as a running mean
