"""A third-party plugin in its own distribution: build, install, train, test, uninstall."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from documents import blocks
from PIL import Image

pytest_plugins = "fresh"

EXAMPLE = Path(__file__).parent.parent / "examples" / "zoo-vae"


@pytest.fixture(scope="module")
def installed(fresh, build_wheel):
    """The fresh environment with the example installed; its dependencies are already there."""
    fresh.pip("install", build_wheel(EXAMPLE))
    return fresh


@pytest.fixture
def pictures(tmp_path):
    """A folder of forty small images."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 20, 20, 3), dtype=np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def models(environment):
    listed = environment.zoo_json("list")["models"]
    return {model["name"]: model["distribution"] for model in listed}


def test_it_is_listed_with_its_distribution(installed):
    assert models(installed)["vae"].startswith("zoo-vae ")
    assert models(installed)["dcgan"].startswith("zoo-core ")


def test_it_trains_and_its_run_is_sampled(installed, pictures, tmp_path):
    run, grid = tmp_path / "run", tmp_path / "grid.png"
    installed.zoo("train", "vae", "--preset", "tiny", "--data", pictures, "--run-dir", run)
    installed.zoo("sample", run, "--seeds", "0-3", "--out", grid)
    with Image.open(grid) as picture:
        assert picture.size == (32, 32)


def test_the_python_of_its_page_runs(installed, pictures):
    (block,) = (b for b in blocks() if b.kind == "python" and b.page.startswith("examples/"))
    run = ("--preset", "tiny", "--data", pictures, "--run-dir", "runs/vae.critters32")
    installed.zoo("train", "vae", *run)
    installed.run("python", "-c", block.text)


def test_it_keeps_the_contract(installed):
    last = installed.zoo("plugin", "check", "vae").splitlines()[-1]
    ran, failed = map(int, re.fullmatch(r"(\d+) checks ran, (\d+) failed", last).groups())
    assert ran > 10
    assert failed == 0


def test_its_own_tests_pass(installed, tmp_path):
    options = ["-q", "-p", "no:cacheprovider", "-k", "not contract", f"--basetemp={tmp_path / 't'}"]
    installed.run("python", "-m", "pytest", *options, str(EXAMPLE))


def test_removed_it_is_gone(installed):
    installed.pip("uninstall", "--yes", "zoo-vae")
    assert "vae" not in models(installed)
    installed.zoo("show", "vae", code=3)
