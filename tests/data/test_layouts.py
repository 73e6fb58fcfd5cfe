"""What people bring is read as meant, or refused in words; the cases are in layout_cases.py."""

from __future__ import annotations

import importlib.util
import io
import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from layout_cases import CASES, Case, build, encoded
from PIL import Image

from zoo_core.data.files import PictureFiles, has_pair_folders
from zoo_core.data.packing import pack
from zoo_core.errors import DataError, PictureError

ROOT = Path(__file__).parents[2]


def number(pixels: np.ndarray) -> int:
    """Which image of a case it is, by its color."""
    return round(int(pixels[0, 0, 0]) / 20)


def in_every_container(cases: Iterable[Case]) -> pytest.MarkDecorator:
    tries = [(case, container) for case in cases for container in case.containers]
    return pytest.mark.parametrize(
        ("case", "container"), tries, ids=[f"{case.name}-{container}" for case, container in tries]
    )


@in_every_container(case for case in CASES if not case.error)
def test_a_layout_is_recognized_and_read(case: Case, container: str, tmp_path: Path):
    dataset = PictureFiles(build(case, container, tmp_path), **case.options)
    assert dataset.summary == case.summary
    assert dataset.classes == case.classes
    images = list(dataset)
    top = "around/" if container == "zip with a top folder" else ""
    targets = [name.rpartition(" + ")[2] for name in case.reads]
    assert [image.name for image in images] == [top + name for name in targets]
    assert tuple(image.label for image in images) == (case.labels or (None,) * len(images))
    if dataset.layout.sources is not None:
        sources = [name.partition(" + ")[0] for name in case.reads]
        assert [number(image.source) for image in images] == list(map(case.files.index, sources))


@in_every_container(case for case in CASES if case.error)
def test_what_could_mean_two_things_is_refused(case: Case, container: str, tmp_path: Path):
    with pytest.raises(DataError) as refused:
        PictureFiles(build(case, container, tmp_path), **case.options)
    assert case.error in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_page_of_layouts_is_written_from_the_cases():
    spec = importlib.util.spec_from_file_location("layouts", ROOT / "docs" / "layouts.py")
    layouts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(layouts)
    assert (ROOT / "docs" / "layouts.md").read_text() == layouts.page(), "python docs/layouts.py"


def save(path: Path, index: int = 0, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(index, path.name, size))
    return path


# Files that are left out


def test_every_file_is_read_or_counted_by_its_suffix(tmp_path):
    save(tmp_path / "a.png")
    for name in ("movie.mp4", "scan.dcm", "array.npy", "notes.txt", "LICENSE", "b.MP4"):
        (tmp_path / name).write_bytes(b"not an image")
    ignored = PictureFiles(tmp_path).ignored
    assert ignored == {".mp4": 2, ".dcm": 1, ".npy": 1, ".txt": 1, "without suffix": 1}


def test_an_image_without_suffix_is_read(tmp_path):
    save(tmp_path / "a.png").rename(tmp_path / "a")
    assert [image.name for image in PictureFiles(tmp_path)] == ["a"]


def test_labels_files_are_not_counted_as_left_out(tmp_path):
    save(tmp_path / "1.png")
    save(tmp_path / "2.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\n1.png,a\n2.png,b\n")
    assert PictureFiles(tmp_path).ignored == {}


def test_a_pipe_is_counted_and_never_opened(tmp_path):
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    dataset = PictureFiles(tmp_path)
    assert [image.name for image in dataset] == ["a.png"]
    assert dataset.ignored == {"pipes, sockets and devices": 1}


def test_a_link_to_a_device_is_counted_and_never_opened(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    assert PictureFiles(tmp_path).ignored == {"pipes, sockets and devices": 1}


# Links


def test_linked_class_folders_are_read(tmp_path):
    save(tmp_path / "elsewhere" / "cats" / "1.png")
    save(tmp_path / "data" / "dog" / "1.png")
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere" / "cats")
    dataset = PictureFiles(tmp_path / "data")
    assert dataset.classes == ("cat", "dog")
    assert [image.name for image in dataset] == ["cat/1.png", "dog/1.png"]


def test_a_link_to_a_folder_above_is_counted_instead_of_followed_for_ever(tmp_path):
    save(tmp_path / "x" / "a.png")
    (tmp_path / "x" / "again").symlink_to(tmp_path)
    dataset = PictureFiles(tmp_path)
    assert [image.name for image in dataset] == ["x/a.png"]
    assert dataset.ignored == {"links back to a folder that contains them": 1}


def test_folders_too_deep_are_counted_as_such(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path.joinpath(*["d"] * 70) / "b.png")
    assert PictureFiles(tmp_path).ignored == {"folders more than 64 deep": 1}


# Pairs


def test_pairs_of_different_sizes_are_pairs(tmp_path):
    save(tmp_path / "A" / "x.png", size=(8, 6))
    save(tmp_path / "B" / "x.png", size=(32, 24))
    (pair,) = PictureFiles(tmp_path, paired=True)
    assert (pair.source.shape[:2], pair.pixels.shape[:2]) == ((6, 8), (24, 32))


def test_pairs_of_different_shapes_are_refused(tmp_path):
    save(tmp_path / "A" / "x.png", size=(8, 8))
    save(tmp_path / "B" / "x.png", size=(32, 24))
    with pytest.raises(PictureError, match=r"B/x.png: is 32 x 24, its source A/x.png is 8 x 8"):
        PictureFiles(tmp_path, paired=True)[0]


@pytest.mark.parametrize(
    ("names", "found"), [(("A/x.png", "B/x.png"), True), (("cat/x.png", "dog/x.png"), False)]
)
def test_two_sides_of_pairs_are_told_from_two_classes(tmp_path, names, found):
    for name in names:
        save(tmp_path / name)
    assert has_pair_folders(tmp_path) is found


# Held-out images


def held_out(path: Path, split: str, share: float = 0.3) -> set[int]:
    dataset = PictureFiles(path, split=split, holdout=share)
    assert dataset.split == split
    return {number(image.pixels) for image in dataset}


@pytest.fixture
def twelve(tmp_path) -> Path:
    for index in range(12):
        save(tmp_path / "twelve" / f"{index:02d}.png", index)
    return tmp_path / "twelve"


def test_held_out_images_are_the_rest(twelve):
    train, test = held_out(twelve, "train"), held_out(twelve, "test")
    assert train | test == set(range(12))
    assert not train & test
    assert test


def test_what_is_held_out_follows_from_the_images_not_from_names_or_order(twelve, tmp_path):
    for index in range(12):
        save(tmp_path / "other" / f"{(7 * index) % 12}-renamed.png", index)
    assert held_out(tmp_path / "other", "test") == held_out(twelve, "test")


def test_copies_of_an_image_are_on_one_side(twelve):
    before = held_out(twelve, "test")
    for index in range(12):
        save(twelve / f"copy{index}.png", index)
    assert held_out(twelve, "test") == before
    assert not held_out(twelve, "train") & before


def test_a_share_is_held_out_only_where_there_is_no_test_split(tmp_path):
    save(tmp_path / "train" / "1.png")
    save(tmp_path / "test" / "2.png")
    with pytest.raises(DataError, match="has a test split already"):
        PictureFiles(tmp_path, holdout=0.1)


def test_a_larger_share_holds_out_the_same_images_and_more(twelve):
    assert held_out(twelve, "test", 0.2) <= held_out(twelve, "test", 0.5)


# Fingerprints


@pytest.mark.parametrize("options", [{"split": "test"}, {"layout": "plain"}, {"holdout": 0.4}])
def test_another_reading_of_the_same_files_is_other_data(tmp_path, options):
    for index, name in enumerate(("train/x/1.png", "train/y/2.png", "val/x/3.png")):
        save(tmp_path / name, index)
    if "split" in options:
        save(tmp_path / "test" / "x" / "4.png", 4)
    assert PictureFiles(tmp_path).fingerprint != PictureFiles(tmp_path, **options).fingerprint


def test_folders_read_as_classes_are_other_data_than_plain_ones(tmp_path):
    """Packed images would else be found in the cache without their labels."""
    for index, name in enumerate(("cat/1.png", "dog/2.png")):
        save(tmp_path / "data" / name, index)
    found = {}
    for layout in ("plain", "classes"):
        packed = pack(
            PictureFiles(tmp_path / "data", layout=layout), 8, 3, cache=tmp_path / "cache"
        )
        found[layout] = None if packed.labels is None else packed.labels.tolist()
    assert found == {"plain": None, "classes": [0, 1]}


def test_pairs_side_by_side_are_other_data_than_wide_images(tmp_path):
    save(tmp_path / "1.png", size=(16, 8))
    wide, pairs = PictureFiles(tmp_path), PictureFiles(tmp_path, paired=True)
    assert wide.fingerprint != pairs.fingerprint


def test_other_labels_are_other_data(tmp_path):
    for index in range(2):
        save(tmp_path / f"{index}.png", index)
    metadata, prints = tmp_path / "metadata.csv", set()
    for labels in ("ab", "ba", "aa"):
        rows = "".join(f"{n}.png,{label}\n" for n, label in enumerate(labels))
        metadata.write_text(f"file_name,label\n{rows}")
        prints.add(PictureFiles(tmp_path).fingerprint)
    assert len(prints) == 3


# Archives


def shards(folder: Path, *names: str) -> Path:
    """Tar files of two images each, with labels."""
    for index, name in enumerate(names):
        with tarfile.open(folder / name, "w") as archive:
            for key in (0, 1):
                for suffix, data in (("png", encoded(2 * index + key, "x.png")),
                                     ("cls", str(key).encode())):  # fmt: skip
                    info = tarfile.TarInfo(f"{key:06d}.{suffix}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return folder


def test_a_folder_of_shards_is_one_data_set(tmp_path):
    dataset = PictureFiles(shards(tmp_path, "data-000.tar", "data-001.tar"))
    assert [number(image.pixels) for image in dataset] == [0, 1, 2, 3]
    assert [image.label for image in dataset] == [0, 1, 0, 1]


def test_the_names_of_shards_tell_the_splits(tmp_path):
    folder = shards(tmp_path, "birds-train-000.tar", "birds-train-001.tar", "birds-val-000.tar")
    dataset = PictureFiles(folder, split="val")
    assert dataset.summary == ("splits of classes in .cls files (2); train 4, val 2; reading val")
    assert [number(image.pixels) for image in dataset] == [4, 5]


def test_a_compressed_tar_is_refused_with_what_to_do(tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"compressed as a whole.*unpack it"):
        PictureFiles(tmp_path / "x.tar.gz")


def test_processes_and_threads_read_shards_at_once(tmp_path):
    import pickle  # noqa: TID251 - as loader processes get it
    from concurrent.futures import ThreadPoolExecutor

    dataset = PictureFiles(shards(tmp_path, "a-000.tar", "a-001.tar"))
    again = pickle.loads(pickle.dumps(dataset))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: number(again[i % 4].pixels), range(64)))
    assert found == [i % 4 for i in range(64)]


def test_16_bit_labels_of_a_large_number_are_refused(tmp_path):
    save(tmp_path / "1.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "1.png", "label": -1}\n')
    with pytest.raises(DataError, match="label out of range"):
        PictureFiles(tmp_path)


@pytest.mark.parametrize("text", ["{", '{"labels": 3}', '{"labels": [["a.png"]]}', "\xff"])
def test_a_damaged_file_of_labels_is_one_line(tmp_path, text):
    save(tmp_path / "a.png")
    (tmp_path / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"dataset\.json"):
        PictureFiles(tmp_path)


def test_colors_are_told_apart():
    """`number` of an encoded image is its index, or the tests above prove nothing."""
    for index in range(12):
        with Image.open(io.BytesIO(encoded(index, "x.png"))) as image:
            assert number(np.asarray(image)) == index


def test_a_zip_with_backslashes_has_the_folders_that_they_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        archive.writestr("cat\\", b"")
        for index, name in enumerate(("cat\\1.png", "dog\\2.png")):
            archive.writestr(name, encoded(index, "1.png", (8, 8)))
    images = PictureFiles(tmp_path / "old.zip")
    assert (images.classes, images.ignored) == (("cat", "dog"), {})
    assert [(number(image.pixels), image.label) for image in images] == [(0, 0), (1, 1)]
