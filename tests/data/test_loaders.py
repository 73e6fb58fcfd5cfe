"""Loader processes load the same however they start, and end with their parent.

test_engine.py tests how a run stops, test_platforms.py that loaders work without POSIX.
"""

import multiprocessing
import os
import subprocess
import sys
from itertools import islice
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
import toys

from zoo_core.data.batches import batches
from zoo_core.data.loaders import load_with_workers
from zoo_core.data.packing import pack
from zoo_core.errors import RunError
from zoo_core.runtime import Runtime

by_system = pytest.mark.parametrize(
    ("start_method", "gone"),  # and the names that `signal` lacks
    [
        pytest.param("fork", [], id="Linux"),
        pytest.param("forkserver", [], id="Linux with Python 3.14"),
        pytest.param("spawn", [], id="Linux with another default"),
        pytest.param("spawn", ["sigtimedwait"], id="macOS"),
        pytest.param("spawn", ["sigtimedwait", "pthread_sigmask"], id="Windows"),
    ],
)


@pytest.fixture
def spawning():
    """Start processes as macOS and Windows do."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def shown(data, workers):
    """Twelve batches of three epochs: images, labels and ids."""
    run = toys.resolved(workers=workers, batch_size=8, jitter=2, mirror=True).run
    stream = batches(data, run, Runtime.detect("cpu", "fp32"), 16)
    return [(batch.images, batch.labels, batch.ids) for batch in islice(stream, 12)]


@pytest.mark.parametrize("storage", ["always", "never"])
def test_new_interpreters_load_the_batches_of_this_process(tmp_path, spawning, storage):
    data = pack(toys.ToyPictures(32, classes=4), 18, 3, cache=tmp_path, storage=storage)
    for ours, theirs in zip(shown(data, 0), shown(data, 2), strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_packed_images_are_not_copied_to_a_process(tmp_path):
    packed = toys.packed(tmp_path, count=64)
    sent = bytes(ForkingPickler.dumps(packed))
    assert len(sent) < packed.images.nbytes / 10
    again = ForkingPickler.loads(sent).images
    assert (type(again), again.flags.writeable) == (np.memmap, False)
    assert np.array_equal(again, packed.images)


@pytest.mark.parametrize("part", ["array[2:]", "array.T", "array[1]", "array + 1", "changed"])
def test_what_is_not_a_whole_file_is_sent_as_it_is(tmp_path, part):
    np.arange(48, dtype=np.int16).tofile(tmp_path / "numbers")
    array = np.memmap(tmp_path / "numbers", np.int16, "r", shape=(4, 3, 4))
    changed = np.memmap(tmp_path / "numbers", np.int16, "c")  # without changing the file
    changed[0] = 7
    sent = eval(part, {"array": array, "changed": changed})
    assert np.array_equal(ForkingPickler.loads(ForkingPickler.dumps(sent)), sent)


def test_the_offset_in_a_file_is_kept(tmp_path):
    np.arange(48, dtype=np.int16).tofile(tmp_path / "numbers")
    array = np.memmap(tmp_path / "numbers", np.int16, "r", offset=8, shape=(2, 3))
    again = ForkingPickler.loads(ForkingPickler.dumps(array))
    assert (type(again), again.tolist()) == (np.memmap, [[4, 5, 6], [7, 8, 9]])


def test_data_that_cannot_be_copied_to_a_process_are_one_line(spawning):
    unpicklable = (number for number in range(4))
    with pytest.raises(RunError, match="cannot start loader processes") as error:
        next(load_with_workers(unpicklable, range(4), 1))
    assert "\n" not in str(error.value)
    assert "workers=0" in str(error.value)


HEAD = """
import multiprocessing, os, signal, sys, time
for name in sys.argv[2:]:
    delattr(signal, name)
from zoo_core.data.loaders import load_with_workers
"""

LOADS_FOR_EVER = """
class Slow:
    def __getitem__(self, position):
        print("loading", flush=True)
        time.sleep(300)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    next(load_with_workers(Slow(), range(1), 1))
"""


@by_system
def test_a_loader_ends_though_its_parent_was_killed_while_it_worked(tmp_path, start_method, gone):
    script = tmp_path / "loads.py"
    script.write_text(HEAD + LOADS_FOR_EVER)
    command = [sys.executable, str(script), start_method, *gone]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "loading\n"
        parent.kill()
        # The pipe stays open as long as the loader process lives.
        assert parent.communicate(timeout=60)[0] == ""


STOPS_FIVE_ITEMS_LATER = """
class Slow:
    def __getitem__(self, position):
        time.sleep(0.2)
        return position

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    signal.signal(signal.SIGINT, lambda *_: None)
    items = load_with_workers(Slow(), range(100), 1)
    next(items)
    os.killpg(0, signal.SIGINT)
    print(sum(next(items) for _ in range(5)))
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups")
@by_system
def test_a_loader_still_loads_after_ctrl_c(tmp_path, start_method, gone):
    script = tmp_path / "loads.py"
    script.write_text(HEAD + STOPS_FIVE_ITEMS_LATER)
    command = [sys.executable, str(script), start_method, *gone]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert (done.stdout, done.stderr) == ("15\n", "")
