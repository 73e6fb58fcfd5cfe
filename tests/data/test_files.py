"""Images in folders and zip files: which are found, in which order, with which labels."""

import gc
import os
import sys
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from picture_files import encoded, noise, png
from PIL import Image

from zoo_core.data import archives, files
from zoo_core.data.files import PictureFiles
from zoo_core.errors import DataError
from zoo_core.pictures import BadPicture, Picture, read_every

FILES = {
    "a.png": png(noise(seed=1)),
    "cats/1.png": png(noise(seed=2)),
    "cats/deep/2.webp": encoded(Image.fromarray(noise(seed=3)), "WEBP", lossless=True),
    "dogs/3.JPG": encoded(Image.fromarray(noise(seed=4)), "JPEG"),
}


def folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def archive(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, data in files.items():
            target.writestr(name, data)
    return path


@pytest.fixture(params=["folder", "zip"])
def source_of(request, tmp_path):
    def make(files):
        if request.param == "folder":
            return PictureFiles(folder(tmp_path / "pictures", files))
        return PictureFiles(archive(tmp_path / "pictures.zip", files))

    return make


def names(source):
    return [image.name for image in source]


def test_a_zip_file_equals_the_folder_it_was_made_from(tmp_path):
    unpacked = PictureFiles(folder(tmp_path / "pictures", FILES))
    packed = PictureFiles(archive(tmp_path / "pictures.ZIP", FILES))
    assert names(packed) == names(unpacked) == list(FILES)
    for left, right in zip(packed, unpacked, strict=True):
        assert (left.name, left.label) == (right.name, right.label)
        assert np.array_equal(left.pixels, right.pixels)


def test_a_picture_carries_its_path_and_pixels(source_of):
    picture = source_of(FILES)[1]
    assert (picture.name, picture.label, picture.source) == ("cats/1.png", None, None)
    assert np.array_equal(picture.pixels, noise(seed=2))


def test_the_order_is_that_of_the_bytes_of_the_paths(source_of):
    data = png(noise())
    given = ["é.png", "b.png", "a/1.png", "a.png", "Z.png", "a10.png", "a9.png"]
    source = source_of(dict.fromkeys(given, data))
    assert names(source) == ["Z.png", "a.png", "a/1.png", "a10.png", "a9.png", "b.png", "é.png"]


def test_what_is_hidden_or_no_picture_is_left_out(source_of):
    data = png(noise())
    other = [".hidden.png", ".git/a.png", "cats/.cache/b.png", "notes.txt", "movie.mp4"]
    assert names(source_of(dict.fromkeys(["a.png", *other], data))) == ["a.png"]


def test_pictures_of_other_kinds_are_counted(source_of):
    files = ["a.png", "b.DCM", "c.dcm", "d.mp4", ".e.mp4"]
    source = source_of(dict.fromkeys(files, png(noise())))
    assert names(source) == ["a.png"]
    assert source.ignored == {".dcm": 2, ".mp4": 1}


def test_a_folder_of_other_kinds_only_says_which(source_of):
    with pytest.raises(DataError, match=r"no images in .*; given: 2 \.dcm"):
        source_of(dict.fromkeys(["a.dcm", "b.dcm"], b""))


def test_the_macintosh_folder_of_a_zip_file_is_left_out(tmp_path):
    files = dict.fromkeys(["a.png", "__MACOSX/a.png", "__MACOSX/._a.png"], png(noise()))
    assert names(PictureFiles(archive(tmp_path / "a.zip", files))) == ["a.png"]


def test_first_level_folders_are_classes(source_of):
    data = png(noise())
    source = source_of(dict.fromkeys(["dogs/1.png", "cats/2.png", "cats/deep/3.png"], data))
    assert source.classes == ("cats", "dogs")
    assert [(p.name, p.label) for p in source] == [
        ("cats/2.png", 0),
        ("cats/deep/3.png", 0),
        ("dogs/1.png", 1),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names there are Unicode")
def test_the_name_of_a_class_is_text_though_its_folder_s_is_not(tmp_path):
    for name in (b"caf\xe9", b"tea"):
        place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        place.mkdir()
        (place / "1.png").write_bytes(png(noise()))
    source = PictureFiles(tmp_path)
    assert source.classes == (r"caf\xe9", "tea")
    assert [picture.label for picture in source] == [0, 1]


def test_a_folder_around_all_does_not_count(source_of):
    source = source_of(dict.fromkeys(["pets/cats/1.png", "pets/dogs/1.png"], png(noise())))
    assert source.classes == ("cats", "dogs")
    assert [(p.name, p.label) for p in source] == [("pets/cats/1.png", 0), ("pets/dogs/1.png", 1)]


@pytest.mark.parametrize(
    "given",
    [
        ["a.png", "cats/1.png", "dogs/2.png"],
        ["cats/1.png", "cats/2.png"],
        ["pets/a.png", "pets/cats/1.png", "pets/dogs/2.png"],
    ],
)
def test_pictures_at_the_root_or_in_one_folder_only_have_no_labels(source_of, given):
    source = source_of(dict.fromkeys(given, png(noise())))
    assert source.classes == ()
    assert [picture.label for picture in source] == [None] * len(given)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.rename(path.with_name("b.png")),
        lambda path: path.with_name("c.png").write_bytes(path.read_bytes()),
        lambda path: path.unlink(),
    ],
    ids=["grown", "touched", "renamed", "joined", "removed"],
)
def test_the_fingerprint_of_a_folder_changes_with_its_pictures(tmp_path, change):
    before = PictureFiles(folder(tmp_path, FILES)).fingerprint
    assert PictureFiles(tmp_path).fingerprint == before
    change(tmp_path / "a.png")
    assert PictureFiles(tmp_path).fingerprint != before


def test_a_file_that_is_no_picture_leaves_the_fingerprint_alone(tmp_path):
    before = PictureFiles(folder(tmp_path, FILES)).fingerprint
    (tmp_path / "notes.txt").write_text("note")
    assert PictureFiles(tmp_path).fingerprint == before


def test_the_fingerprint_of_a_zip_file_is_that_of_its_bytes(tmp_path):
    contents = {"1": b"abc", "2": b"abc", "3": b"abd"}
    one, same, other = (
        PictureFiles(archive(tmp_path / f"{name}.zip", FILES | {"a.png": data})).fingerprint
        for name, data in contents.items()
    )
    assert one == same != other


@pytest.mark.parametrize("name", ["missing", "notes.txt", "empty", "empty.zip", "text.zip"])
def test_what_holds_no_pictures_is_refused(tmp_path, name):
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    archive(tmp_path / "empty.zip", {"notes.txt": b""})
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match=name):
        PictureFiles(tmp_path / name)


def test_one_picture_file_is_a_source_of_one(tmp_path):
    folder(tmp_path, FILES)
    (tmp_path / "a.png").write_bytes(png(noise()))
    source = PictureFiles(tmp_path / "a.png")
    assert [picture.name for picture in source] == ["a.png"]
    assert not source.classes


def test_a_broken_link_is_named_when_it_is_read(tmp_path):
    folder(tmp_path, FILES)
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere.png")
    source = PictureFiles(tmp_path)
    with pytest.raises(DataError, match=r"^b\.png: cannot be read"):
        source[names(source).index("b.png")]


def test_a_linked_picture_is_read(tmp_path):
    folder(tmp_path / "elsewhere", FILES)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    [picture] = PictureFiles(tmp_path / "here")
    assert np.array_equal(picture.pixels, noise(seed=1))


def test_a_folder_that_cannot_be_listed_is_an_error_not_a_gap(tmp_path, monkeypatch):
    folder(tmp_path, FILES)
    plain = os.scandir

    def scandir(path):
        if Path(path).name == "dogs":
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cannot list .*dogs: Permission denied"):
        PictureFiles(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    source = PictureFiles(folder(tmp_path, FILES))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    with pytest.raises(DataError, match=r"^a\.png: \d+ bytes is too large"):
        source[0]


def test_a_zip_file_with_two_members_of_one_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        target.writestr("a.png", png(noise()))
        with pytest.warns(UserWarning, match="Duplicate"):
            target.writestr("a.png", png(noise()))
    with pytest.raises(DataError, match="two files with the same name"):
        PictureFiles(tmp_path / "a.zip")


def test_an_encrypted_member_is_named(tmp_path):
    path = archive(tmp_path / "a.zip", {"a.png": png(noise()), "b.png": png(noise())})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"^a\.png: cannot be read .*encrypted"):
        PictureFiles(path)[0]


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
)
def test_a_damaged_member_is_named(tmp_path, compression):
    path = archive(tmp_path / "a.zip", {"a.png": png(noise(32, 32))}, compression)
    data = bytearray(path.read_bytes())
    start = data.index(b"a.png") + 5
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"^a\.png: cannot be read"):
        PictureFiles(path)[0]


def test_every_bad_picture_is_found_with_its_reason(source_of):
    files = FILES | {
        "b.png": FILES["a.png"][:60],
        "c.jpg": b"<html>not found",
        "d.png": b"",
        "e.png": b"<svg/>",
    }
    results = list(read_every(source_of(files)))
    assert [result.name for result in results] == sorted(files)
    assert sum(isinstance(result, Picture) for result in results) == len(FILES)
    bad = {result.name: result.reason for result in results if isinstance(result, BadPicture)}
    assert bad.pop("b.png").startswith("damaged (")
    assert bad == {
        "c.jpg": "a web page, not an image that can be read",
        "d.png": "an empty file, not an image that can be read",
        "e.png": "an SVG or XML file, not an image that can be read",
    }


# Concurrent reads


@pytest.fixture
def opened(monkeypatch):
    """All opened ZipFiles, in order."""
    opened = []

    class Counted(zipfile.ZipFile):
        def __init__(self, *args):
            opened.append(self)
            super().__init__(*args)

    monkeypatch.setattr(archives.zipfile, "ZipFile", Counted)
    return opened


@pytest.fixture
def many(tmp_path):
    return archive(tmp_path / "many.zip", {f"{i:03}.png": png(noise(seed=i)) for i in range(100)})


def test_threads_that_read_at_once_get_their_own_pictures(many):
    source = PictureFiles(many)
    order = np.random.default_rng(0).permutation(np.arange(300) % 100)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda index: source[index].pixels, order))
    for index, pixels in zip(order, read, strict=True):
        assert np.array_equal(pixels, noise(seed=index))


def test_a_zip_file_is_opened_once_for_all_reads(many, opened):
    source = PictureFiles(many)
    opened.clear()
    for index in range(10):
        source[index]
    assert len(opened) == 1


def test_another_process_opens_the_zip_file_for_itself(many, opened, monkeypatch):
    source = PictureFiles(many)
    opened.clear()
    source[0]
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked worker
    assert np.array_equal(source[1].pixels, noise(seed=1))
    assert len(opened) == 2
    assert opened[0].fp is not opened[1].fp


def test_a_source_in_use_can_be_sent_to_another_process(many):
    source = PictureFiles(many)
    source[0]
    there = ForkingPickler.loads(ForkingPickler.dumps(source))
    assert there.fingerprint == source.fingerprint
    assert np.array_equal(there[1].pixels, noise(seed=1))


def test_a_source_that_is_dropped_leaks_nothing(many):
    source = PictureFiles(many)
    source[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del source
        gc.collect()
    assert caught == []
