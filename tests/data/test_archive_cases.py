"""Archives, arrays and links are read as meant, or refused; the cases are in archive_cases.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from archive_cases import MADE, Made

from zoo_core.data.datasets import open_dataset
from zoo_core.errors import DataError
from zoo_core.pictures import BadPicture, PictureDataset, read_every
from zoo_core.plugins.loading import Plugins


def opened(case: Made, folder: Path) -> PictureDataset:
    options = {"split": "train", **case.options}
    return open_dataset(str(case.make(folder)), 8, plugins=Plugins(), **options).dataset


def said(image: object) -> str:
    """The name of an image, with what is wrong with it."""
    return f"{image.name}: {image.reason}" if isinstance(image, BadPicture) else image.name


@pytest.mark.parametrize("case", [c for c in MADE if not c.error], ids=lambda case: case.name)
def test_what_is_no_plain_folder_is_read(case: Made, tmp_path: Path):
    dataset = opened(case, tmp_path)
    assert (dataset.summary, dict(dataset.ignored)) == (case.summary, dict(case.ignored))
    images = list(read_every(dataset))
    assert len(images) == len(case.reads)
    for image, name in zip(images, case.reads, strict=True):
        assert said(image).startswith(name)
        assert isinstance(image, BadPicture) == (": " in name)
    if case.labels:
        assert tuple(image.label for image in images) == case.labels


@pytest.mark.parametrize("case", [c for c in MADE if c.error], ids=lambda case: case.name)
def test_what_cannot_be_read_is_refused_in_one_line(case: Made, tmp_path: Path):
    with pytest.raises(DataError) as refused:
        opened(case, tmp_path)
    assert case.error in str(refused.value)
    assert "\n" not in str(refused.value)
