"""`zoo sample --latents` and `--save-latents`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo_core

RUN = Path("runs/toy.toys16-tiny")
SORTED = Path("runs/sorted")


@pytest.fixture
def trained(zoo):
    assert zoo("train", "toy", "--preset", "tiny").code == 0
    return zoo


@pytest.fixture
def conditional(zoo, tmp_path):
    for number in range(8):
        folder = tmp_path / "photos" / f"kind{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 24), (30 * number, 90, 200)).save(folder / f"{number}.png")
    given = ("--data", "photos", "--set", "num_classes=auto", "--run-dir", SORTED)
    assert zoo("train", "toy", "--preset", "tiny", *given).code == 0
    return zoo


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_saved_latents_are_drawn_as_their_seeds_were(trained):
    assert trained("sample", RUN, "--seeds", "3-6", "--save-latents", "z/z.safetensors",
                   "--out", "seeds.png").code == 0  # fmt: skip
    assert trained("sample", RUN, "--latents", "z/z.safetensors", "--out", "latents.png").code == 0
    assert np.array_equal(pixels("latents.png"), pixels("seeds.png"))
    saved = zoo_core.load_latents("z/z.safetensors")
    assert torch.equal(saved.latents, zoo_core.load(RUN).latents(range(3, 7)))
    assert (saved.space, saved.model) == ("z", RUN.name)


def test_latents_are_drawn_in_every_class_or_the_one_that_is_said(conditional):
    conditional("sample", SORTED, "--seeds", "3-5", "--save-latents", "z.safetensors",
                "--out", "seeds.png")  # fmt: skip
    conditional("sample", SORTED, "--latents", "z.safetensors", "--out", "latents.png")
    assert pixels("seeds.png").shape == (32, 48, 3)
    assert np.array_equal(pixels("latents.png"), pixels("seeds.png"))
    conditional("sample", SORTED, "--latents", "z.safetensors", "--label", "kind1",
                "--columns", "3", "--out", "kind.png")  # fmt: skip
    assert np.array_equal(pixels("kind.png"), pixels("seeds.png")[16:])


def test_files_of_latents_are_numbered(trained):
    zoo_core.save_latents("z.safetensors", zoo_core.load(RUN).latents([8, 9]))
    trained("sample", RUN, "--latents", "z.safetensors", "--each", "--out", "each")
    assert sorted(p.name for p in Path("each").iterdir()) == ["000000.png", "000001.png"]


def test_the_default_target_is_called_after_the_latents(trained):
    zoo_core.save_latents("walk.safetensors", zoo_core.load(RUN).latents([8, 9]))
    answer = trained("sample", RUN, "--latents", "walk.safetensors")
    assert Path(answer.out.strip()) == Path("samples", f"{RUN.name}-after-16-walk.safetensors.png")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--latents", "z.safetensors", "--seeds", "3"],
            "place of seeds; given: --seeds 3",
        ),
        (["--latents", "z.safetensors", "--save-latents", "y.safetensors"], "in a file already"),
        (["--latents", "none"], "there is no file none"),
        (["--latents", "large.safetensors"], "latents do not fit the model; given: torch.float32"),
        (["--latents", "w.safetensors"], "ToyGenerator has no ws, only latents z"),
        (["--latents", "w.safetensors", "--truncation", "0.5"], "ws, whose class and truncation"),
        (["--save-latents", "z.pt"], "cannot write latents to z.pt; given: .pt; allowed: .safe"),
    ],
)
def test_options_that_do_not_fit_are_refused(trained, options: list[str], said: str):
    zoo_core.save_latents("z.safetensors", zoo_core.load(RUN).latents([8, 9]))
    zoo_core.save_latents("large.safetensors", torch.zeros(2, 5))
    zoo_core.save_latents("w.safetensors", torch.zeros(2, 4, 5), space="w")
    answer = trained("sample", RUN, *options)
    assert answer.code == 2
    assert said in answer.error
    assert not Path("samples").exists()


def test_a_translator_has_no_latents_to_save_or_draw(zoo, tmp_path):
    for side in "AB":
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (16, 16), (30 * number, 90, 200)).save(
                tmp_path / "pairs" / side / f"{number}.png"
            )
    given = ("--data", "pairs", "--set", "paired=true", "--run-dir", "run")
    assert zoo("train", "toy", "--preset", "tiny", *given).code == 0
    options = ("--source", "pairs", "--save-latents", "z.safetensors")
    answer = zoo("sample", "./run", *options)
    assert "ToyGenerator is an image-to-image model and has no latents" in answer.error
    assert not Path("z.safetensors").exists()
    zoo_core.save_latents("z.safetensors", torch.zeros(2, 8, 1, 1))
    answer = zoo("sample", "./run", "--latents", "z.safetensors")
    assert "ToyGenerator is an image-to-image model and has no latents" in answer.error
