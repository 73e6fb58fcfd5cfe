"""What is checked before anything is measured."""

from __future__ import annotations

import re

import pytest
import toys

from zoo_core.errors import InputError
from zoo_core.metrics import checks
from zoo_core.metrics.checks import check_counts, check_extractor, check_metrics, check_seed


def generator(**settings):
    return toys.ToyGenerator(toys.resolved(**settings).config).eval()


@pytest.fixture
def extractor():
    return toys.FEATURES.build(16)


@pytest.mark.parametrize(
    ("wanted", "settings", "message"),
    [
        ("fdd", {}, "allowed: fd"),
        ("l1", {}, "compares a translated image"),
        ("ppl", {"paired": True}, "needs a generator with latents"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(wanted, settings, message):
    with pytest.raises(InputError, match=message):
        check_metrics([wanted], generator(**settings))


@pytest.mark.parametrize("files", [False, True])
def test_a_truncation_without_latents_is_refused(files):
    network = None if files else generator(paired=True)
    check_metrics(["fd"], network)
    with pytest.raises(InputError, match=r"no latents to truncate; given: 0\.7"):
        check_metrics(["fd"], network, truncation=0.7)


@pytest.mark.parametrize("wanted", ["l1", "ppl"])
def test_pictures_without_a_generator_have_no_such_metric(wanted):
    with pytest.raises(InputError):
        check_metrics([wanted], None)


# Seeds


@pytest.mark.parametrize(
    ("wanted", "seed", "count"),
    [
        ("kd", 1 << 32, 2),
        ("is", 1 << 32, 2),
        ("fd", (1 << 64) - 1, 2),
        ("fd", 1 << 64, 2),
        ("fd", 0, 1 << 63),
    ],
)
def test_seeds_that_a_metric_could_not_use_are_refused_at_once(wanted, seed, count):
    with pytest.raises(InputError, match=f"no such seeds; given: {count} images from seed {seed}"):
        check_seed(["pr", wanted], seed, count)


def test_the_last_seeds_can_be_used():
    check_seed(["kd", "is"], (1 << 32) - 1, 10**12)
    check_seed(["fd", "pr"], (1 << 64) - 2, 2)


# Extractors


def test_a_score_of_an_extractor_without_classes_is_refused(extractor):
    check_extractor(["is"], extractor)
    extractor.num_classes = 0
    check_extractor(["fd", "kd"], extractor)
    with pytest.raises(InputError, match="is a classifier; given: toy-features; try: --metrics fd"):
        check_extractor(["fd", "is"], extractor)


# Numbers of images


@pytest.mark.parametrize(
    ("wanted", "counts", "hint"),
    [
        (("fd", "kd", "pr"), (3, 50), "--metrics fd,kd"),
        (("pr",), (50, 3), "--metrics fd"),
        (("fd", "dc"), (50, 5), "--metrics fd"),
    ],
)
def test_fewer_pictures_than_a_metric_looks_at_are_refused_at_once(wanted, counts, hint, extractor):
    with pytest.raises(InputError, match=f"too few images for .*; try: {hint}$"):
        check_counts(wanted, extractor, *counts)


@pytest.mark.parametrize("counts", [(1, 50), (50, 1)])
def test_a_single_picture_cannot_be_compared(counts, extractor):
    with pytest.raises(InputError, match=r"too few images to compare; .*; allowed: 2 or more"):
        check_counts(["fd", "pr"], extractor, *counts)


def test_just_enough_pictures_are_enough(extractor):
    check_counts(["pr"], extractor, 4, 4)
    check_counts(["dc"], extractor, 2, 6)
    check_counts(["fd", "kd"], extractor, 2, 2)


@pytest.fixture
def small(monkeypatch):
    """A machine with a megabyte left."""
    monkeypatch.setattr(checks, "available_memory", lambda: 1_000_000)


PER_IMAGE = 6 * checks.FEATURE_BYTES  # toy features have six numbers, and three logits


@pytest.mark.parametrize("metric", ["kd", "pr", "dc"])
def test_more_features_than_fit_into_memory_are_refused(metric, small, extractor):
    with pytest.raises(InputError, match="do not fit into memory") as refused:
        check_counts(["fd", metric], extractor, 10**9, 1000, is_count=True)
    given = f"1,000,000,000 generated and 1,000 real images, {PER_IMAGE:.1f} GB"
    assert given in str(refused.value)
    assert str(refused.value).endswith(" or --metrics fd")


def test_what_is_suggested_fits(small, extractor):
    with pytest.raises(InputError) as refused:
        check_counts(["kd"], extractor, 10**9, 1000, is_count=True)
    suggested = int(re.search(r"try: --count (\d+)", str(refused.value))[1])
    check_counts(["kd"], extractor, suggested, 1000, is_count=True)
    with pytest.raises(InputError):
        check_counts(["kd"], extractor, int(suggested * 1.1), 1000, is_count=True)
    check_counts(["fd"], extractor, 10**9, 1000, is_count=True)


def test_a_count_is_not_suggested_where_it_is_no_choice_or_would_not_help(small, extractor):
    for counts, is_count in (((10**9, 1000), False), ((10, 10**9), True)):
        with pytest.raises(InputError) as refused:
            check_counts(["kd"], extractor, *counts, is_count=is_count)
        assert str(refused.value).endswith("try: --metrics fd")


def test_logits_take_memory_but_real_pictures_take_none_with_them(small, extractor):
    check_counts(["is"], extractor, 1000, 10**9)
    with pytest.raises(InputError, match="do not fit into memory"):
        check_counts(["is"], extractor, 10**5, 0)


def test_metrics_of_statistics_and_pairs_need_no_memory_for_an_image(small, extractor):
    check_counts(["fd", "ppl", "l1", "psnr", "ssim", "lpips"], extractor, 10**15, 10**15)


def test_nothing_is_refused_where_the_system_does_not_say_what_is_left(monkeypatch, extractor):
    monkeypatch.setattr(checks, "available_memory", lambda: None)
    check_counts(["kd"], extractor, 10**15, 10**15)
