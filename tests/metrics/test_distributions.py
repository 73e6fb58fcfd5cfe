"""Feature and path metrics against torch-fidelity and against float64 oracles."""

from __future__ import annotations

import importlib
import math
import sys

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from toys import WIDTH, features

import zoo_core
from zoo_core.errors import InputError, OfflineError, PictureError
from zoo_core.generators import Generator, StyleGenerator
from zoo_core.interfaces import FeatureExtractor
from zoo_core.metrics import distributions, path_length
from zoo_core.metrics.distributions import (
    density_coverage,
    inception_score,
    kernel_distance,
    precision_recall,
)
from zoo_core.metrics.frechet import Moments, Statistics, frechet_distance
from zoo_core.metrics.path_length import perceptual_path_length
from zoo_core.noise import SeededNoise

# Input that every metric rejects


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (features(1), "too few images to compare; given: 1"),
        (features(0), "too few images to compare; given: 0"),
        (features(1).expand(7, -1), "all 7 images are the same"),
        (features(1).expand(7, -1) + 1e-8 * features(7), "all 7 images are the same"),
        (torch.zeros(7, WIDTH), "all 7 images are the same"),
        (torch.zeros(7, WIDTH, 1), "one row of numbers per image"),
        (torch.zeros(7, WIDTH, dtype=torch.int64), "one row of numbers per image"),
    ],
)
def test_what_is_no_set_of_pictures_is_refused_by_every_metric(rows, message):
    good = features(20)
    for measure in (
        lambda: Statistics.of(rows),
        lambda: kernel_distance(good, rows, subset_size=2),
        lambda: kernel_distance(rows, good, subset_size=2),
        lambda: precision_recall(good, rows),
        lambda: density_coverage(rows, good),
    ):
        with pytest.raises(InputError, match=message) as refused:
            measure()
        assert "\n" not in str(refused.value)


def test_features_of_another_width_are_refused():
    one, other = features(20), features(20, width=5)
    for measure in (
        lambda: frechet_distance(Statistics.of(one), Statistics.of(other)),
        lambda: Moments(WIDTH).update(other),
        lambda: kernel_distance(one, other, subset_size=2),
        lambda: precision_recall(one, other),
        lambda: density_coverage(one, other),
    ):
        with pytest.raises(InputError, match=r"different widths .* given: 12 and 5"):
            measure()


# The kernel distance


def oracle_mmd(one, other) -> float:
    """Unbiased squared discrepancy over all images (Gretton et al. 2012, eq. 3)."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    one, other = one.numpy(), other.numpy()
    within = [
        (kernel(rows, rows).sum() - np.trace(kernel(rows, rows))) / (len(rows) * (len(rows) - 1))
        for rows in (one, other)
    ]
    return float(sum(within) - 2 * kernel(one, other).mean())


def test_the_kernel_distance_of_whole_sets_is_the_formula():
    real, fake = features(50), features(50, seed=1, mean=0.2)
    mean, deviation = kernel_distance(real, fake, num_subsets=2, subset_size=50)
    assert mean == pytest.approx(oracle_mmd(real, fake), rel=1e-9)
    assert deviation < 1e-9


def their_kernel_distance(real, fake, num_subsets, subset_size, seed=0) -> tuple[float, float]:
    options = {"kid_subsets": num_subsets, "kid_subset_size": subset_size, "rng_seed": seed}
    result = kid_features_to_metric(fake.double(), real.double(), **options, verbose=False)
    return tuple(result[f"kernel_inception_distance_{part}"] for part in ("mean", "std"))


@pytest.mark.parametrize("num_subsets", [9, 99], ids=["subset by subset", "all pairs at once"])
@pytest.mark.parametrize("block", [256, 7])
def test_the_kernel_distance_is_that_of_torch_fidelity(num_subsets, block, monkeypatch):
    monkeypatch.setattr(distributions, "BLOCK", block)
    real, fake = features(160), features(150, seed=1, mean=0.2)
    options = {"num_subsets": num_subsets, "subset_size": 20, "seed": 5}
    expected = their_kernel_distance(real, fake, **options)
    assert kernel_distance(real, fake, **options) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("num_subsets", [2, 20], ids=["subset by subset", "all pairs at once"])
@pytest.mark.parametrize("scale", [1.0, 1.1])
def test_large_subsets_have_the_distance_of_torch_fidelity_to_a_millionth(num_subsets, scale):
    real, fake = features(1400).float() + 3, features(1300, seed=1, scale=scale).float() + 3
    options = {"num_subsets": num_subsets, "subset_size": 400}
    expected = their_kernel_distance(real, fake, **options)
    assert kernel_distance(real, fake, **options) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Please use the new API settings to control TF32")  # torch 2.9
def test_products_are_as_exact_whatever_the_process_allows_others():
    real, fake = torch.randn(2, 500, 1280)
    expected = kernel_distance(real, fake, num_subsets=2, subset_size=400)
    torch.set_float32_matmul_precision("medium")  # less exact, where the processor can
    try:
        assert kernel_distance(real, fake, num_subsets=2, subset_size=400) == expected
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("subset_size", [20, 300])
def test_features_too_large_for_the_kernel_are_refused(subset_size):
    huge = features(300) * 1e60
    with pytest.raises(InputError, match=r"too large for the kernel; given: \d.*e\+60$"):
        kernel_distance(huge, huge + features(300, seed=1), subset_size=subset_size)


def test_the_kernel_distance_of_float32_features_is_computed_in_float64():
    real, fake = features(50, mean=3.0).float(), features(50, seed=1, mean=3.01).float()
    mean, _ = kernel_distance(real, fake, num_subsets=1, subset_size=50)
    assert mean == pytest.approx(oracle_mmd(real.double(), fake.double()), rel=1e-9)


def test_the_seed_draws_the_subsets():
    real, fake = features(60), features(50, seed=1)
    results = [kernel_distance(real, fake, subset_size=20, seed=seed) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


def test_subsets_that_cannot_be_drawn_are_refused():
    real, fake = features(60), features(50, seed=1)
    for options in ({"subset_size": 51}, {"subset_size": 1}, {"num_subsets": 0}, {}):
        with pytest.raises(InputError, match=r"cannot be drawn; .*subsets of 2 to 50 images"):
            kernel_distance(real, fake, **{"num_subsets": 3, **options})
    with pytest.raises(InputError, match="seed"):
        kernel_distance(real, fake, subset_size=9, seed=-1)


# Precision, recall, density, coverage


def oracle_manifolds(real, fake, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage, image by image."""
    real, fake = real.numpy(), fake.numpy()

    def between(one, other):
        return np.linalg.norm(one[:, None] - other[None], axis=2)

    def radii(rows):
        return np.sort(between(rows, rows), axis=1)[:, k]

    across = between(real, fake)
    held = across <= radii(real)[:, None]
    holding = across <= radii(fake)[None]
    return (
        held.any(0).mean(), holding.any(1).mean(),
        held.sum() / (k * len(fake)), held.any(1).mean(),
    )  # fmt: skip


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("limit", [{}, {"CHUNK": 7}, {"CELLS": 7 * 60}])
def test_manifolds_are_those_of_the_papers(k, limit, monkeypatch):
    for name, value in limit.items():
        monkeypatch.setattr(distributions, name, value)
    real, fake = features(60), features(45, seed=1, mean=0.4, scale=0.8)
    expected = oracle_manifolds(real, fake, k)
    result = (*precision_recall(real, fake, k=k), *density_coverage(real, fake, k=k))
    assert result == pytest.approx(expected, rel=1e-6)
    assert len({round(value, 3) for value in expected}) == 4  # no two are equal by chance


def test_the_memory_for_distances_is_bounded(monkeypatch):
    monkeypatch.setattr(distributions, "CELLS", 50 * 8)
    sizes = []

    def measured(one, other):
        sizes.append(len(one) * len(other))
        return cdist(one, other)

    cdist = torch.cdist
    monkeypatch.setattr(torch, "cdist", measured)
    density_coverage(features(50), features(40, seed=1))
    precision_recall(features(50), features(40, seed=1))
    assert 0 < max(sizes) <= 50 * 8


def test_precision_and_recall_are_those_of_torch_fidelity():
    real, fake = features(60), features(45, seed=1, mean=0.4)
    result = prc_features_to_metric(fake, real, prc_neighborhood=4, verbose=False)
    assert precision_recall(real, fake, k=4) == (result["precision"], result["recall"])


def test_precision_is_of_the_generated_pictures_and_recall_of_the_real_ones():
    cat, dog = features(30, scale=0.1), features(30, seed=1, scale=0.1, mean=100.0)
    both = torch.cat([cat, dog])
    precision, recall = precision_recall(both, cat + 1e-3)  # all good, half missing
    assert (precision, recall) == (1.0, pytest.approx(0.5, abs=0.05))
    precision, recall = precision_recall(cat, both)  # half wrong, nothing missing
    assert (precision, recall) == (pytest.approx(0.5, abs=0.05), 1.0)


def test_an_outlier_among_the_real_pictures_raises_precision_but_not_density():
    real = torch.cat([features(40, scale=0.1), features(1, scale=0.1) + 50])
    fake = features(40, seed=1, scale=0.1) + 25
    assert precision_recall(real, fake)[0] == 1.0
    assert density_coverage(real, fake)[0] < 0.3


def test_a_set_covers_itself_with_density_one():
    rows = features(60)
    assert density_coverage(rows, rows) == (pytest.approx(1.0), 1.0)
    assert density_coverage(rows, rows + 1000) == (0.0, 0.0)


def test_a_neighbor_that_does_not_exist_is_refused():
    for measure in (precision_recall, density_coverage):
        for k in (0, 10):
            with pytest.raises(InputError, match=f"10 images; given: k = {k}; allowed: 1 to 9"):
                measure(features(10), features(20), k=k)


# The Inception score


def test_the_score_is_that_of_torch_fidelity_and_of_the_formula():
    logits = features(40, width=5)
    mean, deviation = inception_score(logits, num_splits=4, seed=3)
    theirs = isc_features_to_metric(logits, 4, True, 3)
    assert mean == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert deviation == pytest.approx(theirs["inception_score_std"], rel=1e-9)
    p = scipy.special.softmax(logits.numpy(), axis=1)
    score = np.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    assert inception_score(logits, num_splits=1)[0] == pytest.approx(score, rel=1e-12)


def test_the_score_of_sure_and_even_answers_is_the_number_of_classes():
    logits = torch.eye(5).repeat(20, 1) * 1e4  # torch-fidelity's own score is NaN here
    assert inception_score(logits[:50], num_splits=1)[0] == pytest.approx(5, rel=1e-12)
    only_two = torch.eye(5)[:2].repeat(20, 1) * 1e4
    assert inception_score(only_two, num_splits=1)[0] == pytest.approx(2, rel=1e-12)


def test_logits_that_do_not_fit_are_refused():
    for logits, options in (
        (torch.zeros(20, 1), {}), (torch.zeros(20), {}), (torch.zeros(9, 3), {}),
        (torch.zeros(9, 3), {"num_splits": 0}), (torch.full((20, 3), math.nan), {}),
    ):  # fmt: skip
        with pytest.raises(InputError):
            inception_score(logits, **options)


# Perceptual path length


class Pixels(FeatureExtractor):
    """Features are the pixels; after `good_calls` calls they are NaN."""

    width, fingerprint = 4, "pixels"

    def __init__(self, good_calls: float = math.inf):
        super().__init__()
        self.good_calls, self.sizes = good_calls, []

    def forward(self, images):
        self.sizes.append(len(images))
        return images.flatten(1) * (1 if len(self.sizes) <= self.good_calls else math.nan)


class Plain(Generator):
    """Pixels are the latents, scaled by the label."""

    image_shape = (1, 2, 2)

    def __init__(self, num_classes: int = 0, source_shape=None):
        super().__init__()
        self.num_classes, self.source_shape = num_classes, source_shape
        self.weight = nn.Parameter(torch.full((), 0.02))

    def generate(self, noise, *, labels=None, source=None, truncation=1.0):
        assert not self.training
        pictures = self.weight * noise.normal("latents", (1, 2, 2)) * truncation
        return pictures if labels is None else pictures * (1 + labels[:, None, None, None])


class Styled(StyleGenerator):
    image_shape, num_ws, style_size = (1, 2, 2), 4, 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((), 0.5))

    def sample_ws(self, noise, *, labels=None, truncation=1.0):
        assert not self.training
        return noise.uniform("latents", (4, 1)).to(self.weight) * truncation

    def synthesize(self, ws):
        return self.weight * ws.reshape(-1, 1, 2, 2)


def trimmed_mean(values) -> float:
    values = np.sort(values.numpy())
    return values[int(0.01 * (len(values) - 1)) : int(0.99 * (len(values) - 1)) + 1].mean()


def ends(seed: int, pairs: int, draw) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(
        draw(SeededNoise(seed, range(end, 2 * pairs, 2))).double().flatten(1) for end in (0, 1)
    )


def speeds_on_circles(seed: int, pairs: int) -> torch.Tensor:
    """Squared speeds of Plain's pixels, without labels."""
    first, last = ends(seed, pairs, lambda noise: noise.normal("latents", (4,)))
    angles = SeededNoise(seed, range(pairs)).uniform("path").double()[:, None] * math.pi / 2
    speeds = 0.02 * math.pi / 2 * (angles.cos() * last - angles.sin() * first)
    return speeds.square().sum(1)


def test_the_path_length_of_a_linear_generator_is_the_speed_on_a_circle():
    generator = Plain().train()
    result = perceptual_path_length(generator, Pixels(), num_pairs=50, seed=3, epsilon=1e-2)
    assert result == pytest.approx(trimmed_mean(speeds_on_circles(3, 50)), rel=0.01)
    assert generator.training
    other = perceptual_path_length(generator, Pixels(), num_pairs=50, seed=4, epsilon=1e-2)
    assert abs(other - result) > 0.05 * result


def test_the_path_length_of_styles_is_along_a_straight_line_in_w():
    first, last = ends(3, 50, lambda noise: noise.uniform("latents", (4,)))
    expected = trimmed_mean((0.5 * (last - first)).square().sum(1))
    result = perceptual_path_length(Styled(), Pixels(), num_pairs=50, seed=3, epsilon=1e-2)
    assert result == pytest.approx(expected, rel=1e-3)


def test_the_path_length_in_double_precision_is_the_same():
    options = {"num_pairs": 20, "epsilon": 1e-2}
    found, expected = (
        perceptual_path_length(generator, Pixels(), **options)
        for generator in (Styled().double(), Styled())
    )
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("generator", [Plain(), Styled()], ids=["latents", "styles"])
def test_the_path_between_truncated_pictures_is_shorter(generator):
    def length(truncation: float) -> float:
        return perceptual_path_length(
            generator, Pixels(), num_pairs=20, epsilon=1e-2, truncation=truncation
        )

    assert length(0.5) == pytest.approx(length(1.0) / 4, rel=1e-3)


def test_the_path_length_does_not_depend_on_the_batch_nor_on_torchs_generator(monkeypatch):
    whole = perceptual_path_length(Styled(), Pixels(), num_pairs=20, epsilon=1e-2)
    monkeypatch.setattr(path_length, "sample_batch", lambda shape: 3)
    torch.manual_seed(7)
    extractor = Pixels()
    parts = perceptual_path_length(Styled(), extractor, num_pairs=20, epsilon=1e-2)
    assert parts == pytest.approx(whole, rel=1e-6)
    assert max(extractor.sizes) == 3


def test_the_path_length_goes_through_pictures_of_one_class():
    labels = [0, 1] * 10
    options = {"num_pairs": 20, "epsilon": 1e-2}
    result = perceptual_path_length(Plain(num_classes=3), Pixels(), labels=labels, **options)
    speeds = speeds_on_circles(0, 20) * (1 + torch.tensor(labels)) ** 2
    assert result == pytest.approx(trimmed_mean(speeds), rel=0.01)
    with pytest.raises(InputError, match="needs a label"):
        perceptual_path_length(Plain(num_classes=3), Pixels(), **options)


def test_a_path_that_cannot_be_walked_is_refused():
    for generator, options in (
        (Plain(source_shape=(1, 2, 2)), {"num_pairs": 9}), (Plain(), {"num_pairs": 1}),
        (Plain(), {"num_pairs": 9, "epsilon": 0}),
    ):  # fmt: skip
        with pytest.raises(InputError):
            perceptual_path_length(generator, Pixels(), **options)


def test_a_pair_with_features_that_are_not_finite_is_named(monkeypatch):
    monkeypatch.setattr(path_length, "sample_batch", lambda shape: 3)
    with pytest.raises(PictureError, match="pair 6"):
        perceptual_path_length(Plain(), Pixels(good_calls=4), num_pairs=9)


# Without the libraries


@pytest.mark.parametrize("missing", ["torchmetrics", "torch_fidelity"])
def test_a_missing_library_is_one_line_with_what_to_type(missing, monkeypatch):
    own = {
        "zoo_core.metrics.distributions",
        "zoo_core.metrics.frechet",
        "zoo_core.metrics.similarity",
    }
    for name in [name for name in sys.modules if name in own or name.startswith(missing)]:
        monkeypatch.delitem(sys.modules, name)
        if name in own:
            monkeypatch.delattr(zoo_core.metrics, name.rpartition(".")[2])
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(OfflineError) as refused:
        importlib.import_module("zoo_core.metrics.distributions")
    assert refused.value.exit_code == 6
    assert str(refused.value) == f"{missing} is not installed; try: pip install 'zoo-core[metrics]'"
