"""The folder of a run: its configuration, its log, and a lock for the one process that writes.

runs/dcgan.critters32/
  config.json            the resolved configuration
  log.jsonl              one line every `log_every` images; no times, so a resume repeats its bytes
  timing.jsonl           when each of those lines was written, and how fast the run was
  samples/*.png          a grid of fixed seeds every `sample_every` images
  checkpoints/<images>/  all that a resume needs; see checkpoint.py
  best.safetensors       the same of the best evaluation, where `evaluate_every` is set
  generator.safetensors  the averaged generator (or classifier.safetensors) of the last checkpoint
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo_core.config import Resolved, RunConfig
from zoo_core.errors import InputError
from zoo_core.filesystem import mkdir_with_rollback, replacing


class RunFolder:
    """Opens, compares and appends; creates nothing that stays before `start`."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.log = path / "log.jsonl"
        self.timing = path / "timing.jsonl"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best.safetensors"

    def weights(self, role: str) -> Path:
        """Where the averaged network goes, which is a generator or a classifier."""
        return self.path / f"{role}.safetensors"

    def check(self, resolved: Resolved) -> None:
        """Raise InputError, with the difference, if the folder is a run configured otherwise."""
        if not self.config.exists():
            if self.path.exists() and (not self.path.is_dir() or any(self._foreign())):
                raise InputError(
                    f"{self.path} exists and is not a run", hint="--run-dir NEW_FOLDER"
                )
            return
        before = self.read_config()
        now = resolved.to_json()
        now["run"]["precision"] = self.precision(resolved.run.precision)
        free = {("run", key) for key in RunConfig.FREE}
        differences = [
            f"{key}: {before[part].get(key)!r} there, {now[part].get(key)!r} here"
            for part in ("config", "run")
            for key in sorted(before[part].keys() | now[part].keys())
            if (part, key) not in free and _differ(key, before[part].get(key), now[part].get(key))
        ]
        if before["model"] != now["model"]:
            differences = [f"model: {before['model']} there, {now['model']} here"]
        if differences:
            raise InputError(
                f"{self.path} is a run with another configuration: {', '.join(differences)}",
                hint="--run-dir NEW_FOLDER, or --tag NEW_TAG",
            )

    def precision(self, wanted: str) -> str:
        """What was wanted, or, where that is "auto", what it meant when the run began."""
        if wanted != "auto" or not self.config.exists():
            return wanted
        began: str = self.read_config()["run"].get("precision", wanted)
        return began

    def start(self, resolved: Resolved) -> None:
        """Create the sub-folders and write the configuration."""
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
            self.checkpoints.mkdir(exist_ok=True)
            self._write_config(resolved.to_json())
        except OSError as error:
            raise self._unwritable(error) from None

    def follow(self, resolved: Resolved) -> None:
        """Write down where the pictures are now, if they have moved, and nothing else."""
        values = self.read_config()
        before = dict(values["run"])
        values["run"] |= {key: getattr(resolved.run, key) for key in ("data", "evaluate_data")}
        if values["run"] != before:
            try:
                self._write_config(values)
            except OSError as error:
                raise self._unwritable(error) from None

    def _write_config(self, values: Mapping[str, Any]) -> None:
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        with replacing(self.config) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def read_config(self) -> dict[str, Any]:
        """The configuration as written. Raises InputError if it is not there or damaged."""
        try:
            values = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"cannot read {self.config}: {error}") from None
        parts = {"model": str, "config": dict, "run": dict}
        if not isinstance(values, dict) or not all(
            isinstance(values.get(part), kind) for part, kind in parts.items()
        ):
            raise InputError(f"{self.config} is not the configuration of a run")
        return values

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; InputError if another one has it, where locks work.

        The lock goes where nothing else was written, and so does a folder that was made for it.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(mkdir_with_rollback(self.path))
                file = stack.enter_context((self.path / ".lock").open("a+"))
            except OSError as error:
                raise self._unwritable(error) from None
            try:  # lockf, not flock: a loader process must not inherit the lock and outlive us
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):  # else: a file system without locks
                    file.seek(0)
                    owner = file.read().strip() or "unknown"
                    raise InputError(
                        f"another process (pid {owner}) is training in {self.path}"
                    ) from None
            stack.callback(self._remove_lonely_lock)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _remove_lonely_lock(self) -> None:
        with contextlib.suppress(OSError):
            if [entry.name for entry in self.path.iterdir()] == [".lock"]:
                (self.path / ".lock").unlink()

    def _unwritable(self, error: OSError) -> InputError:
        what = f"cannot write to the run folder {self.path}: {error.strerror}"
        return InputError(what, hint="--run-dir FOLDER")

    def sync_log(self) -> int:
        """Flush log.jsonl to the disk; its length now, which a checkpoint remembers."""
        if not self.log.exists():
            return 0
        with self.log.open("ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def cut_log(self, length: int) -> None:
        """Forget what was logged after the checkpoint that a run goes on from, and a line that a
        power cut has left without its end.
        """
        if self.log.exists():
            lines = self.log.read_bytes()[:length]
            os.truncate(self.log, lines.rfind(b"\n") + 1)

    def read_log(self) -> Iterator[dict[str, Any]]:
        """The lines of log.jsonl. Raises InputError for one that was damaged."""
        if self.log.exists():
            with self.log.open(encoding="utf-8", errors="replace") as file:
                yield from (self._read_line(*item) for item in enumerate(file, start=1))

    def _read_line(self, number: int, text: str) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict):
                return line
        raise InputError(f"line {number} of {self.log} is damaged", hint="remove that line")

    @staticmethod
    def append(path: Path, record: Mapping[str, Any]) -> None:
        """Add one line of JSON."""
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _foreign(self) -> Iterator[Path]:
        """What lies in the folder and was not put there by a start that was cut short."""
        ours = {".lock", "samples", "checkpoints", ".config.json.tmp"}
        return (entry for entry in self.path.iterdir() if entry.name not in ours)


def _differ(key: str, before: Any, now: Any) -> bool:
    """Whether a setting has another value. Two paths of the data never have: pictures may move, and
    a checkpoint knows them by their fingerprint. The name of a data set is no path.
    """
    if key == "data" and "/" in str(before) and "/" in str(now):
        return False
    return bool(before != now)
