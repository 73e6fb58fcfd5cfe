"""Evaluations and alarms of a run, with and without a resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toys
from toys import TOY

from zoo_core.errors import CollapseError, InputError
from zoo_core.metrics.protocol import Evaluation
from zoo_core.spec import Alarm
from zoo_core.training.alarms import Alarms
from zoo_core.training.engine import train
from zoo_core.training.run_folder import RunFolder
from zoo_core.weights.header import parse_metadata, read_header


def measure(network):
    """A metric that depends on the weights."""
    return {"fd": float(network.paint.weight.abs().mean()), "other": 1.0}


def scripted(*values, name="fd"):
    """An evaluation that returns these values in turn."""
    left = list(values)
    return lambda network: {name: left.pop(0)}


def run(
    place: Path, name="run", measure=measure, criterion="fd", notify=None, protocol="", **settings
):
    folder = RunFolder(place / name)
    train(
        TOY,
        toys.resolved(**{"images": 32, "evaluate_every": 8, **settings}),
        toys.packed(place),
        folder,
        licence="CC0-1.0",
        trained_on="toys",
        notify=notify or (lambda hook, **arguments: None),
        evaluation=Evaluation(measure, criterion, protocol),
    )
    return folder


def evaluations(folder: RunFolder):
    return [(line["images"], line["evaluation/fd"]) for line in folder.read_log()
            if "evaluation/fd" in line]  # fmt: skip


def best(folder: RunFolder) -> int:
    return parse_metadata(read_header(folder.best), "best").images


def test_a_run_is_evaluated_at_its_interval_and_at_its_end(tmp_path):
    folder = run(tmp_path, images=28)
    assert [images for images, _ in evaluations(folder)] == [8, 16, 24, 28]


def test_the_averaged_network_is_what_is_measured(tmp_path):
    seen = []
    run(tmp_path, measure=lambda network: seen.append(network) or {"fd": 1.0}, images=8)
    assert not seen[0].training
    assert not any(parameter.requires_grad for parameter in seen[0].parameters())


def test_the_weights_of_the_smallest_number_are_kept(tmp_path):
    assert best(run(tmp_path, measure=scripted(5.0, 3.0, 4.0, 3.0))) == 16


def test_the_weights_of_the_largest_number_are_kept_where_that_is_better(tmp_path):
    measure = scripted(0.1, 0.5, 0.9, 0.7, name="accuracy")
    assert best(run(tmp_path, measure=measure, criterion="accuracy")) == 24


@pytest.mark.parametrize("first", [8, 12, 16, 28])
def test_a_resumed_run_has_the_evaluations_and_the_best_of_an_uninterrupted_one(tmp_path, first):
    whole, parts = run(tmp_path, "whole", images=32), run(tmp_path, "parts", images=first)
    run(tmp_path, "parts", images=32)
    found = dict(evaluations(parts))
    assert {images: found[images] for images, _ in evaluations(whole)} == dict(evaluations(whole))
    assert whole.best.read_bytes() == parts.best.read_bytes()


def test_the_best_of_before_counts_after_a_resume(tmp_path):
    run(tmp_path, images=16, measure=scripted(9.0, 1.0))
    assert best(run(tmp_path, images=32, measure=scripted(2.0, 3.0))) == 16


def test_numbers_of_another_protocol_are_not_compared(tmp_path):
    run(tmp_path, images=16, measure=scripted(0.9, 1.0), protocol="one")
    folder = run(tmp_path, images=48, measure=scripted(70.0, 50.0, 60.0, 55.0), protocol="other")
    assert best(folder) == 32
    assert not [line for line in folder.read_log() if "alarm" in line]


def test_a_run_does_not_go_on_under_another_extractor(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo_core.training.maintenance._extractors", lambda training: ["one"])
    run(tmp_path, images=16)
    monkeypatch.setattr("zoo_core.training.maintenance._extractors", lambda training: ["other"])
    with pytest.raises(InputError, match=r"extractor has changed.*given: other.*one"):
        run(tmp_path, images=32)


def test_weights_whose_pictures_cannot_be_measured_are_not_the_best(tmp_path):
    found = [{"diversity": 0.0}, {"fd": 4.0}, {"fd": 3.0}]
    folder = run(tmp_path, images=24, measure=lambda network: found.pop(0))
    assert best(folder) == 24
    assert [line["alarm"] for line in folder.read_log() if "alarm" in line] == ["diversity"]


def test_observers_hear_the_numbers(tmp_path):
    heard = []

    def notify(hook, **arguments):
        if hook == "zoo_evaluation":
            heard.append((arguments["images"], arguments["numbers"]))

    run(tmp_path, images=16, measure=scripted(2.0, 1.0), notify=notify)
    assert heard == [(8, {"fd": 2.0}), (16, {"fd": 1.0})]


def test_an_alarm_is_logged_with_what_to_try_and_observers_hear_it(tmp_path):
    heard = []

    def notify(hook, **arguments):
        if hook == "zoo_alarm":
            heard.append((arguments["images"], arguments["alarm"].name))

    folder = run(tmp_path, images=48, measure=scripted(1.0, 1.0, 9.0, 9.0, 9.0, 9.0), notify=notify)
    (line,) = [line for line in folder.read_log() if "alarm" in line]
    assert (line["images"], line["alarm"]) == (40, "distance")
    assert "has risen from 1 to 9" in line["what"]
    assert line["try"]
    assert heard == [(40, "distance")]


def test_an_alarm_is_not_raised_again_by_a_resume(tmp_path):
    run(tmp_path, images=40, measure=scripted(1.0, 1.0, 9.0, 9.0, 9.0))
    folder = run(tmp_path, images=56, measure=scripted(9.0, 9.0))
    assert [line["images"] for line in folder.read_log() if "alarm" in line] == [40]


def test_a_collapsed_run_stops_when_told_to_and_says_where_the_best_weights_are(tmp_path):
    scores = scripted(2.0, 1.0, 9.0, 9.0, 9.0, 9.0)
    with pytest.raises(
        CollapseError, match=r"after 40 images.*has risen from 1 to 9.*best\.safetensors"
    ):
        run(tmp_path, images=80, measure=scores, stop_collapsed=True)
    folder = RunFolder(tmp_path / "run")
    assert max(path.name for path in folder.checkpoints.iterdir()) == f"{40:012d}"
    assert best(folder) == 16


def test_a_collapse_repeats_what_every_alarm_says_and_names_the_best_weights_once(tmp_path):
    distances = [2.0, 1.0, 9.0, 9.0, 9.0, 9.0]

    def measured(network):
        return {"fd": distances.pop(0), "diversity": 0.1 if len(distances) == 1 else 1.0}

    with pytest.raises(CollapseError) as error:
        run(tmp_path, images=80, measure=measured, stop_collapsed=True)
    said = error.value.hint
    assert said.count("best.safetensors") == 1
    assert "--set augment=ada if there are few images" in said
    assert "a lower learning rate, a larger penalty" in said
    assert said.endswith(", in a new run")


def test_a_collapsed_run_that_was_stopped_takes_no_step_more(tmp_path):
    for scores in (scripted(2.0, 1.0, 9.0, 9.0, 9.0, 9.0), scripted()):
        with pytest.raises(CollapseError, match="after 40 images"):
            run(tmp_path, images=80, measure=scores, stop_collapsed=True)
    checkpoints = RunFolder(tmp_path / "run").checkpoints
    assert max(path.name for path in checkpoints.iterdir()) == f"{40:012d}"


def test_a_collapsed_run_goes_on_when_not_told_to_stop(tmp_path):
    folder = run(tmp_path, images=48, measure=scripted(2.0, 1.0, 9.0, 9.0, 9.0, 9.0))
    assert evaluations(folder)[-1][0] == 48


def test_a_run_that_is_not_evaluated_keeps_no_best_weights(tmp_path):
    folder = run(tmp_path, evaluate_every=0)
    assert evaluations(folder) == []
    assert not folder.best.exists()


def test_alarms_come_back_from_the_log_alone(tmp_path):
    folder = run(tmp_path, images=40, measure=scripted(1.0, 1.0, 9.0, 9.0, 9.0))
    alarms = Alarms()
    for line in folder.read_log():
        alarms.observe(line)
    assert list(alarms.active) == ["distance"]
    assert isinstance(alarms.active["distance"], Alarm)
    assert json.loads(folder.log.read_text().splitlines()[-1])["alarm"] == "distance"
