"""The folder of a run: configuration, log, weights, and a lock for the process that writes it.

runs/dcgan.critters32/
  config.json            the resolved configuration, and the changes that led to it
  data.json              what the images are like, to say how others differ
  log.jsonl              one line every `log_every` images; no times, so a resume repeats its bytes
  timing.jsonl           seconds, images per second and the device for each of those lines
  samples/*.png          a grid of fixed seeds every `sample_every` images
  checkpoints/<images>/  everything a resume needs; see checkpoint.py
  best.safetensors       the averaged network of the best evaluation, if `evaluate_every` is set
  generator.safetensors  the averaged generator (or classifier.safetensors) of the last checkpoint
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from zoo_core.config import Resolved, check_run
from zoo_core.errors import InputError, RunError
from zoo_core.filesystem import (
    as_argument,
    lock,
    mkdir_with_rollback,
    place_of,
    replacing,
    sync,
    sync_folder,
    write_synced,
)
from zoo_core.training.changes import Change, History, as_option, differences
from zoo_core.weights.header import StartedFrom


def _is_plain(line: Mapping[str, Any]) -> bool:
    """Whether the terms and the numbers in a line of the log are numbers."""
    terms = (line[key] for key in line if "/" in key and key != "evaluation/protocol")
    return all(isinstance(term, int | float) for term in terms)


class RunFolder:
    """Reads, checks and writes a run's files; leaves nothing behind before `start`."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.json"
        self.data = path / "data.json"
        self.log = path / "log.jsonl"
        self.timing = path / "timing.jsonl"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.best = path / "best.safetensors"
        self._held: IO[str] | None = None  # the lock file, while it is locked
        self._number = 0  # the folder's, as the file system counts

    def weights(self, role: str) -> Path:
        """Path of the averaged network's weights; `role` is generator or classifier."""
        return self.path / f"{role}.safetensors"

    def check(
        self,
        resolved: Resolved,
        may_change: Callable[[Mapping[str, Any]], bool] = lambda settings: False,
        changing: Collection[str] = (),  # settings that may differ, because they are about to
    ) -> None:
        """Raise InputError if the folder is not a run, or is one with other settings (listed).

        If `may_change` says that `--change` would take them, the error says so, too.
        """
        if not self.config.exists():
            if self.path.exists() and (not self.path.is_dir() or any(self._foreign())):
                raise InputError(
                    f"{self.path} exists and is not a run", hint="--run-dir NEW_FOLDER"
                )
            return
        before = self.read_config()
        hint = "--run-dir NEW_FOLDER"
        if before["model"] != resolved.model:
            shown = [f"model: {before['model']} there, {resolved.model} here"]
        else:
            found = differences(before, resolved)
            settings = {key: found[key][1] for key in found if key not in changing}
            shown = [f"{key}: {found[key][0]!r} there, {settings[key]!r} here" for key in settings]
            if settings and may_change(settings):
                hint = f"{as_option(settings)} to go on with that, or {hint}"
        if shown:
            what = f"{self.path} is a run with a different configuration: {', '.join(shown)}"
            raise InputError(what, hint=hint)

    def history(self, resolved: Resolved) -> History:
        """The settings of the run, which `check` has found to be those of `resolved`."""
        if not self.config.exists():
            return History(resolved)
        return History.of(resolved, self.read_config())

    def start(
        self,
        resolved: Resolved,
        changes: Sequence[Change] = (),
        data: Mapping[str, Any] | None = None,
        started_from: StartedFrom | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        """Create the subfolders; write the configuration, the changes that led to it, the weights
        that the run started from, and what the images are like.
        """
        values = resolved.to_json()
        if started_from is not msgspec.UNSET:
            values["started_from"] = msgspec.to_builtins(started_from)
        if changes:
            values["changes"] = msgspec.to_builtins(changes)
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
            self.checkpoints.mkdir(exist_ok=True)
            self._write_json(self.config, values)
            if data is not None and data != self.recorded_data():
                self._write_json(self.data, data, indent=None)
        except OSError as error:
            raise self._unwritable(error) from None

    def started_from(self) -> StartedFrom | msgspec.UnsetType:
        """The weights that the run started from; UNSET if it started from scratch, or is new.

        Raises InputError if the record is damaged.
        """
        record = self.read_config().get("started_from") if self.config.exists() else None
        try:
            return msgspec.UNSET if record is None else msgspec.convert(record, StartedFrom)
        except msgspec.ValidationError as error:
            raise InputError(f"cannot read {self.config}: started_from: {error}") from None

    def recorded_data(self) -> dict[str, Any]:
        """What the images were like; empty if that was not written, or is damaged."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            values = json.loads(self.data.read_text(encoding="utf-8"))
            return values if isinstance(values, dict) else {}
        return {}

    def follow(self, resolved: Resolved) -> None:
        """Record where the data is now, if it has moved; change nothing else."""
        values = self.read_config()
        before = dict(values["run"])
        values["run"] |= {key: getattr(resolved.run, key) for key in ("data", "evaluate_data")}
        if values["run"] != before:
            try:
                self._write_json(self.config, values)
            except OSError as error:
                raise self._unwritable(error) from None

    @staticmethod
    def _write_json(path: Path, values: Mapping[str, Any], indent: int | None = 2) -> None:
        """Replace a file, on disk before any checkpoint that a change has led to."""
        text = json.dumps(values, indent=indent, ensure_ascii=False) + "\n"
        with replacing(path) as temporary:
            write_synced(temporary, text.encode())
        sync_folder(path.parent)

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
        if not isinstance(values.get("preset", ""), str):
            raise InputError(f"{self.config} is damaged: preset is no text")
        check_run(values["run"], str(self.config), values["model"])
        return values

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process, where locks work; InputError if another one has it.

        If nothing else was written, the lock file is removed, with any folder made for it.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(mkdir_with_rollback(self.path))
                file = stack.enter_context((self.path / ".lock").open("a+", encoding="utf-8"))
            except OSError as error:
                raise self._unwritable(error) from None
            if not lock(file):
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise InputError(f"another process (pid {owner}) is training in {self.path}")
            stack.callback(self._remove_lonely_lock)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self._held, self._number = file, self.path.stat().st_ino
            stack.callback(setattr, self, "_held", None)
            yield

    def check_in_place(self) -> None:
        """Raise RunError if the folder that is locked is no longer at its path.

        What is written next would be lost, or get into another run that was started there.
        """
        if self._held is None or self._is_in_place():
            return
        place = place_of(self._held)
        if place is None:
            raise RunError(
                f"the run folder {self.path} is gone: it was removed, or moved to another disk, "
                "while it was trained",
                hint="--run-dir FOLDER if it is elsewhere",
            )
        found = [int(path.name) for path in place.parent.glob("checkpoints/[0-9]*")]
        last = f"its last checkpoint is that of {max(found):,} images" if found else "no checkpoint"
        raise RunError(
            f"the run folder {self.path} was moved to {place.parent} while it was trained; {last}",
            hint=f"--run-dir {as_argument(place.parent)}",
        )

    def _is_in_place(self) -> bool:
        """Whether the folder is there: by its number or, where that may change, by its lock."""
        try:
            if self.path.stat().st_ino == self._number:
                return True
            return (self.path / ".lock").read_text(encoding="utf-8") == str(os.getpid())
        except FileNotFoundError:
            return False
        except OSError:  # whoever writes will say what is wrong
            return True

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
            sync(file)
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
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict) and isinstance(line.get("images"), int) and _is_plain(line):
                return line
        raise InputError(f"line {number} of {self.log} is damaged", hint="remove that line")

    def log_changes(self, changes: Iterable[Change]) -> None:
        """Log changes, one a line, unless they are what was logged last."""
        records = [msgspec.to_builtins(change) for change in changes]
        lines = [{"images": record.pop("images"), "change": record} for record in records]
        logged = self.log.read_bytes() if self.log.exists() else b""
        if not logged.endswith("".join(f"{json.dumps(line)}\n" for line in lines).encode()):
            for line in lines:
                self.append(self.log, line)

    @staticmethod
    def append(path: Path, record: Mapping[str, Any]) -> None:
        """Append one line of JSON, in the same bytes on every system."""
        with path.open("ab") as file:
            file.write(f"{json.dumps(record)}\n".encode())

    def _foreign(self) -> Iterator[Path]:
        """Entries of the folder that do not come from an interrupted start."""
        ours = {".lock", "samples", "checkpoints", ".config.json.tmp"}
        return (entry for entry in self.path.iterdir() if entry.name not in ours)
