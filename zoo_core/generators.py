"""Interfaces of generators: images from seeds, from latents, from source images.

The classes here are abstract; a plugin's class is final and never subclassed.
"""

from __future__ import annotations

import contextlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zoo_core.arguments import (
    Images,
    Labels,
    check_placed,
    checked_labels,
    checked_rows,
    checked_seeds,
    checked_source,
    count_of,
)
from zoo_core.errors import InputError, PluginError
from zoo_core.memory import check_memory
from zoo_core.noise import SeededNoise
from zoo_core.spec import LatentDistribution

# Limits of a sampling chunk, to bound memory: number of images, and total pixels (H x W).
SAMPLE_BATCH, SAMPLE_PIXELS = 64, 64 * 128 * 128
# Bytes of a seed in a list and in a tensor, and of a number of noise while it is drawn.
SEED_BYTES, NOISE_BYTES = 64, 128


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


class SourceReader(Protocol):
    """Reads arrays, pictures and paths; `zoo.load` and `zoo.create` give one to a network."""

    def fitted(self, given: Images, shape: tuple[int, int, int]) -> Tensor:
        """A float32 tensor [N, *shape] in [-1, 1]."""


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
    reader: SourceReader | None = None  # of what `sample` takes for a source beside tensors
    test_mode: str = ""  # what `forward` does in evaluation mode, for a model that has several ways

    def __init_subclass__(cls, **options: Any):
        """A plugin written before there was `forward` still samples and trains by `generate`."""
        super().__init_subclass__(**options)
        inherited = getattr(cls.forward, "__isabstractmethod__", False)
        if inherited and cls.generate is not Generator.generate:
            cls.forward = _no_forward

    def __init__(self) -> None:
        super().__init__()
        self.register_forward_pre_hook(_check_inputs, with_kwargs=True)

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
        and compiled, for any number of images; truncation may be a tensor [], whose value is not
        known then.
        """

    @torch.no_grad()
    def latents(self, seeds: Sequence[int]) -> Tensor:
        """The latents that `sample` uses: [N, *latent_shape], one per seed.

        They are float32, unless the parameters were cast, and on the same device. Raises InputError
        for seeds that `sample` rejects, and for a model without latents.
        """
        if self.latent_shape is not None:
            needed = count_of(seeds) * (SEED_BYTES + math.prod(self.latent_shape) * NOISE_BYTES)
            check_memory(needed, "the latents of so many seeds", hint="fewer at a time")
        return self.latents_of(SeededNoise(checked_seeds(seeds)))

    def latents_of(self, noise: SeededNoise, purpose: str = "latents") -> Tensor:
        """Latents [N, *latent_shape], one per row of `noise`, as `forward` takes them."""
        if self.latent_shape is None:
            raise _no_latents(self)
        if not isinstance(noise, SeededNoise):
            given = f"a {type(noise).__name__}"
            what = "the noise of latents has to be SeededNoise"
            raise InputError(what, given=given, hint="generator.latents(seeds)")
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
        source: Images | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """One image per seed: float32 [N, C, H, W] in [-1, 1], made in evaluation mode.

        Seeds are integers in 0 .. 2**64 - 1; labels are class numbers or names in `classes` (2 is
        class number 2, "2" the class of that name), one per seed or one for all; a source is a
        tensor [N, C, H, W], float in [-1, 1] or uint8. A network that `zoo.load` made takes what
        `data/given.py` lists as well: arrays, pictures of Pillow and paths, fitted as in its run.

        Image i depends only on `seeds[i]`, `labels[i]` and `source[i]`, and its noise is the same
        in any batch and on any device. The image may differ by rounding: across batch sizes by at
        most one 8-bit level where measured. Raises InputError when seeds, labels or source images
        are missing, superfluous, of the wrong shape or out of range, or when truncation is
        requested of an image-to-image model, and PictureError for a picture that cannot be read.
        """
        if truncation != 1 and self.source_shape is not None:
            raise InputError(
                f"{type(self).__name__} has no latents to truncate", given=truncation, allowed="1"
            )
        self._check_room(count_of(seeds))
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

    def _check_room(self, count: int) -> None:
        """Raise InputError for more images than fit into memory, if they are made there."""
        if next(self.parameters()).device.type == "cpu":
            needed = count * (SEED_BYTES + 4 * math.prod(self.image_shape))
            check_memory(needed, "so many images", hint="fewer at a time")

    def _drawn(self, make: Callable[[slice], Tensor], count: int) -> Tensor:
        """Images of rows 0 to count - 1 in evaluation mode, in chunks, clamped to [-1, 1]."""
        self._check_room(count)
        pictures = torch.empty(count, *self.image_shape, device=next(self.parameters()).device)
        with evaluating(self):
            chunk = sample_batch(self.image_shape)
            for start in range(0, count, chunk):
                rows = slice(start, start + chunk)
                pictures[rows] = self._checked_images(self._made(make, rows), pictures[rows])
        return pictures.clamp_(-1, 1)

    def _checked_images(self, images: Any, place: Tensor) -> Tensor:
        """The images, float32, if they fit. Raises PluginError."""
        if isinstance(images, Tensor) and images.shape == place.shape:
            return images.float()
        gave = (
            f"tensor {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        )
        what = f"{type(self).__name__} has to return images, a tensor {tuple(place.shape)}"
        raise PluginError(f"{what}; gave a {gave}")

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
        return checked_rows("latents", latents, self.latent_shape)

    def checked_labels(self, labels: Labels | None, rows: int) -> Tensor | None:
        """Labels as int64 [rows], None for a model without classes. Raises InputError."""
        return checked_labels(self, labels, rows)

    def checked_source(self, source: Images | None, rows: int) -> Tensor | None:
        """Source images as float32, None for a latent model. Raises InputError."""
        return checked_source(self, source, rows)


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
        return checked_rows("ws", ws, (self.num_ws, self.style_size))


def _check_inputs(generator: Generator, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A forward pre-hook: what torch would refuse deep inside the network, or take for something
    else, is an InputError. Nothing is checked while a graph is recorded.
    """
    if inputs and not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
        if generator.latent_shape is not None:
            checked_rows("latents", inputs[0], generator.latent_shape)
        check_placed(inputs[0], next(generator.parameters()))
        labels = inputs[1] if len(inputs) > 1 else named.get("labels")
        if labels is None and generator.num_classes:
            checked_labels(generator, None, len(inputs[0]))


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
