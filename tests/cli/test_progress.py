"""Text of the progress display."""

from __future__ import annotations

import sys

import pytest
import toys

from zoo_core.cli.progress import ProgressDisplay, losses, receiving
from zoo_core.spec import Alarm, RunInfo

ALARM = Alarm("logits", "the logits drift apart", "a larger penalty")


@pytest.fixture
def info(tmp_path):
    resolved = toys.resolved(images=40, sample_every=8)
    return RunInfo(
        name="toy.bars16",
        model="toy",
        directory=tmp_path,
        config=resolved.config,
        settings=resolved.run,
    )


def test_without_a_terminal_a_line_comes_as_often_as_samples_are_drawn(info, capsys):
    display = ProgressDisplay()
    display.zoo_run_started(info, 0)
    for images in range(4, 41, 4):
        display.zoo_progress(info, images, {"vae/loss": 0.5})
    lines = capsys.readouterr().err.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["8", "16", "24", "32", "40"]
    assert lines[0].endswith("V 0.5")


def test_numbers_and_alarms_stay_in_the_line_and_an_alarm_is_said_again_at_the_end(info, capsys):
    display = ProgressDisplay()
    display.zoo_run_started(info, 0)
    display.zoo_evaluation(info, 4, {"fd": 12.34567})
    display.zoo_alarm(info, 6, ALARM)
    display.zoo_progress(info, 8, {"vae/loss": 0.5})
    display.zoo_run_ended(info)
    _, evaluation, alarm, line, end = capsys.readouterr().err.splitlines()
    assert "4 images: fd 12.35" in evaluation
    assert line.endswith("V 0.5 fd 12.35 !logits")
    for text in (alarm, end):
        assert "6 images: the logits drift apart; try: a larger penalty" in text


def test_losses_go_by_the_initials_of_their_phases():
    terms = {"discriminator/loss": 0.4213, "discriminator/r1": 9.0, "generator/loss": 1.3}
    assert losses(terms) == "D 0.42 G 1.3"


def test_phases_that_begin_alike_keep_their_names():
    assert losses({"head/loss": 1.0, "heart/loss": 2.0}) == "head 1 heart 2"


def test_on_a_terminal_a_download_shows_its_size_and_the_time_left(monkeypatch, capsys):
    ticks = iter(range(10**6))
    monkeypatch.setattr("zoo_core.cli.progress.time.perf_counter", lambda: next(ticks))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    with receiving("toy.bars16") as on_progress:
        on_progress(2_000_000, 5_000_000)
    shown = capsys.readouterr().err
    assert "downloading toy.bars16" in shown
    assert "2.0/5.0 MB" in shown
    assert "-:--:--" in shown
