"""Gives every test an empty cache, an environment without ZOO_* variables, and a fixed seed."""

import os
import sys

# Set before torch is imported; commands started by a test inherit it, so that sums agree.
# 300 steps of a tiny network on a busy two-core machine: 0.9 s with one thread, 11 s with two.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # tests import onnxruntime themselves, too

import pytest


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path_factory):
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
    torch = sys.modules.get("torch")  # not imported here: tests of light modules do without it
    if torch is not None:
        torch.manual_seed(0)
