"""Tiny files in the layout of each data set of torchvision: a few images, and their labels."""

from __future__ import annotations

import bz2
import csv
import json
import pickle  # noqa: TID251 - the format of CIFAR
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@dataclass(frozen=True)
class Fake:
    """How to write a data set, and what has to come back."""

    write: Callable[[Path], None]
    split: str = "train"
    labels: tuple[int | None, ...] = (0, 1, 1)
    classes: tuple[str, ...] | None = ("cat", "dog")  # None: those that the class lists
    options: str = ""
    needs: str = ""  # a package


def image(number: int, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Image.Image:
    """A flat image whose gray says which it is."""
    color = 40 * (number + 1)
    return Image.new(mode, size, color if mode == "L" else (color,) * 3)


def save(path: Path, number: int, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image(number, **options).save(
        path, format={".ppm": "PPM", ".png": "PNG"}.get(path.suffix, "JPEG")
    )


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def grays(*shape: int) -> np.ndarray:
    """uint8 [N, ...]: image i is filled with 40 * (i + 1)."""
    values = 40 * np.arange(1, shape[0] + 1, dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 1)), shape))


def idx(path: Path, values: np.ndarray) -> None:
    """The format of MNIST: a type, the shape, the values, all big-endian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {1: 8, 4: 12}[values.dtype.itemsize]
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    path.write_bytes(head + values.astype(values.dtype.newbyteorder(">")).tobytes())


def mnist(name: str, prefix: Callable[[str], str] = lambda part: part) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for part in ("train", "t10k"):
            raw = folder / name / "raw"
            idx(raw / f"{prefix(part)}-images-idx3-ubyte", grays(3, 28, 28))
            idx(raw / f"{prefix(part)}-labels-idx1-ubyte", np.array([0, 1, 1], np.uint8))

    return write


def qmnist(folder: Path) -> None:
    labels = np.array([[0] * 8, [1] * 8, [1] * 8], np.int32)
    for part in ("train", "test"):
        idx(folder / f"QMNIST/raw/qmnist-{part}-images-idx3-ubyte", grays(3, 28, 28))
        idx(folder / f"QMNIST/raw/qmnist-{part}-labels-idx2-int", labels)


def cifar(folder: Path) -> None:
    base = folder / "cifar-10-batches-py"
    base.mkdir(parents=True)
    batch = {"data": grays(3, 3072), "labels": [0, 1, 1]}
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        none = {"data": np.zeros((0, 3072), np.uint8), "labels": []}
        (base / name).write_bytes(pickle.dumps(none if name[-1] in "2345" else batch))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}))


def cifar100(folder: Path) -> None:
    base = folder / "cifar-100-python"
    base.mkdir(parents=True)
    for name in ("train", "test"):
        batch = {"data": grays(3, 3072), "fine_labels": [0, 1, 1]}
        (base / name).write_bytes(pickle.dumps(batch))
    (base / "meta").write_bytes(pickle.dumps({"fine_label_names": ["cat", "dog"]}))


def usps(folder: Path) -> None:
    pixels = " ".join(f"{n}:{v}" for n, v in enumerate([-0.5] * 256, start=1))
    for name in ("usps.bz2", "usps.t.bz2"):
        lines = "".join(f"{digit} {pixels}\n" for digit in (1, 2, 2))
        (folder / name).write_bytes(bz2.compress(lines.encode()))


def semeion(folder: Path) -> None:
    rows = [[1] * 256 + [int(column == digit) for column in range(10)] for digit in (0, 1, 1)]
    np.savetxt(folder / "semeion.data", rows)


def svhn(folder: Path) -> None:
    from scipy.io import savemat

    pixels = grays(3, 32, 32, 3).transpose(1, 2, 3, 0)
    for part in ("train", "test", "extra"):
        savemat(folder / f"{part}_32x32.mat", {"X": pixels, "y": np.array([[10], [1], [1]])})


def stl10(folder: Path) -> None:
    base = folder / "stl10_binary"
    base.mkdir(parents=True)
    for part in ("train", "test", "unlabeled"):
        (base / f"{part}_X.bin").write_bytes(grays(3, 3, 96, 96).tobytes())
        (base / f"{part}_y.bin").write_bytes(bytes([1, 2, 2]))
    text(base / "class_names.txt", "cat", "dog")


def fer2013(folder: Path) -> None:
    rows = [(label, " ".join(["40"] * 48 * 48), "Training") for label in (0, 1, 1)]
    (folder / "fer2013").mkdir()
    with (folder / "fer2013/fer2013.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("emotion", "pixels", "Usage"), *rows])


def pcam(folder: Path) -> None:
    import h5py

    (folder / "pcam").mkdir()
    for part, content in (
        ("x", grays(3, 96, 96, 3)),
        ("y", np.array([0, 1, 1]).reshape(3, 1, 1, 1)),
    ):
        with h5py.File(folder / f"pcam/camelyonpatch_level_2_split_train_{part}.h5", "w") as file:
            file[part] = content


def celeba(folder: Path) -> None:
    base = folder / "celeba"
    names = [f"{number:06}.jpg" for number in (1, 2, 3)]
    for number, name in enumerate(names):
        save(base / "img_align_celeba" / name, number)
    text(base / "list_eval_partition.txt", *(f"{name} 0" for name in names))
    text(base / "identity_CelebA.txt", *(f"{name} {n}" for n, name in enumerate(names)))
    for table, columns in (("attr", 2), ("bbox", 4), ("landmarks_align", 10)):
        named = " ".join(map(str, range(columns)))
        rows = (f"{name} {' '.join(['1'] * columns)}" for name in names)
        text(base / f"list_{table}_celeba.txt", "3", named, *rows)


def caltech101(folder: Path) -> None:
    base = folder / "caltech101/101_ObjectCategories"
    save(base / "cat/image_0001.jpg", 0)
    save(base / "dog/image_0001.jpg", 1)
    save(base / "dog/image_0002.jpg", 2, mode="L")
    (base / "BACKGROUND_Google").mkdir()


def caltech256(folder: Path) -> None:
    base = folder / "caltech256/256_ObjectCategories"
    for number, name in enumerate(("cat/001_0001", "dog/002_0001", "dog/002_0002")):
        save(base / f"{name}.jpg", number)


def in_class_folders(base: str, suffix: str = ".jpg") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for number, name in enumerate(("cat/1", "dog/2", "dog/3")):
            save(folder / base / f"{name}{suffix}", number)

    return write


def sst2(folder: Path) -> None:
    for number, name in enumerate(("negative/1", "positive/2", "positive/3")):
        save(folder / "rendered-sst2/train" / f"{name}.png", number)


def gtsrb(folder: Path) -> None:
    for number, name in enumerate(("00000/1", "00001/2", "00001/3")):
        save(folder / "gtsrb/GTSRB/Training" / f"{name}.ppm", number)


def pets(folder: Path) -> None:
    base = folder / "oxford-iiit-pet"
    names = ("cat_1", "dog_1", "dog_2")
    for number, name in enumerate(names):
        save(base / f"images/{name}.jpg", number)
    lines = (f"{name} {1 + (n > 0)} {1 + (n > 0)} 1" for n, name in enumerate(names))
    text(base / "annotations/trainval.txt", *lines)


def flowers(folder: Path) -> None:
    from scipy.io import savemat

    base = folder / "flowers-102"
    for number in range(3):
        save(base / f"jpg/image_{number + 1:05}.jpg", number)
    savemat(base / "imagelabels.mat", {"labels": [1, 2, 2]})
    savemat(base / "setid.mat", {key: [1, 2, 3] for key in ("trnid", "valid", "tstid")})


def food(folder: Path) -> None:
    in_class_folders("food-101/images")(folder)
    listed = {"cat": ["cat/1"], "dog": ["dog/2", "dog/3"]}
    text(folder / "food-101/meta/train.json", json.dumps(listed))


def dtd(folder: Path) -> None:
    in_class_folders("dtd/dtd/images")(folder)
    text(folder / "dtd/dtd/labels/train1.txt", "cat/1.jpg", "dog/2.jpg", "dog/3.jpg")


def sun397(folder: Path) -> None:
    for number, name in enumerate(("c/cat/sun_1", "d/dog/sun_2", "d/dog/sun_3")):
        save(folder / "SUN397" / f"{name}.jpg", number)
    text(folder / "SUN397/ClassName.txt", "/c/cat", "/d/dog")


def aircraft(folder: Path) -> None:
    data = folder / "fgvc-aircraft-2013b/data"
    for number in range(3):
        save(data / f"images/{number}.jpg", number)
    text(data / "variants.txt", "cat", "dog")
    for part in ("train", "trainval"):
        text(data / f"images_variant_{part}.txt", "0 cat", "1 dog", "2 dog")


def imagenette(folder: Path) -> None:
    for number, name in enumerate(("n01440764/1", "n02102040/2", "n02102040/3")):
        save(folder / "imagenette2/train" / f"{name}.jpeg", number)


def imagenet(folder: Path) -> None:
    for number, name in enumerate(("n01/1", "n02/2", "n02/3")):
        save(folder / "train" / f"{name}.JPEG", number)
    names = {"n01": ("cat", "house cat"), "n02": ("dog",)}
    torch.save((names, []), folder / "meta.bin")


def inaturalist(folder: Path) -> None:
    for number, name in enumerate(("00000_a_b_c_d_e_f_cat/1", "00001_a_b_c_d_e_f_dog/2")):
        save(folder / "2021_train" / f"{name}.jpg", number)


def places(folder: Path) -> None:
    for number, name in enumerate(("c/cat/1", "d/dog/2", "d/dog/3")):
        save(folder / f"data_large_standard/{name}.jpg", number)
    text(folder / "categories_places365.txt", "/c/cat 0", "/d/dog 1")
    listed = ("/c/cat/1.jpg 0", "/d/dog/2.jpg 1", "/d/dog/3.jpg 1")
    text(folder / "places365_train_standard.txt", *listed)
    save(folder / "test_large/1.jpg", 0)
    text(folder / "places365_test.txt", "1.jpg")


def cars(folder: Path) -> None:
    from scipy.io import savemat

    base = folder / "stanford_cars"
    for number in range(3):
        save(base / f"cars_train/{number}.jpg", number)
    kind = [("fname", object), ("class", object)]
    listed = np.array([("0.jpg", 1), ("1.jpg", 2), ("2.jpg", 2)], dtype=kind)
    (base / "devkit").mkdir()
    savemat(base / "devkit/cars_train_annos.mat", {"annotations": listed})
    names = np.array(["cat", "dog"], dtype=object)
    savemat(base / "devkit/cars_meta.mat", {"class_names": names})


def clevr(folder: Path) -> None:
    base = folder / "clevr/CLEVR_v1.0"
    scenes = []
    for number, objects in enumerate((0, 1, 1)):
        save(base / f"images/train/{number}.png", number)
        scenes.append({"image_filename": f"{number}.png", "objects": [{}] * objects})
    text(base / "scenes/CLEVR_train_scenes.json", json.dumps({"scenes": scenes}))


def omniglot(folder: Path) -> None:
    base = folder / "omniglot-py"
    for number, name in enumerate(("Greek/a/1", "Greek/b/2", "Greek/b/3")):
        save(base / "images_background" / f"{name}.png", number)
    (base / "images_background.zip").touch()


def lfw(folder: Path) -> None:
    base = folder / "lfw-py"
    for number, (name, index) in enumerate((("cat", 1), ("dog", 1), ("dog", 2))):
        save(base / f"lfw_funneled/{name}/{name}_{index:04}.jpg", number)
    (base / "lfw-funneled.tgz").touch()
    text(base / "lfw-names.txt", "cat\t1", "dog\t2")
    text(base / "peopleDevTrain.txt", "2", "cat\t1", "dog\t2")


DIGITS = tuple("0123456789")

FAKES = {
    "CIFAR10": Fake(cifar),
    "CIFAR100": Fake(cifar100),
    "CLEVRClassification": Fake(clevr, classes=("0", "1")),
    "Caltech101": Fake(caltech101, needs="scipy"),
    "Caltech256": Fake(caltech256),
    "CelebA": Fake(celeba, labels=(None, None, None), classes=()),
    "Country211": Fake(in_class_folders("country211/train")),
    "DTD": Fake(dtd),
    "EMNIST": Fake(
        mnist("EMNIST", lambda part: f"emnist-digits-{'train' if part == 'train' else 'test'}"),
        classes=DIGITS,
        options=",split=digits",
    ),
    "EuroSAT": Fake(in_class_folders("eurosat/2750")),
    "FER2013": Fake(fer2013, classes=DIGITS[:7]),
    "FGVCAircraft": Fake(aircraft),
    "FashionMNIST": Fake(mnist("FashionMNIST"), classes=None),
    "Flowers102": Fake(flowers, classes=None, needs="scipy"),
    "Food101": Fake(food),
    "GTSRB": Fake(gtsrb, classes=tuple(map(str, range(43)))),
    "INaturalist": Fake(
        inaturalist,
        labels=(0, 1),
        classes=("00000_a_b_c_d_e_f_cat", "00001_a_b_c_d_e_f_dog"),
    ),
    "ImageNet": Fake(imagenet, classes=("cat, house cat", "dog")),
    "Imagenette": Fake(
        imagenette, classes=("tench, Tinca tinca", "English springer, English springer spaniel")
    ),
    "KMNIST": Fake(mnist("KMNIST"), classes=None),
    "LFWPeople": Fake(lfw),
    "MNIST": Fake(mnist("MNIST"), classes=None),
    "Omniglot": Fake(omniglot, classes=("Greek/a", "Greek/b")),
    "OxfordIIITPet": Fake(pets, classes=("Cat", "Dog")),
    "PCAM": Fake(pcam, classes=("0", "1"), needs="h5py"),
    "Places365": Fake(places, classes=("/c/cat", "/d/dog")),
    "QMNIST": Fake(qmnist, classes=None),
    "RenderedSST2": Fake(sst2, classes=("negative", "positive")),
    "SEMEION": Fake(semeion, classes=DIGITS),
    "STL10": Fake(stl10),
    "SUN397": Fake(sun397, classes=("cat", "dog")),
    "SVHN": Fake(svhn, classes=DIGITS, needs="scipy"),
    "StanfordCars": Fake(cars, needs="scipy"),
    "USPS": Fake(usps, classes=DIGITS),
}


def accept_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision take files for whole that are there, whatever their checksum."""
    for name, module in list(sys.modules.items()):
        if name.startswith("torchvision.datasets.") and hasattr(module, "check_integrity"):
            there = lambda path, md5=None: Path(path).is_file()  # noqa: E731
            monkeypatch.setattr(module, "check_integrity", there)
