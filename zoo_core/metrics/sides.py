"""The two sides of a measurement: real images, and those that somebody has made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msgspec import structs

from zoo_core.config import EXTRACTOR, RunConfig, read_config
from zoo_core.data.datasets import OpenedDataset, open_dataset
from zoo_core.data.packing import PackedData
from zoo_core.data.preparation import check_enough, pack_shapes, prepare
from zoo_core.data.progress import Counting, silent
from zoo_core.data.reading import OF_DATA, READING
from zoo_core.data.reporting import say_what_it_is, warn_ignored, warn_left_out
from zoo_core.errors import InputError
from zoo_core.filesystem import spelled
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier, FeatureExtractor
from zoo_core.metrics.feature_sets import ReferenceFeatures
from zoo_core.metrics.made_pictures import (
    NotedSizes,
    count_sizes,
    describe_sizes,
    fitted_side,
    square_side,
)
from zoo_core.metrics.protocol import (
    DEFAULT_COUNT,
    DEFAULT_METRICS,
    Protocol,
    needs_any,
)
from zoo_core.pictures import PictureDataset
from zoo_core.plugins.loading import Plugins
from zoo_core.weights.run_settings import settings_of_run

logger = logging.getLogger("zoo")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and how."""

    metrics: tuple[str, ...] | None = None  # None: DEFAULT_METRICS, or those of a classifier
    extractor: str = EXTRACTOR
    device: str = "cpu"
    count: int | None = None  # None: DEFAULT_COUNT, or fewer for few real images
    resolution: int | None = None  # pixels a side of what is compared; None: as it is made
    seed: int = 0
    truncation: float = 1.0
    reading: Mapping[str, Any] = field(default_factory=dict)  # settings of READING
    command: str = ""  # recorded with each number
    counting: Counting = silent
    receiving: Counting = silent  # of weights, in bytes

    @property
    def wanted(self) -> tuple[str, ...]:
        """The metrics for generated images, by default DEFAULT_METRICS."""
        return self.metrics or DEFAULT_METRICS

    @property
    def settings(self) -> RunConfig:
        """How images are read."""
        values = {"batch_size": 2, **self.reading}
        return read_config(RunConfig, values, "the settings of how images are read")

    @property
    def keeps_features(self) -> bool:
        """Whether a metric needs all features at once."""
        return needs_any(self.wanted, "features")


def with_settings_of_run(target: str, options: Options, plugins: Plugins) -> Options:
    """Read images as the run does, except for what was given."""
    of_run = settings_of_run(target, plugins)
    keys = [key for key in READING if "data" not in options.reading or key not in OF_DATA]
    settings = {key: of_run[key] for key in keys if key in of_run}
    return replace(options, reading={**settings, **options.reading})


def real_images(
    options: Options, network: Generator | Classifier, plugins: Plugins
) -> tuple[PackedData, Protocol]:
    """The real images, prepared for the network, and the protocol of the measurement."""
    paired = network.source_shape is not None
    resolution = options.resolution or network.image_shape[2]
    opened = _opened(options, resolution, plugins, paired)
    with options.counting(f"preparing {opened.name} at {resolution} px") as on_progress:
        packed = prepare(
            opened.dataset, network, options.settings, on_progress, resolution=resolution
        )
    warn_left_out(packed)
    return packed, as_protocol(options, _named(opened, resolution, packed), opened.split)


def made_images(
    path: Path, options: Options, plugins: Plugins
) -> tuple[PackedData, int, dict[str, Any]]:
    """Existing images, their side, and how they were fitted to it; see made_pictures.py."""
    with options.counting(f"reading {path.name}") as on_progress:
        sizes = count_sizes(_made(path, options, plugins).dataset, on_progress)
    opened = _made(path, options, plugins)  # anew: what is remarked of images counts once
    warn_ignored(opened.dataset)
    side, fit = square_side(sizes), options.settings.fit
    if side is not None and options.resolution:
        packed = _packed(opened, options.resolution, options, fit="stretch")
        return packed, options.resolution, {}
    if side is not None or not sizes or fit == "exact":
        side = side or fitted_side(sizes)
        return _packed(opened, side, options, fit="exact"), side, {}
    side = options.resolution or fitted_side(sizes)
    say = logger.warning if len(sizes) > 1 else logger.info
    say(
        f"the images in {path.name} are {describe_sizes(sizes)}; with --fit {fit}, those of both "
        f"sides become {side} x {side}"
    )
    return _packed(opened, side, options), side, {"fit": fit, "resolution": side}


def _made(path: Path, options: Options, plugins: Plugins) -> OpenedDataset:
    """All images there: their folders mean nothing."""
    settings = structs.replace(options.settings, layout="plain", holdout=0.0)
    return open_dataset(spelled(path), 0, "train", plugins, settings=settings)


def real_images_of_size(
    options: Options, side: int, fitted: Mapping[str, Any], plugins: Plugins
) -> tuple[PackedData, Protocol]:
    """Real images for a comparison with existing ones: RGB of this size."""
    opened = _opened(options, side, plugins)
    check_enough(len(opened.dataset), options.settings.batch_size)
    noted = NotedSizes(opened.dataset)
    packed = _packed(opened, side, options, noted)
    if fitted and len(noted.sizes) > 1:
        logger.warning(f"the images in {opened.name} are {describe_sizes(noted.sizes)}")
    data = _named(opened, side, packed)
    return packed, as_protocol(options, data, opened.split, fitted)


def as_protocol(
    options: Options, data: str = "", split: str = "", fitted: Mapping[str, Any] | None = None
) -> Protocol:
    """How to measure, as it is recorded."""
    return Protocol(
        data=data,
        split=split,
        metrics=options.wanted,
        command=options.command,
        count=options.count or DEFAULT_COUNT,
        resolution=options.resolution,
        seed=options.seed,
        truncation=options.truncation,
        fitted=fitted or {},
    )


def real_features(
    options: Options, data: PackedData, extractor: FeatureExtractor
) -> ReferenceFeatures:
    """Features of the real images."""
    reference = ReferenceFeatures(data, extractor)
    with options.counting(f"measuring {options.settings.data}") as on_progress:
        reference.measure(keep=options.keeps_features, on_progress=on_progress)
    return reference


def _opened(
    options: Options, resolution: int, plugins: Plugins, paired: bool = False
) -> OpenedDataset:
    settings = options.settings
    if not settings.data:
        raise InputError("there are no real images to compare with", hint="--data NAME_OR_FOLDER")
    opened = open_dataset(settings.data, resolution, settings.split, plugins, paired, settings)
    say_what_it_is(opened)
    return opened


def _packed(
    opened: OpenedDataset,
    side: int,
    options: Options,
    dataset: PictureDataset | None = None,  # the opened one by default
    fit: str | None = None,  # as the options say by default
) -> PackedData:
    """RGB images of this size."""
    settings = structs.replace(options.settings, fit=fit or options.settings.fit)
    with options.counting(f"preparing {opened.name} at {side} px") as on_progress:
        shape = (3, side, side)
        packed = pack_shapes(dataset or opened.dataset, shape, None, settings, on_progress)
    warn_left_out(packed)
    return packed


def _named(opened: OpenedDataset, resolution: int, packed: PackedData) -> str:
    return f"{opened.name}, {resolution} px, {packed.fingerprint[:12]}"
