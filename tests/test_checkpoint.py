"""Bytes on disk: exact, complete or not there, never half; whatever is pulled out from under them."""

import copy
import errno
import hashlib
import json
import logging
import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from zoo_core.checkpoint import (
    Checkpoints,
    load_weights,
    optimizer_tensors,
    plain,
    restore_optimizer,
    save_weights,
    write_file,
)
from zoo_core.errors import CheckpointError, WeightsError
from zoo_core.weights import About, about, read_header

ABOUT = About(
    model="toy",
    role="generator",
    config={"width": 4, "sizes": [1, 2]},
    images=12,
    licence="CC0-1.0",
    trained_on="bars, train split: drawn \N{EM DASH} by “us”",
    zoo_version="0.1.0",
)


class Everything(nn.Module):
    """A network with every kind of tensor that a file may have to keep."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        self.transposed = nn.Parameter(torch.randn(3, 5).t())
        self.half = nn.Parameter(torch.randn(7, dtype=torch.bfloat16))
        self.tied = self.half
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("scalar", torch.randn(()))
        self.register_buffer("double", torch.randn(3, dtype=torch.float64))
        self.register_buffer("float16", torch.randn(3, dtype=torch.float16))
        self.register_buffer("mask", torch.rand(5) < 0.5)
        self.register_buffer("bytes", torch.randint(0, 256, (5,), dtype=torch.uint8))
        self.register_buffer("odd", torch.tensor([-0.0, 1e-45, -3e38]))  # 1e-45 is subnormal
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("repeated", torch.randn(1, 3).expand(4, 3))
        self.register_buffer("every_second", torch.randn(8)[::2])


def saved(folder, network):
    save_weights(folder / "a.safetensors", network, ABOUT)
    return folder / "a.safetensors"


def raw(tensor):
    """The very bytes: -0.0 differs from 0.0."""
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def test_weights_come_back_bit_for_bit(tmp_path):
    network = Everything()
    path = saved(tmp_path, network)
    loaded = load_weights(path.read_bytes(), "a", Everything).state_dict()
    for key, tensor in network.state_dict().items():
        assert (loaded[key].dtype, loaded[key].shape) == (tensor.dtype, tensor.shape), key
        assert raw(loaded[key]) == raw(tensor), key


def test_tied_parameters_are_still_tied_after_loading(tmp_path):
    data = saved(tmp_path, Everything()).read_bytes()
    loaded = load_weights(data, "a", Everything)
    assert loaded.tied is loaded.half


def test_loading_keeps_the_memory_format_of_the_architecture(tmp_path):
    data = saved(tmp_path, Everything()).read_bytes()
    loaded = load_weights(data, "a", Everything)
    assert loaded.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_same_weights_give_the_same_file(tmp_path):
    network = Everything()
    first = saved(tmp_path, network).read_bytes()
    assert saved(tmp_path, copy.deepcopy(network)).read_bytes() == first


def test_a_file_says_what_it_is(tmp_path):
    path = saved(tmp_path, Everything())
    assert about(read_header(path), "a") == ABOUT


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_has_the_mode_that_the_user_wants(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        path = saved(tmp_path, nn.Linear(2, 2))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_plain_tensors_are_copies():
    weight = torch.zeros(3)
    copied = plain({"weight": weight})
    weight += 1
    assert copied["weight"].eq(0).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(tmp_path, value, dtype):
    network = nn.Linear(2, 2, dtype=dtype)
    with torch.no_grad():
        network.weight[1, 0] = value
    data = saved(tmp_path, network).read_bytes()
    with pytest.raises(WeightsError, match=r"^a holds numbers that are not finite, in 'weight'$"):
        load_weights(data, "a", lambda: nn.Linear(2, 2, dtype=dtype))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: nn.Linear(2, 3), "at 'weight'; given: F32 [3, 2]; allowed: F32 [2, 3]"),
        (lambda: nn.Linear(3, 2, dtype=torch.float16), "given: F16 [2, 3]"),
        (lambda: nn.Linear(3, 2, bias=False), "'bias' is missing"),
        (lambda: nn.BatchNorm1d(3), "'running_mean' is not part of it"),
    ],
    ids=["transposed", "another type", "missing", "extra"],
)
def test_weights_of_another_architecture_are_refused(tmp_path, build, reason):
    data = saved(tmp_path, build()).read_bytes()
    architecture = nn.Linear(3, 2) if "running" not in reason else nn.BatchNorm1d(3, affine=True)
    if "running" in reason:
        architecture = nn.LayerNorm(3)
    with pytest.raises(WeightsError) as error:
        load_weights(data, "a", lambda: copy.deepcopy(architecture))
    assert str(error.value).startswith("a does not fit the architecture")
    assert reason in str(error.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit on memory")
def test_a_description_of_a_huge_network_takes_no_memory(tmp_path):
    """16 GB, described in a file of a few bytes; the process may grow by half a GB."""
    import resource

    data = saved(tmp_path, nn.Linear(2, 2)).read_bytes()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 29), limits[1]))
    try:
        with pytest.raises(WeightsError, match=r"allowed: F32 \[65536, 65536\]"):
            load_weights(data, "a", lambda: nn.Linear(1 << 16, 1 << 16))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("width", [1 << 60, 1 << 70])
def test_a_description_of_an_impossible_network_is_refused(tmp_path, width):
    data = saved(tmp_path, nn.Linear(2, 2)).read_bytes()
    with pytest.raises(WeightsError, match=r"^a describes a network that cannot be") as error:
        load_weights(data, "a", lambda: nn.Linear(width, width))
    assert "\n" not in str(error.value)


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a"
    write_file(path, b"before")
    write_file(path, b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


# A disk that fails.


def fail_at(monkeypatch, number, error):
    """Let the call of that number, of all that change or flush the disk, raise; count them."""
    calls = []

    def failing(function):
        def call(*arguments, **options):
            calls.append(function.__name__)
            if len(calls) == number:
                raise error
            return function(*arguments, **options)

        return call

    for owner, name in [(os, "fsync"), (os, "unlink"), (Path, "rename"), (Path, "replace")]:
        monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
    return calls


class Killed(BaseException):
    """Nothing cleans up after it."""


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("number", [1, 2])
def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch, number):
    path = tmp_path / "a"
    write_file(path, b"before")
    with monkeypatch.context() as patch, pytest.raises(CheckpointError) as error:
        fail_at(patch, number, FULL)
        write_file(path, b"after")
    assert "cannot write" in str(error.value)
    assert "No space left on device" in str(error.value)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_no_folder_is_a_checkpoint_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        write_file(tmp_path / "file" / "a", b"")


def tensors(images):
    """Weights and optimizer that are all this number."""
    return {"w": torch.full((40, 5), float(images))}, {"m/0/step": torch.tensor(float(images))}


def save(checkpoints, images):
    return checkpoints.save(images, *tensors(images), {"images": images})


def assert_loads(checkpoints, images):
    weights, optim, state = checkpoints.load()
    assert state == {"images": images}
    expected = tensors(images)
    assert torch.equal(weights["w"], expected[0]["w"])
    assert torch.equal(optim["m/0/step"], expected[1]["m/0/step"])


def assert_complete(path):
    """The folder holds exactly what its manifest says."""
    manifest = json.loads((path / "MANIFEST.json").read_text())
    assert {p.name for p in path.iterdir()} == {*manifest, "MANIFEST.json"}
    for name, entry in manifest.items():
        data = (path / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["sha256"])


@pytest.fixture
def checkpoints(tmp_path):
    """Three have been saved, the last two are kept."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for images in (8, 16, 24):
        save(checkpoints, images)
    return checkpoints


def seen(checkpoints):
    return [int(path.name) for path in checkpoints.list()]


def test_a_checkpoint_comes_back_whole(checkpoints):
    assert_loads(checkpoints, 24)
    assert_complete(checkpoints.list()[-1])


def test_the_last_ones_are_kept(checkpoints):
    assert seen(checkpoints) == [16, 24]


def test_more_are_kept_if_wanted(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for images in range(1, 6):
        save(checkpoints, images)
    assert seen(checkpoints) == [3, 4, 5]


def test_the_newest_is_the_one_with_most_images(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 10**12 - 1)
    save(checkpoints, 10**12)  # a digit more than the names are filled up to
    assert_loads(checkpoints, 10**12)


def test_there_is_nothing_to_load_before_the_first(tmp_path):
    assert Checkpoints(tmp_path / "none").load() is None


def test_other_things_in_the_folder_are_left_alone(checkpoints):
    (checkpoints.folder / "notes.txt").write_text("mine")
    save(checkpoints, 32)
    assert (checkpoints.folder / "notes.txt").read_text() == "mine"
    assert_loads(checkpoints, 32)


def test_a_network_without_tensors_and_an_optimizer_without_state_can_be_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {}, {}, {"images": 1})
    assert checkpoints.load() == ({}, {}, {"images": 1})


def flip_bit(path, position, bit):
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def test_one_wrong_bit_anywhere_is_noticed(checkpoints, caplog):
    newest, chance = checkpoints.list()[-1], random.Random(0)
    files = sorted(newest.iterdir())
    assert len(files) == 4
    for number in range(80):
        file = files[number % 4]
        position, bit = chance.randrange(file.stat().st_size), chance.randrange(8)
        flip_bit(file, position, bit)
        caplog.clear()
        assert_loads(Checkpoints(checkpoints.folder), 16)
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert str(newest) in record.getMessage()
        flip_bit(file, position, bit)
    assert_loads(Checkpoints(checkpoints.folder), 24)  # all of them are mended


def truncate(newest):
    os.truncate(newest / "weights.safetensors", 100)


def lengthen(newest):
    with (newest / "state.json").open("a") as file:
        file.write(" ")


def swap(newest):
    (newest / "weights.safetensors").rename(newest / "x")
    (newest / "optim.safetensors").rename(newest / "weights.safetensors")
    (newest / "x").rename(newest / "optim.safetensors")


def from_the_one_before(newest):
    shutil.copy(newest.parent / f"{16:012d}" / "optim.safetensors", newest)


def remove(name):
    def damage(newest):
        (newest / name).unlink()

    damage.__name__ = f"remove {name}"
    return damage


def write(name, text):
    def damage(newest):
        (newest / name).write_text(text)

    damage.__name__ = f"write {text[:10]!r} to {name}"
    return damage


def replace_by_file(newest):
    shutil.rmtree(newest)
    newest.write_text("")


DAMAGE = [
    truncate,
    lengthen,
    swap,
    from_the_one_before,
    shutil.rmtree,
    replace_by_file,
    *(remove(n) for n in ("MANIFEST.json", "weights.safetensors", "optim.safetensors", "state.json")),
    *(write("MANIFEST.json", text) for text in ("", "{}", "[]", "null", '{"state.json": 3}')),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_passed_over(checkpoints, damage):
    damage(checkpoints.list()[-1])
    assert_loads(checkpoints, 16)


def test_damage_is_an_error_when_no_checkpoint_is_left(checkpoints):
    for path in checkpoints.list():
        truncate(path)
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints") as error:
        checkpoints.load()
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)


def test_a_damaged_checkpoint_can_be_written_again(checkpoints):
    truncate(checkpoints.list()[-1])
    assert_loads(checkpoints, 16)
    save(checkpoints, 24)
    assert_loads(checkpoints, 24)
    assert seen(checkpoints) == [16, 24]


@pytest.mark.parametrize("images", [20, 28])
def test_a_damaged_checkpoint_takes_no_place_of_a_good_one(checkpoints, images):
    """Not even when the run, going on from before it, saves at other points."""
    truncate(checkpoints.list()[-1])
    assert_loads(checkpoints, 16)
    save(checkpoints, images)
    assert seen(checkpoints) == [16, images]
    assert_loads(Checkpoints(checkpoints.folder), images)


def test_what_was_saved_last_is_never_rotated_away(checkpoints):
    """A folder may hold more images than a run that was set back."""
    save(Checkpoints(checkpoints.folder), 4)
    assert seen(checkpoints) == [4]


def leftovers(checkpoints):
    return [path.name for path in checkpoints.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("images", [32, 24], ids=["a new one", "in place of a damaged one"])
@pytest.mark.parametrize("error", [FULL, Killed()], ids=["full disk", "killed"])
@pytest.mark.parametrize("number", range(1, 16))
def test_a_save_that_fails_at_any_call_leaves_a_good_checkpoint(
    checkpoints, monkeypatch, caplog, number, error, images
):
    if images == 24:
        truncate(checkpoints.list()[-1])
        assert_loads(checkpoints, 16)
    with monkeypatch.context() as patch:
        calls = fail_at(patch, number, error)
        try:
            save(checkpoints, images)
            outcome = "saved"
        except (CheckpointError, Killed) as raised:
            outcome = type(raised).__name__
    assert len(calls) >= number or outcome == "saved", "the failure did not happen"
    caplog.clear()
    fresh = Checkpoints(checkpoints.folder)
    newest = fresh.load()[2]["images"]
    assert newest in (
        {images}
        if outcome == "saved"
        else {24, 16, images} - {24 if images == 24 else 0} | {images}
    )
    if outcome == "CheckpointError":
        assert leftovers(fresh) == []
    save(fresh, 40)
    assert leftovers(fresh) == []
    assert_loads(fresh, 40)
    for path in fresh.list():
        assert_complete(path)
