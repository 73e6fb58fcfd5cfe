"""Augmentation of a discriminator's input, so that it needs fewer training images.

    DiffAugment  here: Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN
                 training", arXiv:2006.10738
    ADA          in zoo_core/training/ada.py: Karras et al. 2020a

Real and generated images are treated alike, and gradients of any order pass through. The change of
an image is a function of (seed, sample index, number of the call within the step). It is drawn and
decided on the CPU; only the result moves to the device of the images, without synchronization.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from zoo_core.noise import SeededNoise


class Augment(nn.Module, ABC):
    """Augments the input of a discriminator, as a hook of that discriminator:

        discriminator.register_forward_pre_hook(augment.before_discriminator, with_kwargs=True)

    A subclass sets `num_draws`, the random numbers per image, and implements `augment`. State that
    must survive a resume goes into buffers. The module is not moved to the device of the images.
    """

    num_draws: int

    def __init__(self) -> None:
        super().__init__()
        self._noise: SeededNoise | None = None
        self._calls = 0

    @abstractmethod
    def augment(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment images [N, C, S, S] of any range; keep their dtype.

        `draws` is float64 [N, num_draws] on the CPU, uniform between 0 and 1.
        """

    @property
    def is_idle(self) -> bool:
        """Whether every image would stay unchanged."""
        return False

    def check(self, images: Tensor) -> None:
        """Raise ValueError if images of this shape cannot be augmented."""

    def observe(self, signs: Tensor | None, images: int, batch_size: int) -> None:
        """Adapt to a training step that has ended.

        `signs` is the mean sign of its real logits, a scalar on any device, or None if no phase of
        the step reported it; `images` counts the images seen, including this step's.
        """

    def catch_up(self, images: int) -> None:
        """Set what follows from the images seen alone."""

    def terms(self) -> dict[str, Tensor]:
        """Scalars for the log."""
        return {}

    @property
    def calls(self) -> int:
        """How often the discriminator was called in this training step, on a batch or its slice."""
        return self._calls

    def begin(self, noise: SeededNoise, calls: int = 0) -> None:
        """Begin a training step; `noise` has one row per image of its batch.

        To go on with another slice of the batch, pass its rows, and the `calls` made before.
        """
        self._noise, self._calls = noise, calls

    def before_discriminator(
        self, discriminator: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Augment the first argument and, with the same draws, the keyword `source` if given.

        Raises RuntimeError if no training step has begun, ValueError for images that cannot be
        augmented.
        """
        if self._noise is None:
            raise RuntimeError("an augmented discriminator was called before begin(noise)")
        images, source = args[0], kwargs.get("source")
        pictures = [images] if source is None else [images, source]
        for given in pictures:
            self.check(given)
        call, self._calls = self._calls, self._calls + 1
        if self.is_idle:
            return args, kwargs
        draws = self._draw(self._noise, call, len(images))
        augmented = [_in_layout_of(given, self.augment(given, draws)) for given in pictures]
        if source is not None:
            kwargs = {**kwargs, "source": augmented[1]}
        return (augmented[0], *args[1:]), kwargs

    def _draw(self, noise: SeededNoise, call: int, count: int) -> Tensor:
        """Image i takes the (i // rows)-th set of draws from row i % rows of the noise."""
        shape = (-(-count // len(noise)), self.num_draws)
        draws = noise.uniform(f"augment.{call}", shape).transpose(0, 1).flatten(0, 1)[:count]
        return draws.double() + 2.0**-25  # center of a step of 2**-24: never 0, never 1


def _in_layout_of(images: Tensor, augmented: Tensor) -> Tensor:
    if images.is_contiguous(memory_format=torch.channels_last):
        return augmented.contiguous(memory_format=torch.channels_last)
    return augmented


class DiffAugment(Augment):
    """Applies every named policy to every image in every call (Zhao et al. 2020, section 3.2).

    Departure: the box of `cutout` can be centered anywhere, not only at whole pixels.
    """

    num_draws = 7

    def __init__(self, policies: Sequence[str] = ("color", "translation", "cutout")):
        super().__init__()
        if unknown := [name for name in policies if name not in POLICIES]:
            raise ValueError(f"there is no policy {unknown[0]!r}; allowed: {', '.join(POLICIES)}")
        self.policies = tuple(policies)

    def augment(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment images [N, C, S, S] with any C: color, then translation, then cutout."""
        augmented = images.to(torch.promote_types(images.dtype, torch.float32))
        for name, (columns, policy) in POLICIES.items():
            if name in self.policies:
                augmented = policy(augmented, draws[:, columns])
        return augmented.to(images.dtype)


def jitter_color(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness plus -0.5..0.5, saturation times 0..2, contrast times 0.5..1.5; draws [N, 3]."""
    numbers = draws.to(images.dtype).to(images.device, non_blocking=True)
    brightness, saturation, contrast = numbers[:, :, None, None, None].unbind(1)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    middle = images.mean((1, 2, 3), keepdim=True)
    return middle + (images - middle) * (contrast + 0.5)


def translate(images: Tensor, draws: Tensor) -> Tensor:
    """Shift by up to an eighth of the size, in whole pixels, padded with zeros; draws [N, 2]."""
    channels, size = images.shape[1], images.shape[-1]
    most = int(size / 8 + 0.5)
    offsets = ((2 * most + 1) * draws).floor().long() - most
    places = torch.arange(1, size + 1) + offsets[:, :, None]  # in images padded by 1
    places = places.clamp(0, size + 1).to(images.device, non_blocking=True)
    columns, rows = places.unbind(1)
    rows = rows[:, None, :, None].expand(-1, channels, -1, size + 2)
    columns = columns[:, None, None, :].expand(-1, channels, size, -1)
    return pad(images, (1, 1, 1, 1)).gather(2, rows).gather(3, columns)


def cut_out(images: Tensor, centers: Tensor) -> Tensor:
    """Zero a box of half the size; `centers` [N, 2], x and y, are fractions of the size."""
    size = images.shape[-1]
    places = (torch.arange(size, dtype=centers.dtype) + 0.5) / size
    inside = (places - centers[:, :, None]).abs() < 0.25  # [N, 2, S]
    columns, rows = inside.to(images.device, non_blocking=True).unbind(1)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


POLICIES: Mapping[str, tuple[slice, Callable[[Tensor, Tensor], Tensor]]] = {  # with their draws
    "color": (slice(0, 3), jitter_color),
    "translation": (slice(3, 5), translate),
    "cutout": (slice(5, 7), cut_out),
}
