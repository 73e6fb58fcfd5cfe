"""Measure what a name stands for: `zoo evaluate` and `zoo.evaluate`."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo_core.config import EXTRACTOR
from zoo_core.data.datasets import FILES
from zoo_core.data.reading import read_settings
from zoo_core.errors import InputError
from zoo_core.filesystem import spelled, typed_path
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier
from zoo_core.metrics.checks import (
    check_counts,
    check_extractor,
    check_metrics,
    check_resolution,
    check_seed,
)
from zoo_core.metrics.evaluation import classify, evaluate_generator, evaluate_pictures
from zoo_core.metrics.picture_sets import num_generated, packed_pictures
from zoo_core.metrics.protocol import DEFAULT_COUNT, PER_REAL, needs_any
from zoo_core.metrics.sides import (
    Options,
    as_protocol,
    made_images,
    real_features,
    real_images,
    real_images_of_size,
    with_settings_of_run,
)
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.runtime import Runtime
from zoo_core.spec import Metric
from zoo_core.weights.header import is_path, is_run, is_spelled_as_path, located
from zoo_core.weights.loading import load_extractor, load_main
from zoo_core.weights.registry import check_only_path, load_registry

logger = logging.getLogger("zoo")

HELP = "zoo evaluate --help"


def evaluate(
    target: str | Path,
    *,
    data: str | Path | None = None,
    metrics: str | Iterable[str] | None = None,
    count: int | None = None,
    seed: int = 0,
    truncation: float = 1.0,
    resolution: int | None = None,
    extractor: str = EXTRACTOR,
    device: str = "cpu",
    plugins: Plugins | None = None,
    **reading: Any,
) -> list[Metric]:
    """Evaluate as `zoo evaluate` does; each number comes with its protocol.

    `target` is what `load` takes, the weights of a classifier, or a folder or file of images. It is
    compared with the images of `data` [default: those the run was trained on]. `metrics` are names
    such as "fd,pr" or ("fd", "pr") [default: fd, kd, pr]; `count` images are generated, the first
    from `seed` [default: 5,000, at most five for each real one]. Both sides are scaled to
    `resolution` pixels [default: as generated]. `reading` says how images are read, by default as
    in the run: split, fit, levels, bad_pictures, reverse_pairs, pack, layout, label_column,
    holdout.

    Raises UnknownNameError, WeightsError or OfflineError for the target, DataError for the images,
    InputError for metrics that do not suit them, ConfigError for a wrong setting of `reading`.
    """
    given = {key: value for key, value in {"data": data, **reading}.items() if value is not None}
    names = metrics.split(",") if isinstance(metrics, str) else metrics
    options = Options(
        metrics=None if names is None else tuple(name.strip() for name in names),
        extractor=extractor,
        device=device,
        count=count,
        seed=seed,
        truncation=truncation,
        resolution=resolution,
        reading=read_settings(
            {key: _text(value) for key, value in given.items()}, "the arguments", HELP
        ),
    )
    name = spelled(target) if isinstance(target, Path) else target
    return measure(name, replace(options, command=as_command(name, options)), plugins)


def measure(target: str, options: Options, plugins: Plugins | None = None) -> list[Metric]:
    """Measure what `target` is: images, a classifier, or a generator by what it generates."""
    plugins = plugins or load_plugins()
    Runtime.detect(options.device, "fp32").keep_freed_memory()  # makes this twice as fast
    if _is_pictures(target, plugins):
        return _of_pictures(typed_path(target), options, plugins)
    with options.receiving(target) as on_progress:
        network = load_main(target, device=options.device, plugins=plugins, on_progress=on_progress)
    if isinstance(network, Classifier):
        held_out = replace(options, reading={"split": "test", **options.reading})
        return _of_classifier(network, with_settings_of_run(target, held_out, plugins), plugins)
    return _of_generator(network, with_settings_of_run(target, options, plugins), plugins)


def as_command(target: str, options: Options) -> str:
    """The command that measures the same."""
    said: dict[str, Any] = {"metrics": options.metrics and ",".join(options.metrics)}
    default = Options()
    for key in ("count", "seed", "truncation", "resolution", "extractor", "device"):
        value = getattr(options, key)
        said[key] = None if value == getattr(default, key) else value
    words = ["zoo", "evaluate", target]
    for key, value in options.reading.items():
        words += ["--data", value] if key == "data" else ["--set", f"{key}={_text(value)}"]
    for key, value in said.items():
        words += [] if value is None else [f"--{key}", str(value)]
    return shlex.join(words)


def _text(value: Any) -> Any:
    """A value as it is typed for --set."""
    if isinstance(value, Path):
        return spelled(value)
    return str(value).lower() if isinstance(value, bool) else value


def _is_pictures(target: str, plugins: Plugins) -> bool:
    """Whether `target` is a folder or a file of images, not a run."""
    is_name = is_path(target) and not is_spelled_as_path(target)  # of a run
    path = located(target) if is_name else typed_path(target)
    is_pictures = path.suffix.lower() in FILES or (path.is_dir() and not is_run(path))
    if is_pictures:
        check_only_path(target, load_registry(plugins))
    return is_pictures


def _of_generator(generator: Generator, options: Options, plugins: Plugins) -> list[Metric]:
    wanted, conditional = options.wanted, generator.num_classes or generator.source_shape
    check_metrics(wanted, generator, options.truncation)
    check_seed(wanted, options.seed, options.count or DEFAULT_COUNT)
    check_resolution(options.resolution, generator)
    compared = needs_any(wanted, "statistics", "features")
    extractor = data = reference = None
    if compared or needs_any(wanted, "logits", "latents"):
        extractor = load_extractor(options.extractor, device=options.device, plugins=plugins)
        check_extractor(wanted, extractor)
    protocol = as_protocol(options)
    if conditional or compared or needs_any(wanted, "pairs"):
        data, protocol = real_images(options, generator, plugins)
    if options.count is None and data is not None:
        protocol = replace(protocol, count=_default_count(len(data)))
    if extractor is not None:
        count = num_generated(generator, data, protocol.count)
        num_real = 0 if data is None else len(data)
        check_counts(wanted, extractor, count, num_real, is_count=True)
        if compared and data is not None:
            reference = real_features(options, data, extractor)
    with options.counting("generating and measuring") as on_progress:
        return evaluate_generator(generator, data, protocol, extractor, reference, on_progress)


def _default_count(num_real: int) -> int:
    """How many images are generated unless it is said: more than a few for each real one would take
    long, and say little.
    """
    count = max(2, min(DEFAULT_COUNT, PER_REAL * num_real))
    if count < DEFAULT_COUNT:
        logger.info(
            "generating %d images, %d for each of %d real ones; for more: --count %d",
            count, PER_REAL, num_real, DEFAULT_COUNT,
        )  # fmt: skip
    return count


def _of_pictures(path: Path, options: Options, plugins: Plugins) -> list[Metric]:
    """Evaluate existing images."""
    wanted = options.wanted
    check_metrics(wanted, None, options.truncation)
    check_seed(wanted, options.seed, 0)
    extractor = load_extractor(options.extractor, device=options.device, plugins=plugins)
    check_extractor(wanted, extractor)
    fake, side, fitted = made_images(path, options, plugins)
    protocol, data, reference = as_protocol(options, fitted=fitted), None, None
    if needs_any(wanted, "statistics", "features"):
        data, protocol = real_images_of_size(options, side, fitted, plugins)
    check_counts(wanted, extractor, len(fake), 0 if data is None else len(data))
    if data is not None:
        reference = real_features(options, data, extractor)
    with options.counting("measuring") as on_progress:
        return evaluate_pictures(packed_pictures(fake), protocol, extractor, reference, on_progress)


def _of_classifier(network: Classifier, options: Options, plugins: Plugins) -> list[Metric]:
    if options.metrics is not None or options.truncation != 1:
        raise InputError(
            "a classifier is evaluated only by its accuracy and its loss",
            hint="omit --metrics and --truncation",
        )
    held_out, measured = real_images(options, network, plugins)
    if measured.split == "all":
        logger.warning(
            "your own images have no held-out split, so they may include training images"
        )
    protocol = {"data": measured.data, "split": measured.split, "num_real": len(held_out)}
    return [
        Metric(name=name, value=value, protocol=protocol, command=measured.command)
        for name, value in classify(network, held_out).items()
    ]
