"""Files on disk are exact, and complete or absent, whatever happens to the disk."""

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
import torch
from torch import nn

from zoo_core.errors import CheckpointError, WeightsError
from zoo_core.filesystem import write_file
from zoo_core.training import optimizers
from zoo_core.training.checkpoint import Checkpoints, optimizer_tensors, restore_optimizer
from zoo_core.weights.header import WeightsMetadata, parse_metadata, read_header
from zoo_core.weights.tensors import cpu_copies, load_weights, save_weights

ABOUT = WeightsMetadata(
    model="toy",
    role="generator",
    config={"width": 4, "sizes": [1, 2]},
    images=12,
    licence="CC0-1.0",
    trained_on="bars, train split: drawn \N{EM DASH} by “us”",
    zoo_version="0.1.0",
)


class Everything(nn.Module):
    """A network with every kind of tensor that a file may have to hold."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        self.transposed = nn.Parameter(torch.randn(3, 5).t())
        self.bfloat16_weight = nn.Parameter(torch.randn(7, dtype=torch.bfloat16))
        self.tied = self.bfloat16_weight
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("scalar", torch.randn(()))
        self.register_buffer("float64", torch.randn(3, dtype=torch.float64))
        self.register_buffer("float16", torch.randn(3, dtype=torch.float16))
        self.register_buffer("mask", torch.rand(5) < 0.5)
        self.register_buffer("bytes", torch.randint(0, 256, (5,), dtype=torch.uint8))
        self.register_buffer("odd", torch.tensor([-0.0, 1e-45, -3e38]))  # 1e-45 is subnormal
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("every_second", torch.randn(8)[::2])


def saved(folder, network):
    save_weights(folder / "a.safetensors", network, ABOUT)
    return folder / "a.safetensors"


def raw(tensor):
    """The bytes: -0.0 differs from 0.0."""
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
    assert loaded.tied is loaded.bfloat16_weight


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
    assert parse_metadata(read_header(path), "a") == ABOUT


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
    copied = cpu_copies({"weight": weight})
    weight += 1
    assert copied["weight"].eq(0).all()


def test_plain_tensors_are_contiguous():
    repeated = torch.arange(3).expand(4, 3)
    copied = cpu_copies({"repeated": repeated})["repeated"]
    assert copied.is_contiguous()
    assert torch.equal(copied, repeated)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(tmp_path, value, dtype):
    network = nn.Linear(2, 2, dtype=dtype)
    with torch.no_grad():
        network.weight[1, 0] = value
    data = saved(tmp_path, network).read_bytes()
    with pytest.raises(WeightsError, match=r"^a holds non-finite values in 'weight'$"):
        load_weights(data, "a", lambda: nn.Linear(2, 2, dtype=dtype))


@pytest.mark.parametrize(
    ("network", "build", "reason"),
    [
        (nn.Linear(2, 3), lambda: nn.Linear(3, 2), "F32 [3, 2]; allowed: F32 [2, 3]"),
        (nn.Linear(3, 2, dtype=torch.float16), lambda: nn.Linear(3, 2), "given: F16 [2, 3]"),
        (nn.Linear(3, 2, bias=False), lambda: nn.Linear(3, 2), "'bias' is missing"),
        (nn.Linear(3, 2), lambda: nn.Linear(3, 2, bias=False), "'bias' is unexpected"),
    ],
    ids=["transposed", "another type", "missing", "extra"],
)
def test_weights_of_another_architecture_are_refused(tmp_path, network, build, reason):
    data = saved(tmp_path, network).read_bytes()
    with pytest.raises(WeightsError) as error:
        load_weights(data, "a", build)
    assert str(error.value).startswith("a does not fit the architecture")
    assert reason in str(error.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit on memory")
def test_a_description_of_a_huge_network_takes_no_memory(tmp_path):
    """A file of a few bytes describes 16 GB; the process may grow by half a GB."""
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
    with pytest.raises(WeightsError, match=r"^a describes a network that cannot be built") as error:
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
    """Make the call of that number raise, counting all calls that change or flush the disk."""
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
    """An exception that no code cleans up after."""


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    calls = fail_at(monkeypatch, 0, FULL)
    write_file(tmp_path / "a", b"")
    assert calls == ["fsync", "replace", "fsync"]  # file, name, folder


@pytest.mark.parametrize("number", [1, 2])
def test_a_file_that_cannot_be_replaced_stays(tmp_path, monkeypatch, number):
    path = tmp_path / "a"
    write_file(path, b"before")
    with monkeypatch.context() as patch:
        fail_at(patch, number, FULL)
        with pytest.raises(CheckpointError) as error:
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
    """Weights and optimizer tensors that all equal this number."""
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
    """Assert that the folder holds exactly what its manifest says."""
    manifest = json.loads((path / "MANIFEST.json").read_text())
    assert {p.name for p in path.iterdir()} == {*manifest, "MANIFEST.json"}
    for name, entry in manifest.items():
        data = (path / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["size"], entry["sha256"])


@pytest.fixture
def checkpoints(tmp_path):
    """Three checkpoints have been saved; the last two are kept."""
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
    save(checkpoints, 10**12)  # one digit more than the zero-padded names have
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
    assert_loads(Checkpoints(checkpoints.folder), 24)  # every bit has been flipped back


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
    *map(remove, ("MANIFEST.json", "weights.safetensors", "optim.safetensors", "state.json")),
    *(write("MANIFEST.json", text) for text in ("", "{}", "[]", "null", '{"state.json": 3}')),
]


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


def test_an_older_checkpoint_is_announced_only_where_there_is_one(checkpoints, caplog):
    for path in checkpoints.list():
        truncate(path)
    with caplog.at_level(logging.WARNING, "zoo"), pytest.raises(CheckpointError):
        checkpoints.load()
    said = [record.getMessage().endswith("; trying an older one") for record in caplog.records]
    assert said == [True, False]


def test_a_damaged_checkpoint_can_be_written_again(checkpoints):
    truncate(checkpoints.list()[-1])
    assert_loads(checkpoints, 16)
    save(checkpoints, 24)
    assert_loads(checkpoints, 24)
    assert seen(checkpoints) == [16, 24]


@pytest.mark.parametrize("images", [20, 28])
def test_a_damaged_checkpoint_takes_no_place_of_a_good_one(checkpoints, images):
    """Not even if the resumed run saves at other points."""
    truncate(checkpoints.list()[-1])
    assert_loads(checkpoints, 16)
    save(checkpoints, images)
    assert seen(checkpoints) == [16, images]
    assert_loads(Checkpoints(checkpoints.folder), images)


def test_what_was_saved_last_is_never_rotated_away(checkpoints):
    """A folder may hold later checkpoints than a run that was set back."""
    save(Checkpoints(checkpoints.folder), 4)
    assert seen(checkpoints) == [4]


def test_a_checkpoint_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    calls = fail_at(monkeypatch, 0, FULL)
    save(Checkpoints(tmp_path), 8)
    assert calls == [*["fsync"] * 5, "rename", "fsync"]  # four files, their folder, name, folder


def test_the_old_go_after_the_new_one_is_on_the_disk(checkpoints, monkeypatch):
    calls = fail_at(monkeypatch, 0, FULL)
    save(checkpoints, 32)
    assert calls[5:8] == ["rename", "fsync", "rename"]  # new name, folder, old name
    assert "unlink" not in calls[:8]


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("images", [32, 24], ids=["a new one", "in place of a damaged one"])
@pytest.mark.parametrize("error", [FULL, Killed()], ids=["full disk", "killed"])
def test_a_save_that_fails_at_any_call_leaves_good_checkpoints(
    checkpoints, tmp_path, monkeypatch, error, images
):
    good = {16, 24} - {images}
    if 24 not in good:
        truncate(checkpoints.list()[-1])
    for number in range(1, 100):
        folder = tmp_path / str(number)
        shutil.copytree(checkpoints.folder, folder)
        failing = Checkpoints(folder)
        failing.load()
        with monkeypatch.context() as patch:
            calls = fail_at(patch, number, error)
            try:
                save(failing, images)
                complete = True
            except (CheckpointError, Killed):
                complete = False
        fresh = Checkpoints(folder)
        newest = fresh.load()[2]["images"]
        assert newest == images or (newest == max(good) and not complete), calls[-1]
        for path in fresh.list():
            if images != 24 or int(path.name) != 24:  # what is listed can be loaded
                assert_complete(path)
        assert good <= set(seen(fresh)) or newest == images, calls[-1]
        assert len(seen(fresh)) >= 2 or images == 24, calls[-1]
        assert error is not FULL or f".{images:012d}.tmp" not in leftovers(folder), calls[-1]
        save(fresh, 40)
        assert leftovers(folder) == []
        for path in fresh.list():
            assert_complete(path)
        if len(calls) < number:
            break
    assert {"fsync", "rename", "unlink"} <= set(calls)
    assert 10 < number < 99


def fills(folder):
    """Save until the disk is full; check that older checkpoints stay; return the message."""
    checkpoints = Checkpoints(folder)
    for images in (8, 16):
        save(checkpoints, images)
    with pytest.raises(CheckpointError) as error:
        checkpoints.save(24, {"w": torch.zeros(1 << 20)}, {}, {})
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)
    assert leftovers(folder) == []
    assert_loads(Checkpoints(folder), 16)
    assert seen(checkpoints) == [8, 16]
    return str(error.value)


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MB, if this user may mount one, and a function that write-protects it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root mounts disks")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("disks cannot be mounted here")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_save_and_costs_no_checkpoint(disk):
    assert "No space left on device" in fills(disk[0])


def test_a_full_disk_costs_no_weights_file(disk):
    path = disk[0] / "a"
    write_file(path, b"before")
    with pytest.raises(CheckpointError, match="No space left on device"):
        write_file(path, bytes(2 << 20))
    assert path.read_bytes() == b"before"
    assert list(disk[0].iterdir()) == [path]


def test_a_disk_that_becomes_read_only_is_a_checkpoint_error(disk):
    folder, protect = disk
    checkpoints = Checkpoints(folder)
    save(checkpoints, 8)
    write_file(folder / "a", b"before")
    protect()
    with pytest.raises(CheckpointError, match="Read-only file system"):
        save(checkpoints, 16)
    with pytest.raises(CheckpointError, match="Read-only file system"):
        write_file(folder / "a", b"after")
    assert_loads(checkpoints, 8)
    assert (folder / "a").read_bytes() == b"before"


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files")
def test_a_limit_on_files_stops_the_save_and_costs_no_checkpoint(tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        assert "File too large" in fills(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


KILLS = """
import os, random, sys, time
from pathlib import Path
import torch
from zoo_core.training.checkpoint import Checkpoints

folder, chance = Path(sys.argv[1]), random.Random(0)

def seen():
    loaded = Checkpoints(folder).load()
    if loaded is None:
        return 0
    weights, optim, state = loaded
    assert weights["w"].eq(state["images"]).all() and optim["m"].eq(state["images"]).all(), state
    return state["images"]

def save_for_ever(ready):
    checkpoints, images = Checkpoints(folder), seen()
    os.write(ready, b"!")
    while True:
        images += 1
        tensor = torch.full((50_000,), float(images))
        checkpoints.save(images, {"w": tensor}, {"m": tensor}, {"images": images})

before = 0
told, ready = os.pipe()
for _ in range(30):
    child = os.fork()
    if not child:
        save_for_ever(ready)
    os.read(told, 1)
    time.sleep(chance.uniform(0, 0.1))
    os.kill(child, 9)
    assert os.waitpid(child, 0)[1] == 9, "it ended by itself"
    after = seen()
    assert after >= before
    before = after
print(before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_thirty_kills_at_random_moments_leave_a_good_checkpoint(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "damaged" not in done.stderr
    assert int(done.stdout) > 5  # it made progress


# Optimizers.

OPTIMIZERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "Adam, fused": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "Adam, in memory order": lambda p: optimizers.Adam(p, lr=0.1, fused=True),
    "Adam, for loop": lambda p: torch.optim.Adam(p, lr=0.1, foreach=False),
    "AdamW, amsgrad": lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD, momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "RMSprop, centered": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4, 2)
        self.gain = nn.Parameter(torch.ones(()))
        self.unused = nn.Parameter(torch.ones(3))  # never has a gradient, so it has no state
        self.to(memory_format=torch.channels_last)

    def forward(self, images):
        return self.gain * self.linear(self.conv(images).relu().mean((2, 3)))


def optimize(network, optimizer, steps):
    for step in steps:
        images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(images).square().sum().backward()
        optimizer.step()


def states(network, optimizer):
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        f"{names[id(parameter)]}.{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if value is not None
    }


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_goes_on_as_if_it_had_never_stopped(tmp_path, make):
    network = Small()
    optimizer = make(network.parameters())
    optimize(network, optimizer, range(3))
    Checkpoints(tmp_path).save(
        3, dict(network.state_dict()), optimizer_tensors("d/main", optimizer), {}
    )

    weights, optim, _ = Checkpoints(tmp_path).load()
    again = Small()
    again.load_state_dict(weights)
    optimizer_again = make(again.parameters())
    restore_optimizer("d/main", optimizer_again, optim)
    before, after = states(network, optimizer), states(again, optimizer_again)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert after[key].dtype == value.dtype, key
        assert after[key].stride() == value.stride(), key
        assert torch.equal(after[key], value), key

    optimize(network, optimizer, range(3, 5))
    optimize(again, optimizer_again, range(3, 5))
    for (name, one), other in zip(network.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_two_optimizers_share_a_file(tmp_path):
    networks = Small(), Small()
    optimizers = [torch.optim.Adam(network.parameters()) for network in networks]
    saved = {}
    for seed, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
        optimize(network, optimizer, [seed])
        saved |= optimizer_tensors(f"phase {seed}", optimizer)
    for seed, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
        again = torch.optim.Adam(network.parameters())
        restore_optimizer(f"phase {seed}", again, saved)
        moments = again.state[network.conv.weight]["exp_avg"]
        assert torch.equal(moments, optimizer.state[network.conv.weight]["exp_avg"])
