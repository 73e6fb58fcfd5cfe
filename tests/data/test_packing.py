"""Packing: what is cached, what is refused, and what is left on disk."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from toy_datasets import Numbered

from zoo_core.data.files import PictureFiles
from zoo_core.data.packing import open_packed, pack
from zoo_core.data.saving import save_png
from zoo_core.errors import DataError, RunError
from zoo_core.pictures import Picture


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


def test_mapped_pictures_are_those_that_were_packed():
    data = pack(Numbered(5), 4, 3)
    assert np.array_equal(open_packed(data.folder).images, data.images)
