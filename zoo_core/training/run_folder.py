"""The folder of a run: configuration, log, weights, and a lock for the process that writes it.

runs/dcgan.critters32/
  config.json            the resolved configuration
  log.jsonl              one line every `log_every` images; no times, so a resume repeats its bytes
  timing.jsonl           seconds and images per second for each of those lines
  samples/*.png          a grid of fixed seeds every `sample_every` images
  checkpoints/<images>/  everything a resume needs; see checkpoint.py
  best.safetensors       the averaged network of the best evaluation, if `evaluate_every` is set
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
    """Reads, checks and writes a run's files; leaves nothing behind before `start`."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.log = path / "log.jsonl"
        self.timing = path / "timing.jsonl"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best.safetensors"

    def weights(self, role: str) -> Path:
        """Path of the averaged network's weights; `role` is generator or classifier."""
        return self.path / f"{role}.safetensors"

    def check(self, resolved: Resolved) -> None:
        """Raise InputError if the folder is not a run, or is one with other settings (listed)."""
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
                f"{self.path} is a run with a different configuration: {', '.join(differences)}",
                hint="--run-dir NEW_FOLDER, or --tag NEW_TAG",
            )

    def precision(self, wanted: str) -> str:
        """The `wanted` precision; for "auto", the one that the run began with, if it has begun."""
        if wanted != "auto" or not self.config.exists():
            return wanted
        began: str = self.read_config()["run"].get("precision", wanted)
        return began

    def start(self, resolved: Resolved) -> None:
        """Create the subfolders and write the configuration."""
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
            self.checkpoints.mkdir(exist_ok=True)
            self._write_config(resolved.to_json())
        except OSError as error:
            raise self._unwritable(error) from None

    def follow(self, resolved: Resolved) -> None:
        """Record where the data is now, if it has moved; change nothing else."""
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
        """The configuration as written. Raises InputError if it is missing or damaged."""
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
        """Lock the run for this process, where locks work; InputError if another one has it.

        If nothing else was written, the lock file is removed, with any folder made for it.
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
            try:  # lockf, not flock: a loader process would inherit a flock and may outlive us
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):  # else: no locks here
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
        """Flush log.jsonl to disk; return its length, which the checkpoint records."""
        if not self.log.exists():
            return 0
        with self.log.open("ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def cut_log(self, length: int) -> None:
        """Cut the log back to `length` bytes and drop a line left incomplete by a power cut."""
        if self.log.exists():
            lines = self.log.read_bytes()[:length]
            os.truncate(self.log, lines.rfind(b"\n") + 1)

    def read_log(self) -> Iterator[dict[str, Any]]:
        """The lines of log.jsonl. Raises InputError for a damaged one."""
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
        """Append one line of JSON."""
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _foreign(self) -> Iterator[Path]:
        """Entries of the folder that do not come from an interrupted start."""
        ours = {".lock", "samples", "checkpoints", ".config.json.tmp"}
        return (entry for entry in self.path.iterdir() if entry.name not in ours)


def _differ(key: str, before: Any, now: Any) -> bool:
    """Whether a setting has changed.

    Two data paths never count as different: the data may move, and a checkpoint identifies it by
    its fingerprint. The name of a data set is not a path.
    """
    if key == "data" and "/" in str(before) and "/" in str(now):
        return False
    return bool(before != now)
