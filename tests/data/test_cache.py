"""What is cached can be listed, and removed once it has not been used for a while."""

from __future__ import annotations

import os
import time

import pytest
from toy_datasets import Numbered

from zoo_core.data.cache import DAY, cached_images, prune
from zoo_core.data.packing import pack


def aged(folder, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(folder / "index.json", (then, then))


def test_packed_images_are_listed_with_what_they_take():
    folder = pack(Numbered(5), 4, 3).folder
    (found,) = cached_images()
    assert (found.folder, found.images, found.resolution) == (folder, 5, 4)
    assert found.made_from == "Numbered"
    assert found.size == sum(path.stat().st_size for path in folder.iterdir()) >= 5 * 48


def test_those_used_last_come_first():
    old, new = (pack(Numbered(n), 4, 3).folder for n in (4, 5))
    aged(old, 3)
    assert [each.folder for each in cached_images()] == [new, old]


def test_images_that_have_not_been_used_for_a_while_are_removed():
    old, new = (pack(Numbered(n), 4, 3).folder for n in (4, 5))
    aged(old, 31)
    assert [each.folder for each in prune(30)] == [old]
    assert (old.exists(), new.exists()) == (False, True)


def test_opening_images_counts_as_using_them():
    folder = pack(Numbered(4), 4, 3).folder
    aged(folder, 31)
    pack(Numbered(4), 4, 3)
    assert prune(30) == []


def test_a_rehearsal_removes_nothing():
    folder = pack(Numbered(4), 4, 3).folder
    assert [each.folder for each in prune(0, dry_run=True)] == [folder]
    assert folder.exists()


@pytest.mark.parametrize("content", ["", "{}", None])
def test_damaged_images_are_listed_and_removed_like_others(content):
    folder = pack(Numbered(4), 4, 3).folder
    (folder / "index.json").unlink()
    if content is not None:
        (folder / "index.json").write_text(content)
    assert [each.made_from for each in cached_images()] == ["damaged"]
    assert len(prune(0)) == 1
    assert cached_images() == []


def test_an_empty_cache_has_nothing_to_list():
    assert cached_images() == prune(0) == []
