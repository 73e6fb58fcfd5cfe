"""Packing, order and batches."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import toys
from PIL import Image

from zoo_core.config import RunConfig
from zoo_core.data.batches import Order, batches, gather, to_uint8
from zoo_core.data.datasets import from_anywhere, open_dataset
from zoo_core.data.files import PictureFiles
from zoo_core.data.packing import open_packed, pack
from zoo_core.data.preparation import check_enough, check_fits, prepare, source_images
from zoo_core.data.saving import save_png
from zoo_core.errors import (
    AmbiguousNameError,
    DataError,
    PictureError,
    PluginError,
    RunError,
    UnknownNameError,
)
from zoo_core.interfaces import Batch, Generator
from zoo_core.pictures import Picture, PictureDataset
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.runtime import Runtime

RUNTIME = Runtime(torch.device("cpu"), torch.float32, torch.channels_last)


class Numbered(PictureDataset):
    """Picture i is filled with i; every `bad` one cannot be read."""

    def __init__(
        self, count: int, bad: tuple[int, ...] = (), classes: int = 0, paired: bool = False
    ):
        self.count, self.bad, self.paired = count, bad, paired
        self.classes = tuple(f"c{i}" for i in range(classes))
        self.fingerprint = f"numbered:{count}:{bad}:{classes}:{paired}"
        self.opened = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Picture:
        self.opened += 1
        if index in self.bad:
            raise PictureError(f"number {index}", "damaged (on purpose)")
        pixels = np.full((4, 4, 3), index, dtype=np.uint8)
        label = index % len(self.classes) if self.classes else None
        return Picture(f"number {index}", pixels, label, 255 - pixels if self.paired else None)


def settings(**changes: object) -> RunConfig:
    return msgspec.structs.replace(RunConfig(batch_size=4), **changes)


def take(data, run: RunConfig, images: int, steps: int) -> list[Batch]:
    stream = batches(data, run, RUNTIME, images)
    return [next(stream) for _ in range(steps)]


def ids(found: list[Batch]) -> list[int]:
    return [int(i) for batch in found for i in batch.ids]


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
    assert "4 of 10 pictures" in message
    assert "number 2 (damaged (on purpose))" in message
    assert "and 1 more" in message
    assert "bad_pictures=skip" in message


def test_nobody_is_told_to_leave_all_pictures_out():
    with pytest.raises(DataError, match=r"2 of 2 pictures.*zoo data check PATH to see all$"):
        pack(Numbered(2, bad=(0, 1)), 4, 3)


def test_refused_pictures_leave_nothing_in_the_cache():
    with pytest.raises(DataError):
        pack(Numbered(10, bad=(2,)), 4, 3)
    assert not list((Path(os.environ["ZOO_CACHE"]) / "data").iterdir())


def test_bad_pictures_can_be_skipped_and_are_remembered():
    for _ in range(2):  # the second time from the cache
        data = pack(Numbered(6, bad=(2,)), 4, 3, skip_bad=True)
        assert data.images[:, 0, 0, 0].tolist() == [0, 1, 3, 4, 5]
        assert [bad.name for bad in data.skipped] == ["number 2"]


def test_nothing_readable_is_an_error_even_when_skipping():
    with pytest.raises(DataError, match="none of 2 pictures"):
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
                pack(Numbered(4), 4, 3, cache=tmp_path)  # the other process is faster
            return super().__getitem__(index)

    assert len(pack(Raced(4), 4, 3, cache=tmp_path)) == 4
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_mapped_pictures_are_those_that_were_packed():
    data = pack(Numbered(5), 4, 3)
    assert np.array_equal(open_packed(data.folder).images, data.images)


@pytest.mark.parametrize(("count", "batch"), [(0, 1), (1, 1), (3, 4)])
def test_too_few_pictures_are_refused(count: int, batch: int):
    with pytest.raises(DataError):
        check_enough(count, batch)


@pytest.mark.parametrize("classes", [0, 3])
def test_labels_are_shown_to_a_model_that_learns_classes_only(tmp_path: Path, classes: int):
    network = toys.ToyGenerator(toys.ToyConfig(classes=classes))
    data = prepare(Numbered(16, classes=3), network, settings(), cache=tmp_path)
    labels = Order(data, settings())[0][2]
    assert (labels is not None) == bool(classes)


def test_another_number_of_classes_is_refused_with_the_setting_that_fits():
    network = toys.ToyGenerator(toys.ToyConfig(classes=5))
    with pytest.raises(DataError, match=r"given: 5; allowed: 3; try: --set num_classes=3$"):
        check_fits(network, ("cat", "dog", "owl"), paired=False)


def test_an_epoch_shows_every_picture_once():
    data = pack(Numbered(12), 4, 3)
    assert Counter(ids(take(data, settings(), 0, 3))) == Counter(range(12))


def test_epochs_are_shuffled_differently():
    data = pack(Numbered(12), 4, 3)
    shown = ids(take(data, settings(), 0, 6))
    assert shown[:12] != shown[12:]
    assert shown[:12] != list(range(12))


def test_a_batch_across_epochs_ends_one_and_begins_the_next():
    data = pack(Numbered(10), 4, 3)
    shown = ids(take(data, settings(), 0, 5))
    assert sorted(shown[:10]) == sorted(shown[10:20]) == list(range(10))


def test_order_goes_on_from_any_position():
    data = pack(Numbered(10), 4, 3)
    assert ids(take(data, settings(), 0, 6))[8:] == ids(take(data, settings(), 8, 4))


def test_order_depends_on_the_seed():
    data = pack(Numbered(12), 4, 3)
    assert ids(take(data, settings(seed=1), 0, 3)) != ids(take(data, settings(), 0, 3))


@pytest.mark.parametrize("mirror", [False, True])
def test_workers_change_nothing(mirror: bool):
    data = pack(Numbered(10, classes=2, paired=True), 4, 3)
    alone = take(data, settings(mirror=mirror), 4, 4)
    helped = take(data, settings(mirror=mirror, workers=2), 4, 4)
    for a, b in zip(alone, helped, strict=True):
        for name in ("images", "labels", "source", "ids"):
            assert torch.equal(getattr(a, name), getattr(b, name))


def test_mirrored_pictures_keep_their_pairs_and_come_back_the_same():
    class Slope(Numbered):
        def __getitem__(self, index: int) -> Picture:
            pixels = np.tile(np.arange(4, dtype=np.uint8)[None, :, None] * 50, (4, 1, 3))
            return Picture(f"slope {index}", pixels, None, pixels)

    data = pack(Slope(16, paired=True), 4, 3)
    order = Order(data, settings(batch_size=16, mirror=True))
    pictures, source, _, _ = order[0]
    flipped = pictures[:, 0, 0, 0] > 0
    assert 0 < int(flipped.sum()) < 16
    assert torch.equal(pictures, source)
    assert torch.equal(order[0][0], pictures)


def test_images_are_floats_between_minus_one_and_one():
    data = pack(Numbered(256), 4, 3)
    (batch,) = take(data, settings(batch_size=256), 0, 1)
    assert batch.images.dtype == torch.float32
    assert (float(batch.images.min()), float(batch.images.max())) == (-1.0, 1.0)
    assert np.array_equal(to_uint8(batch.images)[:, 0, 0, 0], batch.ids.numpy())


def folder_of(path: Path, count: int = 3) -> Path:
    path.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (6, 5), (number, 0, 0)).save(path / f"{number}.png")
    return path


def test_a_folder_is_opened_by_its_path(tmp_path: Path):
    opened = open_dataset(str(folder_of(tmp_path / "My Photos")), 4, "train", Plugins())
    assert isinstance(opened.dataset, PictureFiles)
    assert (opened.name, len(opened.dataset)) == ("my-photos", 3)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="no folder, zip file or picture"):
        open_dataset(str(tmp_path / "nowhere"), 4, "train", Plugins())


@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        (lambda resolution, split: [], "it has to be a PictureDataset, not list"),
        (lambda resolution, split: Unnamed(), "no attribute 'fingerprint'"),
        (lambda resolution, split: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_data_set_that_a_plugin_cannot_open_names_the_plugin(opened, reason: str):
    spec = msgspec.structs.replace(toys.TOYS, name="broken", open=opened)

    class Broken:
        @hookimpl
        def zoo_datasets(self):
            return [spec]

    plugins = Plugins()
    plugins.register("careless", Broken())
    with pytest.raises(PluginError, match=f"'broken' of the plugin careless .*{reason}"):
        open_dataset("broken", 8, "train", plugins)


class Unnamed(PictureDataset):
    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Picture:
        raise IndexError


def test_a_bare_name_that_is_nothing_names_the_nearest():
    with pytest.raises(UnknownNameError):
        open_dataset("nothing", 4, "train", with_dataset("anything"))


def test_a_data_set_and_a_folder_of_one_name_are_ambiguous(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "both")
    plugins = with_dataset("both")
    with pytest.raises(AmbiguousNameError, match=r"\./both"):
        open_dataset("both", 4, "train", plugins)
    assert len(open_dataset("./both", 4, "train", plugins).dataset) == 3


def settled(place: Path, data: str, evaluate_data: str = "") -> list[str]:
    """Both as a run that is begun in the folder `place` writes them down; `anything` is known."""
    with contextlib.chdir(place):
        given = toys.resolved(data=data, evaluate_data=evaluate_data)
        run = from_anywhere(given, with_dataset("anything")).run
    return [run.data, run.evaluate_data]


def test_settings_from_anywhere_have_absolute_paths_and_the_names_of_data_sets(
    tmp_path: Path, monkeypatch
):
    own = folder_of(tmp_path / "own").as_posix()
    folder_of(tmp_path / "anything")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settled(tmp_path, "own", "./own/../own/") == [own, own]
    assert settled(tmp_path / "own", ".", "~/own") == [own, own]
    assert settled(tmp_path, "anything", "./anything") == ["anything", f"{tmp_path}/anything"]
    assert settled(tmp_path, "numbers/anything") == ["numbers/anything", ""]


@pytest.mark.parametrize("name", ["nothing", "./nothing", "~nobody-here/x", "x" * 5000, "\0"])
def test_what_is_not_there_is_left_as_it_was_spelled(tmp_path: Path, name: str):
    assert settled(tmp_path, name, name) == [name, name]


@pytest.mark.skipif(sys.platform != "linux", reason="names of folders are bytes")
def test_a_path_that_json_cannot_hold_is_left_as_it_was_spelled(tmp_path: Path):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    folder_of(place / "own")
    assert settled(place, "./own") == ["./own", ""]


def test_an_unknown_split_names_those_there_are():
    with pytest.raises(DataError, match="train, test"):
        open_dataset("anything", 4, "validation", with_dataset("anything"))


def with_dataset(name: str) -> Plugins:
    from types import SimpleNamespace

    from zoo_core.plugins.hookspecs import hookimpl
    from zoo_core.spec import DatasetSpec

    spec = DatasetSpec(
        name=name,
        summary="numbers",
        task="unconditional",
        licence="CC0-1.0",
        provenance="nowhere",
        open=lambda resolution, split: Numbered(4),
    )
    plugins = Plugins()
    plugins.register(
        "numbers", SimpleNamespace(zoo_datasets=hookimpl(lambda: [spec], specname="zoo_datasets"))
    )
    return plugins


class Corners(PictureDataset):
    """Picture i is filled with i, but every pixel also holds where it is; the source likewise."""

    paired, fingerprint = True, "corners"

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Picture:
        y, x = np.mgrid[:6, :6]
        pixels = np.stack([y, x, np.full_like(y, index)], axis=2).astype(np.uint8)
        return Picture(str(index), pixels, None, pixels + 100)


class Learner(Generator):
    """Only says what it takes."""

    def __init__(self, size: int, channels: int = 3, source_channels: int | None = None):
        super().__init__()
        self.image_shape = (channels, size, size)
        if source_channels:
            self.source_shape = (source_channels, size, size)

    def generate(self, noise, *, labels=None, source=None, truncation=1.0):
        raise NotImplementedError


def test_jitter_cuts_source_and_picture_at_the_same_random_place(tmp_path: Path):
    run = settings(jitter=2)
    data = prepare(Corners(), Learner(4, source_channels=3), run, cache=tmp_path)
    assert data.images.shape == (8, 6, 6, 3)
    order, places = Order(data, run), set()
    for start in range(0, 64, 4):
        pictures, source, _, _ = order[start]
        assert pictures.shape == (4, 3, 4, 4)
        assert torch.equal(source, pictures + 100)
        places |= {tuple(p[:2, 0, 0].tolist()) for p in pictures}
    assert places == {(y, x) for y in range(3) for x in range(3)}


def test_jitter_is_a_function_of_the_position_alone(tmp_path: Path):
    data = prepare(Corners(), Learner(4, source_channels=3), settings(jitter=2), cache=tmp_path)
    whole = Order(data, settings(jitter=2, batch_size=8))[0][0]
    half = Order(data, settings(jitter=2, batch_size=4))[4][0]
    assert torch.equal(whole[4:], half)


def test_samples_start_from_the_middle_of_a_larger_source(tmp_path: Path):
    data = prepare(Corners(), Learner(4, source_channels=3), settings(jitter=2), cache=tmp_path)
    assert gather(data.source, np.arange(2), 2)[0, :2, 0, 0].tolist() == [101, 101]


def test_reversed_pairs_change_places(tmp_path: Path):
    data = prepare(
        Corners(), Learner(6, source_channels=3), settings(reverse_pairs=True), cache=tmp_path
    )
    assert data.images[0, 0, 0].tolist() == [100, 100, 100]
    assert data.source[0, 0, 0].tolist() == [0, 0, 0]
    straight = prepare(Corners(), Learner(6, source_channels=3), settings(), cache=tmp_path)
    assert data.fingerprint != straight.fingerprint


@pytest.mark.parametrize("reverse", [False, True])
def test_source_and_picture_have_the_channels_that_the_model_takes(tmp_path: Path, reverse: bool):
    run = settings(reverse_pairs=reverse)
    data = prepare(Corners(), Learner(6, 3, source_channels=1), run, cache=tmp_path)
    assert data.images.shape[3] == 3
    assert data.source.shape[3] == 1


def test_a_folder_is_read_as_pairs_only_for_a_model_that_takes_pairs(tmp_path: Path):
    for side in "AB":
        (tmp_path / "own" / side).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "own" / side / "x.png")
    path = str(tmp_path / "own")
    assert open_dataset(path, 4, "train", Plugins(), paired=True).dataset.paired
    assert open_dataset(path, 4, "train", Plugins()).dataset.classes == ("A", "B")


def test_what_a_translator_starts_from_is_the_source_of_a_pair_or_the_picture_itself():
    learner = Learner(6, source_channels=3)
    start = source_images([Corners()[2]], learner, "crop")
    assert start.shape == (1, 3, 6, 6)
    assert start[0, :, 0, 0].tolist() == pytest.approx([100 / 127.5 - 1] * 2 + [102 / 127.5 - 1])
    picture = source_images([Corners()[2]], learner, "crop", reverse_pairs=True)
    assert picture[0, :, 0, 0].tolist() == pytest.approx([-1, -1, 2 / 127.5 - 1])
    single = source_images([Numbered(3)[0]], Learner(4, source_channels=1), "crop")
    assert single.shape == (1, 1, 4, 4)
    assert float(single.max()) == -1


def test_what_a_model_cannot_learn_is_refused_before_a_picture_is_read(tmp_path: Path):
    source = Numbered(8)
    with pytest.raises(DataError, match="needs pairs"):
        prepare(source, Learner(4, source_channels=3), settings(), cache=tmp_path)
    assert source.opened == 0


@pytest.fixture
def hang_up(monkeypatch) -> Callable[[Exception], None]:
    """Loader processes from here on raise an error in place of a batch."""

    def hang_up(error: Exception) -> None:
        def loader(*arguments, **keywords):
            raise error
            yield

        monkeypatch.setattr(torch.utils.data, "DataLoader", loader)

    return hang_up


@pytest.mark.parametrize(
    ("error", "reason"), [(ConnectionError("reset by peer"), "reset by peer"), (EOFError(), "EOF")]
)
def test_a_loader_process_that_hangs_up_is_named(
    tmp_path: Path, monkeypatch, hang_up, error: Exception, reason: str
):
    monkeypatch.setattr("zoo_core.data.loaders.LAST_WORD", 0)
    hang_up(error)
    data = pack(Numbered(8), 4, 3, cache=tmp_path)
    with pytest.raises(RunError, match=f"a loader process is gone: {reason}"):
        take(data, settings(workers=1), 0, 1)


def test_what_a_signal_says_of_a_loader_process_is_waited_for(tmp_path: Path, monkeypatch, hang_up):
    def strike(*arguments) -> None:
        raise RuntimeError("DataLoader worker is killed by signal")

    before = signal.signal(signal.SIGALRM, strike)
    hang_up(EOFError())
    data = pack(Numbered(8), 4, 3, cache=tmp_path)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(RuntimeError, match="killed by signal"):
            take(data, settings(workers=1), 0, 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
