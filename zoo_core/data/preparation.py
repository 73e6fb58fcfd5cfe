"""Check that images suit a model and a run, and prepare them for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo_core.config import RunConfig
from zoo_core.data.decoding import Fit, fit
from zoo_core.data.packing import PackedData, pack
from zoo_core.errors import DataError
from zoo_core.interfaces import Classifier, Generator
from zoo_core.pictures import Picture, PictureDataset


def prepare(
    dataset: PictureDataset,
    network: Generator | Classifier,  # that will learn the images
    run: RunConfig,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cache: Path | None = None,
) -> PackedData:
    """Pack the images as the network and the settings need them: size, channels, pair direction.

    Labels are kept only if the network learns classes. Raises what `check_enough`, `check_fits` and
    `pack` raise.
    """
    check_enough(len(dataset), run.batch_size)
    check_fits(network, dataset.classes, dataset.paired)
    packed = pack_shapes(
        dataset, network.image_shape, network.source_shape, run, on_progress, cache
    )
    return packed if network.num_classes else replace(packed, labels=None)


def pack_shapes(
    dataset: PictureDataset,
    image_shape: tuple[int, int, int],  # C, H, W
    source_shape: tuple[int, int, int] | None,  # C, H, W of a pair's source
    run: RunConfig,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
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
            hint=f"--set batch_size={count}",
        )


def check_fits(network: Generator | Classifier, classes: Sequence[str], paired: bool) -> None:
    """Raise DataError unless the images have the classes or pairs that the network needs."""
    if network.num_classes and not classes:
        raise DataError(
            "the model learns classes, but the images have no labels",
            hint="put each class into its own sub-folder",
        )
    if network.num_classes and network.num_classes != len(classes):
        raise DataError(
            "the model and the images have different numbers of classes",
            given=network.num_classes,
            allowed=str(len(classes)),
            hint=f"--set num_classes={len(classes)}",
        )
    if network.num_classes and network.classes and network.classes != tuple(classes):
        ours, theirs = _where_different(network.classes, classes)
        raise DataError(
            "the images do not have the classes that the model learned",
            given=theirs,
            allowed=ours,
        )
    if network.source_shape is not None and not paired:
        raise DataError(
            "the model needs pairs of images",
            allowed="image-to-image data sets; folders A/ and B/; side-by-side pairs in one file",
            hint="zoo data list",
        )


def _where_different(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, str]:
    """The first class that differs between the two, with its index."""
    number = next(n for n, pair in enumerate(zip(ours, theirs, strict=True)) if len(set(pair)) > 1)
    return f"{ours[number]!r} as class {number}", f"{theirs[number]!r}"


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
