"""Pairs of images from folders, zip files and side-by-side files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo_core.data.files import PictureFiles
from zoo_core.errors import DataError, PictureError

RED, BLUE = (200, 0, 0), (0, 0, 200)


def save(path: Path, *colors: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
    """Save rectangles of these colors, side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = Image.new("RGB", (size[0] * len(colors), size[1]))
    for number, color in enumerate(colors):
        sheet.paste(color, (number * size[0], 0, (number + 1) * size[0], size[1]))
    sheet.save(path)


def color(pixels: np.ndarray) -> tuple[int, ...]:
    assert (pixels == pixels[0, 0]).all()
    return tuple(pixels[0, 0].tolist())


def test_folders_a_and_b_are_paired_by_name_whatever_the_suffix(tmp_path: Path):
    save(tmp_path / "A" / "x.png", RED)
    save(tmp_path / "B" / "x.webp", BLUE)
    save(tmp_path / "A" / "deep" / "y.png", BLUE)
    save(tmp_path / "B" / "deep" / "y.png", RED)
    source = PictureFiles(tmp_path, paired=True)
    assert source.paired
    assert not source.classes
    assert {p.name for p in source} == {"B/x.webp", "B/deep/y.png"}
    deep = next(p for p in source if p.name == "B/deep/y.png")
    assert (color(deep.source), color(deep.pixels)) == (BLUE, RED)


def test_a_file_of_two_pictures_has_the_source_on_the_left(tmp_path: Path):
    save(tmp_path / "train" / "x.png", RED, BLUE)
    (picture,) = PictureFiles(tmp_path, paired=True)
    assert (color(picture.source), color(picture.pixels)) == (RED, BLUE)
    assert picture.pixels.shape == (8, 8, 3)


def test_a_zip_is_read_like_the_folder(tmp_path: Path):
    save(tmp_path / "x.png", RED)
    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as archive:
        archive.write(tmp_path / "x.png", "A/x.png")
        archive.write(tmp_path / "x.png", "B/x.png")
    assert len(PictureFiles(tmp_path / "pairs.zip", paired=True)) == 1


def test_a_folder_around_a_and_b_does_not_count(tmp_path: Path):
    save(tmp_path / "facades" / "A" / "x.png", RED)
    save(tmp_path / "facades" / "B" / "x.png", BLUE)
    (picture,) = PictureFiles(tmp_path, paired=True)
    assert (color(picture.source), color(picture.pixels)) == (RED, BLUE)


@pytest.mark.parametrize("stray", ["preview.png", "C/x.png"])
def test_a_file_beside_a_and_b_is_refused_instead_of_another_layout_guessed(tmp_path, stray: str):
    for name in ("A/x.png", "B/x.png", stray):
        save(tmp_path / name, RED)
    with pytest.raises(DataError, match=rf"1 images .* are in neither A/ nor B/; given: {stray}"):
        PictureFiles(tmp_path, paired=True)


def test_files_without_a_partner_are_named_and_counted(tmp_path: Path):
    for name in "abcdef":
        save(tmp_path / "A" / f"{name}.png", RED)
    save(tmp_path / "B" / "a.png", BLUE)
    with pytest.raises(DataError, match=r"5 images .* A/b, A/c, A/d and 2 more"):
        PictureFiles(tmp_path, paired=True)


def test_two_files_of_one_name_are_refused(tmp_path: Path):
    save(tmp_path / "A" / "x.png", RED)
    save(tmp_path / "A" / "x.webp", RED)
    save(tmp_path / "B" / "x.png", RED)
    with pytest.raises(DataError, match="two files named A/x"):
        PictureFiles(tmp_path, paired=True)


def test_a_source_of_another_size_makes_the_pair_unusable(tmp_path: Path):
    save(tmp_path / "A" / "x.png", RED, size=(8, 4))
    save(tmp_path / "B" / "x.png", BLUE)
    with pytest.raises(PictureError, match=r"B/x.png: is 8 x 8, its source A/x.png is 8 x 4"):
        PictureFiles(tmp_path, paired=True)[0]


def test_an_ordinary_photo_is_no_pair(tmp_path: Path):
    save(tmp_path / "photo.png", RED, size=(12, 8))
    with pytest.raises(PictureError, match="must be twice as wide as high"):
        PictureFiles(tmp_path, paired=True)[0]
