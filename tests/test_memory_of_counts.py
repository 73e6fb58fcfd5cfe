"""Functions that make a tensor of many images refuse what does not fit, before memory is taken."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from toys import ToyConfig, ToyGenerator

import zoo_core as zoo
from zoo_core.data.saving import save_grid
from zoo_core.errors import InputError
from zoo_core.memory import check_memory


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr("zoo_core.memory.available_memory", lambda: 1 << 30)


@pytest.fixture
def generator():
    return ToyGenerator(ToyConfig())


@pytest.mark.parametrize("count", [10**6, 10**9, sys.maxsize, 10**30])
def test_more_seeds_than_fit_are_refused_at_once(generator, count):
    with pytest.raises(InputError, match=r"so many images do not fit .*allowed: 1\.0 GB"):
        generator.sample(range(count))


@pytest.mark.parametrize("count", [10**7, 10**30])
def test_more_latents_than_fit_are_refused_at_once(generator, count):
    with pytest.raises(InputError, match="the latents of so many seeds do not fit into memory"):
        generator.latents(range(count))


def test_images_of_more_latents_than_fit_are_refused_at_once(generator):
    latents = torch.zeros(1, 8, 1, 1).expand(10**6, 8, 1, 1)
    with pytest.raises(InputError, match="so many images do not fit into memory"):
        generator.draw_latents(latents)


def test_what_is_no_list_is_still_told(generator):
    with pytest.raises(InputError, match="seeds must be a list"):
        generator.sample(7)
    assert len(generator.sample(iter([7, 8]))) == 2


def test_images_of_files_that_do_not_fit_are_refused_after_the_first(tmp_path, monkeypatch):
    for number in range(3):
        Image.new("L", (40, 30)).save(tmp_path / f"{number}.png")
    assert len(zoo.read_pictures(tmp_path)) == 3
    with pytest.raises(InputError, match="3 images at this resolution do not fit into memory"):
        zoo.read_pictures(tmp_path, resolution=10_000)
    monkeypatch.setattr("zoo_core.memory.SMALL", 0)
    monkeypatch.setattr("zoo_core.memory.available_memory", lambda: 6 * 3 * 3 * 40 * 30)
    with pytest.raises(InputError, match="3 images at this resolution do not fit into memory"):
        zoo.read_pictures(tmp_path)


def test_a_grid_with_more_columns_than_memory_is_refused(tmp_path):
    with pytest.raises(InputError, match="the images of this grid do not fit into memory"):
        save_grid(tmp_path / "x.png", np.zeros((4, 3, 8, 8), np.uint8), 10**8)


def test_nine_tenths_of_what_is_left_are_allowed(monkeypatch):
    check_memory(int(0.89 * (1 << 30)), "these")
    with pytest.raises(InputError):
        check_memory(int(0.91 * (1 << 30)), "these")
    monkeypatch.setattr("zoo_core.memory.available_memory", lambda: None)
    check_memory(1 << 60, "these")
