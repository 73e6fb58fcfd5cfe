"""Metrics carry their protocol, and only metrics of the same protocol can be compared."""

from __future__ import annotations

import math
import subprocess
import sys

import msgspec
import pytest

from zoo_core.config import ModelConfig
from zoo_core.errors import InputError
from zoo_core.spec import Metric

PROTOCOL = {"extractor": "lite0 sha256:3f", "split": "test", "num_real": 5000, "num_fake": 5000}


def metric(value: float = 1.0, name: str = "fd", **protocol) -> Metric:
    return Metric(
        name=name, value=value, protocol={**PROTOCOL, **protocol}, command="zoo evaluate x"
    )


def test_numbers_of_one_protocol_are_compared():
    assert metric(3.0).difference(metric(1.0)) == 2.0
    again = Metric(name="fd", value=3.0, protocol=dict(PROTOCOL), command="another command")
    assert again.difference(metric(3.0)) == 0.0


def test_exactly_what_differs_is_listed():
    one = metric(split="train", num_fake=500, k=3)
    with pytest.raises(InputError) as refused:
        one.difference(metric())
    assert str(refused.value) == (
        "metrics measured in different ways cannot be compared; "
        "given: split 'train' and 'test', num_fake 500 and 5000, k 3 and 'none'; "
        "try: --count 5000 --split test"
    )
    with pytest.raises(InputError, match=r"k 'none' and 3$"):
        metric().difference(metric(k=3))


def test_different_metrics_are_not_compared():
    with pytest.raises(InputError, match=r"given: name 'fd' and 'fid'$"):
        metric().difference(metric(name="fid"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_measured_number(value):
    with pytest.raises(ValueError, match="fd must be a finite number"):
        metric(value)


def test_a_number_is_the_same_after_json():
    kept = msgspec.json.decode(msgspec.json.encode(metric(1.5, k=3)), type=Metric)
    assert kept.difference(metric(1.0, k=3)) == 0.5


def test_comparing_needs_no_torch():
    code = "import sys, zoo_core.spec; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_can_learn_classes_if_its_configuration_has_their_number():
    import toys

    assert toys.TOY.learns_classes
    assert toys.SORTER.learns_classes
    assert not msgspec.structs.replace(toys.TOY, config=ModelConfig).learns_classes
