"""The layouts that people bring, each with what is said of it and which images are read.

`docs/layouts.py` draws the table in docs/layouts.md from these cases, and test_layouts.py holds
them: as a folder, as a zip and a tar file, and as a zip file with one folder around everything.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

CONTAINERS = ("folder", "zip", "zip with a top folder", "tar")


@dataclass(frozen=True)
class Case:
    """Files, how they are read, and what has to come of it: a summary and names, or an error."""

    name: str
    files: tuple[str, ...]  # images, in this order of colors
    texts: Mapping[str, str] = field(default_factory=dict)  # other files
    options: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    reads: tuple[str, ...] = ()  # names relative to the top
    labels: tuple[int | None, ...] = ()
    classes: tuple[str, ...] = ()
    error: str = ""  # a part of the message
    size: tuple[int, int] = (8, 8)


def labelled(*rows: Any) -> str:
    return json.dumps({"labels": list(rows)})


PAIRED = {"paired": True}
CASES = (
    Case("plain", ("a.png", "b.png"), summary="2 images, plain", reads=("a.png", "b.png")),
    Case(
        "one folder of images",
        ("photos/a.png", "photos/b.png"),
        summary="2 images, plain",
        reads=("photos/a.png", "photos/b.png"),
    ),
    Case(
        "folders inside folders beside images",
        ("a.png", "x/b.png", "x/y/c.png"),
        summary="3 images, plain",
        reads=("a.png", "x/b.png", "x/y/c.png"),
    ),
    Case(
        "classes",
        ("cat/1.png", "dog/1.png", "dog/2.png"),
        summary="3 images, classes (2)",
        reads=("cat/1.png", "dog/1.png", "dog/2.png"),
        labels=(0, 1, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "classes with folders inside",
        ("cat/tabby/1.png", "dog/1.png"),
        summary="2 images, classes (2)",
        reads=("cat/tabby/1.png", "dog/1.png"),
        labels=(0, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "numbered classes in natural order",
        ("10/a.png", "2/a.png", "0/a.png"),
        summary="3 images, classes (3)",
        reads=("0/a.png", "10/a.png", "2/a.png"),
        labels=(0, 2, 1),
        classes=("0", "2", "10"),
    ),
    Case(
        "classes, told to be plain",
        ("cat/1.png", "dog/1.png"),
        options={"layout": "plain"},
        summary="2 images, plain",
        reads=("cat/1.png", "dog/1.png"),
    ),
    Case(
        "splits of plain images",
        ("train/1.png", "train/2.png", "val/3.png", "test/4.png"),
        summary="splits; train 2, val 1, test 1; reading train",
        reads=("train/1.png", "train/2.png"),
    ),
    Case(
        "the test split",
        ("train/1.png", "test/2.png"),
        options={"split": "test"},
        summary="splits; train 1, test 1; reading test",
        reads=("test/2.png",),
    ),
    Case(
        "splits in other words and cases",
        ("Training/1.png", "Validation/2.png", "TESTING/3.png"),
        options={"split": "val"},
        summary="splits; train 1, val 1, test 1; reading val",
        reads=("Validation/2.png",),
    ),
    Case(
        "dev as the validation split",
        ("train/1.png", "dev/2.png"),
        options={"split": "val"},
        summary="splits; train 1, val 1; reading val",
        reads=("dev/2.png",),
    ),
    Case(
        "one split alone",
        ("train/1.png", "train/2.png"),
        summary="splits; train 2; reading train",
        reads=("train/1.png", "train/2.png"),
    ),
    Case(
        "a split that is not there",
        ("train/1.png", "val/2.png"),
        options={"split": "test"},
        error="has no split 'test'; allowed: train, val",
    ),
    Case(
        "splits of classes",
        ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "test/dog/4.png"),
        summary="splits of classes (2); train 2, val 1, test 1; reading train",
        reads=("train/cat/1.png", "train/dog/2.png"),
        labels=(0, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "a class that a split lacks keeps its number",
        ("train/a/1.png", "train/b/2.png", "train/c/3.png", "test/a/4.png", "test/c/5.png"),
        options={"split": "test"},
        summary="splits of classes (3); train 3, test 2; reading test",
        reads=("test/a/4.png", "test/c/5.png"),
        labels=(0, 2),
        classes=("a", "b", "c"),
    ),
    Case(
        "classes to train on, a test split without",
        ("train/cat/1.png", "train/dog/2.png", "test/3.png"),
        summary="splits of classes (2); train 2, test 1; reading train",
        reads=("train/cat/1.png", "train/dog/2.png"),
        labels=(0, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "a test split without labels",
        ("train/cat/1.png", "train/dog/2.png", "test/3.png"),
        options={"split": "test"},
        summary="splits of classes; train 2, test 1; reading test",
        reads=("test/3.png",),
    ),
    Case(
        "a folder called like a split beside classes",
        ("train/1.png", "car/2.png", "plane/3.png"),
        error="has folders called like splits (train) beside car, plane",
    ),
    Case(
        "a class called train, said so",
        ("train/1.png", "car/2.png"),
        options={"layout": "classes"},
        summary="2 images, classes (2)",
        reads=("car/2.png", "train/1.png"),
        labels=(0, 1),
        classes=("car", "train"),
    ),
    Case(
        "an image beside splits",
        ("train/1.png", "test/2.png", "preview.png"),
        error="has folders called like splits (test, train) beside images",
    ),
    Case(
        "StyleGAN's numbering without labels",
        ("00000/img00000000.png", "00001/img00001000.png"),
        summary="2 images, plain",
        reads=("00000/img00000000.png", "00001/img00001000.png"),
    ),
    Case(
        "StyleGAN's dataset.json",
        ("00000/img00000000.png", "00000/img00000001.png", "00001/img00001000.png"),
        texts={
            "dataset.json": labelled(
                ["00000/img00000000.png", 3],
                ["00000/img00000001.png", 0],
                ["00001/img00001000.png", 3],
            )
        },
        summary="3 images, classes in dataset.json (4)",
        reads=("00000/img00000000.png", "00000/img00000001.png", "00001/img00001000.png"),
        labels=(3, 0, 3),
        classes=("0", "1", "2", "3"),
    ),
    Case(
        "dataset.json without labels",
        ("00000/img00000000.png", "00001/img00001000.png"),
        texts={"dataset.json": '{"labels": null}'},
        summary="2 images, plain",
        reads=("00000/img00000000.png", "00001/img00001000.png"),
    ),
    Case(
        "dataset.json that forgets an image",
        ("a.png", "b.png"),
        texts={"dataset.json": labelled(["a.png", 0])},
        error="dataset.json names 1 of 2 images; given: not ",
    ),
    Case(
        "dataset.json that names an image twice",
        ("a.png", "b.png"),
        texts={"dataset.json": labelled(["a.png", 0], ["b.png", 1], ["a.png", 1])},
        error="dataset.json names an image twice",
    ),
    Case(
        "dataset.json that names what is not there",
        ("a.png",),
        texts={"dataset.json": labelled(["a.png", 0], ["z.png", 1])},
        error="dataset.json names images that are not there",
    ),
    Case(
        "dataset.json with several numbers an image",
        ("a.png",),
        texts={"dataset.json": labelled(["a.png", [0.5, 1.0]])},
        error="dataset.json gives an image several labels",
    ),
    Case(
        "metadata.csv with names of classes",
        ("1.png", "2.png", "3.png"),
        texts={"metadata.csv": "file_name,label\n1.png,dog\n2.png,cat\n3.png,dog\n"},
        summary="3 images, classes in metadata.csv (2)",
        reads=("1.png", "2.png", "3.png"),
        labels=(1, 0, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "metadata.jsonl with numbers",
        ("1.png", "2.png"),
        texts={
            "metadata.jsonl": '{"file_name": "1.png", "label": 1}\n'
            '{"file_name": "2.png", "label": 0}\n'
        },
        summary="2 images, classes in metadata.jsonl (2)",
        reads=("1.png", "2.png"),
        labels=(1, 0),
        classes=("0", "1"),
    ),
    Case(
        "metadata in each split",
        ("train/1.png", "test/1.png"),
        texts={
            "train/metadata.csv": "file_name,label\n1.png,b\n",
            "test/metadata.csv": "file_name,label\n1.png,a\n",
        },
        summary="splits of classes in metadata.csv (2); train 1, test 1; reading train",
        reads=("train/1.png",),
        labels=(1,),
        classes=("a", "b"),
    ),
    Case(
        "metadata with another column",
        ("1.png", "2.png"),
        texts={"metadata.csv": "file_name,species\n1.png,wren\n2.png,owl\n"},
        options={"label_column": "species"},
        summary="2 images, classes in metadata.csv (2)",
        reads=("1.png", "2.png"),
        labels=(1, 0),
        classes=("owl", "wren"),
    ),
    Case(
        "metadata without a label",
        ("1.png", "2.png"),
        texts={"metadata.csv": "file_name,text\n1.png,a wren\n2.png,an owl\n"},
        summary="2 images, plain",
        reads=("1.png", "2.png"),
    ),
    Case(
        "metadata without the column that is wanted",
        ("1.png",),
        texts={"metadata.csv": "file_name,species\n1.png,wren\n"},
        options={"label_column": "kind"},
        error="has no column 'kind'; allowed: species",
    ),
    Case(
        "WebDataset's labels",
        ("000.jpg", "001.jpg"),
        texts={"000.cls": "2", "001.cls": "0", "000.txt": "a caption"},
        summary="2 images, classes in .cls files (3)",
        reads=("000.jpg", "001.jpg"),
        labels=(2, 0),
        classes=("0", "1", "2"),
    ),
    Case(
        "pairs in A and B",
        ("A/x.png", "A/y.png", "B/x.png", "B/y.png"),
        options=PAIRED,
        summary="2 pairs, pairs in two folders",
        reads=("A/x.png + B/x.png", "A/y.png + B/y.png"),
    ),
    Case(
        "pairs in input and target",
        ("input/x.png", "target/x.jpg"),
        options=PAIRED,
        summary="1 pair, pairs in two folders",
        reads=("input/x.png + target/x.jpg",),
    ),
    Case(
        "pairs in trainA and trainB",
        (
            "testA/1.png",
            "testB/1.png",
            "trainA/1.png",
            "trainA/2.png",
            "trainB/1.png",
            "trainB/2.png",
        ),
        options=PAIRED,
        summary="pairs in two folders; train 2, test 1; reading train",
        reads=("trainA/1.png + trainB/1.png", "trainA/2.png + trainB/2.png"),
    ),
    Case(
        "pairs in train/A and train/B",
        ("train/A/1.png", "train/B/1.png", "test/A/2.png", "test/B/2.png"),
        options=PAIRED,
        summary="pairs in two folders; train 1, test 1; reading train",
        reads=("train/A/1.png + train/B/1.png",),
    ),
    Case(
        "pairs in A/train and B/train",
        ("A/train/1.png", "B/train/1.png", "A/val/2.png", "B/val/2.png"),
        options={**PAIRED, "split": "val"},
        summary="pairs in two folders; train 1, val 1; reading val",
        reads=("A/val/2.png + B/val/2.png",),
    ),
    Case(
        "pairs side by side",
        ("1.png", "2.png"),
        options=PAIRED,
        summary="2 pairs, pairs side by side",
        reads=("1.png", "2.png"),
        size=(16, 8),
    ),
    Case(
        "splits of pairs side by side",
        ("train/1.png", "val/2.png", "test/3.png"),
        options={**PAIRED, "split": "test"},
        summary="pairs side by side; train 1, val 1, test 1; reading test",
        reads=("test/3.png",),
        size=(16, 8),
    ),
    Case(
        "a stray file beside A and B",
        ("A/x.png", "B/x.png", "preview.png"),
        options=PAIRED,
        error="are in neither A/ nor B/; given: preview.png",
    ),
    Case(
        "a file without a partner",
        ("A/x.png", "A/y.png", "B/x.png"),
        options=PAIRED,
        error="1 images in",
    ),
    Case(
        "A and B for a model without pairs",
        ("A/x.png", "B/x.png"),
        error="may hold pairs of images, or images of 2 classes",
    ),
    Case(
        "trainA and trainB for a model without pairs",
        ("trainA/x.png", "trainB/y.png"),
        error="may hold pairs of images, or images of 2 classes",
    ),
    Case(
        "A and B as classes, said so",
        ("A/x.png", "B/x.png"),
        options={"layout": "classes"},
        summary="2 images, classes (2)",
        reads=("A/x.png", "B/x.png"),
        labels=(0, 1),
        classes=("A", "B"),
    ),
    Case(
        "what operating systems leave",
        ("cat/1.png", "dog/2.png", "__MACOSX/cat/._1.png", "cat/.hidden.png"),
        texts={"Thumbs.db": "x", "cat/desktop.ini": "x", ".DS_Store": "x"},
        summary="2 images, classes (2)",
        reads=("cat/1.png", "dog/2.png"),
        labels=(0, 1),
        classes=("cat", "dog"),
    ),
)


def encoded(number: int, name: str, size: tuple[int, int] = (8, 8)) -> bytes:
    """An image whose color is its number."""
    buffer = io.BytesIO()
    kind = {"jpg": "JPEG", "png": "PNG"}[name.rpartition(".")[2]]
    Image.new("RGB", size, (20 * number % 256, 90, 200)).save(buffer, kind)
    return buffer.getvalue()


def contents(case: Case) -> dict[str, bytes]:
    images = {name: encoded(n, name, case.size) for n, name in enumerate(case.files)}
    return images | {name: text.encode() for name, text in case.texts.items()}


def build(case: Case, container: str, folder: Path) -> Path:
    """The files of a case as a folder, a zip or a tar file."""
    files = contents(case)
    if container == "folder":
        for name, data in files.items():
            path = folder / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / "data"
    if container == "tar":
        with tarfile.open(folder / "data.tar", "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return folder / "data.tar"
    top = "around/" if container == "zip with a top folder" else ""
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(top + name, data)
    return folder / "data.zip"
