"""What is decoded at once is bounded, whatever the number of threads."""

from __future__ import annotations

import threading
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from format_files import png16, tiff
from PIL import Image
from toy_datasets import Numbered

from zoo_core.data import files, opening, packing
from zoo_core.data.decoding import decode
from zoo_core.data.files import PictureFiles
from zoo_core.data.levels import Levels
from zoo_core.data.opening import opened
from zoo_core.data.packing import pack
from zoo_core.data.room import PIXEL_BYTES, Room
from zoo_core.errors import PictureError

PIXELS = 64 * 64


@pytest.fixture
def room(monkeypatch):
    """Room for the pixels of two images of 64 x 64 and their files."""
    small = Watched(2 * PIXELS * PIXEL_BYTES + 4096)
    for module in (files, opening, packing):
        monkeypatch.setattr(module, "ROOM", small)
    return small


class Watched(Room):
    most = 0

    def take(self, size):
        super().take(size)
        self.most = max(self.most, self.taken)
        time.sleep(0.005)  # lets other threads come in between


@pytest.fixture
def photos(tmp_path):
    for number in range(24):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    return tmp_path


def test_threads_that_pack_wait_for_room(room, photos, monkeypatch, tmp_path_factory):
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    data = pack(PictureFiles(photos), 8, 3, cache=tmp_path_factory.mktemp("packed"))
    assert data.images[:, 0, 0, 0].tolist() == list(range(24))
    assert PIXELS * PIXEL_BYTES < room.most <= room.size
    assert room.taken == 0


def test_the_room_is_held_until_an_image_is_fitted(room, photos, monkeypatch, tmp_path_factory):
    held, fit = [], packing.Form.fit
    monkeypatch.setattr(
        packing.Form, "fit", lambda form, picture: held.append(room.taken) or fit(form, picture)
    )
    pack(PictureFiles(photos), 8, 3, cache=tmp_path_factory.mktemp("packed"))
    assert min(held) > PIXELS * PIXEL_BYTES


def test_what_small_images_are_enlarged_to_waits_for_room(room, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert len(pack(Numbered(12), 64, 3)) == 12
    assert PIXELS * PIXEL_BYTES <= room.most <= room.size


def test_an_image_that_needs_more_than_all_room_is_decoded_alone(room):
    data = BytesIO()
    Image.new("L", (200, 200)).save(data, "PNG")

    def side(number):
        return decode(data.getvalue(), "x.png").shape[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(side, range(32))) == {200}
    assert room.most == 200 * 200 * PIXEL_BYTES > room.size


def test_threads_that_hold_some_and_need_more_do_not_wait_for_each_other():
    room, meeting = Room(100), threading.Barrier(4)
    most = []

    def work():
        with room.borrowed():
            room.take(25)
            meeting.wait(10)  # now all room is taken
            room.take(100)
            most.append(room.taken)
            room.take(7)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert most[0] == 200
    assert max(most) <= 200  # one after the other
    assert room.taken == 0


def test_room_is_given_back_for_an_image_that_cannot_be_read(room):
    with pytest.raises(PictureError):
        decode(b"\x89PNG\r\n\x1a\n and so on", "x.png")
    with pytest.raises(PictureError), opened((b"\xff\x0a" + b"\xff" * 80), "x.jxl"):
        pass
    with room.borrowed():
        room.take(room.size)  # waits for nobody
    assert room.taken == 0


def test_a_stop_while_waiting_leaves_no_room_taken(monkeypatch):
    room = Room(10)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with room.borrowed():
        room.take(5)
        monkeypatch.setattr(room._changed, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt):
            room.take(5)
    assert (room.taken, room._busy) == (0, 0)


def test_half_the_free_memory_is_never_asked_for(monkeypatch):
    monkeypatch.setattr("zoo_core.data.room.available_memory", lambda: 1 << 33)
    room = Room()
    with room.borrowed():
        room.take(1)
    assert room.size == 1 << 31


def test_members_of_a_zip_wait_for_room_before_they_are_unpacked(room, tmp_path, monkeypatch):
    """A megabyte of zeros is a kilobyte in the archive."""
    bomb = bytes(1 << 20)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(12):
            archive.writestr(f"{number}.png", bomb)
    dataset = PictureFiles(tmp_path / "x.zip")

    def read(index):
        with pytest.raises(PictureError):
            dataset[index]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(12)))
    assert room.most == len(bomb)


def test_of_files_without_a_suffix_only_the_start_is_read(tmp_path, photos, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("large", bytes(1 << 26))
        archive.write(photos / "00.png", "small")
    tracemalloc.start()
    try:
        assert len(PictureFiles(tmp_path / "x.zip")) == 1
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("holdout", [0.0, 0.5])
def test_a_file_that_is_too_large_is_not_read(holdout, photos, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    read = []
    monkeypatch.setattr(files.Path, "read_bytes", lambda path: read.append(path) or b"")
    dataset = PictureFiles(photos, holdout=holdout, levels=Levels())
    dataset.measure_levels()
    with pytest.raises(PictureError, match="bytes is too large for an image file"):
        dataset[0]
    assert read == []


def test_fitted_images_that_wait_to_be_written_are_bounded(monkeypatch):
    ahead = []

    class Slow(Numbered):
        written = 0

        def __getitem__(self, index):
            ahead.append(index - self.written)
            return super().__getitem__(index)

    dataset = Slow(60)
    monkeypatch.setattr(packing, "AHEAD_BYTES", 8 * 16 * 6)  # images of 4 x 4, of both sides
    monkeypatch.setattr("os.cpu_count", lambda: 16)

    def on_progress(done, total):
        dataset.written = done

    pack(dataset, 4, 3, on_progress=on_progress)
    assert max(ahead) <= 8


SIDE = 192
DEEP = np.arange(SIDE * SIDE * 3, dtype=np.uint32).astype(np.uint16).reshape(SIDE, SIDE, 3)
KINDS = {
    "gray PNG": png16(DEEP[:, :, :1]),
    "color PNG": png16(DEEP),
    "gray TIFF": tiff(DEEP[:, :, 0]),
    "color TIFF": tiff(DEEP),
    "gray PGM": b"P5 192 192 65535\n" + DEEP[:, :, 0].astype(">u2").tobytes(),
}


@pytest.mark.parametrize("levels", [None, Levels(0, 4095)])
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_16_bits_make_no_wide_copies(kind, levels, monkeypatch):
    monkeypatch.setattr("zoo_core.data.deep.BLOCK", 1 << 10)
    decode(KINDS[kind], "warm")
    tracemalloc.start()
    try:
        decode(KINDS[kind], "x", levels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / SIDE**2 < 13  # bytes a pixel, besides Pillow's; of int64 they would be 24
