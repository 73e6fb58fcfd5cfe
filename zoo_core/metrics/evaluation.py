"""Evaluate generators and classifiers, and record the protocol that makes the numbers comparable.

protocol.py lists the metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from zoo_core.data.batches import gather
from zoo_core.data.packing import PackedData
from zoo_core.errors import ConstantError, InputError, nearest
from zoo_core.interfaces import Classifier, FeatureExtractor, Generator, evaluating
from zoo_core.metrics.distributions import (
    density_coverage,
    inception_score,
    kernel_distance,
    precision_recall,
)
from zoo_core.metrics.feature_sets import (
    BATCH,
    FeatureSet,
    OnProgress,
    PictureSet,
    ReferenceFeatures,
    extract,
    generated_pictures,
    no_progress,
    packed_pictures,
    spread,
)
from zoo_core.metrics.frechet import Statistics, frechet_distance
from zoo_core.metrics.path_length import perceptual_path_length
from zoo_core.metrics.protocol import METRICS, Evaluation, Protocol, needs_any
from zoo_core.metrics.similarity import LPIPS_BACKBONES, load_lpips, pair_distances
from zoo_core.runtime import Runtime
from zoo_core.spec import Metric

LPIPS = "alex"  # the backbone that is usually reported
PPL_PAIRS = 1_000
EPSILON = 1e-4  # for the perceptual path length

Measured = Iterable[tuple[str, float, dict[str, Any]]]  # name, value, extra protocol entries


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


def evaluate_pictures(
    fake: PictureSet,
    reference: ReferenceFeatures,
    protocol: Protocol,
    on_progress: OnProgress = no_progress,
    conditions: Mapping[str, Any] | None = None,  # protocol entries of the conditioning data
) -> list[Metric]:
    """Evaluate a set of images."""
    numbers: list[Metric] = []
    if needs_any(protocol.metrics, "statistics", "features"):
        numbers += _compare_sets(fake, reference, protocol, on_progress)
    if "is" in protocol.metrics:
        extractor = reference.extractor
        score, splits = _score(fake, extractor, protocol.seed)
        common = {"extractor": extractor.fingerprint, **(conditions or {}), "num_fake": len(fake)}
        numbers += _recorded(
            [("is", score, {"splits": splits})], protocol, common | _drawn(protocol)
        )
    return numbers


def _compare_sets(
    fake: PictureSet, reference: ReferenceFeatures, protocol: Protocol, on_progress: OnProgress
) -> list[Metric]:
    """Evaluate the metrics that compare two sets of images."""
    distance = reference.extractor.distance
    called = {"fd": distance, "kd": distance.replace("f", "k")}
    found = compare(fake, reference, protocol.metrics, protocol.seed, on_progress)
    common = {"extractor": reference.extractor.fingerprint, **_real(protocol)}
    common |= {"num_real": len(reference.data), "num_fake": len(fake), **_drawn(protocol)}
    return _recorded(
        ((called.get(name, name), v, more) for name, v, more in found), protocol, common
    )


def evaluate_generator(
    generator: Generator,
    data: PackedData,  # real images, and the labels or sources to generate from
    protocol: Protocol,
    reference: ReferenceFeatures | None = None,  # of `data`; None if no metric needs an extractor
    on_progress: OnProgress = no_progress,
) -> list[Metric]:
    """Evaluate a generator; an image-to-image model uses each source image at most once."""
    paired = generator.source_shape is not None
    count = min(protocol.count, len(data)) if paired else protocol.count
    fake = generated_pictures(
        generator, count, data, seed=protocol.seed, truncation=protocol.truncation
    )
    conditions = _real(protocol) if generator.num_classes or paired else {}
    numbers: list[Metric] = []
    if "ppl" in protocol.metrics:
        assert reference is not None
        numbers += _path_length(generator, reference, protocol, conditions)
    if needs_any(protocol.metrics, "pairs"):
        found = compare_pairs(fake, packed_pictures(data, count), protocol.metrics)
        numbers += _recorded(
            found, protocol, {**_real(protocol), "num_pairs": count, **_drawn(protocol)}
        )
    if reference is not None:
        numbers += evaluate_pictures(fake, reference, protocol, on_progress, conditions)
    return numbers


def _path_length(
    generator: Generator,
    reference: ReferenceFeatures,
    protocol: Protocol,
    conditions: Mapping[str, Any],
) -> list[Metric]:
    labels = None
    if generator.num_classes:
        assert reference.data.labels is not None
        labels = reference.data.labels[spread(reference.data, PPL_PAIRS)].tolist()
    length = perceptual_path_length(
        generator,
        reference.extractor,
        num_pairs=PPL_PAIRS,
        epsilon=EPSILON,
        seed=protocol.seed,
        labels=labels,
        truncation=protocol.truncation,
    )
    more = {"pairs": PPL_PAIRS, "epsilon": EPSILON}
    common = {"extractor": reference.extractor.fingerprint, **conditions, **_drawn(protocol)}
    return _recorded([("ppl", length, more)], protocol, common)


def _real(protocol: Protocol) -> dict[str, Any]:
    return {"data": protocol.data, "split": protocol.split}


def _drawn(protocol: Protocol) -> dict[str, Any]:
    truncation = {} if protocol.truncation == 1 else {"truncation": protocol.truncation}
    return {"seed": protocol.seed, **truncation}


def _recorded(found: Measured, protocol: Protocol, common: Mapping[str, Any]) -> list[Metric]:
    """Build Metrics that carry everything needed to measure them again."""
    return [
        Metric(name=name, value=value, protocol={**common, **more}, command=protocol.command)
        for name, value, more in found
    ]


def compare(
    fake: PictureSet,
    reference: ReferenceFeatures,
    wanted: Sequence[str],
    seed: int,
    on_progress: OnProgress,
) -> Measured:
    """Compute the `wanted` metrics between two sets of images.

    Yields name, value and the protocol entries specific to the metric.
    """
    keep = needs_any(wanted, "features")
    made = extract(fake, reference.extractor, keep=keep, on_progress=on_progress)
    real = reference.measure(keep=keep)
    for name, measure in SET_METRICS.items():
        if name in wanted:
            yield from measure(real, made, seed)


def _frechet(real: FeatureSet, fake: FeatureSet, seed: int) -> Measured:
    yield "fd", frechet_distance(real.statistics, fake.statistics), {}
    yield "diversity", diversity(real.statistics, fake.statistics), {}


def _kernel(real: FeatureSet, fake: FeatureSet, seed: int) -> Measured:
    size = min(1000, len(real.rows), len(fake.rows))
    mean, _ = kernel_distance(real.rows, fake.rows, subset_size=size, seed=seed)
    yield "kd", mean, {"subsets": 100, "subset_size": size}


def _precision_recall(real: FeatureSet, fake: FeatureSet, seed: int) -> Measured:
    precision, recall = precision_recall(real.rows, fake.rows, k=3)
    yield "precision", precision, {"k": 3}
    yield "recall", recall, {"k": 3}


def _density_coverage(real: FeatureSet, fake: FeatureSet, seed: int) -> Measured:
    density, coverage = density_coverage(real.rows, fake.rows, k=5)
    yield "density", density, {"k": 5}
    yield "coverage", coverage, {"k": 5}


# Every metric that compares two feature sets, that is, needs statistics or features.
SET_METRICS: Mapping[str, Callable[[FeatureSet, FeatureSet, int], Measured]] = {
    "fd": _frechet,
    "kd": _kernel,
    "pr": _precision_recall,
    "dc": _density_coverage,
}


@torch.no_grad()
def _score(fake: PictureSet, extractor: FeatureExtractor, seed: int) -> tuple[float, int]:
    """Return the Inception score and the number of splits it is averaged over."""
    device = next(extractor.parameters()).device
    logits = torch.cat([extractor.logits(batch.to(device)) for batch in fake.batches()])
    splits = min(10, len(fake))
    return inception_score(logits, num_splits=splits, seed=seed)[0], splits


def diversity(real: Statistics, fake: Statistics) -> float:
    """Return the variance of generated features relative to real ones: tr C_f / tr C_r."""
    return float(fake.covariance.trace() / real.covariance.trace())


def compare_pairs(fake: PictureSet, real: PictureSet, wanted: Sequence[str]) -> Measured:
    """Average over pairs of a translated image and its target."""
    lpips = load_lpips(LPIPS) if "lpips" in wanted else None
    protocols = {"lpips": {"backbone": LPIPS_BACKBONES[LPIPS]}}
    sums: dict[str, float] = {}
    for made, true in zip(fake.batches(), real.batches(), strict=True):
        sides = (side.float() / 127.5 - 1 for side in (true, made))
        for name, values in pair_distances(*sides, lpips=lpips).items():
            sums[name] = sums.get(name, 0.0) + float(values.sum())
    for name in sums:
        if name in wanted:
            yield name, sums[name] / len(fake), protocols.get(name, {})


@torch.no_grad()
def classify(classifier: Classifier, data: PackedData) -> dict[str, float]:
    """Return the accuracy and the mean cross-entropy of a classifier on labeled images."""
    assert data.labels is not None
    device = next(classifier.parameters()).device
    runtime = Runtime(device, torch.float32, torch.channels_last)
    right, loss = 0, 0.0
    with evaluating(classifier):
        for start in range(0, len(data), BATCH):
            rows = np.arange(start, min(start + BATCH, len(data)))
            logits = classifier(runtime.place_images(gather(data.images, rows))).float()
            labels = torch.from_numpy(data.labels[rows]).to(device)
            right += int((logits.argmax(1) == labels).sum())
            loss += float(cross_entropy(logits, labels, reduction="sum"))
    return {"accuracy": right / len(data), "loss": loss / len(data)}


def during_training(reference: ReferenceFeatures, count: int) -> Evaluation:
    """Evaluation of a generator during training: Frechet distance and diversity of some images."""
    reference.measure()  # up front, not in the middle of the run

    def measure(generator: nn.Module) -> Mapping[str, float]:
        fake = generated_pictures(generator, count, reference.data)
        try:
            found = list(compare(fake, reference, ("fd",), seed=0, on_progress=no_progress))
        except ConstantError:  # no distance, but the run goes on
            return {"diversity": 0.0}
        return {name: value for name, value, _ in found}

    protocol = f"{reference.extractor.fingerprint}, {reference.data.fingerprint[:12]}, {count}"
    return Evaluation(measure=measure, criterion="fd", protocol=protocol)


def of_classifier(held_out: PackedData) -> Evaluation:
    """Evaluation of a classifier during training, on held-out images."""
    return Evaluation(
        measure=lambda classifier: classify(classifier, held_out),
        criterion="accuracy",
        protocol=held_out.fingerprint[:12],
    )
