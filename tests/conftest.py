"""Every test gets an empty cache, no ZOO_* settings of the person who runs it, and one seed."""

import os
import sys

# Before torch is imported, and inherited by the commands that a test starts, so that sums agree.
# 300 steps of a tiny network on a busy machine of two cores: 0.9 s with one thread, 11 s with two.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path_factory):
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
    torch = sys.modules.get("torch")  # tests of the light layers need not pay for it
    if torch is not None:
        torch.manual_seed(0)
