"""What a generator, a discriminator, a feature extractor and a training phase are.

A class here is abstract and never instantiated; a plugin's class is final and never subclassed.
Shapes are N images, C channels, H by W pixels; images are float32 in [-1, 1] unless said otherwise.
"""

from __future__ import annotations

import contextlib
import operator
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from zoo_core.errors import InputError, first_few
from zoo_core.noise import SeededNoise

# Images that are made at once, to bound memory: so many, or fewer of so many pixels together.
SAMPLE_BATCH, SAMPLE_PIXELS = 64, 64 * 128 * 128
# How far outside [-1, 1] a source picture may be: less than half a level of 255, so by rounding.
SLACK = 1e-3

# Classes by their numbers or names: one for every picture, or one for all.
Labels: TypeAlias = int | str | Sequence[int | str] | Tensor


def sample_batch(image_shape: tuple[int, int, int]) -> int:
    """How many images of that shape, C, H, W, are made at once."""
    return max(1, min(SAMPLE_BATCH, SAMPLE_PIXELS // (image_shape[1] * image_shape[2])))


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation mode; afterwards in the mode it was in."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def checked_seeds(seeds: Iterable[int]) -> list[int]:
    """The seeds in a list; InputError where one is no integer in 0 .. 2**64 - 1."""
    given = _plain(seeds)
    if not isinstance(given, Iterable):
        raise InputError("a list of seeds is needed, one a picture", given=repr(given), hint="[7]")
    given = list(given)
    numbers = [integer(seed, 1 << 64) for seed in given]
    if wrong := summarize(seed for seed, number in zip(given, numbers, strict=True) if number < 0):
        raise InputError("no such seed", given=wrong, allowed="integers in 0..2**64 - 1")
    return numbers


def summarize(values: Iterable[object]) -> str:
    """The first few different values, for a message; empty if there are none."""
    return first_few(dict.fromkeys(map(repr, values)))


def _plain(values: Any) -> Any:
    """Python's numbers for those of a tensor or an array; whatever else there is as it is."""
    return values.tolist() if isinstance(values, Tensor | np.ndarray | np.generic) else values


def integer(value: Any, stop: int) -> int:
    """The value if it is an integer in 0 .. stop - 1, else -1."""
    try:
        number = operator.index(value)
    except TypeError:
        return -1
    return number if number < stop else -1


class Generator(nn.Module, ABC):
    """Makes pictures: from seeds (a latent model) or from other pictures (a translator).

    A subclass sets `image_shape` and `num_classes`, and `source_shape` if it translates; it
    implements `generate`. Labels are needed exactly when `num_classes` is above 0.
    """

    image_shape: tuple[int, int, int]  # C, H, W
    num_classes: int = 0
    classes: tuple[str, ...] = ()  # their names, where the weights say so
    source_shape: tuple[int, int, int] | None = (
        None  # C, H, W of a source picture, None for a latent model
    )

    @abstractmethod
    def generate(
        self,
        noise: SeededNoise,  # one row an image; every random number of an image comes from its row
        *,
        labels: Tensor | None = None,  # int64 [N]
        source: Tensor | None = None,  # float32 [N, C, H, W], -1..1
        truncation: float = 1.0,  # 1 is none, 0 the average picture
    ) -> Tensor:
        """Images [N, C, H, W] around -1..1, with gradients to the weights if they are wanted."""

    @torch.no_grad()
    def sample(
        self,
        seeds: Sequence[int],
        *,
        labels: Labels | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """One picture a seed: float32 [N, C, H, W] in [-1, 1], made in evaluation mode.

        Seeds are integers in 0 .. 2**64 - 1; labels are numbers of classes or names in `classes`,
        one a seed or one for all; a source is float [N, C, H, W] in [-1, 1]. Picture i follows from
        `seeds[i]`, `labels[i]` and `source[i]`: its noise is exactly the same whatever else is
        asked for with it, and other batch sizes and devices differ by rounding, batch sizes by one
        level of 255 at most where measured. Raises InputError when seeds, labels or source pictures
        are missing, superfluous, of the wrong shape or out of range, or latents are to be truncated
        that a translator has not.
        """
        if truncation != 1 and self.source_shape is not None:
            raise InputError(
                f"{type(self).__name__} has no latents to truncate", given=truncation, allowed="1"
            )
        seeds = checked_seeds(seeds)
        labels = self.checked_labels(labels, len(seeds))
        source = self.checked_source(source, len(seeds))
        return self.draw(SeededNoise(seeds), labels=labels, source=source, truncation=truncation)

    @torch.no_grad()
    def draw(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """What `sample` does, from noise instead of seeds, and without checking the rest."""
        device = next(self.parameters()).device

        def make(rows: slice) -> Tensor:
            return self.generate(
                noise[rows],
                labels=None if labels is None else labels[rows].to(device),
                source=None if source is None else source[rows].to(device),
                truncation=truncation,
            )

        return self._drawn(make, len(noise))

    def _drawn(self, make: Callable[[slice], Tensor], count: int) -> Tensor:
        """Pictures of rows 0..count in evaluation mode, a few at a time, clamped to [-1, 1]."""
        pictures = torch.empty(count, *self.image_shape, device=next(self.parameters()).device)
        with evaluating(self):
            chunk = sample_batch(self.image_shape)
            for start in range(0, count, chunk):
                rows = slice(start, start + chunk)
                pictures[rows] = make(rows).float()
        return pictures.clamp_(-1, 1)

    def checked_labels(self, labels: Labels | None, rows: int) -> Tensor | None:
        """int64 [rows], or None for a model without classes; InputError if they do not fit."""
        name, allowed = type(self).__name__, f"0..{self.num_classes - 1}"
        if labels is None:
            if self.num_classes:
                raise InputError(f"{name} takes a label in {allowed} a seed", given="none")
            return None
        given = _plain(labels)
        one = isinstance(given, str) or not isinstance(given, Iterable)
        given = [given] * rows if one else list(given)
        if not self.num_classes:
            raise InputError(
                f"{name} takes no labels", given=summarize(given) or "[]", hint="leave them out"
            )
        if len(given) != rows:
            need = f"{rows} seeds need {rows} labels, or one for all of them"
            raise InputError(need, given=f"{len(given)} labels", allowed=allowed)
        numbers = [self._class(label) for label in given]
        if wrong := summarize(
            label for label, number in zip(given, numbers, strict=True) if number < 0
        ):
            names = f", or names such as {', '.join(self.classes[:3])}" if self.classes else ""
            raise InputError("no such class", given=wrong, allowed=f"integers in {allowed}{names}")
        return torch.tensor(numbers, dtype=torch.int64)

    def _class(self, label: object) -> int:
        """The number of a class, given by that or by its name; below 0 if there is none such."""
        if isinstance(label, str):
            return self.classes.index(label) if label in self.classes else -1
        return integer(label, self.num_classes)

    def checked_source(self, source: Tensor | None, rows: int) -> Tensor | None:
        """The source pictures in float32; InputError if they do not fit."""
        if self.source_shape is None:
            if source is not None:
                what = f"{type(self).__name__} takes no source pictures"
                raise InputError(what, given=type(source).__name__, hint="leave them out")
            return None
        expected = (rows, *self.source_shape)
        allowed = f"a float32 tensor {expected} in [-1, 1]"
        refuse = partial(InputError, "source pictures do not fit", allowed=allowed)
        if source is None:
            raise refuse(given="none")
        if not isinstance(source, Tensor):
            raise refuse(given=type(source).__name__, hint="torch.as_tensor(source)")
        if source.shape != expected:
            raise refuse(given=tuple(source.shape))
        if not source.is_floating_point():
            raise refuse(given=source.dtype, hint="source / 127.5 - 1, if it is in 0..255")
        source = source.float()
        low, high = map(float, source.aminmax()) if rows else (0.0, 0.0)
        if not -1 - SLACK <= low <= high <= 1 + SLACK:  # as is no NaN
            hint = "source / 127.5 - 1" if low >= 0 and 2 < high <= 255 else ""
            raise refuse(given=f"values in [{low:g}, {high:g}]", hint=hint)
        return source


class StyleGenerator(Generator):
    """A latent generator with an intermediate latent space W (Karras et al. 2019): every layer is
    told its style by a vector w, so that pictures can be mixed and walked between in W.

    A subclass sets `num_ws` and `style_size`, and implements `ws` and `synthesize`.
    """

    num_ws: int
    style_size: int

    @abstractmethod
    def sample_ws(
        self, noise: SeededNoise, *, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """A w for every layer: float32 [N, num_ws, style_size], moved towards the average w."""

    @abstractmethod
    def synthesize(self, ws: Tensor) -> Tensor:
        """Images [N, C, H, W] of ws [N, num_ws, style_size].

        Noise inputs are random while training, and the same for all pictures in evaluation mode.
        """

    def generate(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Images [N, C, H, W] around -1..1 of the ws of `noise`."""
        return self.synthesize(self.sample_ws(noise, labels=labels, truncation=truncation))

    @torch.no_grad()
    def draw_ws(self, ws: Tensor) -> Tensor:
        """Pictures of ws, made as `sample` makes them."""
        return self._drawn(lambda rows: self.synthesize(ws[rows]), len(ws))


class Discriminator(nn.Module, ABC):
    """Judges pictures: the larger the logit, the more real it takes a picture to be."""

    @abstractmethod
    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits, never probabilities: float32 [N], or [N, ...] if patches are judged."""


class Classifier(nn.Module, ABC):
    """Sorts pictures into classes; what it computes on the way are features for all the rest.

    A subclass sets `image_shape`, `num_classes` (K), `width` (D), and `channels` with `strides`
    (shallow to deep) if it offers feature maps. Images are float32 [N, C, H, W] in [-1, 1].
    """

    image_shape: tuple[int, int, int]  # C, H, W
    num_classes: int
    classes: tuple[str, ...] = ()  # their names, where the weights say so
    width: int
    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    source_shape: None = None

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """A logit for each class: [N, K]."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """What the last layer starts from: [N, D]."""

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`."""
        return []


class FeatureExtractor(nn.Module, ABC):
    """A frozen network that turns pictures into features; it owns its resize and its normalization.

    A subclass sets `width` (D), `channels` with `strides` (shallow to deep) if it offers feature
    maps, and `num_classes` (K) if it is a classifier. `fingerprint` names weights, resize and
    dtype: numbers measured under different ones cannot be compared.

    Images are [N, C, H, W] of any size, grey or RGB: uint8 in 0..255, or float in [-1, 1].

    Its weights come from where it was loaded, so a module that holds one has none of them in its
    own state dict: no checkpoint repeats them, and none can change them.
    """

    width: int
    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    num_classes: int = 0
    fingerprint: str
    distance: str = "fd"  # what the Frechet distance of its features is called

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, D]."""

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`, differentiable in the images.

        Raises InputError if the network offers none.
        """
        raise InputError(f"{type(self).__name__} offers no feature maps")

    def logits(self, images: Tensor) -> Tensor:
        """A logit for each class: float32 [N, K]. Raises InputError if it is no classifier."""
        raise InputError(f"{type(self).__name__} is no classifier")

    def train(self, mode: bool = True) -> FeatureExtractor:
        """Stay in evaluation mode, and frozen, whatever the parent module does."""
        self.requires_grad_(False)
        return super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> FeatureExtractor:
        """Stay frozen."""
        return super().requires_grad_(False)

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Nothing, also when a parent module asks."""
        return OrderedDict() if destination is None else destination

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *details: Any
    ) -> None:
        """Have this module and those inside it find what they hold already."""
        state_dict.update(super().state_dict(prefix=prefix, keep_vars=True))
        super()._load_from_state_dict(state_dict, prefix, *details)


@dataclass(frozen=True)
class Networks:
    """The networks of one model; None where the model has none of that kind."""

    generator: Generator | None = None
    discriminator: Discriminator | None = None
    classifier: Classifier | None = None

    @property
    def main(self) -> Generator | Classifier:
        """What the model is for: it is averaged, evaluated and published."""
        network = self.generator or self.classifier
        assert network is not None
        return network

    def named(self) -> Iterator[tuple[str, nn.Module]]:
        """Each network that exists, with its role."""
        for role, network in vars(self).items():
            if network is not None:
                yield role, network


@dataclass(frozen=True)
class Batch:
    """A step's worth of real pictures."""

    images: Tensor  # float32 [N, C, H, W], -1..1
    labels: Tensor | None  # int64 [N], for a model that learns classes
    source: Tensor | None  # float32 [N, C, H, W], -1..1
    ids: Tensor  # int64 [N], positions in the data set, on the CPU

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Progress:
    """Where a run stands: all that schedules and everything random may depend on."""

    images_seen: int  # before this step
    noise: SeededNoise  # a row for every image of this step's batch


@dataclass(frozen=True)
class Phase:
    """One optimizer step of a training step: what moves, how, and by which loss.

    `loss` returns named scalar terms; the one called "loss" is minimized, all of them are logged.
    Gradients go to the parameters of `module` only, so a loss need not freeze the other networks;
    what it computed with gradients it may hand to the next phase of the same step. Phases may share
    an optimizer, as a lazy regularizer does.
    """

    name: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[Batch, Progress], Mapping[str, Tensor]]
    every: int = 1  # run in every n-th step only
    schedule: Callable[[int], Mapping[str, Any]] | None = (
        None  # images seen -> optimizer settings such as lr and betas
    )
    state: nn.Module | None = None  # buffers that have to survive a resume, such as a running mean
