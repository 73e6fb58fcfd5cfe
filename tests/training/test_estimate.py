"""Peak memory, which every system reports in its own way; test_engine.py tests the estimate."""

import ctypes
import sys
from types import SimpleNamespace

import pytest
import torch

from zoo_core.runtime import Runtime
from zoo_core.training import estimate
from zoo_core.training.estimate import peak_memory, peak_resident_memory


def peak_on(monkeypatch, platform, reported):
    usage = SimpleNamespace(ru_maxrss=reported)
    fake = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: usage)
    monkeypatch.setitem(sys.modules, "resource", fake)
    monkeypatch.setattr(estimate, "sys", SimpleNamespace(platform=platform))
    return peak_resident_memory()


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1), ("freebsd", 1024)])
def test_peak_memory_is_in_bytes(monkeypatch, platform, unit):
    assert peak_on(monkeypatch, platform, 5000) == 5000 * unit


def test_peak_memory_here_is_that_of_python_with_torch():
    block = torch.ones(50_000_000)
    assert 200_000_000 < peak_resident_memory() < 1 << 40
    del block


def test_peak_memory_that_no_module_reports_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_resident_memory() is None


@pytest.mark.parametrize("succeeded", [True, False])
def test_peak_memory_on_windows_is_asked_of_the_kernel(monkeypatch, succeeded):
    def process_memory_info(process, into, size):
        counters = into._obj
        assert (process, size, counters.cb) == ("handle", ctypes.sizeof(counters), size)
        counters.PeakWorkingSetSize = 123_456
        return succeeded

    def library(name):
        class Functions:
            K32GetProcessMemoryInfo = process_memory_info

            def GetCurrentProcess():
                return "handle"

        return Functions if name == "kernel32" else None

    monkeypatch.setattr(ctypes, "WinDLL", library, raising=False)
    assert peak_on(monkeypatch, "win32", 0) == (123_456 if succeeded else None)


@pytest.mark.skipif(sys.maxsize < 1 << 32, reason="a 32-bit system")
def test_the_counters_have_the_layout_of_windows():
    assert ctypes.sizeof(estimate._MemoryCounters) == 72
    assert estimate._MemoryCounters.PeakWorkingSetSize.offset == 8


def test_peak_memory_of_a_mac_s_gpu_is_what_its_driver_allocated(monkeypatch):
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 77)
    assert peak_memory(Runtime(torch.device("mps"), torch.float32, torch.contiguous_format)) == 77
