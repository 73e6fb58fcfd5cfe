"""Ctrl-C and SIGTERM: once, twice, and while everything is already ending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import toys
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from zoo_core.errors import Interrupted
from zoo_core.training.engine import train
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.signals import StopRequest, stop_signals

TESTS = Path(__file__).parents[1]


def interrupt(*ignored) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_signal_is_a_request_and_the_second_leaves():
    with stop_signals() as requested:
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def undisturbed() -> None:
    try:
        interrupt()
    except KeyboardInterrupt:
        pytest.fail("it raised once more")


def test_signals_do_not_disturb_a_run_that_is_saved_and_ending():
    with stop_signals() as requested:
        requested.leave()
        undisturbed()
        undisturbed()


def test_a_third_signal_does_not_disturb_the_second():
    with stop_signals():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        undisturbed()


def test_a_request_without_a_signal_is_none():
    assert not StopRequest().is_set()


def test_outside_the_main_thread_handlers_are_left_alone():
    """Python lets no other thread set them."""
    before = signal.getsignal(signal.SIGINT)

    def handler_inside(_):
        with stop_signals() as requested:
            return requested.is_set(), signal.getsignal(signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        assert list(pool.map(handler_inside, [0])) == [(False, before)]


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_signals():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def interrupt_after_the_first_step(hook: str, **arguments) -> None:
    if hook == "zoo_progress" and arguments["images"] == 4:
        interrupt()


def test_a_second_interrupt_while_loaders_are_shut_down_is_harmless(tmp_path, monkeypatch):
    """Raised inside a destructor, it would be printed as an ignored exception with a traceback."""
    shut_down, interrupted = _MultiProcessingDataLoaderIter._shutdown_workers, []

    def shutting_down(loader):
        interrupted.append(interrupt())
        shut_down(loader)

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_shutdown_workers", shutting_down)
    origin = {"licence": "CC0-1.0", "trained_on": "toys"}
    with pytest.raises(Interrupted, match="everything is saved"):
        train(
            toys.TOY,
            toys.resolved(images=64, workers=2),
            toys.packed(tmp_path),
            RunFolder(tmp_path / "run"),
            notify=interrupt_after_the_first_step,
            **origin,
        )
    assert interrupted


AT_THE_END = """
import atexit, os, signal
from zoo_core.cli import main
from zoo_core.cli.progress import ProgressDisplay
from zoo_core.plugins.hookspecs import hookimpl

def interrupt(*ignored):
    os.kill(os.getpid(), signal.SIGINT)

@hookimpl
def zoo_progress(self, run, images, terms):
    for _ in range({signals} * (images == 4)):
        interrupt()

ProgressDisplay.zoo_progress = zoo_progress
atexit.register(interrupt)
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
@pytest.mark.parametrize(("signals", "said"), [(1, "everything is saved"), (2, "stopped at once")])
def test_an_interrupt_of_a_command_that_is_ending_prints_no_traceback(tmp_path, signals, said):
    script = tmp_path / "at_the_end.py"
    script.write_text(AT_THE_END.replace("{signals}", str(signals)))
    paths = os.pathsep.join([str(TESTS), str(TESTS / "installed"), *sys.path])
    done = subprocess.run(
        [sys.executable, str(script), "train", "toy", "--preset", "tiny"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "ZOO_PLUGINS": "toy"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
    assert said in done.stderr
