"""Prove imported networks by a forward pass: images that are finite and not all of one color."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zoo_core.data.batches import to_uint8
from zoo_core.errors import WeightsError
from zoo_core.generators import Generator, evaluating
from zoo_core.interfaces import Classifier
from zoo_core.noise import SeededNoise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COUNT, PIXELS = 16, 4 * 1024 * 1024  # limits of the images: number, and total pixels
JUDGED = 4  # images that a discriminator is shown at once
COARSE = 8  # pixels a side of the sources before they are enlarged


class Sheet(NamedTuple):
    """What a generator draws: seeds from 0 on, in its classes in turn. Or what was classified."""

    images: Tensor  # float32 [N, C, H, W] in [-1, 1]
    labels: Tensor | None  # int64 [N]
    source: Tensor | None  # float32 [N, C, H, W], for an image-to-image model

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The images [N, C, H, W], each to the right of its source."""
        if self.source is None:
            return to_uint8(self.images)
        both = [side.expand(-1, 3, -1, -1) for side in (self.source, self.images)]
        return to_uint8(torch.cat(both, dim=3))

    @property
    def columns(self) -> int:
        """The columns of a square grid."""
        return max(1, round(len(self.images) ** 0.5))


@torch.no_grad()
def attempt(network: Generator | Classifier, label: str) -> Sheet:
    """What a network draws, or classifies. Raises WeightsError that starts with `label` if it
    cannot be right.
    """
    _, height, width = network.image_shape
    count = max(1, min(COUNT, PIXELS // (height * width)))
    noise = SeededNoise(range(count))
    try:
        with evaluating(network):
            if isinstance(network, Generator):
                return _draw(network, noise, label)
            return _classify(network, noise, label)
    except RuntimeError as error:  # of torch, for sizes that fit together in the names only
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{label} holds a network that cannot be used: {reason}") from None


def _draw(generator: Generator, noise: SeededNoise, label: str) -> Sheet:
    count = len(noise)
    labels = torch.arange(count) % generator.num_classes if generator.num_classes else None
    source = None if generator.source_shape is None else made_up(noise, generator.source_shape)
    rows = [slice(row, row + 1) for row in range(count)]  # one at a time, to bound memory
    drawn = [
        generator.generate(
            noise[row],
            labels=None if labels is None else labels[row],
            source=None if source is None else source[row],
        )
        for row in rows
    ]
    images = torch.cat(drawn).float()
    if not bool(images.isfinite().all()):
        raise WeightsError(f"{label} draws images that are not finite")
    images = images.clamp(-1, 1)
    if bool((images.amax((0, 2, 3)) == images.amin((0, 2, 3))).all()):
        raise WeightsError(f"{label} draws images of one color")
    return Sheet(images, labels, source)


def _classify(classifier: Classifier, noise: SeededNoise, label: str) -> Sheet:
    images = made_up(noise, classifier.image_shape)
    logits = torch.cat([classifier(image) for image in images.split(1)])
    if not bool(logits.isfinite().all()):
        raise WeightsError(f"{label} has logits that are not finite")
    if len(logits) > 1 and bool((logits == logits[0]).all()):
        raise WeightsError(f"{label} has the same logits for all images")
    return Sheet(images, None, None)


@torch.no_grad()
def judge(discriminator: nn.Module, sheet: Sheet, label: str) -> None:
    """Raise WeightsError unless the discriminator's logits of the first images are finite."""
    few = Sheet(*(None if each is None else each[:JUDGED] for each in sheet))
    with evaluating(discriminator):
        logits = discriminator(few.images, labels=few.labels, source=few.source)
    if not bool(logits.isfinite().all()):
        raise WeightsError(f"{label} holds a discriminator whose logits are not finite")


def made_up(noise: SeededNoise, shape: tuple[int, int, int]) -> Tensor:
    """Images of soft spots of color, enough to see that a network responds."""
    coarse = noise.normal("images", (shape[0], COARSE, COARSE))
    return interpolate(coarse, size=shape[1:], mode="bicubic").clamp(-1, 1)
