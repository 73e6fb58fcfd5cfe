"""The cache of weights files: many processes, kills, full and read-only disks, links (53-59, 61).

test_download.py has the list of numbers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from file_server import DATA, python, registered, serving

from zoo_core.errors import DownloadError
from zoo_core.weights import hub, store
from zoo_core.weights.hub import fetch_file, read_weights
from zoo_core.weights.store import store_folder, stored_path

OTHER = b"!" + DATA[1:]
FETCH = """
import sys
from file_server import registered
from zoo_core.errors import ZooError
from zoo_core.weights.hub import fetch_file
try:
    path = fetch_file(registered(*sys.argv[1:]), "toy.a")
except ZooError as error:
    sys.exit(f"{error.exit_code} {error}")
print(path)
"""
WAITING = "another process downloads toy.a; waiting for it\n"
posix = pytest.mark.skipif(os.name != "posix", reason="a POSIX system is needed")


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def file(server):
    return registered(server.serve("/a", DATA))


def left() -> list[str]:
    return [path.suffix or path.name for path in store_folder().glob("*") if path.suffix != ".lock"]


def cannot_write(file) -> str:
    """The only line of the error."""
    with pytest.raises(DownloadError, match=r"^cannot write ") as error:
        fetch_file(file, "toy.a")
    assert error.value.exit_code == 5
    assert "\n" not in str(error.value)
    assert "name another folder in ZOO_CACHE" in error.value.hint
    is_full = "No space" in str(error.value)
    assert is_full == ("free disk space" in error.value.hint)  # which helps nothing else
    return str(error.value)


def wait_until(is_so) -> None:
    for _ in range(1000):
        if is_so():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")


def test_53_of_eight_processes_one_downloads_and_all_have_the_file(server, tmp_path):
    all_wait = threading.Event()

    def slow(visit):
        all_wait.wait(60)
        visit.answer_range(DATA)

    file = registered(server.serve("/a", slow))
    said = [tmp_path / str(number) for number in range(8)]
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(path.open("w")) for path in said]
        processes = [
            opened.enter_context(python(FETCH, *file.urls, stderr=stderr)) for stderr in files
        ]
        wait_until(lambda: sum(bool(path.read_text()) for path in said) == 7)
        all_wait.set()
        ended = [process.communicate(timeout=60)[0] for process in processes]
    assert {path.read_text() for path in said} == {"", WAITING}
    assert [process.returncode for process in processes] == [0] * 8
    assert {out.strip() for out in ended} == {str(stored_path(file))}
    assert stored_path(file).read_bytes() == DATA
    assert len(server.requests) == 1


def test_54_a_lock_that_a_dead_process_left_stops_nobody(server, file):
    store_folder().mkdir(parents=True)
    (store_folder() / f"{file.sha256}.lock").write_text("123456")
    assert read_weights(file, "toy.a") == DATA


def no_locks(monkeypatch):
    """Locks are granted to everyone, as on some network disks."""
    import filelock

    monkeypatch.setattr(filelock.FileLock, "acquire", lambda *_, **__: None)
    monkeypatch.setattr(filelock.FileLock, "release", lambda *_, **__: None)


def test_55_where_locks_exclude_nobody_each_fills_a_part_of_its_own(server, monkeypatch):
    no_locks(monkeypatch)
    both = threading.Barrier(2)

    def together(visit):
        both.wait(60)
        visit.answer_range(DATA)

    file = registered(server.serve("/a", together))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(read_weights(file, "toy.a"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [DATA, DATA]
    assert left() == [file.sha256]


def test_55_where_locks_exclude_nobody_nothing_is_left_of_a_broken_download(server, monkeypatch):
    no_locks(monkeypatch)
    monkeypatch.setattr("zoo_core.weights.download.BACKOFF", 0)
    half = lambda visit: visit.answer(200, DATA[:1000], Content_Length=len(DATA))  # noqa: E731
    with pytest.raises(DownloadError):
        fetch_file(registered(server.serve("/a", half)), "toy.a")
    assert left() == []


def test_58_a_rest_that_cannot_be_removed_hides_no_error(server, monkeypatch):
    no_locks(monkeypatch)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DownloadError, match="answered 404"):
        fetch_file(registered(server.url("/none")), "toy.a")


def test_58_a_damaged_file_that_cannot_be_removed_is_replaced(file, monkeypatch):
    fetch_file(file, "toy.a").write_bytes(OTHER)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert read_weights(file, "toy.a") == DATA


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks")])
def test_55_a_disk_without_locks_is_as_good(server, file, monkeypatch, error):
    import filelock

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    assert read_weights(file, "toy.a") == DATA
    assert left() == [file.sha256]


@posix
def test_56_a_killed_download_goes_on_where_it_stopped(server, file):
    stopped, may_end = threading.Event(), threading.Event()

    def stalling(visit):
        visit.answer(200, DATA[: len(DATA) // 2], Content_Length=len(DATA))
        stopped.set()
        may_end.wait(60)

    server.serve("/a", stalling, DATA)
    process = python(FETCH, *file.urls)
    assert stopped.wait(60)
    part = store_folder() / f"{file.sha256}.part"
    wait_until(lambda: part.exists() and part.stat().st_size == len(DATA) // 2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    may_end.set()
    assert left() == [".part"]
    assert read_weights(file, "toy.a") == DATA
    assert [visit.start for visit in server.requests] == [0, len(DATA) // 2]
    assert server.sent == len(DATA)
    assert left() == [file.sha256]


@pytest.mark.parametrize(
    ("rest", "asked"),
    [
        (DATA[:5000], [5000]),
        (OTHER[:5000], [5000, 0]),  # of another file
        (DATA + b"!", [0]),
        (DATA, []),  # killed before it was renamed
        (OTHER, [0]),
    ],
    ids=["good", "of another file", "too long", "whole", "whole but other"],
)
def test_56_whatever_is_left_ends_in_the_registered_bytes(server, file, rest, asked):
    store_folder().mkdir(parents=True)
    (store_folder() / f"{file.sha256}.part").write_bytes(rest)
    assert read_weights(file, "toy.a") == DATA
    assert [visit.start for visit in server.requests] == asked


LIMITED = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n" + FETCH


@posix
def test_57_a_disk_that_fills_is_one_line_and_leaves_nothing(file):
    process = python(LIMITED, *file.urls)
    out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert told.startswith(f"5 cannot write {store_folder() / file.sha256}.part: File too large;")
    assert len(told.splitlines()) == 1
    assert left() == []


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_57_an_error_of_the_disk_is_one_line(file, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, call, full)
    assert "No space left on device" in cannot_write(file)
    assert file.sha256 not in left()


def test_58_a_read_only_cache_is_one_line(file, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "Read-only file system" in cannot_write(file)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_58_a_folder_that_may_not_be_written_is_one_line(file):
    store_folder().mkdir(parents=True)
    store_folder().chmod(0o555)
    assert "Permission denied" in cannot_write(file)


def test_58_a_cache_that_is_a_file_is_one_line(file, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    assert "in the way" not in cannot_write(file)
    assert (tmp_path / "cache").read_text() == "in the way"


@posix
def test_59_a_cache_may_be_a_link(file, monkeypatch, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    assert read_weights(file, "toy.a") == DATA
    assert (tmp_path / "disk" / "weights" / file.sha256).read_bytes() == DATA


@posix
@pytest.mark.parametrize("name", ["{}.part", "{}"])
def test_59_a_link_in_the_cache_does_not_lead_a_download_elsewhere(file, tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_bytes(OTHER)
    store_folder().mkdir(parents=True)
    (store_folder() / name.format(file.sha256)).symlink_to(victim)
    assert read_weights(file, "toy.a") == DATA
    assert victim.read_bytes() == OTHER
    assert not stored_path(file).is_symlink()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links are followed on this system")
def test_59_a_link_that_comes_after_the_check_is_not_followed_either(file, monkeypatch, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(OTHER)
    store_folder().mkdir(parents=True)
    (store_folder() / f"{file.sha256}.part").symlink_to(victim)
    monkeypatch.setattr(Path, "is_symlink", lambda _: False)
    cannot_write(file)
    assert victim.read_bytes() == OTHER


@pytest.mark.parametrize("make", [Path.mkdir, pytest.param(
    lambda path: os.mkfifo(path), marks=posix)], ids=["folder", "pipe"])  # fmt: skip
@pytest.mark.parametrize("name", ["{}.part", "{}"])
def test_29_what_is_no_file_is_replaced_or_one_line(file, make, name):
    store_folder().mkdir(parents=True)
    make(store_folder() / name.format(file.sha256))
    if make is Path.mkdir:
        assert "irectory" in cannot_write(file) or os.name == "nt"
    else:
        assert read_weights(file, "toy.a") == DATA


@pytest.mark.parametrize("year", [-30, 30])
def test_61_a_wrong_clock_changes_nothing(server, file, year):
    path = fetch_file(file, "toy.a")
    then = time.time() + year * 365 * 86400
    os.utime(path, (then, then))
    assert read_weights(file, "toy.a") == DATA
    path.unlink()
    part = store_folder() / f"{file.sha256}.part"
    part.write_bytes(DATA[:5000])
    os.utime(part, (then, then))
    assert read_weights(file, "toy.a") == DATA
    assert len(server.requests) == 2


def test_a_file_is_synced_before_it_has_its_name(file, monkeypatch):
    events = []
    fsync, rename, sync = os.fsync, store.replace, store.sync_folder
    monkeypatch.setattr(store.os, "fsync", lambda fd: events.append("sync") or fsync(fd))
    monkeypatch.setattr(store, "replace", lambda *a: events.append("rename") or rename(*a))
    monkeypatch.setattr(store, "sync_folder", lambda f: events.append("sync folder") or sync(f))
    fetch_file(file, "toy.a")
    assert events[:3] == ["sync", "rename", "sync folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file stays")
def test_a_file_that_is_removed_while_it_is_read_is_one_line(file, monkeypatch):
    path = fetch_file(file, "toy.a")
    find = hub.find

    def and_remove(wanted):
        found = find(wanted)
        path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(hub, "find", and_remove)
    with pytest.raises(hub.WeightsError, match="cannot read"):
        read_weights(file, "toy.a")
