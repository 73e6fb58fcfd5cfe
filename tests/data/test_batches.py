"""The order of images, and the batches made of them."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_datasets import Corners, Learner, Numbered, settings

from zoo_core.config import RunConfig
from zoo_core.data.batches import BatchOrder, batches, gather, to_uint8
from zoo_core.data.packing import pack
from zoo_core.data.preparation import prepare
from zoo_core.errors import RunError
from zoo_core.interfaces import Batch
from zoo_core.pictures import Picture
from zoo_core.runtime import Runtime

RUNTIME = Runtime(torch.device("cpu"), torch.float32, torch.channels_last)


def take(data, run: RunConfig, images: int, steps: int) -> list[Batch]:
    stream = batches(data, run, RUNTIME, images)
    return [next(stream) for _ in range(steps)]


def ids(found: list[Batch]) -> list[int]:
    return [int(i) for batch in found for i in batch.ids]


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
    order = BatchOrder(data, settings(batch_size=16, mirror=True))
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


def test_jitter_cuts_source_and_picture_at_the_same_random_place(tmp_path: Path):
    run = settings(jitter=2)
    data = prepare(Corners(), Learner(4, source_channels=3), run, cache=tmp_path)
    assert data.images.shape == (8, 6, 6, 3)
    order, places = BatchOrder(data, run), set()
    for start in range(0, 64, 4):
        pictures, source, _, _ = order[start]
        assert pictures.shape == (4, 3, 4, 4)
        assert torch.equal(source, pictures + 100)
        places |= {tuple(p[:2, 0, 0].tolist()) for p in pictures}
    assert places == {(y, x) for y in range(3) for x in range(3)}


def test_jitter_is_a_function_of_the_position_alone(tmp_path: Path):
    data = prepare(Corners(), Learner(4, source_channels=3), settings(jitter=2), cache=tmp_path)
    whole = BatchOrder(data, settings(jitter=2, batch_size=8))[0][0]
    half = BatchOrder(data, settings(jitter=2, batch_size=4))[4][0]
    assert torch.equal(whole[4:], half)


def test_samples_start_from_the_middle_of_a_larger_source(tmp_path: Path):
    data = prepare(Corners(), Learner(4, source_channels=3), settings(jitter=2), cache=tmp_path)
    assert gather(data.source, np.arange(2), 2)[0, :2, 0, 0].tolist() == [101, 101]


@pytest.fixture
def hang_up(monkeypatch) -> Callable[[Exception], None]:
    """Make loader processes raise an error instead of loading a batch."""

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
    monkeypatch.setattr("zoo_core.data.loaders.TORCH_ERROR_WAIT", 0)
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
