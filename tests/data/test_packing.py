"""Packing: what is cached, what is refused, and what is left on disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from toy_datasets import Numbered

from zoo_core.data.files import PictureFiles
from zoo_core.data.packing import pack
from zoo_core.data.saving import save_png
from zoo_core.errors import DataError, PictureError, RunError
from zoo_core.pictures import Picture, read_every


def test_packed_pictures_keep_order_names_labels_and_pairs():
    data = pack(Numbered(10, classes=2, paired=True), 4, 3)
    assert data.images.shape == (10, 4, 4, 3)
    assert data.images[:, 0, 0, 0].tolist() == list(range(10))
    assert data.source[:, 0, 0, 0].tolist() == [255 - i for i in range(10)]
    assert data.labels.tolist() == [0, 1] * 5
    assert data.names([7]) == ["number 7"]


def test_packing_happens_once():
    first, second = Numbered(10), Numbered(10)
    pack(first, 4, 3)
    pack(second, 4, 3)
    assert (first.opened, second.opened) == (10, 0)


def test_another_size_or_fit_is_packed_anew():
    folders = {pack(Numbered(4), *how).folder for how in [(4, 3), (8, 3), (4, 1), (4, 3, "pad")]}
    assert len(folders) == 4


def test_the_fingerprint_is_that_of_the_pixels_not_of_the_files(tmp_path: Path):
    def packed(seconds: int, value: int = 0, skip_bad: bool = False) -> str:
        folder = tmp_path / f"{seconds}-{value}"
        folder.mkdir(exist_ok=True)
        for number in range(2):
            pixels = np.full((4, 4, 3), 100 * number + value, dtype=np.uint8)
            save_png(folder / f"{number}.png", pixels)
            os.utime(folder / f"{number}.png", (seconds, seconds))
        return pack(PictureFiles(folder), 4, 3, skip_bad=skip_bad).fingerprint

    assert packed(1000) == packed(2000) == packed(1000, skip_bad=True)
    assert packed(1000) != packed(1000, value=1)


@pytest.mark.parametrize("one", [{"classes": 2}, {"paired": True}])
def test_labels_and_sources_are_part_of_the_fingerprint(one: dict):
    assert pack(Numbered(4, **one), 4, 3).fingerprint != pack(Numbered(4), 4, 3).fingerprint


def test_what_a_killed_process_left_half_packed_is_removed_the_day_after(tmp_path: Path):
    for name, age in (("old", 25 * 3600), ("new", 60)):
        leftover = tmp_path / "data" / f".{name}-0123abcd"
        leftover.mkdir(parents=True)
        for path in (leftover / "images", leftover):
            path.touch()
            os.utime(path, (time.time() - age,) * 2)
    pack(Numbered(2), 4, 3, cache=tmp_path)
    hidden = [path.name for path in (tmp_path / "data").iterdir() if path.name.startswith(".")]
    assert hidden == [".new-0123abcd"]


def test_bad_pictures_are_counted_and_named():
    with pytest.raises(DataError) as caught:
        pack(Numbered(10, bad=(2, 3, 5, 7)), 4, 3)
    message = str(caught.value)
    assert "4 of 10 images" in message
    assert "number 2 (damaged (on purpose))" in message
    assert "and 1 more" in message
    assert "bad_pictures=skip" in message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("image file is truncated"), "OSError: image file is truncated"),
        (KeyError("width"), "KeyError: 'width'"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (MemoryError(), "MemoryError"),
    ],
)
@pytest.mark.parametrize("storage", ["auto", "never"])
def test_whatever_a_data_set_raises_is_the_fault_of_that_picture(error, reason, storage):
    class Failing(Numbered):
        def __getitem__(self, index: int) -> Picture:
            if index == 3:
                raise error
            return super().__getitem__(index)

    with pytest.raises(DataError) as caught:
        pack(Failing(10), 4, 3, storage=storage)
    assert f"1 of 10 images cannot be used: image 3 (cannot be read ({reason}))" in str(
        caught.value
    )
    assert len(pack(Failing(10), 4, 3, skip_bad=True, storage=storage)) == 9
    assert [item.name for item in read_every(Failing(5))][3] == "image 3"


def test_the_author_of_a_data_set_sees_what_it_raises(monkeypatch):
    class Failing(Numbered):
        def __getitem__(self, index: int) -> Picture:
            raise IndexError("of mine")

    monkeypatch.setenv("ZOO_STRICT", "1")
    with pytest.raises(IndexError, match="of mine"):
        pack(Failing(2), 4, 3)


def test_a_picture_that_can_no_longer_be_read_is_named_when_it_is_used():
    class Failing(Numbered):
        broken = False

        def __getitem__(self, index: int) -> Picture:
            if self.broken:
                raise OSError("gone")
            return super().__getitem__(index)

    data = pack(dataset := Failing(4), 4, 3, storage="never")
    dataset.broken = True
    with pytest.raises(PictureError, match=r"image 2: cannot be read \(OSError: gone\)"):
        data.images[np.array([2])]


def test_nobody_is_told_to_leave_all_pictures_out():
    with pytest.raises(DataError, match=r"2 of 2 images.*zoo data check PATH to see all$"):
        pack(Numbered(2, bad=(0, 1)), 4, 3)


def test_refused_pictures_leave_nothing_in_the_cache():
    with pytest.raises(DataError):
        pack(Numbered(10, bad=(2,)), 4, 3)
    assert not list((Path(os.environ["ZOO_CACHE"]) / "data").iterdir())


def test_bad_pictures_can_be_skipped_and_are_remembered():
    for _ in range(2):  # the second time, from the cache
        data = pack(Numbered(6, bad=(2,)), 4, 3, skip_bad=True)
        assert data.images[:, 0, 0, 0].tolist() == [0, 1, 3, 4, 5]
        assert [bad.name for bad in data.skipped] == ["number 2"]


def test_nothing_readable_is_an_error_even_when_skipping():
    with pytest.raises(DataError, match="none of 2 images"):
        pack(Numbered(2, bad=(0, 1)), 4, 3, skip_bad=True)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="ZOO_CACHE"):
        pack(Numbered(2), 4, 3, cache=tmp_path / "file")


def test_packing_that_was_cut_short_is_not_found(tmp_path: Path):
    class Cut(Numbered):
        def __getitem__(self, index: int) -> Picture:
            if index == 3:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        pack(Cut(6), 4, 3, cache=tmp_path)
    assert not list((tmp_path / "data").iterdir())
    assert len(pack(Numbered(6), 4, 3, cache=tmp_path)) == 6


def test_two_processes_may_pack_the_same(tmp_path: Path):
    class Raced(Numbered):
        def __getitem__(self, index: int) -> Picture:
            if index == 0:
                pack(Numbered(4), 4, 3, cache=tmp_path)  # another process is faster
            return super().__getitem__(index)

    assert len(pack(Raced(4), 4, 3, cache=tmp_path)) == 4
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_what_is_opened_again_is_what_was_packed():
    data = pack(Numbered(5), 4, 3)
    again = pack(Numbered(5), 4, 3)
    assert np.array_equal(again.images, data.images)
    assert again.fingerprint == data.fingerprint


@pytest.mark.parametrize("damage", ["short", "missing", "no index", "no json"])
def test_damaged_packed_images_are_packed_again(damage, caplog):
    data = pack(Numbered(5), 4, 3)
    path = data.folder / ("images" if damage in ("short", "missing") else "index.json")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"short": b"123", "no index": b"", "no json": b"{"}[damage])
    again = pack(dataset := Numbered(5), 4, 3)
    assert dataset.opened == 5
    assert again.images[:, 0, 0, 0].tolist() == list(range(5))
    assert "are damaged" in caplog.text


# Too large to pack


def streamed(dataset, *how, **options):
    return pack(dataset, *(how or (4, 3)), storage="never", **options)


def test_streamed_images_are_those_that_would_be_packed():
    for options in ({}, {"paired": True}, {"classes": 3}):
        whole, data = pack(Numbered(6, **options), 4, 3), streamed(Numbered(6, **options))
        ids = np.array([5, 0, 3, 3])
        assert np.array_equal(data.images[ids], whole.images[ids])
        assert np.array_equal(data.images[2], whole.images[2])
        assert data.images.shape == whole.images.shape
        assert (data.source is None) == (whole.source is None)
        if whole.source is not None:
            assert np.array_equal(data.source[ids], whole.source[ids])
        assert data.fingerprint == whole.fingerprint
        assert data.names([4]) == whole.names([4])
        assert len(data) == len(whole)


def test_streamed_images_take_no_room():
    data = streamed(Numbered(6))
    assert {path.name for path in data.folder.iterdir()} == {"index.json", "names.json"}


def test_bad_images_are_found_before_the_first_is_streamed():
    with pytest.raises(DataError, match="2 of 6 images cannot be used"):
        streamed(Numbered(6, bad=(1, 4)))


def test_streamed_rows_leave_bad_images_out():
    data = streamed(Numbered(6, bad=(1, 4)), 4, 3, "crop", True)
    assert data.images[np.arange(4)][:, 0, 0, 0].tolist() == [0, 2, 3, 5]
    assert [bad.name for bad in data.skipped] == ["number 1", "number 4"]


def test_images_are_checked_once_and_decoded_when_they_are_used():
    streamed(Numbered(6))
    data = streamed(dataset := Numbered(6))
    assert dataset.opened == 0
    data.images[np.array([1, 2])]
    assert dataset.opened == 2


def test_both_sides_of_a_pair_are_decoded_once():
    streamed(Numbered(6, paired=True))
    data = streamed(dataset := Numbered(6, paired=True))
    data.images[np.array([1, 2])], data.source[np.array([1, 2])]
    assert dataset.opened == 2


def on_disk(monkeypatch, free: int) -> None:
    monkeypatch.setattr("zoo_core.data.packing._free", lambda folder: free)


@pytest.mark.parametrize(("free", "packs"), [(10 * 48 * 2, True), (10 * 48 * 2 - 1, False)])
def test_images_are_packed_where_that_takes_at_most_half_of_the_free_disk(
    monkeypatch, free, packs, caplog
):
    on_disk(monkeypatch, free)
    data = pack(Numbered(10), 4, 3)
    assert (data.folder / "images").exists() is packs
    assert ("they are decoded while they are used" in caplog.text) is not packs


def test_images_that_are_packed_already_stay_so_on_a_full_disk(monkeypatch):
    folder = pack(Numbered(10), 4, 3).folder
    on_disk(monkeypatch, 0)
    assert pack(Numbered(10), 4, 3).folder == folder


def test_images_that_have_to_be_packed_and_do_not_fit_are_refused_first(monkeypatch):
    on_disk(monkeypatch, 100)
    dataset = Numbered(10)
    with pytest.raises(RunError, match=r"0\.0 GB are free.*ZOO_CACHE"):
        pack(dataset, 4, 3, storage="always")
    assert dataset.opened == 0
