"""Every error the zoo raises on purpose, with the exit code of the command.

    ZooError                        1   any error that is reported without a traceback
    ├── RunError                    1   a run failed
    │   ├── NonFiniteError          1   a loss or a gradient is infinite or NaN
    │   ├── CollapseError           1   a run collapsed, and `stop_collapsed` is set
    │   └── CheckpointError         1   a checkpoint cannot be written, or none can be read
    ├── InputError                  2   an unusable command, configuration or file
    │   ├── ConfigError             2   an unknown key, or an invalid value
    │   └── DataError               2   images that are missing, unreadable or unsuitable
    │       ├── PictureError        2   one unusable image
    │       └── ConstantError       2   images that are all the same
    ├── UnknownNameError            3   no model, tag, preset or data set has that name
    ├── AmbiguousNameError          3   several have it
    ├── PluginError                 4   a broken plugin that the command needs
    ├── WeightsError                5   a weights file is not what it claims or must be
    │   ├── DownloadError           5   no place has the registered file, or it cannot be stored
    │   └── UploadError             5   a server did not take the files
    ├── OfflineError                6   something needed is not on this machine
    └── Interrupted               130   SIGINT or SIGTERM; the run was saved

A message is one line of up to five parts: what happened, what was given, what is allowed, the
nearest names, and what to try. No class derives from KeyError, which prints its text in quotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class ZooError(Exception):
    """Base class: what happened and, where it helps, what was `given`, what is `allowed`, the
    nearest names (`near`) and what to try (`hint`).
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        given: object = None,
        allowed: str = "",
        near: Sequence[str] = (),
        hint: str = "",
    ):
        self.what, self.given, self.allowed, self.hint = what, given, allowed, hint
        self.near = near
        super().__init__(str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without calling `__init__`, whose arguments differ: errors cross processes."""
        return type(self).__new__, (type(self), *self.args), self.__dict__

    def __str__(self) -> str:
        parts = [self.what]
        if self.given is not None:
            parts.append(f"given: {str(self.given) or repr('')}")
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.near:
            parts.append(f"nearest: {', '.join(self.near)}")
        if self.hint:
            parts.append(f"try: {self.hint}")
        return printable("; ".join(" ".join(part.split()) for part in parts))


class RunError(ZooError):
    """A run failed."""


class NonFiniteError(RunError):
    """A loss or a gradient norm is infinite or NaN; nothing was updated with it."""


class CollapseError(RunError):
    """An alarm reports a collapse and `stop_collapsed` is set; the run was saved."""


class CheckpointError(RunError):
    """A checkpoint cannot be written, or no checkpoint of a run can be read."""


class InputError(ZooError):
    """An unusable command, configuration or file."""

    exit_code = 2


class ConfigError(InputError):
    """An unknown configuration key, or a value of the wrong type or out of range."""


class DataError(InputError):
    """Images that are missing, unreadable, too few, or do not fit the model."""


class PictureError(DataError):
    """The image called `name` is unusable, for `reason`; the others may be fine."""

    def __init__(self, name: str, reason: str):
        self.name, self.reason = name, reason
        super().__init__(f"{name}: {reason}")


class ConstantError(DataError):
    """Images with identical features: there is no distribution to compare."""


class UnknownNameError(ZooError):
    """No `kind` is called `name`; the nearest `known` names are suggested, never used."""

    exit_code = 3

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = ""):
        super().__init__(f"no {kind} is called {name!r}", near=nearest(name, known), hint=hint)


class AmbiguousNameError(ZooError):
    """Several things have that name; the message lists an unambiguous name for each."""

    exit_code = 3


class PluginError(ZooError):
    """A plugin is broken, and the command needs it or ZOO_STRICT=1 is set."""

    exit_code = 4


class WeightsError(ZooError):
    """A weights file is damaged, is not safetensors, or does not belong to the architecture."""

    exit_code = 5


class DownloadError(WeightsError):
    """No server sent the registered file, or it cannot be written; the message says why of each."""


class UploadError(WeightsError):
    """A server did not take the files of a publication; the message says why."""


class OfflineError(ZooError):
    """Something needed is not on this machine and cannot be downloaded."""

    exit_code = 6


class Interrupted(ZooError):
    """SIGINT or SIGTERM arrived; the run was saved at a step boundary."""

    exit_code = 130


def first_few(items: Iterable[object], separator: str = ", ") -> str:
    """The first three items and how many more there are, for a message."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return separator.join(texts[:3]) + more


def text_of(error: BaseException) -> str:
    """The text of an exception, in one line; that of a plugin's own class may fail to be made."""
    try:
        return " ".join(str(error).split())
    except Exception as failure:
        return f"its text cannot be read: {type(failure).__name__}"


def printable(text: str) -> str:
    """The text with `?` for control characters, which a terminal would obey: names and metadata of
    files are untrusted.
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names in `known` that are closest to a misspelled `name`, best first."""
    import difflib  # needed only for error messages

    by_lower = {candidate.lower(): candidate for candidate in known}
    name = name.lower()
    longer = [candidate for candidate in by_lower if candidate.startswith(f"{name}.")]
    matches = longer[:limit] or difflib.get_close_matches(name, by_lower, n=limit, cutoff=0.5)
    return [by_lower[match] for match in matches]
