"""Check that images suit a model and a run, and prepare them for it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo_core.config import RunConfig
from zoo_core.data.classes import check_count, class_numbers, describe_match
from zoo_core.data.decoding import Fit, fit
from zoo_core.data.packing import PackedData, pack
from zoo_core.data.progress import OnProgress, no_progress
from zoo_core.errors import DataError
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier
from zoo_core.pictures import Picture, PictureDataset

logger = logging.getLogger("zoo")


def prepare(
    dataset: PictureDataset,
    network: Generator | Classifier,  # that will learn the images, or has learned such
    run: RunConfig,
    on_progress: OnProgress = no_progress,
    cache: Path | None = None,
    new: bool = False,  # the network is yet to be built, so that its settings can change
    resolution: int | None = None,  # pixels a side; None: those of the network
) -> PackedData:
    """Pack the images as the network and the settings need them: size, channels, pair direction.

    Labels are kept only if the network learns classes. If it has learned some, they are its numbers
    of the classes with these names; a warning names those that the images lack. Raises what
    `check_enough`, `check_fits` and `pack` raise.
    """
    check_enough(len(dataset), run.batch_size)
    check_fits(network, dataset.classes, dataset.paired, new=new)
    channels, height, width = network.image_shape
    shape = (channels, resolution or height, resolution or width)
    packed = pack_shapes(dataset, shape, network.source_shape, run, on_progress, cache)
    return _with_classes_of(network, packed)


def _with_classes_of(network: Generator | Classifier, packed: PackedData) -> PackedData:
    """The data with labels as numbers of the classes that the network has learned, if any."""
    if not network.num_classes:
        return replace(packed, labels=None)
    if not network.classes or network.classes == packed.classes:
        return packed
    numbers = np.asarray(class_numbers(network.classes, packed.classes), dtype=np.int64)
    if said := describe_match(network.classes, packed.classes):
        logger.warning("%s", said)
    return replace(packed, labels=numbers[packed.labels], classes=network.classes)


def pack_shapes(
    dataset: PictureDataset,
    image_shape: tuple[int, int, int],  # C, H, W
    source_shape: tuple[int, int, int] | None,  # C, H, W of a pair's source
    run: RunConfig,
    on_progress: OnProgress = no_progress,
    cache: Path | None = None,
) -> PackedData:
    """Pack the images at these shapes, as the settings say. Raises what `pack` raises."""
    channels, resolution, _ = image_shape
    source_channels = source_shape[0] if source_shape else channels
    if run.reverse_pairs:
        channels, source_channels = source_channels, channels
    packed = pack(
        dataset,
        resolution + run.jitter,
        channels,
        run.fit,
        run.bad_pictures == "skip",
        on_progress,
        cache,
        source_channels,
        run.pack,
    )
    if run.reverse_pairs and packed.source is not None:
        name = hashlib.sha256(f"reversed:{packed.fingerprint}".encode()).hexdigest()[:24]
        return replace(packed, images=packed.source, source=packed.images, fingerprint=name)
    return packed


def check_enough(count: int, batch_size: int) -> None:
    """Raise DataError unless there are at least two images and enough for a full batch."""
    if count < 2:
        raise DataError("at least two images are needed", given=count)
    if count < batch_size:
        raise DataError(
            f"{count} images are fewer than one batch of {batch_size}",
            hint=f"batch_size={count}",
        )


def check_fits(
    network: Generator | Classifier, classes: Sequence[str], paired: bool, *, new: bool = False
) -> None:
    """Raise DataError unless the images have the classes or pairs that the network needs.

    A `new` network can still be given another number of classes: the error says how.
    """
    if network.num_classes:
        _check_classes(network, classes, new)
    if network.source_shape is not None and not paired:
        raise DataError(
            "the model needs pairs of images",
            allowed="image-to-image data sets; folders A/ and B/; side-by-side pairs in one file",
            hint="zoo data list",
        )


def _check_classes(network: Generator | Classifier, classes: Sequence[str], new: bool) -> None:
    if not classes:
        raise DataError(
            "the model learns classes, but the images have no labels",
            hint="put each class into its own sub-folder",
        )
    if network.classes:
        class_numbers(network.classes, classes)  # raises
    elif not new:
        check_count(network.num_classes, len(classes))
    elif network.num_classes != len(classes):
        raise DataError(
            "the model and the images have different numbers of classes",
            given=network.num_classes,
            allowed=str(len(classes)),
            hint=f"--set num_classes={len(classes)}",
        )


def source_images(
    pictures: Iterable[Picture],  # to translate; of a pair, its source
    generator: Generator,
    mode: Fit,  # how an image is made square
    reverse_pairs: bool = False,  # of a pair, use the target instead
) -> Tensor:
    """The `source` for `sample` of an image-to-image model: float32 [N, C, H, W] in [-1, 1].

    Raises PictureError for an image that cannot be used.
    """
    assert generator.source_shape is not None
    channels, resolution, _ = generator.source_shape
    fitted = []
    for picture in pictures:
        whole = reverse_pairs or picture.source is None
        pixels = picture.pixels if whole else picture.source
        fitted.append(fit(pixels, resolution, channels, mode, picture.name))
    return torch.from_numpy(np.stack(fitted)).float().div_(127.5).sub_(1)
