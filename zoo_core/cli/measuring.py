"""What `zoo evaluate` measures: its options, and the images of both sides as they say."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo_core.cli.output import note, settings_of_run, warn, warn_ignored, warn_left_out
from zoo_core.filesystem import spelled
from zoo_core.metrics.protocol import DEFAULT_METRICS, needs_any

if TYPE_CHECKING:
    from zoo_core.config import RunConfig
    from zoo_core.data.datasets import OpenedDataset
    from zoo_core.data.packing import PackedData
    from zoo_core.interfaces import Classifier, FeatureExtractor, Generator
    from zoo_core.metrics.feature_sets import ReferenceFeatures
    from zoo_core.metrics.protocol import Protocol
    from zoo_core.pictures import PictureDataset
    from zoo_core.plugins.loading import Plugins

OF_DATA = ("layout", "label_column", "holdout")  # they are those of the run for its own data only
READING = ("data", "split", "fit", "levels", "bad_pictures", "reverse_pairs", "pack", *OF_DATA)


class Options(NamedTuple):
    """Options of the command; None where an option was not given."""

    metrics: tuple[str, ...] | None
    extractor: str
    device: str
    count: int
    seed: int
    truncation: float
    reading: dict[str, Any]  # those of READING that were given, or are those of the run

    @property
    def wanted(self) -> tuple[str, ...]:
        """The metrics for generated images, by default DEFAULT_METRICS."""
        return self.metrics or DEFAULT_METRICS

    @property
    def settings(self) -> RunConfig:
        """How images are read."""
        from zoo_core.config import RunConfig, read_config

        values = {"batch_size": 2, **self.reading}
        return read_config(RunConfig, values, "the settings of how images are read")

    @property
    def keeps_features(self) -> bool:
        """Whether a metric needs all features at once."""
        return needs_any(self.wanted, "features")


def read_settings(assignments: list[str]) -> dict[str, Any]:
    """The values of --set. Raises ConfigError for a setting that says not how images are read."""
    from zoo_core.config import parse_assignments
    from zoo_core.errors import ConfigError, nearest

    with _suggesting("--set levels=data"):
        given = parse_assignments(assignments)
    for key in given:
        if key not in READING:
            raise ConfigError(
                f"{key!r} is not a setting of how images are read",
                allowed=", ".join(READING),
                near=nearest(key, READING),
            )
    with _suggesting("zoo evaluate --help"):
        return {key: _read_value(key, value) for key, value in given.items()}


def _read_value(key: str, value: str) -> Any:
    from zoo_core.config import RunConfig, fields, read_value

    return read_value(key, fields(RunConfig)[key], value, "--set", "")


@contextlib.contextmanager
def _suggesting(hint: str) -> Iterator[None]:
    """Raise ConfigErrors with this hint; their own are for the settings of a model."""
    from zoo_core.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        raise ConfigError(error.what, given=error.given, allowed=error.allowed, hint=hint) from None


def with_settings_of_run(target: str, options: Options) -> Options:
    """Read images as the run does, except for what was given."""
    of_run = settings_of_run(target)
    keys = [key for key in READING if "data" not in options.reading or key not in OF_DATA]
    settings = {key: of_run[key] for key in keys if key in of_run}
    return options._replace(reading=settings | options.reading)


def real_images(
    options: Options, network: Generator | Classifier, plugins: Plugins
) -> tuple[PackedData, Protocol]:
    """The real images, prepared for the network, and the protocol of the measurement."""
    from zoo_core.data.preparation import prepare

    resolution, paired = network.image_shape[2], network.source_shape is not None
    opened = _opened(options, resolution, plugins, paired)
    with counting(f"preparing {opened.name} at {resolution} px") as on_progress:
        packed = prepare(opened.dataset, network, options.settings, on_progress)
    warn_left_out(packed)
    return packed, as_protocol(options, _named(opened, resolution, packed), opened.split)


def made_images(
    path: Path, options: Options, plugins: Plugins
) -> tuple[PackedData, int, dict[str, Any]]:
    """Existing images, their side, and how they were fitted to it; see made_pictures.py."""
    from zoo_core.metrics.made_pictures import (
        count_sizes,
        describe_sizes,
        fitted_side,
        square_side,
    )

    with counting(f"reading {path.name}") as on_progress:
        sizes = count_sizes(_made(path, options, plugins).dataset, on_progress)
    opened = _made(path, options, plugins)  # anew: what is remarked of images counts once
    warn_ignored(opened.dataset)
    side, fit = square_side(sizes), options.settings.fit
    if side is not None or not sizes or fit == "exact":
        side = side or fitted_side(sizes)
        return _packed(opened, side, options, fit="exact"), side, {}
    side = fitted_side(sizes)
    say = warn if len(sizes) > 1 else note
    say(
        f"the images in {path.name} are {describe_sizes(sizes)}; with --fit {fit}, those of both "
        f"sides become {side} x {side}"
    )
    return _packed(opened, side, options), side, {"fit": fit, "resolution": side}


def _made(path: Path, options: Options, plugins: Plugins) -> OpenedDataset:
    """All images there: their folders mean nothing."""
    import msgspec

    from zoo_core.data.datasets import open_dataset

    settings = msgspec.structs.replace(options.settings, layout="plain", holdout=0.0)
    return open_dataset(spelled(path), 0, "train", plugins, settings=settings)


def real_images_of_size(
    options: Options, side: int, fitted: Mapping[str, Any], plugins: Plugins
) -> tuple[PackedData, Protocol]:
    """Real images for a comparison with existing ones: RGB of this size."""
    from zoo_core.data.preparation import check_enough
    from zoo_core.metrics.made_pictures import NotedSizes, describe_sizes

    opened = _opened(options, side, plugins)
    check_enough(len(opened.dataset), options.settings.batch_size)
    noted = NotedSizes(opened.dataset)
    packed = _packed(opened, side, options, noted)
    if fitted and len(noted.sizes) > 1:
        warn(f"the images in {opened.name} are {describe_sizes(noted.sizes)}")
    data = _named(opened, side, packed)
    return packed, as_protocol(options, data, opened.split, fitted)


def as_protocol(
    options: Options, data: str = "", split: str = "", fitted: Mapping[str, Any] | None = None
) -> Protocol:
    """How to measure, as it is recorded."""
    from zoo_core.metrics.protocol import Protocol

    return Protocol(
        data=data,
        split=split,
        metrics=options.wanted,
        command=shlex.join(["zoo", *sys.argv[1:]]),
        count=options.count,
        seed=options.seed,
        truncation=options.truncation,
        fitted=fitted or {},
    )


def real_features(
    options: Options, data: PackedData, extractor: FeatureExtractor
) -> ReferenceFeatures:
    """Features of the real images."""
    from zoo_core.metrics.feature_sets import ReferenceFeatures

    reference = ReferenceFeatures(data, extractor)
    with counting(f"measuring {options.settings.data}") as on_progress:
        reference.measure(keep=options.keeps_features, on_progress=on_progress)
    return reference


def counting(what: str) -> Any:
    """A progress bar."""
    from zoo_core.cli.progress import counting

    return counting(what)


def _opened(
    options: Options, resolution: int, plugins: Plugins, paired: bool = False
) -> OpenedDataset:
    from zoo_core.data.datasets import open_dataset
    from zoo_core.errors import InputError

    settings = options.settings
    if not settings.data:
        raise InputError("there are no real images to compare with", hint="--data NAME_OR_FOLDER")
    opened = open_dataset(settings.data, resolution, settings.split, plugins, paired, settings)
    _say_what_it_is(opened)
    return opened


def _say_what_it_is(opened: OpenedDataset) -> None:
    if opened.dataset.summary:
        note(f"{opened.name}: {opened.dataset.summary}")
    warn_ignored(opened.dataset)


def _packed(
    opened: OpenedDataset,
    side: int,
    options: Options,
    dataset: PictureDataset | None = None,  # the opened one by default
    fit: str | None = None,  # as the options say by default
) -> PackedData:
    """RGB images of this size."""
    import msgspec

    from zoo_core.data.preparation import pack_shapes

    settings = msgspec.structs.replace(options.settings, fit=fit or options.settings.fit)
    with counting(f"preparing {opened.name} at {side} px") as on_progress:
        shape = (3, side, side)
        packed = pack_shapes(dataset or opened.dataset, shape, None, settings, on_progress)
    warn_left_out(packed)
    return packed


def _named(opened: OpenedDataset, resolution: int, packed: PackedData) -> str:
    return f"{opened.name}, {resolution} px, {packed.fingerprint[:12]}"
