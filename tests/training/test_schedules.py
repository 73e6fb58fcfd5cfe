"""Schedules are functions of the images seen."""

from __future__ import annotations

import pytest

from zoo_core.training.schedules import cosine, flat_then_linear, growth


@pytest.mark.parametrize(
    ("images", "value"), [(0, 2.0), (25, 1.7071), (50, 1.0), (100, 0.0), (500, 0.0)]
)
def test_half_a_cosine_and_then_flat(images: int, value: float):
    assert cosine(images, 2.0, 0.0, over=100) == pytest.approx(value, abs=1e-4)


def test_a_cosine_over_nothing_is_its_end():
    assert cosine(0, 2.0, 1.0, over=0) == 1.0


@pytest.mark.parametrize(
    ("images", "factor"), [(0, 1.0), (99, 1.0), (100, 1.0), (150, 0.5), (200, 0.0), (900, 0.0)]
)
def test_flat_then_along_a_line_to_nothing(images: int, factor: float):
    assert flat_then_linear(images, flat=100, decay=100) == factor


def test_without_decay_it_stays_flat():
    assert flat_then_linear(1000, flat=100, decay=0) == 1.0


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (0, (0, 1.0)),
        (9, (0, 1.0)),
        (10, (1, 0.0)),
        (12, (1, 0.5)),
        (14, (1, 1.0)),
        (23, (1, 1.0)),
        (24, (2, 0.0)),
        (28, (2, 1.0)),
        (1000, (2, 1.0)),
    ],
)
def test_a_stage_is_faded_in_and_then_trained(images: int, expected: tuple[int, float]):
    assert growth(images, num_stages=3, fade=4, stable=10) == expected


def test_growth_without_fading_jumps():
    assert growth(10, 3, fade=0, stable=10) == (1, 1.0)


def test_one_stage_does_not_grow():
    assert growth(10**9, 1, fade=4, stable=10) == (0, 1.0)
