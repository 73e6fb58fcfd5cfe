"""Every error the zoo raises on purpose, and the exit code each one ends a command with.

    ZooError                        1   anything the zoo says instead of a traceback
    ├── RunError                    1   a run failed
    │   ├── NonFiniteError          1   a loss or a gradient is not a number
    │   ├── CollapseError           1   a run has collapsed and was told to stop then
    │   └── CheckpointError         1   a checkpoint cannot be written, or none can be read
    ├── InputError                  2   a command, a configuration or a file is not usable
    │   ├── ConfigError             2   an unknown key, a value of the wrong type
    │   └── DataError               2   pictures that are missing, unreadable or do not fit
    │       ├── PictureError        2   one picture that cannot be used
    │       └── ConstantError       2   pictures that are all the same
    ├── UnknownNameError            3   no model, tag, preset or data set has that name
    ├── AmbiguousNameError          3   several have it
    ├── PluginError                 4   a plugin is broken, and it matters now
    ├── WeightsError                5   a weights file is not what it claims or has to be
    ├── OfflineError                6   not on this machine, and the network is switched off
    └── Interrupted               130   SIGINT or SIGTERM; the run was saved

A message is one line and has up to five parts: what happened, what was given, what is allowed,
which names are near, what to type next. None of these derives from KeyError, whose text is printed
in quotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class ZooError(Exception):
    """What happened; if it helps, what was `given`, what is `allowed`, the names that are `near`,
    and what to type (`hint`).
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
    """A loss or a gradient norm is infinite or not a number; nothing was updated with it."""


class CollapseError(RunError):
    """An alarm says that the run will not recover, and `stop_collapsed` is set; it was saved."""


class CheckpointError(RunError):
    """A checkpoint cannot be written, or none of a run's can be read."""


class InputError(ZooError):
    """A command, a configuration or a file that cannot be used."""

    exit_code = 2


class ConfigError(InputError):
    """An unknown configuration key, or a value of the wrong type or out of range."""


class DataError(InputError):
    """Pictures that are missing, unreadable, too few, or do not fit the model."""


class PictureError(DataError):
    """The picture called `name` cannot be used, for a `reason`; the others may be fine."""

    def __init__(self, name: str, reason: str):
        self.name, self.reason = name, reason
        super().__init__(f"{name}: {reason}")


class ConstantError(DataError):
    """Pictures that are all the same to an extractor: there is no distribution to compare."""


class UnknownNameError(ZooError):
    """No `kind` is called `name`; the nearest `known` names are offered, never guessed."""

    exit_code = 3

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = ""):
        super().__init__(f"no {kind} is called {name!r}", near=nearest(name, known), hint=hint)


class AmbiguousNameError(ZooError):
    """Several things have that name; the message lists how to spell each of them."""

    exit_code = 3


class PluginError(ZooError):
    """A plugin is broken and the command cannot do without it, or ZOO_STRICT=1 is set."""

    exit_code = 4


class WeightsError(ZooError):
    """A weights file is damaged, is not safetensors, or does not belong to the architecture."""

    exit_code = 5


class OfflineError(ZooError):
    """Something is not on this machine, and the network may not be used."""

    exit_code = 6


class Interrupted(ZooError):
    """SIGINT or SIGTERM arrived; the run was saved at a step boundary."""

    exit_code = 130


def first_few(items: Iterable[object], separator: str = ", ") -> str:
    """The first three items and how many more there are, for a message."""
    texts = [str(item) for item in items]
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return separator.join(texts[:3]) + more


def printable(text: str) -> str:
    """Without what a terminal would obey: names and what files say of themselves come from
    anywhere.
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The names in `known` that a typing mistake would most likely have meant, best first."""
    import difflib  # only ever needed on the way to an error message

    by_lower = {candidate.lower(): candidate for candidate in known}
    name = name.lower()
    longer = [candidate for candidate in by_lower if candidate.startswith(f"{name}.")]
    matches = longer[:limit] or difflib.get_close_matches(name, by_lower, n=limit, cutoff=0.5)
    return [by_lower[match] for match in matches]
