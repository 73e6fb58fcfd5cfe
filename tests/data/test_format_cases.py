"""Files of every common format are read as meant, or named; the cases are in format_cases.py."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from format_cases import FORMATS, Format
from picture_files import encoded
from PIL import Image

from zoo_core.config import RunConfig, read_config
from zoo_core.data.datasets import open_dataset
from zoo_core.pictures import BadPicture, PictureDataset, read_every
from zoo_core.plugins.loading import Plugins

LOSSY = (".jpg", ".jpeg", ".jfif", ".jpe", ".avif", ".JPG")


@pytest.fixture(autouse=True)
def without_packages(monkeypatch):
    """As if neither pillow-heif nor pillow-jxl-plugin was installed."""
    Image.init()
    kept = {kind: how for kind, how in Image.OPEN.items() if kind not in ("HEIF", "JXL")}
    monkeypatch.setattr(Image, "OPEN", kept)
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)


def opened(case: Format, folder: Path, container: str) -> PictureDataset:
    """The file of a case, beside an image, as a data set."""
    files = {"z.bmp": encoded(Image.new("L", (8, 8)), "BMP"), case.file: case.data}
    path = folder / ("data.zip" if container == "zip" else "data")
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)
    settings = read_config(RunConfig, dict(case.options), "settings")
    return open_dataset(str(path), 8, "train", Plugins(), settings=settings).dataset


@pytest.mark.parametrize("container", ["folder", "zip"])
@pytest.mark.parametrize("case", FORMATS, ids=lambda case: case.name)
def test_a_file_is_read_named_or_counted(case: Format, container: str, tmp_path: Path):
    if case.data is None:
        pytest.skip("this version of Pillow does not write it")
    dataset = opened(case, tmp_path, container)
    found = {image.name: image for image in read_every(dataset)}
    assert dataset.ignored == ({case.ignored: 1} if case.ignored else {})
    assert found.keys() == {"z.bmp", *(() if case.ignored else (case.file,))}
    assert case.remark in ", ".join(dataset.remarks)
    assert bool(dataset.remarks) == bool(case.remark)
    if case.ignored:
        return
    image = found[case.file]
    if case.bad:
        assert isinstance(image, BadPicture)
        assert case.bad in image.reason
        return
    pixel = np.broadcast_to(image.pixels[0, 0], 3).astype(int)
    slack = 3 if case.file.endswith(LOSSY) else 0
    assert np.abs(pixel - case.color).max() <= slack, pixel
