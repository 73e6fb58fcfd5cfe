"""Which of two metrics is better."""

from __future__ import annotations

import pytest

from zoo_core.errors import InputError
from zoo_core.metrics.protocol import HIGHER_IS_BETTER, Evaluation, improves_on
from zoo_core.spec import Metric


def metric(value: float = 1.0, name: str = "fd", **protocol) -> Metric:
    return Metric(name=name, value=value, protocol={"num_fake": 5000, **protocol}, command="zoo")


@pytest.mark.parametrize("name", HIGHER_IS_BETTER)
def test_a_better_number_improves_on_a_worse_one(name):
    low, high = metric(1.0, name), metric(2.0, name)
    better, worse = (high, low) if HIGHER_IS_BETTER[name] else (low, high)
    assert improves_on(better, worse)
    assert not improves_on(worse, better)
    assert not improves_on(low, metric(1.0, name))


def test_numbers_of_different_protocols_do_not_improve_on_each_other():
    with pytest.raises(InputError, match="num_fake"):
        improves_on(metric(1.0), metric(2.0, num_fake=500))


def test_of_an_unknown_metric_nothing_is_better():
    with pytest.raises(InputError, match=r"given: beauty; allowed: accuracy, coverage"):
        improves_on(metric(name="beauty"), metric(name="beauty"))


def test_a_lower_loss_of_a_classifier_is_better():
    assert improves_on(metric(1.0, "loss"), metric(2.0, "loss"))


def test_a_run_cannot_be_judged_by_a_number_of_unknown_direction():
    with pytest.raises(InputError, match=r"unknown whether higher is better .* given: diversity"):
        Evaluation(measure=lambda network: {"diversity": 1.0}, criterion="diversity")
