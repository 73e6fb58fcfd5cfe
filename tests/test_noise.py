import math

import numpy as np
import pytest
import torch

from zoo_core.noise import SeededNoise, permutation, philox4x32, stream_key

PI = ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0")


def words(text):
    return tuple(np.array([int(word, 16)], dtype=np.uint64) for word in text.split())


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (" ".join(["0"] * 4), "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (" ".join(["ffffffff"] * 4), "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (*PI, "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, expected):
    assert philox4x32(words(counter), words(key)) == words(expected)


# Frozen: the image of a seed never changes. A failure here means that every published sample, every
# resumed run and every recorded metric would change; do not update the numbers.
GOLDEN_NORMAL = [
    -1.6340864896774292,
    0.5127508640289307,
    -0.8922567963600159,
    -0.748934268951416,
    1.3291281461715698,
]
GOLDEN_UNIFORM = [0.5805445313453674, 0.5321612358093262, 0.6514438986778259]
GOLDEN_INTEGERS = [692, 992, 613, 559, 453]
GOLDEN_PERMUTATION = [5, 3, 2, 1, 0, 4, 7, 6]
GOLDEN_KEY = 6940901760550305324


def test_the_normal_numbers_of_seed_17_are_frozen():
    row = SeededNoise([17]).normal("latent", (5,))[0]
    assert row.tolist() == GOLDEN_NORMAL


def test_the_uniform_numbers_of_a_large_seed_and_index_are_frozen():
    noise = SeededNoise(2**64 - 1, [2**63 + 5])
    assert noise.uniform("u", (3,))[0].tolist() == GOLDEN_UNIFORM
    assert noise.integers("i", 1000, (5,))[0].tolist() == GOLDEN_INTEGERS


def test_the_shuffle_of_seed_17_is_frozen():
    assert permutation(17, "order", 3, 8).tolist() == GOLDEN_PERMUTATION


def test_the_key_of_a_stream_is_frozen():
    assert stream_key(17, "step", 4096, 1) == GOLDEN_KEY


# Pure functions of (seed, purpose, index)

DRAWS = {
    "normal": lambda noise: noise.normal("z", (3, 5)),
    "uniform": lambda noise: noise.uniform("z", (3, 5)),
    "integers": lambda noise: noise.integers("z", 1 << 32, (3, 5)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_seed_gives_the_same_row_alone_and_in_any_batch(draw):
    seeds = [5, 2**63, 0, 17, 5]
    batch = draw(SeededNoise(seeds))
    for row, seed in zip(batch, seeds, strict=True):
        assert torch.equal(row, draw(SeededNoise([seed]))[0])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_an_index_gives_the_same_row_alone_and_in_any_batch(draw):
    indices = np.array([7, 2**63, 0, 2**32, 2**32 + 7], dtype=np.uint64)
    batch = draw(SeededNoise(3, indices))
    for row, index in zip(batch, indices, strict=True):
        assert torch.equal(row, draw(SeededNoise(3, int(index)))[0])


def test_every_seed_purpose_and_index_has_numbers_of_its_own():
    streams = {
        (seed, index, purpose): SeededNoise(seed, index).integers(purpose, 1 << 32, (4,))
        for seed in (0, 1, 2**32, 2**63, 2**64 - 1)
        for index in (0, 1, 2**32, 2**63)
        for purpose in ("latent", "labels")
    }
    numbers = torch.cat([values.flatten() for values in streams.values()])
    assert len(numbers.unique()) == numbers.numel()  # 160 of 2**32: a collision would be a bug


def test_a_long_row_does_not_repeat_itself():
    numbers = SeededNoise(0).integers("z", 1 << 32, (4096,))
    assert len(numbers.unique()) > 4090


def test_the_start_of_a_row_does_not_depend_on_its_length():
    noise = SeededNoise([1, 2])
    assert torch.equal(noise.uniform("z", (9,))[:, :6], noise.uniform("z", (6,)))


def test_a_purpose_drawn_twice_gives_the_same_numbers():
    noise = SeededNoise([1])
    assert torch.equal(noise.normal("z", (4,)), noise.normal("z", (4,)))


def test_the_generators_of_torch_and_numpy_are_left_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    SeededNoise([1]).normal("z", (4,))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_a_stream_key_depends_on_every_part():
    parts = [(1, "a"), (2, "a"), (1, "b"), (1, "a", 0), (1, "a", 1), (1, "a", 0, 1), (1, "a", 1, 0)]
    assert len({stream_key(*part) for part in parts}) == len(parts)


# Shapes


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3, 5), (0,)])
def test_shapes_and_types_are_as_promised(shape):
    noise = SeededNoise([1, 2])
    assert len(noise) == 2
    assert (noise.normal("z", shape).shape, noise.normal("z", shape).dtype) == (
        (2, *shape),
        torch.float32,
    )
    assert (noise.uniform("z", shape).shape, noise.uniform("z", shape).dtype) == (
        (2, *shape),
        torch.float32,
    )
    assert (noise.integers("z", 9, shape).shape, noise.integers("z", 9, shape).dtype) == (
        (2, *shape),
        torch.int64,
    )


def test_no_rows_are_an_empty_tensor():
    assert SeededNoise([]).normal("z", (3,)).shape == (0, 3)


def test_one_seed_or_one_index_serves_all_rows():
    assert len(SeededNoise(1, range(3))) == len(SeededNoise(range(3), 1)) == 3
    assert len(SeededNoise(np.int64(1), np.uint64(2))) == 1


@pytest.mark.parametrize(("seeds", "indices"), [([1, 2, 3], [0]), ([1], [0, 1]), ([], [1])])
def test_seeds_and_indices_have_to_pair_up(seeds, indices):
    with pytest.raises(ValueError, match="as many seeds as indices"):
        SeededNoise(seeds, indices)


# Distributions: 2**18 numbers of one stream, and bounds of five standard errors.

COUNT = 1 << 18


def ks_distance(sorted_cdf):
    """Kolmogorov-Smirnov distance between the empirical and the uniform distribution."""
    steps = np.arange(len(sorted_cdf) + 1) / len(sorted_cdf)
    return max(np.max(steps[1:] - sorted_cdf), np.max(sorted_cdf - steps[:-1]))


def test_normal_numbers_have_the_moments_of_a_normal():
    z = SeededNoise(0).normal("z", (COUNT,))[0].double()
    moments = torch.stack([z, z**2, z**3, z**4]).mean(1)
    deviations = torch.tensor([1.0, 2.0, 15.0, 96.0], dtype=torch.float64).sqrt()
    distance = (moments - torch.tensor([0.0, 1.0, 0.0, 3.0], dtype=torch.float64)).abs()
    assert (distance < 5 * deviations / math.sqrt(COUNT)).all()


def test_normal_numbers_are_distributed_normally():
    z = SeededNoise(0).normal("z", (COUNT,))[0].double().sort().values
    assert ks_distance(torch.special.ndtr(z).numpy()) < 1.95 / math.sqrt(COUNT)  # p = 0.001


def test_normal_numbers_of_one_pair_are_uncorrelated():
    z = SeededNoise(0).normal("z", (COUNT // 2, 2)).double()[0]
    for power in (
        1,
        2,
    ):  # Box and Muller's pair shares a radius: an error in it shows in the squares
        left, right = z[:, 0] ** power, z[:, 1] ** power
        correlation = torch.corrcoef(torch.stack([left, right]))[0, 1]
        assert abs(correlation) < 5 / math.sqrt(COUNT / 2)


def test_rows_of_neighboring_seeds_are_uncorrelated():
    z = SeededNoise([0, 1]).normal("z", (COUNT,)).double()
    assert abs(torch.corrcoef(z)[0, 1]) < 5 / math.sqrt(COUNT)


def test_uniform_numbers_are_at_least_0_and_below_1_and_distributed_evenly():
    u = SeededNoise(0).uniform("u", (COUNT,))[0]
    assert u.min() >= 0
    assert u.max() < 1
    assert ks_distance(u.double().sort().values.numpy()) < 1.95 / math.sqrt(COUNT)


def test_the_extreme_bits_stay_in_range(monkeypatch):
    bits = np.array([[0, 2**32 - 1, 2**32 - 1, 0]], dtype=np.uint64)
    monkeypatch.setattr(SeededNoise, "_bits", lambda self, purpose, size: bits[:, :size])
    noise = SeededNoise(0)
    assert noise.normal("z", (4,)).isfinite().all()
    assert noise.uniform("u", (2,))[0].tolist() == [0, 1 - 2**-24]
    assert noise.integers("i", 10, (2,))[0].tolist() == [0, 9]


@pytest.mark.parametrize("high", [1, 2, 7, 10])
def test_integers_cover_their_range_evenly(high):
    counts = SeededNoise(0).integers("i", high, (COUNT,))[0].bincount()
    share = 1 / high
    assert len(counts) == high
    bound = 5 * math.sqrt(COUNT * share * (1 - share)) + 1e-9
    assert ((counts - COUNT * share).abs() <= bound).all()


@pytest.mark.parametrize("high", [0, -1, 2**32 + 1])
def test_integers_of_an_impossible_range_are_refused(high):
    with pytest.raises(ValueError, match="high"):
        SeededNoise(0).integers("i", high)


# Shuffles


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
def test_a_permutation_holds_every_position_once(size):
    assert sorted(permutation(1, "order", 0, size).tolist()) == list(range(size))


def test_another_epoch_seed_or_purpose_is_another_shuffle():
    shuffles = [
        permutation(seed, purpose, epoch, 50).tolist()
        for seed in (0, 1)
        for purpose in ("a", "b")
        for epoch in (0, 1, 2)
    ]
    assert len({tuple(shuffle) for shuffle in shuffles}) == len(shuffles)


def test_every_position_is_equally_likely_to_come_first():
    firsts = np.array([permutation(0, "order", epoch, 4)[0] for epoch in range(2000)])
    counts = np.bincount(firsts, minlength=4)
    assert np.abs(counts - 500).max() < 5 * math.sqrt(2000 * 0.25 * 0.75)
