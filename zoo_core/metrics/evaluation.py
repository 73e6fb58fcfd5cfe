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
from zoo_core.data.progress import OnProgress, no_progress
from zoo_core.errors import ConstantError
from zoo_core.generators import Generator, evaluating
from zoo_core.interfaces import Classifier, FeatureExtractor
from zoo_core.metrics.distributions import (
    density_coverage,
    inception_score,
    kernel_distance,
    precision_recall,
)
from zoo_core.metrics.feature_sets import (
    FeatureSet,
    FeatureVisitor,
    LogitVisitor,
    ReferenceFeatures,
    extract,
)
from zoo_core.metrics.frechet import Statistics, frechet_distance
from zoo_core.metrics.pairs import PairVisitor
from zoo_core.metrics.path_length import perceptual_path_length
from zoo_core.metrics.picture_sets import (
    BATCH,
    PictureSet,
    generated_pictures,
    num_generated,
    packed_pictures,
    spread,
    visit,
)
from zoo_core.metrics.protocol import NEIGHBORS, Evaluation, Protocol, needs_any
from zoo_core.runtime import Runtime
from zoo_core.spec import Metric

PPL_PAIRS = 1_000
EPSILON = 1e-4  # for the perceptual path length

Measured = Iterable[tuple[str, float, dict[str, Any]]]  # name, value, extra protocol entries


def evaluate_pictures(
    fake: PictureSet,
    protocol: Protocol,
    extractor: FeatureExtractor,
    reference: ReferenceFeatures | None = None,  # None if no metric compares with real images
    on_progress: OnProgress = no_progress,
) -> list[Metric]:
    """Evaluate a set of images."""
    return _measure(fake, protocol, extractor, reference, on_progress=on_progress)


def evaluate_generator(
    generator: Generator,
    data: PackedData | None,  # real images, and labels or sources; None if no metric needs any
    protocol: Protocol,
    extractor: FeatureExtractor | None = None,  # None if no metric needs one
    reference: ReferenceFeatures | None = None,  # of `data`, if they were measured before
    on_progress: OnProgress = no_progress,
) -> list[Metric]:
    """Evaluate a generator; an image-to-image model uses each source image at most once."""
    wanted, count = protocol.metrics, num_generated(generator, data, protocol.count)
    conditional = generator.num_classes or generator.source_shape is not None
    conditions = _real(protocol) if conditional else {}
    numbers: list[Metric] = []
    if "ppl" in wanted:
        assert extractor is not None
        numbers += _path_length(generator, data, extractor, protocol, conditions)
    targets = None
    if data is not None and needs_any(wanted, "pairs"):
        targets = packed_pictures(data, count)
    if data is not None and extractor is not None and reference is None:
        reference = ReferenceFeatures(data, extractor)
    fake = generated_pictures(
        generator,
        count,
        data,
        seed=protocol.seed,
        truncation=protocol.truncation,
        resolution=protocol.resolution,
    )
    return numbers + _measure(
        fake, protocol, extractor, reference, targets, conditions, on_progress
    )


def _measure(
    fake: PictureSet,
    protocol: Protocol,
    extractor: FeatureExtractor | None,
    reference: ReferenceFeatures | None,
    targets: PictureSet | None = None,  # of translated images
    conditions: Mapping[str, Any] | None = None,  # protocol entries of the conditioning data
    on_progress: OnProgress = no_progress,
) -> list[Metric]:
    """Visit the images once for all metrics, and compute those."""
    wanted = protocol.metrics
    pairs = None if targets is None else PairVisitor(targets, wanted)
    features = logits = None
    if needs_any(wanted, "statistics", "features"):
        assert extractor is not None
        features = FeatureVisitor(extractor, len(fake), keep=needs_any(wanted, "features"))
    if needs_any(wanted, "logits"):
        assert extractor is not None
        logits = LogitVisitor(extractor, len(fake))
    if visitors := [each for each in (pairs, features, logits) if each is not None]:
        visit(fake, visitors, on_progress)
    numbers: list[Metric] = []
    if pairs is not None:
        common = {**_real(protocol), "num_pairs": len(fake), **_drawn(protocol)}
        numbers += _recorded(pairs.found(), protocol, common)
    if features is not None:
        assert reference is not None
        numbers += _compare_sets(features.found(), reference, protocol, len(fake))
    if logits is not None:
        numbers += _score(logits, protocol, conditions or {})
    return numbers


def _compare_sets(
    made: FeatureSet, reference: ReferenceFeatures, protocol: Protocol, num_fake: int
) -> list[Metric]:
    """Compute the metrics that compare two sets of images."""
    distance, wanted = reference.extractor.distance, protocol.metrics
    called = {"fd": distance, "kd": distance.replace("f", "k")}
    real = reference.measure(keep=needs_any(wanted, "features"))
    common = {"extractor": reference.extractor.fingerprint, **_real(protocol)}
    common |= {"num_real": len(reference.data), "num_fake": num_fake, **_drawn(protocol)}
    return _recorded(
        (
            (called.get(name, name), value, more)
            for name, value, more in compare(real, made, wanted, protocol.seed)
        ),
        protocol,
        common,
    )


def _score(logits: LogitVisitor, protocol: Protocol, conditions: Mapping[str, Any]) -> list[Metric]:
    """Compute the Inception score."""
    rows = logits.kept.rows
    splits = min(10, len(rows))
    score, _ = inception_score(rows, num_splits=splits, seed=protocol.seed)
    common = {"extractor": logits.extractor.fingerprint, **conditions, "num_fake": len(rows)}
    return _recorded([("is", score, {"splits": splits})], protocol, common | _drawn(protocol))


def _path_length(
    generator: Generator,
    data: PackedData | None,
    extractor: FeatureExtractor,
    protocol: Protocol,
    conditions: Mapping[str, Any],
) -> list[Metric]:
    labels = None
    if generator.num_classes:
        assert data is not None
        assert data.labels is not None
        labels = data.labels[spread(len(data), PPL_PAIRS)].tolist()
    length = perceptual_path_length(
        generator,
        extractor,
        num_pairs=PPL_PAIRS,
        epsilon=EPSILON,
        seed=protocol.seed,
        labels=labels,
        truncation=protocol.truncation,
    )
    more = {"pairs": PPL_PAIRS, "epsilon": EPSILON}
    common = {"extractor": extractor.fingerprint, **conditions, **_drawn(protocol)}
    return _recorded([("ppl", length, more)], protocol, common)


def _real(protocol: Protocol) -> dict[str, Any]:
    return {"data": protocol.data, "split": protocol.split}


def _drawn(protocol: Protocol) -> dict[str, Any]:
    truncation = {} if protocol.truncation == 1 else {"truncation": protocol.truncation}
    return {"seed": protocol.seed, **truncation, **protocol.fitted}


def _recorded(found: Measured, protocol: Protocol, common: Mapping[str, Any]) -> list[Metric]:
    """Build Metrics that carry everything needed to measure them again."""
    return [
        Metric(name=name, value=value, protocol={**common, **more}, command=protocol.command)
        for name, value, more in found
    ]


def compare(real: FeatureSet, fake: FeatureSet, wanted: Sequence[str], seed: int) -> Measured:
    """Compute the `wanted` metrics between two sets of images.

    Yields name, value and the protocol entries specific to the metric.
    """
    for name, measure in SET_METRICS.items():
        if name in wanted:
            yield from measure(real, fake, seed)


def _frechet(real: FeatureSet, fake: FeatureSet, seed: int) -> Measured:
    yield "fd", frechet_distance(real.statistics, fake.statistics), {}
    yield "diversity", diversity(real.statistics, fake.statistics), {}


def _kernel(real: FeatureSet, fake: FeatureSet, seed: int) -> Measured:
    size = min(1000, len(real.rows), len(fake.rows))
    mean, _ = kernel_distance(real.rows, fake.rows, subset_size=size, seed=seed)
    yield "kd", mean, {"subsets": 100, "subset_size": size}


def _precision_recall(real: FeatureSet, fake: FeatureSet, seed: int) -> Measured:
    k = NEIGHBORS["pr"]
    precision, recall = precision_recall(real.rows, fake.rows, k=k)
    yield "precision", precision, {"k": k}
    yield "recall", recall, {"k": k}


def _density_coverage(real: FeatureSet, fake: FeatureSet, seed: int) -> Measured:
    k = NEIGHBORS["dc"]
    density, coverage = density_coverage(real.rows, fake.rows, k=k)
    yield "density", density, {"k": k}
    yield "coverage", coverage, {"k": k}


# Every metric that compares two feature sets, that is, needs statistics or features.
SET_METRICS: Mapping[str, Callable[[FeatureSet, FeatureSet, int], Measured]] = {
    "fd": _frechet,
    "kd": _kernel,
    "pr": _precision_recall,
    "dc": _density_coverage,
}


def diversity(real: Statistics, fake: Statistics) -> float:
    """Return the variance of generated features relative to real ones: tr C_f / tr C_r."""
    return float(fake.covariance.trace() / real.covariance.trace())


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
            made = extract(fake, reference.extractor, keep=False)
            found = list(compare(reference.measure(), made, ("fd",), seed=0))
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
