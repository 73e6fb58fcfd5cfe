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
ARCHIVES = CONTAINERS[1:]


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
    containers: tuple[str, ...] = CONTAINERS  # not a folder where names differ in case only


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
        error="an image is named twice in dataset.json",
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
        "A and B in a folder, and an image beside that",
        ("preview.png", "scans/A/x.png", "scans/B/x.png"),
        options=PAIRED,
        error="may hold pairs in two folders beside other images",
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
    # Public data sets as they unpack
    Case(
        "ImageNet",
        (
            "train/n01440764/n01440764_18.JPEG",
            "train/n01443537/n01443537_2.JPEG",
            "val/n01440764/ILSVRC2012_val_00000293.JPEG",
        ),
        summary="splits of classes (2); train 2, val 1; reading train",
        reads=("train/n01440764/n01440764_18.JPEG", "train/n01443537/n01443537_2.JPEG"),
        labels=(0, 1),
        classes=("n01440764", "n01443537"),
    ),
    Case(
        "ImageNet, validation images in one folder",
        ("train/n01440764/1.JPEG", "train/n01443537/2.JPEG", "val/ILSVRC2012_val_00000001.JPEG"),
        options={"split": "val"},
        summary="splits of classes; train 2, val 1; reading val",
        reads=("val/ILSVRC2012_val_00000001.JPEG",),
    ),
    Case(
        "Tiny ImageNet",
        (
            "train/n01/images/1.JPEG",
            "train/n02/images/2.JPEG",
            "val/images/3.JPEG",
            "test/images/4.JPEG",
        ),
        texts={"wnids.txt": "n01", "val/val_annotations.txt": "3.JPEG n01"},
        summary="splits of classes (2); train 2, val 1, test 1; reading train",
        reads=("train/n01/images/1.JPEG", "train/n02/images/2.JPEG"),
        labels=(0, 1),
        classes=("n01", "n02"),
    ),
    Case(
        "CIFAR as folders",
        ("train/airplane/0001.png", "train/frog/0001.png", "test/airplane/0001.png"),
        options={"split": "test"},
        summary="splits of classes (2); train 2, test 1; reading test",
        reads=("test/airplane/0001.png",),
        labels=(0,),
        classes=("airplane", "frog"),
    ),
    Case(
        "COCO",
        ("train2017/000000000009.jpg", "train2017/000000000025.jpg", "val2017/000000000139.jpg"),
        texts={"annotations/instances_train2017.json": "{}"},
        summary="splits; train 2, val 1; reading train",
        reads=("train2017/000000000009.jpg", "train2017/000000000025.jpg"),
    ),
    Case(
        "COCO with its unlabeled images",
        ("train2017/1.jpg", "val2017/2.jpg", "unlabeled2017/3.jpg"),
        error="has folders called like splits (train2017, val2017) beside unlabeled2017",
    ),
    Case(
        "COCO of two years, which share images",
        ("train2014/1.jpg", "val2014/2.jpg", "train2017/1.jpg"),
        error="has folders called like splits (train2014, val2014) beside train2017",
    ),
    Case(
        "CelebA",
        ("img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg"),
        texts={"list_attr_celeba.txt": "2", "list_eval_partition.txt": "000001.jpg 0"},
        summary="2 images, plain",
        reads=("img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg"),
    ),
    Case(
        "FFHQ",
        ("images1024x1024/00000/00000.png", "images1024x1024/69000/69999.png"),
        texts={"ffhq-dataset-v2.json": "{}", "LICENSE.txt": ""},
        summary="2 images, plain",
        reads=("images1024x1024/00000/00000.png", "images1024x1024/69000/69999.png"),
    ),
    Case(
        "FFHQ with its thumbnails",
        ("images1024x1024/00000/00000.png", "thumbnails128x128/00000/00000.png"),
        error="may hold small copies of the other images, or more images; given: thumbnails128x128",
    ),
    Case(
        "numbers as classes",
        ("00000/00003.png", "00001/00007.png"),
        summary="2 images, classes (2)",
        reads=("00000/00003.png", "00001/00007.png"),
        labels=(0, 1),
        classes=("00000", "00001"),
    ),
    Case(
        "StyleGAN's numbering below splits",
        (
            "train/00000/img00000000.png",
            "train/00001/img00001000.png",
            "test/00002/img00002000.png",
        ),
        summary="splits; train 2, test 1; reading train",
        reads=("train/00000/img00000000.png", "train/00001/img00001000.png"),
    ),
    Case(
        "YOLO",
        ("images/train/1.jpg", "images/val/2.jpg"),
        texts={"labels/train/1.txt": "0 0.5 0.5 1 1", "labels/val/2.txt": "", "data.yaml": ""},
        summary="splits; train 1, val 1; reading train",
        reads=("images/train/1.jpg",),
    ),
    Case(
        "YOLO, images below splits",
        ("train/images/1.jpg", "valid/images/2.jpg", "test/images/3.jpg"),
        texts={"train/labels/1.txt": "0 0.5 0.5 1 1", "data.yaml": ""},
        options={"split": "val"},
        summary="splits; train 1, val 1, test 1; reading val",
        reads=("valid/images/2.jpg",),
    ),
    Case(
        "classes of images below splits",
        ("train/images/cat/1.png", "train/images/dog/2.png", "test/images/cat/3.png"),
        summary="splits of classes (2); train 2, test 1; reading train",
        reads=("train/images/cat/1.png", "train/images/dog/2.png"),
        labels=(0, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "a folder around the classes of each split",
        ("train/birds/owl/1.png", "train/birds/wren/2.png", "test/birds/owl/3.png"),
        summary="splits of classes (2); train 2, test 1; reading train",
        reads=("train/birds/owl/1.png", "train/birds/wren/2.png"),
        labels=(0, 1),
        classes=("owl", "wren"),
    ),
    Case(
        "a folder inside of one of its name",
        ("data/data/train/cat/1.png", "data/data/train/dog/2.png", "data/data/test/cat/3.png"),
        summary="splits of classes (2); train 2, test 1; reading train",
        reads=("data/data/train/cat/1.png", "data/data/train/dog/2.png"),
        labels=(0, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "Kaggle's train/train and test/test",
        ("train/train/cat.0.jpg", "train/train/dog.0.jpg", "test/test/1.jpg"),
        texts={"sample_submission.csv": "id,label"},
        summary="splits; train 2, test 1; reading train",
        reads=("train/train/cat.0.jpg", "train/train/dog.0.jpg"),
    ),
    Case(
        "Kaggle's train and test1",
        ("train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg"),
        summary="splits; train 2, test 1; reading train",
        reads=("train/cat.0.jpg", "train/dog.0.jpg"),
    ),
    Case(
        "Kaggle's seg_train, seg_test",
        (
            "seg_train/seg_train/sea/1.jpg",
            "seg_train/seg_train/ice/2.jpg",
            "seg_test/seg_test/sea/3.jpg",
        ),
        summary="splits of classes (2); train 2, test 1; reading train",
        reads=("seg_train/seg_train/ice/2.jpg", "seg_train/seg_train/sea/1.jpg"),
        labels=(0, 1),
        classes=("ice", "sea"),
    ),
    Case(
        "Kaggle's seg_train, seg_test and seg_pred",
        ("seg_train/sea/1.jpg", "seg_test/sea/2.jpg", "seg_pred/3.jpg"),
        error="has folders called like splits (seg_test, seg_train) beside seg_pred",
    ),
    Case(
        "splits whose names differ in one word",
        ("train_images/1.png", "test_images/2.png"),
        options={"split": "test"},
        summary="splits; train 1, test 1; reading test",
        reads=("test_images/2.png",),
    ),
    Case(
        "parts of a split",
        ("train_0/1.png", "train_1/2.png", "validation/3.png"),
        summary="splits; train 2, val 1; reading train",
        reads=("train_0/1.png", "train_1/2.png"),
    ),
    Case(
        "words for splits in different names",
        ("train_station/1.png", "test_tube/2.png"),
        error="may hold splits, or images of 2 classes; given: test_tube, train_station",
    ),
    Case(
        "a class with a word for a split",
        ("train_station/1.png", "airport/2.png"),
        summary="2 images, classes (2)",
        reads=("airport/2.png", "train_station/1.png"),
        labels=(0, 1),
        classes=("airport", "train_station"),
    ),
    Case(
        "splits inside of classes",
        ("cat/train/1.png", "cat/test/2.png", "dog/train/3.png"),
        summary="splits of classes (2); train 2, test 1; reading train",
        reads=("cat/train/1.png", "dog/train/3.png"),
        labels=(0, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "splits inside of a split",
        ("test/train/1.png", "test/val/2.png"),
        error="has folders called like splits (train, val) inside of other folders",
    ),
    Case(
        "MVTec AD, all categories",
        (
            "bottle/train/good/1.png",
            "bottle/test/broken/2.png",
            "cable/train/good/3.png",
            "bottle/ground_truth/broken/2_mask.png",
        ),
        error="has folders called like splits (test, train) inside of other folders, beside ground",
    ),
    Case(
        "MVTec AD, one category",
        ("train/good/1.png", "test/broken/2.png", "ground_truth/broken/2_mask.png"),
        error="has folders called like splits (test, train) beside ground_truth",
    ),
    Case(
        "a test split alone",
        ("test/1.png", "test/2.png"),
        error="has no split 'train'; allowed: test; try: --set split=test with zoo train, --split "
        "test elsewhere",
    ),
    Case(
        "a test split alone, asked for",
        ("test/1.png", "test/2.png"),
        options={"split": "test"},
        summary="splits; test 2; reading test",
        reads=("test/1.png", "test/2.png"),
    ),
    Case(
        "one class",
        ("cat/1.png", "cat/2.png"),
        summary="2 images, plain",
        reads=("cat/1.png", "cat/2.png"),
    ),
    Case(
        "one class to train on, two to test on",
        ("train/cat/1.png", "test/cat/2.png", "test/dog/3.png"),
        summary="splits of classes (2); train 1, test 2; reading train",
        reads=("train/cat/1.png",),
        labels=(0,),
        classes=("cat", "dog"),
    ),
    Case(
        "frames of videos",
        ("video1/frame_0001.png", "video1/frame_0002.png", "video2/frame_0001.png"),
        summary="3 images, classes (2)",
        reads=("video1/frame_0001.png", "video1/frame_0002.png", "video2/frame_0001.png"),
        labels=(0, 0, 1),
        classes=("video1", "video2"),
    ),
    Case(
        "what notebooks and network storage leave",
        (
            "cat/1.png",
            "dog/2.png",
            "cat/.ipynb_checkpoints/1-checkpoint.png",
            "@eaDir/cat/SYNOPHOTO_THUMB_M.jpg",
            "dog/@eaDir/2.png/SYNOPHOTO_THUMB_M.jpg",
        ),
        summary="2 images, classes (2)",
        reads=("cat/1.png", "dog/2.png"),
        labels=(0, 1),
        classes=("cat", "dog"),
    ),
    Case(
        "thumbnails beside classes",
        ("cat/1.png", "dog/2.png", "_thumbs/1.png"),
        error="may hold small copies of the other images, or more images; given: _thumbs",
    ),
    Case(
        "thumbnails only",
        ("thumbnails/1.png", "thumbnails/2.png"),
        summary="2 images, plain",
        reads=("thumbnails/1.png", "thumbnails/2.png"),
    ),
    Case(
        "classes that differ in case only",
        ("Cat/1.png", "cat/2.png", "dog/3.png"),
        containers=ARCHIVES,
        error="may hold one class that is spelled in several ways, or several classes",
    ),
    Case(
        "classes that differ in case only, said so",
        ("A/1.png", "a/2.png", "b/3.png"),
        options={"layout": "classes"},
        containers=ARCHIVES,
        summary="3 images, classes (3)",
        reads=("A/1.png", "a/2.png", "b/3.png"),
        labels=(0, 1, 2),
        classes=("A", "a", "b"),
    ),
    Case(
        "one class whose accent is encoded in two ways",
        ("caf\u00e9/1.png", "cafe\u0301/2.png", "bar/3.png"),
        containers=ARCHIVES,
        summary="3 images, classes (2)",
        reads=("bar/3.png", "cafe\u0301/2.png", "caf\u00e9/1.png"),
        labels=(0, 1, 1),
        classes=("bar", "caf\u00e9"),
    ),
    # An image and what belongs to it
    Case(
        "images and masks",
        ("images/1.jpg", "images/2.jpg", "masks/1.png", "masks/2.png"),
        error="may hold pairs of images, or images of 2 classes; given: images, masks",
    ),
    Case(
        "images and masks below splits",
        ("train/images/1.jpg", "train/masks/1.png", "val/images/2.jpg", "val/masks/2.png"),
        error="may hold pairs of images, or images of 2 classes; given: images, masks",
    ),
    Case(
        "images and masks, twice as wide as high, for a model of pairs",
        ("images/1.jpg", "masks/1.png"),
        options=PAIRED,
        error="may hold pairs in two folders, or both images of a pair in each file",
        size=(16, 8),
    ),
    Case(
        "images and targets",
        ("images/1.jpg", "targets/1.png"),
        error="may hold pairs of images, or images of 2 classes; given: images, targets",
    ),
    Case(
        "images and masks as classes, said so",
        ("images/1.jpg", "masks/1.png"),
        options={"layout": "classes"},
        summary="2 images, classes (2)",
        reads=("images/1.jpg", "masks/1.png"),
        labels=(0, 1),
        classes=("images", "masks"),
    ),
    Case(
        "Pascal VOC",
        ("JPEGImages/1.jpg", "JPEGImages/2.jpg", "SegmentationClass/1.png"),
        texts={"Annotations/1.xml": "", "ImageSets/Main/train.txt": "1"},
        error="may hold pairs of images, or images of 2 classes; given: JPEGImages, Segmentation",
    ),
    Case(
        "Cityscapes",
        (
            "leftImg8bit/train/ulm/1_leftImg8bit.png",
            "gtFine/train/ulm/1_gtFine_color.png",
            "leftImg8bit/val/bonn/2_leftImg8bit.png",
            "gtFine/val/bonn/2_gtFine_color.png",
        ),
        error="may hold pairs of images, or images of 2 classes; given: gtFine, leftImg8bit",
    ),
    Case(
        "classes with words for masks",
        ("with_mask/1.png", "without_mask/1.png"),
        summary="2 images, classes (2)",
        reads=("with_mask/1.png", "without_mask/1.png"),
        labels=(0, 1),
        classes=("with_mask", "without_mask"),
    ),
    Case(
        "a label map beside each photo",
        ("base/1.jpg", "base/1.png", "base/2.jpg", "base/2.png"),
        texts={"base/1.xml": ""},
        error="4 of 4 images in",
    ),
    Case(
        "a label map beside each photo, for a model of pairs",
        ("base/1.jpg", "base/1.png"),
        options=PAIRED,
        error="2 of 2 images in",
        size=(16, 8),
    ),
    Case(
        "a mask beside each photo",
        ("1.jpg", "1_mask.png", "2.jpg", "2_mask.png"),
        error="have the name of another, but for the suffix",
    ),
    Case(
        "a depth map beside each photo",
        ("rgb_1.png", "depth_1.png", "rgb_2.png", "depth_2.png"),
        error="have the name of another, but for the suffix or a word",
    ),
    Case(
        "numbered images",
        ("img_1.png", "img_2.png", "img_2_1.png"),
        summary="3 images, plain",
        reads=("img_1.png", "img_2.png", "img_2_1.png"),
    ),
    Case(
        "copies in another format",
        ("a.jpg", "a.webp", "b.jpg", "b.webp"),
        error="have the name of another, but for the suffix",
    ),
    Case(
        "copies in another format, all to train on",
        ("a.jpg", "a.webp"),
        options={"layout": "plain"},
        summary="2 images, plain",
        reads=("a.jpg", "a.webp"),
    ),
    Case(
        "few names in two formats",
        ("1.jpg", "1.png", "2.jpg", "3.jpg", "4.jpg"),
        summary="5 images, plain",
        reads=("1.jpg", "1.png", "2.jpg", "3.jpg", "4.jpg"),
    ),
    Case(
        "images of low and high resolution",
        ("LR/1.png", "HR/1.png"),
        error="may hold pairs of images, or images of 2 classes; given: HR, LR",
    ),
    Case(
        "images of low and high resolution, for a model of pairs",
        ("LR/1.png", "HR/1.png"),
        options=PAIRED,
        summary="1 pair, pairs in two folders",
        reads=("LR/1.png + HR/1.png",),
    ),
    Case(
        "low, medium and high as classes",
        ("low/1.png", "medium/2.png", "high/3.png"),
        summary="3 images, classes (3)",
        reads=("high/3.png", "low/1.png", "medium/2.png"),
        labels=(0, 1, 2),
        classes=("high", "low", "medium"),
    ),
    Case(
        "DIV2K",
        ("DIV2K_train_HR/0001.png", "DIV2K_valid_HR/0801.png"),
        summary="splits; train 1, val 1; reading train",
        reads=("DIV2K_train_HR/0001.png",),
    ),
    Case(
        "DIV2K with images of low resolution",
        (
            "DIV2K_train_HR/0001.png",
            "DIV2K_train_LR_bicubic/X2/0001x2.png",
            "DIV2K_valid_HR/0801.png",
        ),
        error="may hold pairs of images, or images of 3 classes; given: DIV2K_train_HR",
    ),
    Case(
        "A and B below splits for a model without pairs",
        ("train/A/1.png", "train/B/1.png"),
        error="may hold pairs of images, or images of 2 classes; given: A, B",
    ),
    Case(
        "edges2shoes",
        ("train/1_AB.jpg", "train/2_AB.jpg", "val/3_AB.jpg"),
        options=PAIRED,
        summary="pairs side by side; train 2, val 1; reading train",
        reads=("train/1_AB.jpg", "train/2_AB.jpg"),
        size=(16, 8),
    ),
    Case(
        "pairs side by side in splits, and others",
        ("train/1.jpg", "extra/2.jpg"),
        options=PAIRED,
        error="has folders called like splits (train) beside extra",
        size=(16, 8),
    ),
    # Files of labels
    Case(
        "metadata.csv with semicolons",
        ("1.png", "2.png"),
        texts={"metadata.csv": "file_name;label\n1.png;dog\n2.png;cat\n"},
        summary="2 images, classes in metadata.csv (2)",
        reads=("1.png", "2.png"),
        labels=(1, 0),
        classes=("cat", "dog"),
    ),
    Case(
        "metadata.csv as Excel saves it: a mark at the start, tabs, capitals, spaces",
        ("1.png", "2.png"),
        texts={"metadata.csv": "\ufeffFile_Name\tLabel \r\n1.png\tdog\r\n2.png\tcat \r\n"},
        summary="2 images, classes in metadata.csv (2)",
        reads=("1.png", "2.png"),
        labels=(1, 0),
        classes=("cat", "dog"),
    ),
    Case(
        "metadata.csv of files in folders",
        ("x/1.png", "y/1.png"),
        texts={"metadata.csv": "file_name,label\nx/1.png,dog\ny\\1.png,cat\n"},
        summary="2 images, classes in metadata.csv (2)",
        reads=("x/1.png", "y/1.png"),
        labels=(1, 0),
        classes=("cat", "dog"),
    ),
    Case(
        "metadata.csv with a column split",
        ("1.png", "2.png", "3.png"),
        texts={
            "metadata.csv": "file_name,label,split\n1.png,dog,train\n2.png,cat,test\n"
            "3.png,cat,train\n"
        },
        summary="splits of classes in metadata.csv (2); train 2, test 1; reading train",
        reads=("1.png", "3.png"),
        labels=(1, 0),
        classes=("cat", "dog"),
    ),
    Case(
        "metadata.jsonl with splits only",
        ("1.png", "2.png"),
        texts={
            "metadata.jsonl": '{"file_name": "1.png", "split": "train"}\n\n'
            '{"file_name": "2.png", "split": "validation"}\n'
        },
        options={"split": "val"},
        summary="splits; train 1, val 1; reading val",
        reads=("2.png",),
    ),
    Case(
        "metadata.csv with a column split that says something else",
        ("1.png", "2.png"),
        texts={"metadata.csv": "file_name,split\n1.png,banana\n2.png,wood\n"},
        error="metadata.csv has a split that is none; given: ",
    ),
    Case(
        "metadata.csv and folders that disagree about splits",
        ("train/1.png", "test/2.png"),
        texts={"metadata.csv": "file_name,split\ntrain/1.png,test\ntest/2.png,train\n"},
        error="tell different splits",
    ),
    Case(
        "metadata.csv with two columns called label",
        ("1.png",),
        texts={"metadata.csv": "file_name,label,label\n1.png,dog,cat\n"},
        error="several columns are called label",
    ),
    Case(
        "metadata.csv without names of files",
        ("1.png",),
        texts={"metadata.csv": "image,label\n1.png,dog\n"},
        error="has no column file_name; given: image, label",
    ),
    Case(
        "metadata.csv that names files without suffix",
        ("1.png", "2.png"),
        texts={"metadata.csv": "file_name,label\n1,dog\n2,cat\n"},
        error="metadata.csv names 0 of 2 images; given: not ",
    ),
    Case(
        "numbers as pandas saves them",
        ("1.png", "2.png"),
        texts={"metadata.csv": "file_name,label\n1.png,2.0\n2.png,0.0\n"},
        summary="2 images, classes in metadata.csv (3)",
        reads=("1.png", "2.png"),
        labels=(2, 0),
        classes=("0", "1", "2"),
    ),
    Case(
        "nan for no label",
        ("1.png", "2.png"),
        texts={"metadata.csv": "file_name,label\n1.png,nan\n2.png,0\n"},
        error="metadata.csv has no label for an image; given: ",
    ),
    Case(
        "-1 for no label",
        ("1.png", "2.png"),
        texts={"metadata.csv": "file_name,label\n1.png,-1\n2.png,0\n"},
        error="metadata.csv has a label out of range; given: ",
    ),
    Case(
        "dataset.json of names and numbers",
        ("1.png", "2.png"),
        texts={"dataset.json": '{"labels": {"1.png": 1, "2.png": 0}}'},
        summary="2 images, classes in dataset.json (2)",
        reads=("1.png", "2.png"),
        labels=(1, 0),
        classes=("0", "1"),
    ),
    Case(
        "labels in two files",
        ("1.png",),
        texts={
            "dataset.json": labelled(["1.png", 0]),
            "metadata.csv": "file_name,label\n1.png,1\n",
        },
        error="has labels in dataset.json and in metadata.csv",
    ),
    Case(
        "labels.csv, which is not read",
        ("1.png", "2.png"),
        texts={"labels.csv": "id,breed\n1,pug\n2,husky\n"},
        summary="2 images, plain",
        reads=("1.png", "2.png"),
    ),
    # No images
    Case(
        "an archive a split",
        (),
        texts={"train.zip": "PK", "test.zip": "PK"},
        error="no images in",
    ),
    Case(
        "LSUN's database",
        (),
        texts={"data.mdb": "x", "lock.mdb": "x"},
        error="given: 2 .mdb",
    ),
    Case(
        "Parquet files of the Hub",
        (),
        texts={"data/train-00000-of-00001.parquet": "PAR1", "README.md": "x"},
        error="given: 1 .md, 1 .parquet",
    ),
    Case("a folder of arrays", (), texts={"train.npy": "x"}, error="try: pass one of the arrays"),
)


def encoded(number: int, name: str, size: tuple[int, int] = (8, 8)) -> bytes:
    """An image whose color is its number."""
    buffer = io.BytesIO()
    suffix = name.rpartition(".")[2].lower()
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix]
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
