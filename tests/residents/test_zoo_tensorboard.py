"""The TensorBoard observer writes a run's events, and does nothing without its package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo_tensorboard
from zoo_core.config import ModelConfig, RunConfig
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import RunInfo


@pytest.fixture
def observed(tmp_path: Path):
    plugins = Plugins()
    plugins.register("tensorboard", zoo_tensorboard)
    run = RunInfo(
        name="x.y", model="x", directory=tmp_path, config=ModelConfig(), settings=RunConfig()
    )

    def tell() -> None:
        plugins.notify("zoo_run_started", run=run, images=0)
        plugins.notify("zoo_progress", run=run, images=64, terms=None)
        plugins.notify("zoo_progress", run=run, images=128, terms={"generator/loss": 0.5})
        plugins.notify("zoo_samples", run=run, images=128, pictures=torch.zeros(4, 3, 8, 8))
        plugins.notify("zoo_run_ended", run=run, images=128, error=None)
        assert plugins.problems == []

    return tell


def test_losses_and_samples_are_written(observed, tmp_path: Path):
    observed()
    program = (
        "import sys, warnings\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "events = EventAccumulator(sys.argv[1]).Reload()\n"
        "(loss,) = events.Scalars('generator/loss')\n"
        "print(loss.step, loss.value, *events.Tags()['images'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "tensorboard")],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[:3] == ["128", "0.5", "samples"], done.stderr


def test_without_the_package_it_stays_silent(observed, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(zoo_tensorboard, "find_spec", lambda name: None)
    observed()
    assert not (tmp_path / "tensorboard").exists()
