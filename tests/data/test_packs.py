"""Damage to packed images is noticed when they are opened, or read whole, and mended."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from toy_datasets import Numbered

from zoo_core.data import packs
from zoo_core.data.cache import check_cached
from zoo_core.data.packing import pack
from zoo_core.data.packs import BLOCK, BLOCKS, read_whole
from zoo_core.pictures import Picture


class Noise(Numbered):
    """Random images of 200 pixels a side: of two, some bytes are in no block that is hashed."""

    def __getitem__(self, index: int) -> Picture:
        self.opened += 1
        pixels = np.random.RandomState(index).randint(0, 256, (200, 200, 3), dtype=np.uint8)
        return Picture(f"number {index}", pixels)


def overwrite(path: Path, start: int, length: int, byte: bytes = b"\0") -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(byte * length)


def edit(path: Path, key: str, value) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


DAMAGE = {
    "images cut": lambda folder: os.truncate(folder / "images", 10),
    "images gone": lambda folder: (folder / "images").unlink(),
    "images zeros": lambda folder: overwrite(folder / "images", 0, 6 * 48),
    "end of images zeros": lambda folder: overwrite(folder / "images", 5 * 48, 48),
    "sources zeros": lambda folder: overwrite(folder / "source", 0, 6 * 48),
    "names empty": lambda folder: (folder / "names.json").write_bytes(b""),
    "names zeros": lambda folder: overwrite(folder / "names.json", 3, 4),
    "names gone": lambda folder: (folder / "names.json").unlink(),
    "index empty": lambda folder: (folder / "index.json").write_bytes(b""),
    "index no text": lambda folder: (folder / "index.json").write_bytes(b"\xff\xfe\0"),
    "index a list": lambda folder: (folder / "index.json").write_bytes(b"[]"),
    "index gone": lambda folder: (folder / "index.json").unlink(),
    "other labels": lambda folder: edit(folder / "index.json", "labels", [1] * 6),
    "other fingerprint": lambda folder: edit(folder / "index.json", "fingerprint", "0" * 24),
    "other classes": lambda folder: edit(folder / "index.json", "classes", ["c1", "c0"]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_noticed_when_images_are_opened_and_they_are_packed_again(damage, caplog):
    whole = pack(Numbered(6, classes=2, paired=True), 4, 3)
    DAMAGE[damage](whole.folder)
    again = pack(dataset := Numbered(6, classes=2, paired=True), 4, 3)
    assert dataset.opened == 6
    assert again.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert again.source[:, 0, 0, 0].tolist() == [255, 254, 253, 252, 251, 250]
    assert again.labels.tolist() == [0, 1] * 3
    assert (again.classes, again.fingerprint) == (whole.classes, whole.fingerprint)
    assert again.names([5]) == ["number 5"]
    (said,) = caplog.messages
    assert said.startswith(f"packed images in {whole.folder} are damaged (")
    assert said.endswith("; packing again")
    assert "\n" not in said
    assert [path.name for path in whole.folder.parent.iterdir()] == [whole.folder.name]


@pytest.mark.parametrize("name", ["index.json", "names.json"])
def test_a_damaged_record_of_images_that_are_not_packed_is_made_again(name, caplog):
    whole = pack(Numbered(6), 4, 3, storage="never")
    (whole.folder / name).write_bytes(b"")
    again = pack(dataset := Numbered(6), 4, 3, storage="never")
    assert dataset.opened == 6
    assert again.names([5]) == ["number 5"]
    assert len(caplog.messages) == 1


def test_opening_reads_as_little_of_many_images_as_of_few(monkeypatch):
    hashed = []

    class Counting:
        def __init__(self, data: bytes = b"", sha256=hashlib.sha256):
            self.own = sha256(data)

        def update(self, data: bytes) -> None:
            hashed.append(len(data))
            self.own.update(data)

        def hexdigest(self) -> str:
            return self.own.hexdigest()

    pack(Noise(8), 200, 3)
    monkeypatch.setattr(packs.hashlib, "sha256", Counting)
    again = pack(dataset := Noise(8), 200, 3)
    assert dataset.opened == 0
    assert sum(hashed) < 2 * BLOCKS * BLOCK < again.images.nbytes


def unhashed(size: int) -> int:
    """The place of a byte that is in no block."""
    assert size > 2 * BLOCKS * BLOCK
    return BLOCK + 1  # behind the first block, and long before the second


def test_one_byte_is_noticed_when_all_is_read(caplog):
    folder = pack(Noise(8), 200, 3).folder
    overwrite(folder / "images", unhashed(8 * 200 * 200 * 3), 1, b"\1")
    pack(dataset := Noise(8), 200, 3)
    assert (dataset.opened, caplog.messages) == (0, [])
    with pytest.raises(ValueError, match="its pixels are not as they were written"):
        read_whole(folder)


@pytest.mark.parametrize("options", [{}, {"paired": True}, {"classes": 2}, {"bad": (1,)}])
def test_what_was_packed_is_whole(options):
    read_whole(pack(Numbered(6, **options), 4, 3, skip_bad=True).folder)


def test_checking_a_data_set_removes_what_was_packed_of_it_and_is_damaged(tmp_path):
    whole, damaged = pack(Noise(8), 200, 3).folder, pack(Noise(8), 201, 3).folder
    overwrite(damaged / "images", unhashed(8 * 201 * 201 * 3), 1, b"\1")
    other = pack(Numbered(6), 4, 3).folder
    overwrite(other / "images", 0, 4)
    streamed = pack(Noise(8), 199, 3, storage="never").folder
    found = check_cached(Noise(8))
    assert found == [f"{damaged} (its pixels are not as they were written)"]
    assert not damaged.exists()
    assert whole.exists() and other.exists() and streamed.exists()
    pack(dataset := Noise(8), 201, 3)
    assert dataset.opened == 8


def test_packed_images_are_on_the_disk_before_their_name_is(monkeypatch, tmp_path):
    calls = []

    def noting(name, function):
        def call(*arguments):
            calls.append(name)
            return function(*arguments)

        return call

    monkeypatch.setattr(os, "fsync", noting("fsync", os.fsync))
    monkeypatch.setattr(Path, "rename", noting("rename", Path.rename))
    pack(Numbered(2), 4, 3, cache=tmp_path)
    assert calls == [*["fsync"] * 5, "rename", "fsync"]  # four files, their folder, name, folder


def test_images_whose_names_were_removed_meanwhile_are_told_by_their_numbers():
    data = pack(Numbered(4), 4, 3)
    (data.folder / "names.json").unlink()
    assert data.names([0, 3]) == ["image 0", "image 3"]


def test_where_images_came_from_is_recorded_as_an_absolute_path(tmp_path, monkeypatch):
    class Placed(Numbered):
        path = Path("photos")

    monkeypatch.chdir(tmp_path)
    index = json.loads((pack(Placed(2), 4, 3).folder / "index.json").read_text())
    assert index["made_from"] == str(tmp_path / "photos")
