"""Loader processes end with their parent. test_engine.py tests how a run stops."""

import signal
import subprocess
import sys

import pytest

LOADS_FOR_EVER = """
import sys, time
from zoo_core.data.loaders import load_with_workers

class Slow:
    def __getitem__(self, position):
        print("loading", flush=True)
        time.sleep(300)

if __name__ == "__main__":
    import multiprocessing
    multiprocessing.set_start_method(sys.argv[1])
    next(load_with_workers(Slow(), range(1), 1))
"""


@pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="cannot tell who sent a signal")
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_loader_ends_though_its_parent_was_killed_while_it_worked(tmp_path, start_method: str):
    script = tmp_path / "loads.py"
    script.write_text(LOADS_FOR_EVER)
    command = [sys.executable, str(script), start_method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "loading\n"
        parent.kill()
        # The pipe stays open as long as the loader process lives.
        assert parent.communicate(timeout=60)[0] == ""
