"""The memory that is left: of the machine, and of a container."""

from __future__ import annotations

import os

import pytest

from zoo_core import memory
from zoo_core.memory import available_memory

GIB = 1 << 30


@pytest.fixture(autouse=True)
def system(tmp_path, monkeypatch):
    """A system whose files a test writes; at first it has none."""
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    return tmp_path


def write_machine(system, gib: int) -> None:
    lines = f"MemTotal: 99 kB\nMemFree: 1 kB\nMemAvailable:   {gib * GIB // 1024} kB\nPages: 0\n"
    (system / "meminfo").write_text(lines)


def write_container(system, version: int, limit: str, used: int, cached: int) -> None:
    limits, usage, statistics = {
        2: ("memory.max", "memory.current", "memory.stat"),
        1: (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
        ),
    }[version]
    (system / "memory").mkdir(exist_ok=True)
    (system / limits).write_text(f"{limit}\n")
    (system / usage).write_text(f"{used}\n")
    lines = f"anon 1\ninactive_file {cached // 2}\nactive_file {cached - cached // 2}\n"
    (system / statistics).write_text(lines)


def test_linux_says_what_is_available(system):
    write_machine(system, 7)
    assert available_memory() == 7 * GIB


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_may_have_less_than_its_machine(system, version):
    write_machine(system, 7)
    write_container(system, version, str(4 * GIB), used=3 * GIB, cached=0)
    assert available_memory() == GIB


def test_cached_files_of_a_container_are_free_memory(system):
    write_machine(system, 7)
    write_container(system, 2, str(4 * GIB), used=3 * GIB, cached=2 * GIB)
    assert available_memory() == 3 * GIB


@pytest.mark.parametrize(("version", "limit"), [(2, "max"), (1, "9223372036854771712")])
def test_a_container_without_a_limit_has_what_its_machine_has(system, version, limit):
    write_machine(system, 7)
    write_container(system, version, limit, used=GIB, cached=0)
    assert available_memory() == 7 * GIB


def test_another_system_says_how_much_memory_it_has_at_all():
    expected = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available_memory() == expected


def test_a_system_that_says_nothing_is_none(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert available_memory() is None


def test_what_this_machine_says_is_plausible(monkeypatch):
    monkeypatch.undo()
    assert 1 << 20 < available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
