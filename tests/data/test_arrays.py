"""NumPy files: what is read, and what is refused with what it would have to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoo_core.data.arrays import ArrayImages
from zoo_core.data.datasets import open_dataset
from zoo_core.data.packing import pack
from zoo_core.errors import DataError
from zoo_core.plugins.loading import Plugins


def images(count: int, *shape: int) -> np.ndarray:
    """Image i is filled with i."""
    return np.full((count, *shape), 0, np.uint8) + np.arange(count, dtype=np.uint8).reshape(
        -1, *[1] * len(shape)
    )


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def refusal(path: Path, **options) -> str:
    with pytest.raises(DataError) as refused:
        ArrayImages(path, **options)[0]
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3)])
def test_a_npy_file_is_a_data_set(tmp_path, shape):
    np.save(tmp_path / "x.npy", images(5, *shape))
    dataset = ArrayImages(tmp_path / "x.npy")
    assert len(dataset) == 5
    assert [int(image.pixels.flat[0]) for image in dataset] == [0, 1, 2, 3, 4]
    assert dataset[0].pixels.shape == (shape if shape[-1] == 3 else (8, 6))
    assert dataset.summary == "5 images in an array"


def test_transparency_is_laid_on_white(tmp_path):
    array = np.zeros((1, 4, 4, 4), np.uint8)
    array[0, :, :2, 3] = 255
    np.save(tmp_path / "x.npy", array)
    assert ArrayImages(tmp_path / "x.npy")[0].pixels[0, :, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("data", "targets")])
@pytest.mark.parametrize("columns", [(), (1,)])
def test_labels_beside_the_images_are_classes(tmp_path, names, columns):
    labels = np.array([2, 0, 2]).reshape(3, *columns)
    dataset = ArrayImages(
        saved(tmp_path, **dict(zip(names, (images(3, 8, 8), labels), strict=True)))
    )
    assert dataset.classes == ("0", "1", "2")
    assert [image.label for image in dataset] == [2, 0, 2]


@pytest.mark.parametrize("names", ["{split}_{kind}", "{kind}_{split}"])
def test_medmnist_names_tell_the_splits(tmp_path, names):
    arrays = {}
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        arrays[names.format(split=split, kind="images")] = images(count, 8, 8, 3)
        arrays[names.format(split=split, kind="labels")] = np.zeros((count, 1), int)
    arrays[names.format(split="test", kind="labels")] += 1
    dataset = ArrayImages(saved(tmp_path, **arrays), split="test")
    assert dataset.summary == "arrays of train, val, test, 2 classes; reading test"
    assert (len(dataset), dataset[0].label, dataset.splits) == (3, 1, ("train", "val", "test"))


def test_keras_names_tell_the_splits(tmp_path):
    path = saved(tmp_path, x_train=images(4, 8, 8), y_train=np.arange(4), x_test=images(2, 8, 8))
    assert len(ArrayImages(path)) == 4
    assert len(ArrayImages(path, split="test")) == 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 8, 8))}, "given: float64"),
        ({"images": np.zeros((2, 8, 8, 5), np.uint8)}, "1, 3 or 4 channels"),
        ({"images": np.zeros((8, 8, 3), np.uint8)}, "may be one image or 8 narrow ones"),
        ({"images": images(2, 8, 8), "labels": np.zeros((2, 3), int)}, "several labels"),
        ({"images": images(2, 8, 8), "labels": np.zeros(3, int)}, "are not the labels of 2"),
        ({"images": images(2, 8, 8), "labels": np.array([0, -1])}, "integers of 0 and more"),
        ({"images": images(2, 8, 8), "labels": np.array([0, 10**7])}, "below 1000000"),
        ({"images": images(2, 8, 8), "labels": np.array(["a", "b"])}, "are not the labels"),
        ({"images": images(2, 8, 8), "x": images(2, 8, 8)}, "two arrays that may be the images"),
        ({"means": np.zeros(3)}, "no arrays of images"),
        ({"images": images(2, 8, 8), "train_images": images(2, 8, 8)}, "no arrays of images"),
        ({"images": np.array([{}, {}], dtype=object)}, "cannot read images"),
    ],
)
def test_what_is_no_array_of_images_is_refused(tmp_path, arrays, message):
    assert message in refusal(saved(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_damaged_file_is_one_line(tmp_path, content, suffix):
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert "cannot read" in refusal(tmp_path / f"x{suffix}")


def test_a_split_that_is_not_there_is_refused(tmp_path):
    path = saved(tmp_path, train_images=images(2, 8, 8))
    assert "has no split 'test'; allowed: train" in refusal(path, split="test")


def test_a_numpy_file_is_opened_by_its_path_and_packed(tmp_path):
    path = saved(tmp_path, train_images=images(4, 8, 8), test_images=images(2, 8, 8))
    opened = open_dataset(str(path), 8, "train", Plugins())
    assert (opened.split, opened.description) == ("train", "4 own pictures, train split")
    assert pack(opened.dataset, 8, 1).images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
