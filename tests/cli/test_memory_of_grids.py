"""What does not fit into memory is refused in one line, before the first image is made."""

from __future__ import annotations

import pytest

RUN = "runs/toy.toys16-tiny"


@pytest.fixture
def little(zoo, monkeypatch):
    """A machine with half a megabyte left, where every byte counts, and a run on it."""
    assert zoo("train", "toy", "--preset", "tiny").code == 0
    monkeypatch.setattr("zoo_core.memory.available_memory", lambda: 600_000)
    monkeypatch.setattr("zoo_core.memory.SMALL", 0)
    return zoo


@pytest.fixture
def nothing_made(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("an image was made")

    for name in ("sample", "draw", "draw_ws"):
        monkeypatch.setattr(f"zoo_core.generators.Generator.{name}", fail, raising=False)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sample", RUN, "--seeds", "0-999"), "the images of this grid do not fit into memory"),
        (("interpolate", RUN, "--frames", 10**9, "-o", "x.gif"), "the frames of this animation do"),
        (("interpolate", RUN, "--frames", 10**9, "-o", "x.png"), "the frames of this animation do"),
    ],
)
def test_too_many_images_are_refused_before_any_is_made(little, nothing_made, command, said):
    answer = little(*command)
    assert answer.code == 2
    assert said in answer.error
    assert "given: " in answer.error
    assert "allowed: 0.0 GB; try: --" in answer.error


def test_a_grid_of_a_data_set_is_refused_before_any_image_is_read(zoo, monkeypatch):
    monkeypatch.setattr("zoo_core.memory.available_memory", lambda: 1 << 30)
    answer = zoo("data", "show", "toys", "--resolution", 4096, "--out", "x.png")
    assert answer.code == 2
    assert "the images of this grid do not fit into memory; given: 8.1 GB" in answer.error


def test_one_file_an_image_takes_no_more_memory_for_more_images(little):
    answer = little("sample", RUN, "--seeds", "0-299", "--each", "-o", "each")
    assert answer.code == 0
