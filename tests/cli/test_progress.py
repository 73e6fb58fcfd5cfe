"""Text of the progress display."""

from __future__ import annotations

import sys
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest
import toys

from zoo_core.cli.progress import (
    Lines,
    ProgressDisplay,
    counting,
    duration,
    losses,
    receiving,
)
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


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("zoo_core.cli.progress.time.perf_counter", lambda: now.seconds)
    return now


def test_without_a_terminal_the_first_line_comes_after_ten_seconds_with_the_hours_left(
    info, capsys, clock
):
    info = msgspec.structs.replace(info, settings=toys.resolved(images=40_000).run)
    display = ProgressDisplay()
    display.zoo_run_started(info, 0)
    for clock.seconds, images in ((4, 4), (9.9, 8), (10, 10), (11, 14)):
        display.zoo_progress(info, images, None)  # before the log has a line
    _, line = capsys.readouterr().err.splitlines()
    assert line == "10 of 40,000 images, 1 img/s, 11.1 hours left"


def test_without_a_terminal_the_other_lines_come_at_growing_intervals_and_at_the_end(
    info, capsys, clock
):
    display = ProgressDisplay()
    display.zoo_run_started(info, 0)
    for clock.seconds in range(1, 40):
        display.zoo_progress(info, int(clock.seconds), {"vae/loss": 0.5})
    display.zoo_progress(info, 40, {"vae/loss": 0.5})
    lines = capsys.readouterr().err.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["10", "20", "30", "40"]
    assert lines[0].endswith("V 0.5")
    spaces, seconds = Lines(), []
    for clock.seconds in range(40, 10_000):
        seconds += [clock.seconds] * spaces.due()
    gaps = [after - before for before, after in pairwise(seconds)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 600


def test_without_a_terminal_other_work_says_how_far_it_is(capsys, clock):
    with counting("measuring") as on_progress:
        for clock.seconds in range(1, 35):
            on_progress(clock.seconds, 120)
    assert capsys.readouterr().err.splitlines() == [
        "measuring (120 images)",
        "measuring: 8%, 2 min left",
        "measuring: 17%, 2 min left",
        "measuring: 25%, 2 min left",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (40, "40 s"), (720, "12 min"), (12_600, "3.5 hours")]
)
def test_a_time_is_said_in_its_unit(seconds, text):
    assert duration(seconds) == text


def test_numbers_and_alarms_stay_in_the_line_and_an_alarm_is_said_again_at_the_end(
    info, capsys, clock
):
    display = ProgressDisplay()
    display.zoo_run_started(info, 0)
    clock.seconds = 10
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
