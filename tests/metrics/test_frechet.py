"""Moments and the Frechet distance against torch-fidelity and against float64 oracles."""

from __future__ import annotations

import logging
import math
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.distributed
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from toys import WIDTH, features

from zoo_core.errors import InputError, PictureError
from zoo_core.metrics.frechet import Moments, Statistics, frechet_distance


def moments(rows, batch_size: int = 7) -> Moments:
    collected = Moments(rows.shape[1])
    for start in range(0, len(rows), batch_size):
        collected.update(rows[start : start + batch_size], start)
    return collected


def distance(real, fake) -> float:
    return frechet_distance(Statistics.of(real), Statistics.of(fake))


def oracle_distance(real, fake) -> float:
    """The formula as printed in the paper."""
    means = [rows.numpy().mean(0) for rows in (real, fake)]
    covariances = [np.cov(rows.numpy(), rowvar=False) for rows in (real, fake)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    within = np.trace(sum(covariances) - 2 * root.real)
    return float(((means[0] - means[1]) ** 2).sum() + within)


def same(one: Statistics, other: Statistics, rtol: float = 1e-12) -> None:
    assert one.num_pictures == other.num_pictures
    torch.testing.assert_close(one.mean, other.mean, rtol=rtol, atol=rtol)
    torch.testing.assert_close(one.covariance, other.covariance, rtol=rtol, atol=rtol)


# The Frechet distance


@pytest.mark.parametrize("sizes", [(300, 400), (8, 400), (400, 8), (7, 9), (2, 2), (13, 12)])
@pytest.mark.parametrize("collect", [Statistics.of, lambda rows: moments(rows).compute()])
def test_the_frechet_distance_is_that_of_torch_fidelity_and_of_scipy(sizes, collect):
    real, fake = features(sizes[0]), features(sizes[1], seed=1, mean=0.3, scale=1.2)
    ours = frechet_distance(collect(real), collect(fake))
    statistics = [fid_features_to_statistics(rows) for rows in (real, fake)]
    theirs = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert ours == pytest.approx(oracle_distance(real, fake), rel=1e-6)


def test_the_frechet_distance_of_float32_features_differs_by_torch_fidelitys_mean_only():
    real, fake = features(300, mean=50.0).float(), features(400, seed=1, mean=50.0).float()
    statistics = [fid_features_to_statistics(rows) for rows in (real, fake)]
    exact = [
        {"mu": rows.double().mean(0).numpy(), "sigma": theirs["sigma"]}
        for rows, theirs in zip((real, fake), statistics, strict=True)
    ]
    assert statistics[0]["mu"].dtype == np.float32
    corrected = fid_statistics_to_metric(*exact, False)["frechet_inception_distance"]
    assert distance(real, fake) == pytest.approx(corrected, rel=1e-9)


def test_the_frechet_distance_of_two_gaussians_is_the_formula():
    scales = torch.tensor([[1.0, 2.0, 3.0], [0.5, 2.5, 3.0]]).double()
    means = torch.tensor([[0.0, 1.0, 2.0], [1.0, -1.0, 2.0]]).double()
    real, fake = (
        Statistics(100, mean, scale.square().diag())
        for mean, scale in zip(means, scales, strict=True)
    )
    expected = (means[0] - means[1]).square().sum() + (scales[0] - scales[1]).square().sum()
    assert frechet_distance(real, fake) == pytest.approx(float(expected), rel=1e-12)


def test_the_frechet_distance_to_a_turned_gaussian_is_the_formula():
    angle = 0.7
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    covariance = torch.tensor([[4.0, 0.0], [0.0, 1.0]]).double()
    turned = turn @ covariance @ turn.T
    # for 2 x 2 matrices: tr M^1/2 = (tr M + 2 det(M)^1/2)^1/2
    trace = float((covariance @ turned).trace())
    expected = 2 * 5 - 2 * math.sqrt(trace + 2 * math.sqrt(16))
    zero = torch.zeros(2).double()
    result = frechet_distance(Statistics(9, zero, covariance), Statistics(9, zero, turned))
    assert result == pytest.approx(expected, rel=1e-12)


def test_the_frechet_distance_to_shifted_copies_is_the_shift():
    rows = features(50)
    assert distance(rows, rows + 2) == pytest.approx(4 * WIDTH, rel=1e-12)


@pytest.mark.parametrize("count", [*range(2, WIDTH + 3), 100])
def test_the_frechet_distance_to_itself_is_zero_and_never_negative(count):
    rows = features(count)
    assert 0 <= distance(rows, rows) < 1e-12
    streamed = moments(rows).compute()
    assert 0 <= frechet_distance(streamed, streamed) < 1e-12


@pytest.mark.parametrize("sizes", [(5, 7), (2, 12), (12, 3)])
def test_the_frechet_distance_of_few_pictures_is_exact_also_when_they_were_streamed(sizes):
    real, fake = features(sizes[0]), features(sizes[1], seed=1, mean=0.3)
    streamed = frechet_distance(moments(real).compute(), moments(fake).compute())
    assert streamed == pytest.approx(distance(real, fake), rel=1e-12)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_frechet_distance_is_symmetric(one, other, seed):
    real, fake = features(one, seed=seed), features(other, seed=seed + 1, mean=0.5)
    assert distance(real, fake) == pytest.approx(distance(fake, real), rel=1e-9)


def test_few_pictures_in_unrelated_directions_have_nothing_in_common_exactly():
    rows = features(4, width=6)
    real, fake = (torch.cat(part, 1) for part in ((rows, 0 * rows), (0 * rows, rows)))
    assert distance(real, fake) == pytest.approx(
        2 * float(rows.var(0).sum() + rows.mean(0).square().sum()), rel=1e-14
    )


def test_features_that_never_vary_are_borne():
    real, fake = features(200), features(300, seed=1)
    real[:, 3] = fake[:, 3] = 0.0
    alive = [column for column in range(WIDTH) if column != 3]
    expected = oracle_distance(real[:, alive], fake[:, alive])
    assert distance(real, fake) == pytest.approx(expected, rel=1e-6)


def test_a_small_deviation_from_a_large_mean_is_not_lost():
    rows = (features(2000, scale=0.005) + 3).float()
    wide = rows.numpy().astype(np.float64)
    raw = (rows.T @ rows - len(rows) * torch.outer(rows.mean(0), rows.mean(0))) / (len(rows) - 1)
    covariance = np.cov(wide, rowvar=False)
    lost = np.abs(raw.numpy() - covariance).max() / np.median(covariance.diagonal())
    assert lost > 0.01  # the same computation in float32 fails
    collected = moments(rows, 100).compute()
    np.testing.assert_allclose(collected.covariance.numpy(), covariance, rtol=1e-9, atol=1e-18)
    np.testing.assert_allclose(collected.mean.numpy(), wide.mean(0), rtol=1e-14)


# Independence of order, batch size and processes


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_neither_order_nor_batches_change_the_statistics(data):
    count = data.draw(st.integers(2, 40))
    rows = features(count, width=4, mean=data.draw(st.sampled_from([0.0, 100.0])))
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=6)))
    shuffled = rows[data.draw(st.permutations(range(count)))]
    collected = Moments(4)
    for start, end in zip([0, *cuts], [*cuts, count], strict=True):
        collected.update(shuffled[start:end], start)
    same(collected.compute(), Statistics.of(rows), rtol=1e-11)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_collections_merge(parts):
    rows = features(31, mean=10.0)
    first, *others = (moments(part, 3) for part in rows.chunk(parts))
    for other in others:
        first.compute()  # its result must not be cached
        first.merge_state(other)
    same(first.compute(), Statistics.of(rows))
    first.update(rows)  # updates still work after merging
    same(first.compute(), Statistics.of(torch.cat([rows, rows])))


def test_a_collection_without_pictures_changes_nothing():
    rows = features(20)
    first = Moments(WIDTH)
    first.update(rows[:0])
    first.merge_state(moments(rows))
    same(first.compute(), Statistics.of(rows), rtol=1e-14)


def _share(rank: int, world: int, store: str, queue) -> None:
    """One process: collect every world-th image and report the distance over all images."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )
    real, fake = features(31, mean=5.0), features(40, seed=1)
    sides = [moments(rows[rank::world], 3).compute() for rows in (real, fake)]
    queue.put((sides[0].num_pictures, frechet_distance(*sides)))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_split_over_processes_does_not_change_the_distance(world, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    context = torch.multiprocessing.get_context("fork")  # importing takes seconds per process
    queue = context.SimpleQueue()
    processes = [
        context.Process(target=_share, args=(rank, world, str(tmp_path / "store"), queue))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * world
    expected = distance(features(31, mean=5.0), features(40, seed=1))
    for _ in processes:
        count, result = queue.get()
        assert count == 31
        assert result == pytest.approx(expected, rel=1e-12)


def test_a_collection_goes_on_after_it_was_asked():
    rows = features(40)
    collected = moments(rows[:25])
    before = collected.compute()
    collected.update(rows[25:])
    same(before, Statistics.of(rows[:25]))
    same(collected.compute(), Statistics.of(rows))


# Rejected input


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_picture_with_features_that_are_not_finite_is_named(value):
    rows = features(9)
    rows[4, 2] = value
    collected = Moments(WIDTH)
    collected.update(features(5))
    before = collected.table.clone()
    with pytest.raises(PictureError, match=r"^image 104: its features are not finite$"):
        collected.update(rows, 100)
    with pytest.raises(PictureError, match=r"^e\.png: its features are not finite$"):
        Statistics.of(rows, [f"{letter}.png" for letter in "abcdefghi"])
    assert torch.equal(collected.table, before)


def test_several_bad_pictures_are_counted():
    with pytest.raises(PictureError, match=r"image 0: .* nor are those of 8 more"):
        Moments(WIDTH).update(features(9) * math.nan)


def test_a_bad_picture_ends_a_process_by_an_error_not_by_a_signal(tmp_path):
    def measure() -> None:
        rows = features(16)
        rows[3] = math.nan
        try:
            moments(rows)
        except InputError as error:
            sys.exit(error.exit_code)

    process = torch.multiprocessing.get_context("fork").Process(target=measure)
    process.start()
    process.join(60)
    assert process.exitcode == 2


def test_as_many_names_as_pictures_are_needed():
    with pytest.raises(ValueError, match="9 images, but 1 names"):
        Moments(WIDTH).update(features(9), ["a"])


def test_an_empty_collection_is_refused_without_a_warning():
    with pytest.raises(InputError, match="given: 0"):
        Moments(WIDTH).compute()


@pytest.mark.parametrize(
    ("sizes", "warned"), [((12, 30), []), ((11, 30), ["real"]), ((9, 2), ["real", "generated"])]
)
def test_fewer_pictures_than_features_are_warned_of(sizes, warned, caplog):
    with caplog.at_level(logging.WARNING, "zoo"):
        distance(features(sizes[0]), features(sizes[1], seed=1))
    found = [record.getMessage() for record in caplog.records]
    assert [message.split()[1] for message in found] == warned
    for message, count in zip(found, sizes, strict=False):
        assert f"bias that grows with 12 / {count}" in message
        assert "KID" in message


def test_fewer_pictures_do_give_a_larger_distance():
    pool, other = features(4000), features(4000, seed=1)
    biases = [distance(pool[:count], other[-count:]) for count in (8, 40, 200, 4000)]
    assert biases == sorted(biases, reverse=True)


# Statistics in a file


@pytest.mark.parametrize("count", [5, 50])
def test_statistics_come_back_from_a_file(count):
    real = Statistics.of(features(count))
    kept = Statistics.from_tensors(load(save(real.tensors())))
    same(kept, real, rtol=0)
    fake = Statistics.of(features(70, seed=1))
    assert frechet_distance(kept, fake) == pytest.approx(frechet_distance(real, fake), rel=1e-7)


def test_damaged_statistics_are_refused():
    good = Statistics.of(features(50)).tensors()
    for changes, message in (
        ({"mean": good["mean"] * math.nan}, "not finite"),
        ({"covariance": good["covariance"] + math.inf}, "not finite"),
        ({"covariance": good["covariance"][1:]}, "mean and covariance do not match"),
        ({"num_pictures": torch.tensor(1)}, "given: 1"),
        ({"num_pictures": torch.tensor([3, 4])}, "not feature statistics"),
        ({"mean": torch.tensor(1.0)}, "not feature statistics"),
    ):
        with pytest.raises(InputError, match=message):
            Statistics.from_tensors({**good, **changes})
    with pytest.raises(InputError, match=r"not feature statistics; given: mean \[12\]"):
        Statistics.from_tensors({"mean": good["mean"]})


@pytest.mark.parametrize("count", [5, WIDTH, 50])
def test_a_factor_times_itself_is_the_covariance(count):
    for statistics in (Statistics.of(features(count)), moments(features(count)).compute()):
        product = statistics.factor.T @ statistics.factor
        torch.testing.assert_close(product, statistics.covariance, rtol=1e-9, atol=1e-12)
