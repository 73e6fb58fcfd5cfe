"""Every test gets an empty cache, no ZOO_* settings of the person who runs it, and one seed."""

import os
import sys

# Before torch is imported, and inherited by commands that a test starts: tiny networks gain nothing
# from threads, and sums are the same in both.
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
