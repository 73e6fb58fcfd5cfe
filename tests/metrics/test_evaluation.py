"""Both sides of a comparison, the metrics between them, their protocols, and rejected input."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
import toys
from safetensors.torch import load_file

from zoo_core.data.packing import pack
from zoo_core.errors import InputError, PictureError
from zoo_core.metrics import picture_sets
from zoo_core.metrics.evaluation import (
    SET_METRICS,
    classify,
    during_training,
    evaluate_generator,
    evaluate_pictures,
    of_classifier,
)
from zoo_core.metrics.feature_sets import FeatureVisitor, ReferenceFeatures, extract
from zoo_core.metrics.frechet import frechet_distance
from zoo_core.metrics.picture_sets import generated_pictures, packed_pictures, spread
from zoo_core.metrics.protocol import METRICS, Protocol, improves_on
from zoo_core.weights.tensors import write_tensors

HOW = Protocol(data="toys", split="train", metrics=("fd",), command="zoo evaluate", count=24)


@pytest.fixture
def extractor():
    return toys.FEATURES.build(16)


@pytest.fixture
def data(tmp_path):
    return toys.packed(tmp_path, count=32)


@pytest.fixture
def reference(tmp_path, data, extractor):
    return ReferenceFeatures(data, extractor, cache=tmp_path / "cache")


def generator(**settings):
    torch.manual_seed(0)
    return toys.ToyGenerator(toys.resolved(**settings).config).eval()


def measured(network, reference, how):
    return evaluate_generator(network, reference.data, how, reference.extractor, reference)


def numbers(metrics):
    return {metric.name: metric.value for metric in metrics}


# Sides


def test_generated_pictures_are_what_their_files_would_hold(data):
    network = generator()
    (batch,) = generated_pictures(network, 3, data, seed=5).batches()
    expected = ((network.sample([5, 6, 7]) + 1) * 127.5).round().byte()
    assert torch.equal(batch, expected)


def test_generated_pictures_have_the_labels_of_the_data(tmp_path):
    data = toys.packed(tmp_path, count=8, num_classes=4)
    network = generator(num_classes=4)
    (batch,) = generated_pictures(network, 8, data).batches()
    expected = network.sample(range(8), labels=data.labels.tolist())
    assert torch.equal(batch, ((expected + 1) * 127.5).round().byte())


def test_translated_pictures_start_from_those_of_the_data(tmp_path):
    data = toys.packed(tmp_path, count=8, paired=True)
    network = generator(paired=True)
    (batch,) = generated_pictures(network, 8, data).batches()
    source = torch.from_numpy(np.array(data.source)).permute(0, 3, 1, 2) / 127.5 - 1
    expected = network.sample(range(8), source=source)
    assert torch.equal(batch, ((expected + 1) * 127.5).round().byte())


def test_a_count_is_spread_over_all_of_the_data(data):
    assert spread(len(data), 4).tolist() == [0, 10, 21, 31]
    assert sorted(set(spread(len(data), 64).tolist())) == list(range(32))
    names = packed_pictures(data, 4).names
    assert names == ["toy 0", "toy 10", "toy 21", "toy 31"]


@pytest.mark.parametrize("size", [1, 2, 1806, 10_000])
@pytest.mark.parametrize("count", [1, 2, 64, 233, 5_000])
def test_a_batch_of_a_spread_is_computed_by_itself(size, count):
    whole = np.linspace(0, size - 1, count).round()
    batches = [spread(size, count, start, start + 64) for start in range(0, count, 64)]
    assert np.array_equal(np.concatenate(batches), whole)


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_batches_do_not_change_the_statistics(monkeypatch, data, extractor, batch):
    whole = extract(packed_pictures(data), extractor, keep=False).statistics
    monkeypatch.setattr(picture_sets, "BATCH", batch)
    parts = extract(packed_pictures(data), extractor, keep=False).statistics
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(parts.covariance, whole.covariance, rtol=1e-5, atol=1e-7)


def test_kept_features_have_the_same_statistics(data, extractor):
    streamed = extract(packed_pictures(data), extractor, keep=False)
    kept = extract(packed_pictures(data), extractor, keep=True)
    assert streamed.rows is None
    assert kept.rows.shape == (32, extractor.width)
    torch.testing.assert_close(kept.statistics.covariance, streamed.statistics.covariance)


def test_a_picture_without_finite_features_is_named(data, extractor):
    network = generator()
    with torch.no_grad():
        extractor.backbone.mix[0, 0, 0, 0] = float("nan")
    with pytest.raises(PictureError, match="the image of seed 7: its features are not finite"):
        extract(generated_pictures(network, 2, data, seed=7), extractor, keep=False)


# Cached features of the real images


def test_statistics_are_measured_once(reference, monkeypatch):
    first = reference.measure().statistics
    monkeypatch.setattr(reference.extractor, "forward", None)
    again = (
        ReferenceFeatures(reference.data, reference.extractor, cache=reference.cache)
        .measure()
        .statistics
    )
    assert torch.equal(first.mean, again.mean)
    assert torch.equal(first.covariance, again.covariance)


def test_a_cache_that_cannot_be_written_is_done_without(reference):
    reference.cache.mkdir(exist_ok=True)
    (reference.cache / "features").write_text("in the way")
    assert len(reference.measure().statistics.mean) == reference.extractor.width


def test_features_are_measured_once(reference, monkeypatch):
    first = reference.measure(keep=True).rows
    monkeypatch.setattr(reference.extractor, "forward", None)
    again = ReferenceFeatures(reference.data, reference.extractor, cache=reference.cache)
    assert torch.equal(first, again.measure(keep=True).rows)


def test_features_are_measured_with_the_statistics_if_both_are_wanted(reference, monkeypatch):
    assert reference.measure(keep=True).statistics.num_pictures == 32
    monkeypatch.setattr(reference.extractor, "forward", None)
    assert len(reference.measure(keep=True).rows) == 32


def test_another_extractor_or_other_data_are_measured_anew(tmp_path, reference, data):
    assert reference.measure().statistics.num_pictures == 32
    other = toys.FEATURES.build(8)
    assert other.fingerprint != reference.extractor.fingerprint
    anew = ReferenceFeatures(data, other, cache=reference.cache).measure().statistics
    assert not torch.equal(anew.mean, reference.measure().statistics.mean)
    fewer = ReferenceFeatures(
        toys.packed(tmp_path, count=16), reference.extractor, cache=reference.cache
    )
    assert fewer.measure().statistics.num_pictures == 16


def test_a_damaged_memory_is_measured_anew(reference):
    expected = reference.measure().statistics
    for path in (reference.cache / "features").iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    again = (
        ReferenceFeatures(reference.data, reference.extractor, cache=reference.cache)
        .measure()
        .statistics
    )
    assert torch.equal(again.mean, expected.mean)


@pytest.mark.parametrize("place", [-3, -200])
@pytest.mark.parametrize("byte", [b"\0", b"\x3f"])
def test_numbers_in_the_memory_that_have_changed_are_not_used(reference, caplog, place, byte):
    expected = reference.measure(keep=True)
    for path in (reference.cache / "features").iterdir():
        data = bytearray(path.read_bytes())
        data[place : place + 2] = byte * 2
        path.write_bytes(data)
    again = ReferenceFeatures(reference.data, reference.extractor, cache=reference.cache)
    assert torch.equal(again.measure(keep=True).statistics.mean, expected.statistics.mean)
    assert torch.equal(again.measure(keep=True).rows, expected.rows)
    assert "are damaged (its numbers are not as they were written); measuring" in caplog.text


def test_features_of_an_older_version_are_measured_again(reference, caplog):
    expected = reference.measure().statistics
    for path in (reference.cache / "features").iterdir():
        write_tensors(path, {k: v + 1 for k, v in load_file(path).items()}, {})
    again = ReferenceFeatures(reference.data, reference.extractor, cache=reference.cache)
    assert torch.equal(again.measure().statistics.mean, expected.mean)
    assert caplog.text == ""


def test_features_without_memory_for_all_are_refused_by_the_first_batch(data, extractor):
    visitor = FeatureVisitor(extractor, 10**15, keep=True)
    (images,) = packed_pictures(data).batches()
    with pytest.raises(InputError, match="no memory for the features of all images"):
        visitor(images, packed_pictures(data).names)


# One pass over the images


@pytest.mark.parametrize("wanted", [("fd", "is"), ("kd", "is", "pr"), ("fd",), ("is",)])
def test_pictures_are_drawn_once_whatever_is_measured(reference, wanted):
    network, drawn = generator(), []
    sample = network.sample
    network.sample = lambda seeds, **rest: drawn.extend(seeds) or sample(seeds, **rest)
    measured(network, reference, replace(HOW, metrics=wanted))
    assert drawn == list(range(24))


def test_pictures_are_translated_once_for_distances_and_features(tmp_path, extractor):
    data = toys.packed(tmp_path, count=8, paired=True)
    network, drawn = generator(paired=True), []
    sample = network.sample
    network.sample = lambda seeds, **rest: drawn.extend(seeds) or sample(seeds, **rest)
    how = replace(HOW, metrics=("l1", "ssim", "fd", "kd", "is"))
    reference = ReferenceFeatures(data, extractor, cache=tmp_path / "cache")
    found = numbers(measured(network, reference, how))
    assert set(found) == {"l1", "ssim", "fd", "diversity", "kd", "is"}
    assert drawn == list(range(8))


def test_what_is_measured_together_is_what_is_measured_alone(reference):
    names = ("fd", "kd", "pr", "is")
    together = numbers(measured(generator(), reference, replace(HOW, metrics=names)))
    alone = {}
    for name in names:
        alone |= numbers(measured(generator(), reference, replace(HOW, metrics=(name,))))
    assert together == alone


def test_a_path_length_alone_draws_no_pictures_for_others(reference):
    network = generator()
    network.sample = None
    measured(network, reference, replace(HOW, metrics=("ppl",)))


def test_real_pictures_are_not_measured_where_nothing_is_compared_with_them(reference):
    measured(generator(), reference, replace(HOW, metrics=("is", "ppl")))
    assert not (reference.cache / "features").exists()


def test_a_score_and_a_path_length_need_no_real_pictures(extractor):
    how = replace(HOW, metrics=("is", "ppl"), data="", split="")
    found = evaluate_generator(generator(), None, how, extractor)
    assert set(numbers(found)) == {"is", "ppl"}
    assert not any("data" in metric.protocol for metric in found)


def test_any_number_of_pictures_can_be_named_and_begun(data):
    made = generated_pictures(generator(), 10**15, data)
    assert len(made) == 10**15
    assert made.names[10**14] == f"the image of seed {10**14}"
    assert list(made.names[3:5]) == ["the image of seed 3", "the image of seed 4"]
    assert next(made.batches()).shape == (64, 3, 16, 16)


# Numbers


def test_real_pictures_beside_themselves_have_distance_0_and_full_recall(data, reference):
    how = replace(HOW, metrics=("fd", "pr", "dc"))
    found = numbers(evaluate_pictures(packed_pictures(data), how, reference.extractor, reference))
    assert found["fd"] == pytest.approx(0, abs=1e-6)
    assert found["diversity"] == pytest.approx(1)
    assert found["precision"] == found["recall"] == found["coverage"] == 1


def test_every_metric_of_a_generator_is_a_finite_number(reference):
    how = replace(HOW, metrics=("fd", "kd", "pr", "dc", "is", "ppl"))
    found = numbers(measured(generator(), reference, how))
    assert set(found) == {
        "fd", "diversity", "kd", "precision", "recall", "density", "coverage", "is", "ppl",
    }  # fmt: skip
    assert all(np.isfinite(value) for value in found.values())
    assert 0 < found["diversity"] < 1


def test_the_frechet_distance_is_that_of_both_sides(data, reference, extractor):
    network = generator()
    made = extract(generated_pictures(network, 24, data), extractor, keep=True)
    expected = frechet_distance(reference.measure().statistics, made.statistics)
    found = numbers(measured(network, reference, HOW))
    assert found["fd"] == pytest.approx(expected)


def test_a_translator_is_compared_with_the_pictures_it_should_make(tmp_path):
    data = toys.packed(tmp_path, count=8, paired=True)
    how = replace(HOW, metrics=("l1", "psnr", "ssim"))
    perfect = generator(paired=True)
    real = torch.from_numpy(np.array(data.images)).permute(0, 3, 1, 2) / 127.5 - 1
    perfect.sample = lambda seeds, **rest: real[list(seeds)]
    found = numbers(evaluate_generator(perfect, data, how))
    assert found["l1"] == 0
    assert found["ssim"] == pytest.approx(1)
    worse = numbers(evaluate_generator(generator(paired=True), data, how))
    assert worse["l1"] > 0.1
    assert worse["psnr"] < found["psnr"]


def test_a_number_carries_its_protocol(reference):
    how = replace(HOW, metrics=("fd", "kd"), seed=3, truncation=0.7)
    metrics = {m.name: m for m in measured(generator(), reference, how)}
    assert metrics["fd"].protocol == {
        "extractor": reference.extractor.fingerprint,
        "data": "toys",
        "split": "train",
        "num_real": 32,
        "num_fake": 24,
        "seed": 3,
        "truncation": 0.7,
    }
    assert metrics["kd"].protocol == metrics["fd"].protocol | {"subsets": 100, "subset_size": 24}
    assert metrics["fd"].command == "zoo evaluate"


def test_a_number_of_pairs_depends_on_no_extractor(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo_core.metrics.pairs.load_lpips", lambda backbone: None)
    monkeypatch.setattr(
        "zoo_core.metrics.pairs.pair_distances",
        lambda real, fake, **rest: {name: torch.ones(len(real)) for name in ("l1", "lpips")},
    )
    data = toys.packed(tmp_path, count=8, paired=True)
    how = replace(HOW, metrics=("l1", "lpips"))
    l1, lpips = evaluate_generator(generator(paired=True), data, how)
    assert l1.protocol == {"data": "toys", "split": "train", "num_pairs": 8, "seed": 0}
    assert lpips.protocol == l1.protocol | {"backbone": "alexnet-owt-7be5be79.pth"}


@pytest.mark.parametrize("wanted", ["fd", "is"])
def test_a_number_names_how_existing_pictures_were_fitted(data, reference, wanted):
    how = replace(HOW, metrics=(wanted,), fitted={"fit": "crop", "resolution": 16})
    made = packed_pictures(data)
    metric, *_ = evaluate_pictures(made, how, reference.extractor, reference)
    assert (metric.protocol["fit"], metric.protocol["resolution"]) == ("crop", 16)
    plain, *_ = evaluate_pictures(made, replace(how, fitted={}), reference.extractor, reference)
    with pytest.raises(InputError, match="fit 'crop' and 'none'"):
        improves_on(metric, plain)


def test_a_path_length_depends_on_no_real_pictures(reference):
    how = replace(HOW, metrics=("ppl",))
    (length,) = measured(generator(), reference, how)
    assert length.protocol == {
        "extractor": reference.extractor.fingerprint, "seed": 0, "pairs": 1000, "epsilon": 1e-4,
    }  # fmt: skip


def test_an_inception_score_depends_on_no_real_pictures(reference):
    how = replace(HOW, metrics=("is",))
    (score,) = measured(generator(), reference, how)
    assert score.protocol == {
        "extractor": reference.extractor.fingerprint, "num_fake": 24, "seed": 0, "splits": 10,
    }  # fmt: skip


def test_only_one_network_s_distance_is_called_fid(reference):
    reference.extractor.distance = "fid"
    how = replace(HOW, metrics=("fd", "kd"))
    names = [metric.name for metric in measured(generator(), reference, how)]
    assert names == ["fid", "diversity", "kid"]


def test_numbers_of_other_extractors_cannot_be_compared(tmp_path, data, reference):
    (one, _) = measured(generator(), reference, HOW)
    other = ReferenceFeatures(data, toys.FEATURES.build(8), cache=tmp_path / "cache")
    (two, _) = measured(generator(), other, HOW)
    with pytest.raises(InputError, match="8px"):
        improves_on(one, two)


def test_every_metric_between_sets_of_features_has_a_function():
    assert list(SET_METRICS) == [
        name for name, kind in METRICS.items() if kind.needs in ("statistics", "features")
    ]


# Rejected input


def test_a_generator_that_draws_one_picture_only_gets_no_number(reference):
    collapsed = generator()
    collapsed.sample = lambda seeds, **rest: torch.zeros(len(seeds), 3, 16, 16)
    with pytest.raises(InputError, match="all 24 images are the same"):
        measured(collapsed, reference, HOW)


def test_fewer_pictures_than_features_are_warned_of(tmp_path, reference, caplog):
    few = pack(toys.ToyPictures(4), 16, 3, cache=tmp_path / "cache")
    with caplog.at_level(logging.WARNING, "zoo"):
        evaluate_pictures(packed_pictures(few), HOW, reference.extractor, reference)
    assert "4 generated images for 6 features" in caplog.text


# During training


def test_a_run_measures_distance_and_diversity(reference):
    evaluation = during_training(reference, count=16)
    found = evaluation.measure(generator())
    assert set(found) == {"fd", "diversity"}
    assert evaluation.criterion == "fd"


def test_a_generator_that_draws_one_picture_only_does_not_end_a_run(reference):
    collapsed = generator()
    collapsed.sample = lambda seeds, **rest: torch.zeros(len(seeds), 3, 16, 16)
    assert during_training(reference, count=16).measure(collapsed) == {"diversity": 0.0}


def test_a_classifier_is_measured_by_its_answers(tmp_path):
    data = toys.packed(tmp_path, count=16, num_classes=4)
    network = toys.Sorter(toys.SorterConfig())
    labels = torch.from_numpy(data.labels)
    answers = labels.clone()
    answers[:4] = (answers[:4] + 1) % 4  # a quarter are wrong
    left = [100.0 * torch.nn.functional.one_hot(answers, 4).float()]
    network.forward = lambda images: left.pop()
    found = classify(network, data)
    assert found["accuracy"] == 0.75
    assert found["loss"] == pytest.approx(25.0)
    assert of_classifier(data).criterion == "accuracy"


def test_a_classifier_is_measured_in_evaluation_mode_and_goes_on_training(tmp_path):
    data = toys.packed(tmp_path, count=16, num_classes=4)
    network = toys.Sorter(toys.SorterConfig()).train()
    before = network.look[1].running_mean.clone()
    classify(network, data)
    assert torch.equal(network.look[1].running_mean, before)
    assert network.training
