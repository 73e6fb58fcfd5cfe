"""Checks before anything is measured: metrics, seeds, and the memory that they will take."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zoo_core.errors import InputError, nearest
from zoo_core.generators import Generator
from zoo_core.interfaces import FeatureExtractor
from zoo_core.memory import available_memory
from zoo_core.metrics.protocol import METRICS, NEIGHBORS, needs_any

FEATURE_BYTES = 24  # at the peak, a feature in float32 and copies in float64
LOGIT_BYTES = 48
MEMORY_SHARE = 0.9  # of the available memory


def check_metrics(
    wanted: Sequence[str], generator: Generator | None, truncation: float = 1.0
) -> None:
    """Raise InputError for an unknown metric, or one that this generator does not support.

    `generator` is None for image files. A truncation other than 1 needs a generator with latents.
    """
    for name in wanted:
        if name not in METRICS:
            allowed, near = ", ".join(METRICS), nearest(name, METRICS)
            raise InputError("no such metric", given=name, allowed=allowed, near=near)
        paired = generator is not None and generator.source_shape is not None
        if METRICS[name].needs == "pairs" and not paired:
            raise InputError(
                f"{name} compares a translated image with its target",
                given="images that are not translated",
                hint="--metrics fd,kd,pr",
            )
        if name == "ppl" and (generator is None or paired):
            raise InputError("ppl needs a generator with latents")
    if truncation != 1 and (generator is None or generator.source_shape is not None):
        raise InputError(
            "there are no latents to truncate", given=truncation, hint="leave out --truncation"
        )


def check_seed(wanted: Sequence[str], seed: int, count: int) -> None:
    """Raise InputError unless there are seeds for `count` images, and `seed` draws random subsets.

    It does so for metrics of libraries whose generators take 32 bits.
    """
    bits = 32 if {"kd", "is"}.intersection(wanted) else 64
    if seed >= 1 << bits or seed + count > 1 << 64 or count > sys.maxsize:
        raise InputError(
            "there are no such seeds",
            given=f"{count} images from seed {seed}",
            allowed=f"a first seed of at most 2**{bits} - 1, and 2**64 seeds in all",
        )


def check_resolution(resolution: int | None, generator: Generator) -> None:
    """Raise InputError if images that are translated shall be compared at another size."""
    size = generator.image_shape[2]
    if resolution not in (None, size) and generator.source_shape is not None:
        raise InputError(
            "translated images are compared at their own size",
            given=resolution,
            allowed=str(size),
            hint="omit --resolution",
        )


def check_extractor(wanted: Sequence[str], extractor: FeatureExtractor) -> None:
    """Raise InputError if a metric needs what this extractor does not have."""
    if needs_any(wanted, "logits") and not extractor.num_classes:
        raise InputError(
            "the Inception score needs a feature extractor that is a classifier",
            given=extractor.fingerprint.partition(" ")[0],
            hint="--metrics fd,kd,pr",
        )


def check_counts(
    wanted: Sequence[str],
    extractor: FeatureExtractor,
    num_fake: int,
    num_real: int,
    *,
    is_count: bool = False,  # the number of generated images is a choice
) -> None:
    """Raise InputError for fewer images than a metric needs, and for more than those of which all
    features fit into memory.
    """
    _check_least(wanted, num_fake, num_real)
    _check_memory(wanted, extractor, num_fake, num_real, is_count)


def _check_least(wanted: Sequence[str], num_fake: int, num_real: int) -> None:
    given = f"{num_fake} generated and {num_real} real images"
    if needs_any(wanted, "statistics", "features") and min(num_fake, num_real) < 2:
        raise InputError("too few images to compare", given=given, allowed="2 or more of each")
    for name, k in NEIGHBORS.items():
        count = num_real if name == "dc" else min(num_fake, num_real)
        if name in wanted and count <= k:
            others = [other for other in wanted if other not in NEIGHBORS]
            raise InputError(
                f"too few images for {name}, which looks for {k} neighbors of an image",
                given=given,
                allowed=f"{k + 1} or more",
                hint=f"--metrics {','.join(others or ['fd'])}",
            )


def _check_memory(
    wanted: Sequence[str],
    extractor: FeatureExtractor,
    num_fake: int,
    num_real: int,
    is_count: bool,
) -> None:
    """Only metrics that need all features or logits at once hold them in memory."""
    features = FEATURE_BYTES * extractor.width * needs_any(wanted, "features")
    logits = LOGIT_BYTES * extractor.num_classes * needs_any(wanted, "logits")
    available = available_memory()
    needed = num_fake * (features + logits) + num_real * features
    if available is None or needed <= MEMORY_SHARE * available:
        return
    room = int(MEMORY_SHARE * available)
    most = _two_digits(max(0, room - num_real * features) // (features + logits))
    fits = is_count and most >= 2
    raise InputError(
        "the features of so many images do not fit into memory",
        given=f"{num_fake:,} generated and {num_real:,} real images, {needed / 1e9:,.1f} GB",
        allowed=f"{room / 1e9:,.1f} GB" + (f", {most:,} generated images" if fits else ""),
        hint=" or ".join([f"--count {most}"] * fits + [f"--metrics {_without_rows(wanted)}"]),
    )


def _without_rows(wanted: Sequence[str]) -> str:
    """Those metrics that take the same memory for any number of images, or one such."""
    others = [name for name in wanted if METRICS[name].needs not in ("features", "logits")]
    return ",".join(others or ["fd"])


def _two_digits(number: int) -> int:
    """The number rounded down, so that it still fits a moment later."""
    step = 10 ** max(0, len(str(number)) - 2)
    return number // step * step
