"""When a log raises an alarm and when it does not."""

import json
from pathlib import Path

import pytest

from zoo_core.training.alarms import LINES, PATIENCE, Alarms


def line(gap=2.0, signs=0.6):
    return {
        "images": 0,
        "discriminator/real_logits": 1.0,
        "discriminator/fake_logits": 1.0 - gap,
        "discriminator/real_signs": signs,
    }


def evaluation(fd, diversity=1.0):
    return {"images": 0, "evaluation/fd": fd, "evaluation/diversity": diversity}


def names(lines):
    """The alarms that each line raises."""
    alarms = Alarms()
    return [[alarm.name for alarm in alarms.observe(found)] for found in lines]


def raised(lines):
    return [name for found in names(lines) for name in found]


def test_a_healthy_run_raises_none():
    healthy = [line(gap=3 + 0.5 * (i % 3), signs=0.9) for i in range(100)]
    assert raised([*healthy, *(evaluation(100 / (i + 1)) for i in range(10))]) == []


def test_logits_that_drift_apart_raise_an_alarm_once():
    found = names([line(gap=0.2 * i) for i in range(100)])
    assert raised([line(gap=0.2 * i) for i in range(100)]) == ["logits"]
    first = found.index(["logits"])
    assert 0.2 * (first - LINES / 2) > 6.5  # the mean of the window has reached the limit


def test_one_wild_step_is_no_drift():
    lines = [line(gap=60.0 if i == 50 else 3.0) for i in range(100)]
    assert raised(lines) == []


def test_logits_that_come_together_again_are_no_drift():
    assert raised([line(gap=20 - 0.2 * i) for i in range(60)]) == []


def test_an_alarm_that_ended_is_raised_again():
    wave = [line(gap=9.0)] * (2 * LINES) + [line(gap=1.0)] * (2 * LINES) + [line(gap=9.0)] * 40
    assert raised(wave) == ["logits", "logits"]


def test_real_pictures_known_by_heart_raise_an_alarm():
    assert raised([line(signs=0.99)] * LINES) == ["overfit"]
    assert raised([line(signs=0.99)] * (LINES - 1)) == []


def test_models_without_logits_raise_none():
    assert raised([{"images": i, "vae/loss": 1e9} for i in range(100)]) == []


def test_pictures_that_hardly_vary_raise_an_alarm():
    assert raised([evaluation(10.0, diversity=0.9), evaluation(9.0, diversity=0.2)]) == [
        "diversity"
    ]


def test_a_distance_that_turned_up_and_stays_up_raises_an_alarm():
    falling, up = [evaluation(fd) for fd in (40.0, 20.0, 10.0)], evaluation(13.0)
    assert raised([*falling, *[up] * (PATIENCE - 1)]) == []
    assert raised([*falling, *[up] * PATIENCE]) == ["distance"]


def test_a_distance_that_wavers_raises_none():
    assert raised([evaluation(fd) for fd in (40.0, 10.0, 13.0, 13.0, 11.0, 13.0, 13.0)]) == []


@pytest.mark.parametrize(
    ("lines", "collapsed"),
    [([line(gap=9.0)] * LINES, ["logits"]), ([line(signs=0.99)] * LINES, [])],
    ids=["logits", "overfit"],
)
def test_some_alarms_say_that_a_run_will_not_recover(lines, collapsed):
    alarms = Alarms()
    for found in lines:
        alarms.observe(found)
    assert [alarm.name for alarm in alarms.collapsed] == collapsed


def test_every_alarm_says_what_to_try():
    lines = [line(gap=9.0, signs=0.99)] * LINES
    lines += [evaluation(fd, diversity=0.1) for fd in (1.0, 9.0, 9.0, 9.0)]
    alarms = Alarms()
    found = [alarm for each in lines for alarm in alarms.observe(each)]
    assert {alarm.name for alarm in found} == {"logits", "overfit", "diversity", "distance"}
    assert all(alarm.what and alarm.hint and "\n" not in alarm.what for alarm in found)


def of_a_run(name):
    path = Path(__file__).parents[1] / "logs" / f"{name}.jsonl"
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_the_paper_s_dcgan_on_flat_pictures_raises_the_alarm_of_drifting_logits():
    """`zoo train dcgan --preset paper64 --data critters` collapses within 13,000 images."""
    lines = of_a_run("dcgan-paper64")
    found = names(lines)
    assert next(line["images"] for line, each in zip(lines, found, strict=True) if each) <= 10_000
    assert {name for each in found for name in each} == {"logits"}


def test_a_run_that_went_well_raises_none():
    """`zoo train stylegan2`; its weights are published."""
    assert raised(of_a_run("stylegan2")) == []
