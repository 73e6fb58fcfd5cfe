"""A run's folder: which run it holds, whether it may be used, and its lock."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toys import resolved

from zoo_core.config import ModelConfig, RunConfig, resolve
from zoo_core.errors import InputError
from zoo_core.training.changes import Change
from zoo_core.training.run_folder import RunFolder

needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="no fcntl")


@pytest.fixture
def run(tmp_path):
    """The folder of a started run."""
    folder = RunFolder(tmp_path / "runs" / "toy.bars16")
    folder.start(resolved())
    return folder


def refusal(run, **settings):
    with pytest.raises(InputError) as error:
        run.check(resolved(**settings))
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    assert str(run.path) in str(error.value)
    return str(error.value)


def test_nothing_is_created_before_the_start(tmp_path):
    run = RunFolder(tmp_path / "runs" / "toy.bars16")
    run.check(resolved())
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_is_written_complete(run):
    assert run.read_config() == resolved().to_json()


def test_the_same_configuration_goes_on(run):
    run.check(resolved())


def test_another_configuration_is_refused_and_the_difference_shown(run):
    text = refusal(run, width=8, batch_size=2, learning_rate=0.5)
    assert "batch_size: 4 there, 2 here" in text
    assert "width: 4 there, 8 here" in text
    assert "learning_rate: 0.01 there, 0.5 here" in text
    assert "resolution" not in text


OTHER = {
    "images": 999,
    "device": "cuda",
    "workers": 3,
    "log_every": 1,
    "sample_every": 1,
    "checkpoint_every": 1,
    "keep_checkpoints": 9,
    "evaluate_every": 9,
    "evaluate_count": 9,
    "evaluate_data": "other",
    "evaluate_with": "other",
    "stop_collapsed": True,
    "pack": "never",
}


@pytest.mark.parametrize("key", sorted(RunConfig.FREE))
def test_a_setting_that_changes_no_network_may_change(run, key):
    changed = resolved(**{key: OTHER[key]})
    assert changed != resolved()
    run.check(changed)


@pytest.mark.parametrize("key", ["batch_size", "seed", "ema_half_life", "precision", "data"])
def test_a_setting_that_changes_the_networks_may_not(run, key):
    other = {"precision": "bf16", "data": "others"}.get(key, 2)
    assert f"{key}: " in refusal(run, **{key: other})


def test_a_path_of_the_data_may_be_another_one(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start(resolved(data="./own//photos/"))
    for other in ("own/photos", "/elsewhere/photos", "~/photos.zip"):
        run.check(resolved(data=other))
    with pytest.raises(InputError, match="data: "):
        run.check(resolved(data="toys"))


def test_a_data_set_is_not_the_folder_of_its_name(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start(resolved(data="digits"))
    with pytest.raises(InputError, match=r"data: 'digits' there, '\./digits' here"):
        run.check(resolved(data="./digits"))


def test_the_run_of_another_model_is_refused(run):
    values = json.loads(run.config.read_text())
    run.config.write_text(json.dumps({**values, "model": "other"}))
    assert "model: other there, toy here" in refusal(run)


class TupleConfig(ModelConfig, frozen=True):
    widths: tuple[int, ...] = (1, 2)


def test_a_configuration_with_a_list_is_the_same_after_it_was_written(tmp_path):
    run, config = RunFolder(tmp_path / "run"), resolve("tuples", TupleConfig)
    run.start(config)
    run.check(config)


DAMAGED = {
    "empty": "",
    "cut": '{"model": "toy", "config": {',
    "null": "null",
    "list": "[]",
    "no model": '{"config": {}, "run": {}}',
    "no settings": '{"model": "toy", "config": {}}',
    "settings of another kind": '{"model": "toy", "config": [], "run": {}}',
    "nested 100000 deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_configuration_is_an_input_error(run, text):
    run.config.write_text(text)
    assert "config.json" in refusal(run)


def test_a_configuration_that_is_not_text_is_an_input_error(run):
    run.config.write_bytes(b"\xff\xfe\x00")
    assert "config.json" in refusal(run)


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    assert "is not a run" in refusal(RunFolder(tmp_path))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "run"
    path.write_text("")
    assert "is not a run" in refusal(RunFolder(path))


def test_an_empty_folder_may_become_a_run(tmp_path):
    RunFolder(tmp_path).check(resolved())


@pytest.mark.parametrize(
    "left", [[], ["checkpoints"], ["checkpoints", ".config.json.tmp", ".lock"]]
)
def test_a_start_that_was_cut_short_can_be_repeated(tmp_path, left):
    for name in ["samples", *left]:
        (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).write_text("{")
    run = RunFolder(tmp_path)
    run.check(resolved())
    run.start(resolved())
    assert run.read_config() == resolved().to_json()


def test_a_configuration_that_cannot_be_replaced_stays_whole(run, monkeypatch):
    def fail(path, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(run.config), "replace", fail)
    with pytest.raises(InputError, match="No space left on device"):
        run.start(resolved(images=99))
    assert run.read_config() == resolved().to_json()


def test_a_change_is_on_the_disk_before_training_goes_on(run, monkeypatch):
    """Else a power cut could leave checkpoints that the change has led to, and no change."""
    synced = []
    monkeypatch.setattr("os.fsync", lambda number: synced.append(os.fstat(number).st_ino))
    run.start(resolved(batch_size=2), [Change(images=16, settings={"batch_size": 2})])
    assert run.config.stat().st_ino in synced
    assert sys.platform == "win32" or run.path.stat().st_ino in synced


def assert_cannot_start(run):
    with pytest.raises(InputError, match="cannot write to the run folder") as error:
        run.start(resolved())
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


def test_a_folder_below_a_file_cannot_be_started(tmp_path):
    (tmp_path / "file").write_text("")
    assert_cannot_start(RunFolder(tmp_path / "file" / "run"))


def test_a_folder_whose_samples_are_a_file_cannot_be_started(tmp_path):
    (tmp_path / "samples").write_text("")
    assert_cannot_start(RunFolder(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_cannot_be_started(tmp_path):
    tmp_path.chmod(0o500)
    assert_cannot_start(RunFolder(tmp_path / "run"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_read_only_file_system_cannot_be_started():
    assert_cannot_start(RunFolder(Path("/proc/run")))


HOLD = """
import os, sys, time
from pathlib import Path
from zoo_core.training.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    children = int(sys.argv[2])
    if children and not os.fork():
        time.sleep(60)  # a loader process that outlives its parent
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(run):
    """Start another process that locks the run; if it has a child, killing it leaves that child."""
    started = []

    def start(children=0):
        command = [sys.executable, "-c", HOLD, str(run.path), str(children)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout.readline().strip() == str(process.pid)
        return process

    yield start
    for process in started:
        with process, contextlib.suppress(ProcessLookupError):  # all have ended already
            os.killpg(process.pid, signal.SIGKILL)


@needs_locks
def test_a_second_process_is_refused_and_told_the_first(run, holder):
    process = holder()
    with pytest.raises(InputError, match=rf"pid {process.pid}\) is training in") as error:
        run.locked().__enter__()
    assert error.value.exit_code == 2


@needs_locks
def test_a_process_that_was_killed_holds_nothing(run, holder):
    process = holder()
    process.kill()
    process.wait()
    with run.locked():
        assert (run.path / ".lock").read_text() == str(os.getpid())


@needs_locks
def test_the_children_of_a_killed_process_hold_nothing(run, holder):
    """Loader processes inherit open files; even so, the run must be free to resume at once."""
    process = holder(children=1)
    process.kill()
    process.wait()
    with run.locked():
        pass


def test_a_run_is_free_again_afterwards(run):
    for _ in range(2):
        with run.locked():
            pass


@needs_locks
def test_a_folder_made_for_the_lock_goes_with_it(tmp_path):
    run = RunFolder(tmp_path / "runs" / "toy.bars16")
    with run.locked():
        assert (run.path / ".lock").is_file()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["runs", "runs/toy.bars16"])
def test_a_folder_that_was_there_before_the_lock_stays(tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    with RunFolder(tmp_path / "runs" / "toy.bars16").locked():
        pass
    assert list((tmp_path / name).iterdir()) == []


@needs_locks
def test_a_folder_that_cannot_be_made_leaves_none_above_it(tmp_path):
    for folder in ("runs", "."):  # "." exists already and stays
        run = RunFolder(tmp_path / folder / ("x" * 300))
        with pytest.raises(InputError, match="cannot write to the run folder"), run.locked():
            pass
        assert list(tmp_path.iterdir()) == []


@needs_locks
def test_a_folder_with_more_than_the_lock_in_it_stays(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.locked():
        run.start(resolved())
    assert run.read_config() == resolved().to_json()
    assert (run.path / ".lock").is_file()


@needs_locks
def test_a_file_system_without_locks_is_trusted(run, monkeypatch):
    def fail(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", fail)
    with run.locked():
        run.append(run.log, {"images": 1})


def test_the_log_has_one_line_a_record(run):
    run.append(run.log, {"images": 1, "loss": 0.1})
    run.append(run.log, {"images": 2, "loss": 0.2})
    assert [json.loads(line)["images"] for line in run.log.read_text().splitlines()] == [1, 2]


def test_the_log_is_cut_to_what_a_checkpoint_remembers(run):
    assert run.sync_log() == 0
    run.append(run.log, {"images": 1})
    before = run.log.read_bytes()
    assert run.sync_log() == len(before)
    run.append(run.log, {"images": 2})
    run.cut_log(len(before))
    assert run.log.read_bytes() == before


def test_a_log_that_is_shorter_than_remembered_is_left_alone(run):
    run.append(run.log, {"images": 1})
    before = run.log.read_bytes()
    run.cut_log(len(before) + 10)
    assert run.log.read_bytes() == before


def test_a_line_that_a_power_cut_left_without_its_end_is_forgotten(run):
    run.append(run.log, {"images": 1})
    before = run.log.read_bytes()
    run.append(run.log, {"images": 2})
    run.cut_log(len(before) + 5)
    assert run.log.read_bytes() == before


def test_what_a_checkpoint_remembers_of_the_log_is_on_the_disk(run, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda number: synced.append(os.fstat(number).st_ino))
    run.append(run.log, {"images": 1})
    run.sync_log()
    assert synced == [run.log.stat().st_ino]


@pytest.mark.parametrize("damage", ["{", "7", "\0\0\0"])
def test_a_damaged_line_of_the_log_is_named(run, damage):
    run.append(run.log, {"images": 1})
    with run.log.open("a") as file:
        file.write(damage + "\n")
    with pytest.raises(InputError, match=r"line 2 of .*log\.jsonl is damaged; try: remove"):
        list(run.read_log())


def test_a_log_that_is_not_there_needs_no_cut(run):
    run.cut_log(0)
    assert not run.log.exists()
