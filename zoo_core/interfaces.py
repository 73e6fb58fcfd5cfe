"""Interfaces of generators, discriminators, classifiers, feature extractors and training phases.

The network classes here are abstract; a plugin's class is final and never subclassed.
Shapes are N images, C channels, H by W pixels; images are float32 in [-1, 1] unless said otherwise.
"""

from __future__ import annotations

import contextlib
import operator
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias
from unicodedata import normalize

import numpy as np
import torch
from torch import Tensor, nn

from zoo_core.errors import InputError, PluginError, first_few
from zoo_core.noise import SeededNoise
from zoo_core.spec import LatentDistribution

# Limits of a sampling chunk, to bound memory: number of images, and total pixels (H x W).
SAMPLE_BATCH, SAMPLE_PIXELS = 64, 64 * 128 * 128
# How far source images may exceed [-1, 1] by rounding; less than half an 8-bit level.
SLACK = 1e-3

# Class numbers or names: one per image, or one for all.
Labels: TypeAlias = int | str | Sequence[int | str] | Tensor


def sample_batch(image_shape: tuple[int, int, int]) -> int:
    """The number of images of shape C, H, W to generate at once."""
    return max(1, min(SAMPLE_BATCH, SAMPLE_PIXELS // (image_shape[1] * image_shape[2])))


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode, and restore its mode afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def checked_seeds(seeds: Iterable[int]) -> list[int]:
    """The seeds as a list. Raises InputError unless all are integers in 0 .. 2**64 - 1."""
    given = _plain(seeds)
    if not isinstance(given, Iterable):
        raise InputError("seeds must be a list, one per image", given=repr(given), hint="[7]")
    given = list(given)
    numbers = [integer(seed, 1 << 64) for seed in given]
    if wrong := summarize(seed for seed, number in zip(given, numbers, strict=True) if number < 0):
        raise InputError("invalid seed", given=wrong, allowed="integers in 0..2**64 - 1")
    return numbers


def summarize(values: Iterable[object]) -> str:
    """The first few distinct values, for a message; empty if there are none."""
    return first_few(dict.fromkeys(map(repr, values)))


def _plain(values: Any) -> Any:
    """Tensors and arrays as Python numbers or lists; anything else unchanged."""
    return values.tolist() if isinstance(values, Tensor | np.ndarray | np.generic) else values


def _as_number(labels: list[Any], stop: int) -> str:
    """What to try if text was given for the number of a class, below `stop`; else empty."""
    for text in labels:
        if isinstance(text, str) and text.isdecimal() and int(text) < stop:
            return f"{int(text)} instead of {text!r}, for a number"
    return ""


def integer(value: Any, stop: int) -> int:
    """The value if it is an integer in 0 .. stop - 1, else -1."""
    try:
        number = operator.index(value)
    except TypeError:
        return -1
    return number if number < stop else -1


class Generator(nn.Module, ABC):
    """Makes images from seeds (a latent model) or from source images (an image-to-image model).

    A subclass sets `image_shape` and `num_classes`. A latent model sets `latent_shape` and
    `latent_distribution`, an image-to-image model `source_shape`. Both implement `forward`, which
    is the network as a function of plain tensors; `generate` calls it with what noise determines.
    Labels are required exactly when `num_classes` is above 0.

    Latents are distributed as one of
    - normal: independent standard normal numbers,
    - uniform: independent numbers, uniform in [-1, 1),
    - sphere: standard normal numbers, scaled to mean square 1, that is to length sqrt(numbers).
    """

    image_shape: tuple[int, int, int]  # C, H, W
    latent_shape: tuple[int, ...] | None = None  # of one image; None for an image-to-image model
    latent_distribution: LatentDistribution = "normal"
    num_classes: int = 0
    classes: tuple[str, ...] = ()  # their names, where the weights say so
    about: Any = None  # the WeightsMetadata of its file, if it was loaded or created
    source_shape: tuple[int, int, int] | None = (
        None  # C, H, W of a source image; None for a latent model
    )

    def __init_subclass__(cls, **options: Any):
        """A plugin written before there was `forward` still samples and trains by `generate`."""
        super().__init_subclass__(**options)
        inherited = getattr(cls.forward, "__isabstractmethod__", False)
        if inherited and cls.generate is not Generator.generate:
            cls.forward = _no_forward

    @abstractmethod
    def forward(
        self,
        latents: Tensor,  # [N, *latent_shape], or source images [N, C, H, W]
        labels: Tensor | None = None,  # int64 [N], for a model with classes
        truncation: float = 1.0,  # of a latent model; 1: none; 0: the average image
    ) -> Tensor:
        """Images [N, C, H, W], roughly in -1..1: a function of tensors, without checks.

        Latents or sources have the dtype and the device of the parameters. Differentiable with
        respect to both. In evaluation mode there is no randomness: the images of latents are those
        of `sample`, before they are clamped to [-1, 1]. Then the function can be traced, exported
        and compiled, for any number of images.
        """

    @torch.no_grad()
    def latents(self, seeds: Sequence[int]) -> Tensor:
        """The latents that `sample` uses: [N, *latent_shape], one per seed.

        They are float32, unless the parameters were cast, and on the same device. Raises InputError
        for seeds that `sample` rejects, and for a model without latents.
        """
        return self.latents_of(SeededNoise(checked_seeds(seeds)))

    def latents_of(self, noise: SeededNoise, purpose: str = "latents") -> Tensor:
        """Latents [N, *latent_shape], one per row of `noise`, as `forward` takes them."""
        if self.latent_shape is None:
            raise _no_latents(self)
        rows = noise.latents(purpose, self.latent_shape, self.latent_distribution)
        return rows.to(next(self.parameters()))

    def generate(
        self,
        noise: SeededNoise,  # one row per image, the source of all its randomness
        *,
        labels: Tensor | None = None,  # int64 [N]
        source: Tensor | None = None,  # float32 [N, C, H, W], -1..1
        truncation: float = 1.0,  # 1: none; 0: the average image
    ) -> Tensor:
        """Images [N, C, H, W], roughly in -1..1, differentiable with respect to the weights.

        By default those of `forward`; a model whose noise is more than its latents, as in dropout
        or in style mixing, extends it.
        """
        if self.source_shape is not None:
            return self(source, labels)
        return self(self.latents_of(noise), labels, truncation)

    @torch.no_grad()
    def sample(
        self,
        seeds: Sequence[int],
        *,
        labels: Labels | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """One image per seed: float32 [N, C, H, W] in [-1, 1], made in evaluation mode.

        Seeds are integers in 0 .. 2**64 - 1; labels are class numbers or names in `classes` (2 is
        class number 2, "2" the class of that name), one per seed or one for all; a source is float
        [N, C, H, W] in [-1, 1]. Image i depends only on `seeds[i]`, `labels[i]` and `source[i]`,
        and its noise is the same in any batch and on any device. The image may differ by rounding:
        across batch sizes by at most one 8-bit level where measured. Raises InputError when seeds,
        labels or source images are missing, superfluous, of the wrong shape or out of range, or
        when truncation is requested of an image-to-image model.
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
        """Like `sample`, but from noise instead of seeds, and without checking arguments."""
        weight = next(self.parameters())

        def make(rows: slice) -> Tensor:
            return self.generate(
                noise[rows],
                labels=None if labels is None else labels[rows].to(weight.device),
                source=None if source is None else source[rows].to(weight),
                truncation=truncation,
            )

        return self._drawn(make, len(noise))

    @torch.no_grad()
    def draw_latents(
        self, latents: Tensor, *, labels: Labels | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Like `sample`, but from latents, a float tensor [N, *latent_shape].

        Raises InputError for latents of another shape, and for labels that `sample` rejects.
        """
        weight, latents = next(self.parameters()), self.checked_latents(latents)
        numbers = self.checked_labels(labels, len(latents))

        def make(rows: slice) -> Tensor:
            some = None if numbers is None else numbers[rows].to(weight.device)
            return self(latents[rows].to(weight), some, truncation)

        return self._drawn(make, len(latents))

    def _drawn(self, make: Callable[[slice], Tensor], count: int) -> Tensor:
        """Images of rows 0 to count - 1 in evaluation mode, in chunks, clamped to [-1, 1]."""
        pictures = torch.empty(count, *self.image_shape, device=next(self.parameters()).device)
        with evaluating(self):
            chunk = sample_batch(self.image_shape)
            for start in range(0, count, chunk):
                rows = slice(start, start + chunk)
                pictures[rows] = self._made(make, rows).float()
        return pictures.clamp_(-1, 1)

    def _made(self, make: Callable[[slice], Tensor], rows: slice) -> Tensor:
        """What `make` makes. Raises InputError if torch cannot compute it in the weights' dtype."""
        dtype = next(self.parameters()).dtype
        try:
            return make(rows)
        except RuntimeError as error:  # no such kernel, or a plugin that assumes float32
            if dtype is torch.float32 or not re.search("type|implemented", str(error)):
                raise
            reason = str(error).partition("\n")[0]
            what = f"{type(self).__name__} cannot sample in {dtype}: {reason}"
            raise InputError(what, hint="generator.float()") from error

    def checked_latents(self, latents: Tensor) -> Tensor:
        """The latents, a float tensor [N, *latent_shape]. Raises InputError."""
        if self.latent_shape is None:
            raise _no_latents(self)
        return _checked_rows("latents", latents, self.latent_shape)

    def checked_labels(self, labels: Labels | None, rows: int) -> Tensor | None:
        """Labels as int64 [rows], None for a model without classes. Raises InputError."""
        name, allowed = type(self).__name__, f"0..{self.num_classes - 1}"
        if labels is None:
            if self.num_classes:
                raise InputError(f"{name} needs a label in {allowed} for every seed", given="none")
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
            raise InputError(
                "no such class",
                given=wrong,
                allowed=f"integers in {allowed}{names}",
                hint=_as_number(given, self.num_classes),
            )
        return torch.tensor(numbers, dtype=torch.int64)

    def _class(self, label: object) -> int:
        """The number of a class, given as number or name; -1 if there is no such class."""
        if isinstance(label, str):
            name = normalize("NFC", label)  # as for class names read from folders
            return self.classes.index(name) if name in self.classes else -1
        return integer(label, self.num_classes)

    def checked_source(self, source: Tensor | None, rows: int) -> Tensor | None:
        """Source images as float32, None for a latent model. Raises InputError."""
        if self.source_shape is None:
            if source is not None:
                what = f"{type(self).__name__} takes no source images"
                raise InputError(what, given=type(source).__name__, hint="leave them out")
            return None
        expected = (rows, *self.source_shape)
        allowed = f"a float32 tensor {expected} in [-1, 1]"
        refuse = partial(InputError, "source images do not fit the model", allowed=allowed)
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
        if not -1 - SLACK <= low <= high <= 1 + SLACK:  # also refuses NaN
            hint = "source / 127.5 - 1" if low >= 0 and 2 < high <= 255 else ""
            raise refuse(given=f"values in [{low:g}, {high:g}]", hint=hint)
        return source


class StyleGenerator(Generator):
    """A latent generator with an intermediate latent space W (Karras et al. 2019): a vector w sets
    the style of each layer, so images can be mixed and interpolated in W.

    A subclass sets `num_ws` and `style_size`, and implements `ws` and `synthesize`.
    """

    num_ws: int
    style_size: int

    def ws(self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """A w per layer: [N, num_ws, style_size], truncated towards the average w.

        Arguments are those of `forward`, and so are their dtypes; without random style mixing.
        """
        raise _incomplete(self, "ws(latents, labels, truncation)")

    def sample_ws(
        self, noise: SeededNoise, *, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """The ws of `noise`; a subclass that mixes styles in training extends it."""
        return self.ws(self.latents_of(noise), labels, truncation)

    def forward(
        self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Images [N, C, H, W], roughly in -1..1, of latents [N, *latent_shape]."""
        return self.synthesize(self.ws(latents, labels, truncation))

    @abstractmethod
    def synthesize(self, ws: Tensor) -> Tensor:
        """Images [N, C, H, W] from ws [N, num_ws, style_size].

        Noise inputs are random in training mode, and the same for all images in evaluation mode.
        """

    def generate(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Images [N, C, H, W], roughly in -1..1, from the ws of `noise`."""
        return self.synthesize(self.sample_ws(noise, labels=labels, truncation=truncation))

    @torch.no_grad()
    def draw_ws(self, ws: Tensor) -> Tensor:
        """Like `sample`, but from ws, a float tensor [N, num_ws, style_size].

        Raises InputError for ws of another shape.
        """
        weight, ws = next(self.parameters()), self.checked_ws(ws)
        return self._drawn(lambda rows: self.synthesize(ws[rows].to(weight)), len(ws))

    def checked_ws(self, ws: Tensor) -> Tensor:
        """The ws, a float tensor [N, num_ws, style_size]. Raises InputError."""
        return _checked_rows("ws", ws, (self.num_ws, self.style_size))


def _checked_rows(kind: str, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Latents or ws, if they are floats of this shape. Raises InputError."""
    if not isinstance(rows, Tensor):
        given = type(rows).__name__
    elif not rows.is_floating_point() or rows.shape[1:] != shape or rows.dim() == 0:
        given = f"{rows.dtype} {tuple(rows.shape)}"
    else:
        return rows
    allowed = f"a float tensor (N, {', '.join(map(str, shape))})"
    raise InputError(f"{kind} do not fit the model", given=given, allowed=allowed)


def _no_latents(generator: Generator) -> InputError | PluginError:
    """Why a generator has no `latent_shape`."""
    if generator.source_shape is None:
        return _incomplete(generator, "latent_shape and latent_distribution")
    return InputError(
        f"{type(generator).__name__} is an image-to-image model and has no latents",
        hint="generator(source)",
    )


def _incomplete(generator: Generator, what: str) -> PluginError:
    name = type(generator).__name__
    hint = "generator.sample(seeds), or implement it in the plugin"
    return PluginError(f"{name} does not implement {what}", hint=hint)


def _no_forward(self: Generator, *_: object, **__: object) -> Tensor:
    """In the place of `forward`, where a class has none."""
    raise _incomplete(self, "forward(latents, labels, truncation) or forward(source, labels)")


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

    Images are [N, C, H, W] of any size, gray or RGB: uint8 in 0..255, or float in [-1, 1].

    Its weights always come from its own source. They are left out of the state dict of any module
    that contains it, so that no checkpoint repeats or changes them.
    """

    width: int
    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    num_classes: int = 0
    fingerprint: str
    distance: str = "fd"  # name of the Frechet distance of its features

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, D]."""

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """A map [N, C_i, H_i, W_i] for each entry of `channels`, differentiable in the images.

        Raises InputError if the network has none.
        """
        raise InputError(f"{type(self).__name__} offers no feature maps")

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
