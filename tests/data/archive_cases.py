"""Archives, arrays, links and other things that are no plain folder, and what comes of them.

`docs/layouts.py` draws their table in docs/layouts.md, and test_archive_cases.py holds them.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from layout_cases import encoded

Make = Callable[[Path], Path]  # makes it in a folder; returns the path that is passed


@dataclass(frozen=True)
class Made:
    """How it is made and read, and what has to come of it."""

    name: str
    files: str  # in words, for the page
    make: Make
    options: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    reads: tuple[str, ...] = ()
    labels: tuple[int | None, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    error: str = ""  # a part of the message


def png(number: int) -> bytes:
    return encoded(number, "x.png")


def tarred(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    """A tar file; a name that ends with @ is a link to what its bytes name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name.removesuffix("@"))
            if name.endswith("@"):
                info.type, info.linkname = tarfile.LNKTYPE, data.decode()
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip file; a name that ends with @ is a link to what its bytes name, with | a pipe."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name.rstrip("@|")  # not what this system makes of it
            info.external_attr = {"@": 0o120777, "|": 0o010644}.get(name[-1], 0o100644) << 16
            archive.writestr(info, data)
    return path


def saved(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def shards(*names: str, beside: Mapping[str, bytes] | None = None) -> Make:
    """Tar files of two images each, with classes 0 and 1."""

    def make(folder: Path) -> Path:
        for number, name in enumerate(names):
            keys = [f"{2 * number + at:06d}" for at in (0, 1)]
            files = {f"{key}.png": png(int(key)) for key in keys}
            labels = {f"{key}.cls": str(at).encode() for at, key in enumerate(keys)}
            tarred(folder / "data" / name, files | labels)
        return saved(folder / "data", beside or {})

    return make


def zip_of(**files: bytes) -> Make:
    return lambda folder: zipped(folder / "data.zip", files)


def file_of(name: str, data: bytes) -> Make:
    return lambda folder: saved(folder, {name: data}) / name


def array_of(name: str, array: Any) -> Make:
    def make(folder: Path) -> Path:
        np.save(folder / name, array)
        return folder / name

    return make


def arrays_of(**arrays: Any) -> Make:
    def make(folder: Path) -> Path:
        np.savez(folder / "data.npz", **arrays)
        return folder / "data.npz"

    return make


def linked_class(folder: Path) -> Path:
    saved(folder, {"elsewhere/cats/1.png": png(0), "data/dog/1.png": png(1)})
    (folder / "data" / "cat").symlink_to(folder / "elsewhere" / "cats")
    return folder / "data"


def link_to_above(folder: Path) -> Path:
    saved(folder, {"data/x/a.png": png(0)})
    (folder / "data" / "x" / "again").symlink_to(folder / "data")
    return folder / "data"


def broken_link(folder: Path) -> Path:
    saved(folder, {"data/a.png": png(0)})
    (folder / "data" / "b.png").symlink_to(folder / "gone.png")
    return folder / "data"


def pipe(folder: Path) -> Path:
    saved(folder, {"data/a.png": png(0)})
    os.mkfifo(folder / "data" / "b.png")
    return folder / "data"


def empty_class(folder: Path) -> Path:
    saved(folder, {"data/cat/1.png": png(0), "data/dog/2.png": png(1)})
    (folder / "data" / "wolf").mkdir()
    return folder / "data"


def nothing(folder: Path) -> Path:
    (folder / "data").mkdir()
    return folder / "data"


def encrypted(folder: Path) -> Path:
    """A zip file whose headers say that its member is encrypted."""
    path = zipped(folder / "data.zip", {"a.png": png(0)})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


GRAY, RGB = np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8, 3), np.uint8)
LABELS = np.array([0, 1, 0, 1])
ARRAYS = "is not an array of images; given: "
WHOLE = "is compressed as a whole, so no file in it can be read by itself"
FOUR = tuple(f"images[{n}]" for n in range(4))

MADE = (
    Made(
        "shards of WebDataset",
        "data-000.tar, data-001.tar: 000000.png, 000000.cls, ...",
        shards("data-000.tar", "data-001.tar"),
        summary="4 images, classes in .cls files (2)",
        reads=(
            "data-000.tar/000000.png",
            "data-000.tar/000001.png",
            "data-001.tar/000002.png",
            "data-001.tar/000003.png",
        ),
        labels=(0, 1, 0, 1),
    ),
    Made(
        "shards of splits",
        "birds-train-000.tar, birds-val-000.tar",
        shards("birds-train-000.tar", "birds-val-000.tar"),
        options={"split": "val"},
        summary="splits of classes in .cls files (2); train 2, val 2; reading val",
        reads=("birds-val-000.tar/000002.png", "birds-val-000.tar/000003.png"),
        labels=(0, 1),
    ),
    Made(
        "shards whose splits are told in other words",
        "TrainImages.tar, Testing.tar",
        shards("TrainImages.tar", "Testing.tar"),
        summary="splits of classes in .cls files (2); train 2, test 2; reading train",
        reads=("TrainImages.tar/000000.png", "TrainImages.tar/000001.png"),
        labels=(0, 1),
    ),
    Made(
        "shards of a split and others",
        "train.tar, extra.tar",
        shards("train.tar", "extra.tar"),
        error="has folders called like splits (train) beside extra",
    ),
    Made(
        "a tar file of absolute paths a split",
        "train.tar: /x/cat/1.png, /x/dog/2.png; val.tar: /x/cat/3.png",
        lambda folder: (
            tarred(
                tarred(
                    folder / "data/train.tar", {"/x/cat/1.png": png(0), r"\x\dog\2.png": png(1)}
                ).with_name("val.tar"),
                {"/x/cat/3.png": png(2)},
            ).parent
        ),
        summary="splits of classes (2); train 2, val 1; reading train",
        reads=("train.tar/x/cat/1.png", "train.tar/x/dog/2.png"),
        labels=(0, 1),
    ),
    Made(
        "shards beside other files",
        "data-000.tar, README.md, sizes.json",
        shards("data-000.tar", beside={"README.md": b"x", "sizes.json": b"{}"}),
        summary="2 images, classes in .cls files (2)",
        reads=("000000.png", "000001.png"),
        labels=(0, 1),
        ignored={".md": 1, ".json": 1},
    ),
    Made(
        "a tar file a split, with folders",
        "train.tar: train/cat/1.png, train/dog/2.png; test.tar: test/cat/3.png",
        lambda folder: (
            (
                tarred(
                    folder / "data/train.tar",
                    {"train/cat/1.png": png(0), "train/dog/2.png": png(1)},
                ),
                tarred(folder / "data/test.tar", {"test/cat/3.png": png(2)}),
            )[0].parent
        ),
        summary="splits of classes (2); train 2, test 1; reading train",
        reads=("train.tar/train/cat/1.png", "train.tar/train/dog/2.png"),
        labels=(0, 1),
    ),
    Made(
        "a tar file with links",
        "data.tar: a.png, b.png -> a.png",
        lambda folder: tarred(folder / "data.tar", {"a.png": png(0), "b.png@": b"a.png"}),
        summary="1 image, plain",
        reads=("a.png",),
        ignored={"links in an archive": 1},
    ),
    Made(
        "a zip file with a link and a pipe",
        "data.zip: a.png, b.png -> a.png, c.png (a pipe)",
        zip_of(**{"a.png": png(0), "b.png@": b"a.png", "c.png|": b""}),
        summary="1 image, plain",
        reads=("a.png",),
        ignored={"links in an archive": 1, "pipes, sockets and devices": 1},
    ),
    Made(
        "a zip file of old tools of Windows",
        r"data.zip: d\train\cat\1.png, d\train\dog\2.png, d\test\cat\3.png",
        zip_of(
            **{
                r"d\train\cat\1.png": png(0),
                r"d\train\dog\2.png": png(1),
                r"d\test\cat\3.png": png(2),
                r"d\Thumbs.db": b"x",
            }
        ),
        summary="splits of classes (2); train 2, test 1; reading train",
        reads=("d/train/cat/1.png", "d/train/dog/2.png"),
        labels=(0, 1),
    ),
    Made(
        "labels in a zip file of old tools of Windows",
        r"data.zip: d\1.png, d\2.png, d\metadata.csv",
        zip_of(
            **{
                r"d\1.png": png(0),
                r"d\2.png": png(1),
                r"d\metadata.csv": b"file_name,label\n1.png,dog\n2.png,cat\n",
            }
        ),
        summary="2 images, classes in metadata.csv (2)",
        reads=("d/1.png", "d/2.png"),
        labels=(1, 0),
    ),
    Made(
        "pairs in a zip file of old tools of Windows",
        r"data.zip: d\A\x.png, d\B\x.png",
        zip_of(**{r"d\A\x.png": png(0), r"d\B\x.png": png(1)}),
        options={"paired": True},
        summary="1 pair, pairs in two folders",
        reads=("d/B/x.png",),
    ),
    Made(
        "a zip file with two spellings of a name",
        r"data.zip: d\1.png, d/1.png",
        zip_of(**{r"d\1.png": png(0), "d/1.png": png(1)}),
        error="contains two files with the same name; given: d/1.png",
    ),
    Made("a zip file with a password", "data.zip", encrypted, error="is encrypted; try: unpack it"),
    Made(
        "a zip file of zip files",
        "data.zip: train.zip, test.zip",
        zip_of(**{"train.zip": b"PK", "test.zip": b"PK"}),
        error="given: 2 .zip; allowed: folders, .zip and .tar files, images; try: unpack",
    ),
    Made("a damaged zip file", "data.zip", file_of("data.zip", b"PK"), error="cannot read"),
    Made(
        "a compressed tar file",
        "data.tar.gz",
        lambda folder: tarred(folder / "data.tar.gz", {"a.png": png(0)}, "w:gz"),
        error=WHOLE,
    ),
    Made(
        "a compressed tar file that is not called so",
        "data.tar",
        lambda folder: tarred(folder / "data.tar", {"a.png": png(0)}, "w:xz"),
        error=WHOLE,
    ),
    Made("a .tgz file", "data.tgz", file_of("data.tgz", b"\x1f\x8b"), error=WHOLE),
    Made("a .7z file", "data.7z", file_of("data.7z", b"7z"), error=WHOLE),
    Made("a .rar file", "data.rar", file_of("data.rar", b"Rar!"), error=WHOLE),
    Made("a .parquet file", "x.parquet", file_of("x.parquet", b"PAR1"), error="is not an image"),
    Made("a table", "x.csv", file_of("x.csv", b"file_name"), error="is not an image"),
    Made("a video", "x.mp4", file_of("x.mp4", b"x"), error="is not an image"),
    Made(
        "one image",
        "a.png",
        file_of("a.png", png(0)),
        summary="1 image, plain",
        reads=("a.png",),
    ),
    Made("an empty folder", "", nothing, error="no images in"),
    Made("nothing", "", lambda folder: folder / "data", error="does not exist"),
    Made(
        "an empty folder beside classes",
        "cat/1.png, dog/2.png, wolf/",
        empty_class,
        summary="2 images, classes (2)",
        reads=("cat/1.png", "dog/2.png"),
        labels=(0, 1),
    ),
    Made(
        "a linked class",
        "cat -> elsewhere/cats: 1.png, dog/1.png",
        linked_class,
        summary="2 images, classes (2)",
        reads=("cat/1.png", "dog/1.png"),
        labels=(0, 1),
    ),
    Made(
        "a link to a folder above",
        "x/a.png, x/again -> .",
        link_to_above,
        summary="1 image, plain",
        reads=("x/a.png",),
        ignored={"links back to a folder that contains them": 1},
    ),
    Made(
        "a broken link, which is an unusable image",
        "a.png, b.png -> gone.png",
        broken_link,
        summary="2 images, plain",
        reads=("a.png", "b.png: cannot be read"),
    ),
    Made(
        "a pipe",
        "a.png, b.png (a pipe)",
        pipe,
        summary="1 image, plain",
        reads=("a.png",),
        ignored={"pipes, sockets and devices": 1},
    ),
    Made(
        "an array of gray images",
        "x.npy: uint8 [4, 8, 8]",
        array_of("x.npy", GRAY),
        summary="4 images in an array",
        reads=tuple(f"x.npy[{n}]" for n in range(4)),
    ),
    Made(
        "an array of images in color",
        "x.npy: uint8 [4, 8, 8, 3]",
        array_of("x.npy", RGB),
        summary="4 images in an array",
        reads=tuple(f"x.npy[{n}]" for n in range(4)),
    ),
    Made(
        "an array as torch has it",
        "x.npy: uint8 [4, 3, 8, 8]",
        array_of("x.npy", RGB.transpose(0, 3, 1, 2)),
        error="try: images.transpose(0, 2, 3, 1) in NumPy",
    ),
    Made(
        "an array that may be one image",
        "x.npy: uint8 [8, 8, 3]",
        array_of("x.npy", RGB[0]),
        error="may be one image or 8 narrow ones",
    ),
    Made(
        "an array of floating-point numbers",
        "x.npy: float32 [4, 8, 8, 3]",
        array_of("x.npy", RGB.astype(np.float32)),
        error=ARRAYS + "float32 [4, 8, 8, 3]",
    ),
    Made(
        "an array of 16 bits",
        "x.npy: uint16 [4, 8, 8]",
        array_of("x.npy", GRAY.astype(np.uint16)),
        error=ARRAYS + "uint16 [4, 8, 8]",
    ),
    Made(
        "arrays of images and labels",
        "data.npz: images [4, 8, 8, 3], labels [4]",
        arrays_of(images=RGB, labels=LABELS),
        summary="4 images in an array, 2 classes",
        reads=FOUR,
        labels=(0, 1, 0, 1),
    ),
    Made(
        "MedMNIST",
        "data.npz: train_images [4, 8, 8], train_labels [4, 1], val_images, val_labels, ...",
        arrays_of(
            train_images=GRAY,
            train_labels=LABELS[:, None],
            val_images=GRAY[:1],
            val_labels=LABELS[:1, None],
            test_images=GRAY[:2],
            test_labels=LABELS[:2, None] + 1,
        ),
        options={"split": "test"},
        summary="arrays of train, val, test, 3 classes; reading test",
        reads=("test_images[0]", "test_images[1]"),
        labels=(1, 2),
    ),
    Made(
        "MedMNIST with several labels an image",
        "data.npz: train_images [4, 8, 8], train_labels [4, 14]",
        arrays_of(train_images=GRAY, train_labels=np.zeros((4, 14), np.uint8)),
        error="train_labels in",
    ),
    Made(
        "Keras' arrays",
        "data.npz: x_train [4, 8, 8], y_train [4], x_test, y_test",
        arrays_of(x_train=GRAY, y_train=LABELS, x_test=GRAY[:2], y_test=LABELS[:2]),
        summary="arrays of train, test, 2 classes; reading train",
        reads=tuple(f"x_train[{n}]" for n in range(4)),
        labels=(0, 1, 0, 1),
    ),
    Made(
        "arrays with names that tell nothing",
        "data.npz: arr_0 [4, 8, 8], arr_1 [4]",
        arrays_of(arr_0=GRAY, arr_1=LABELS),
        summary="4 images in an array",
        reads=tuple(f"arr_0[{n}]" for n in range(4)),
        ignored={"array called arr_1": 1},
    ),
    Made(
        "arrays of which one split is empty",
        "data.npz: train_images [4, 8, 8], train_labels [4], test_images [0, 8, 8], ...",
        arrays_of(
            train_images=GRAY,
            train_labels=LABELS,
            test_images=GRAY[:0],
            test_labels=LABELS[:0],
        ),
        summary="arrays of train, test, 2 classes; reading train",
        reads=tuple(f"train_images[{n}]" for n in range(4)),
        labels=(0, 1, 0, 1),
    ),
    Made(
        "labels of another split that are no numbers",
        "data.npz: x_train [4, 8, 8], y_train [4], x_test, y_test: text",
        arrays_of(x_train=GRAY, y_train=LABELS, x_test=GRAY, y_test=np.array(list("abcd"))),
        error="y_test in",
    ),
    Made(
        "labels of another number of images",
        "data.npz: images [4, 8, 8], labels [2]",
        arrays_of(images=GRAY, labels=LABELS[:2]),
        error="are not the labels of 4 images; given: int64 [2]",
    ),
    Made(
        "an array without the split that is wanted",
        "data.npz: test_images [4, 8, 8]",
        arrays_of(test_images=GRAY),
        error="has no split 'train'; allowed: test; try: --set split=test with zoo train, --split "
        "test elsewhere",
    ),
)
