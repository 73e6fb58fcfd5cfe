"""How the settings of a run changed: which, from which image on, and what they were before.

`config.json` holds the settings as they are now, and a list of changes. A command says the settings
that its run began with, those of now, or a mixture; all others are refused, so that no run goes on
with settings that nobody asked for. The settings at any image follow from the list alone. So a run
that is killed after a change, or falls back to a checkpoint before it, ends with the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from zoo_core.config import ModelConfig, Resolved, RunConfig, resolve
from zoo_core.errors import InputError
from zoo_core.filesystem import quoted

# What a command may say otherwise than the run: free settings, and others that identify the images,
# which their fingerprint does as well.
FROM_COMMAND = RunConfig.FREE | {"data", "start_from", "bad_pictures"}


OF_DATA = ("fingerprint", "before", "difference")  # texts, of images that took others' place


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings that changed during a run, or images that took the place of others."""

    images: int  # seen before
    settings: Mapping[str, Any] = {}  # from then on
    before: Mapping[str, Any] = {}  # of the same settings, until then
    data: Mapping[str, Any] = {}  # of images that were accepted: fingerprint, before, difference

    def __str__(self) -> str:
        what = [f"{key}={self.settings[key]} ({self.before[key]} before)" for key in self.settings]
        if self.data:
            what.append(f"other images ({self.data['difference']})")
        return f"{', '.join(what)} since {self.images:,} images"


@dataclass(frozen=True)
class History:
    """The settings of a run, from its first image on."""

    began: Resolved  # the free settings among them as the command says
    changes: tuple[Change, ...] = ()  # by images
    overruled: frozenset[str] = frozenset()  # free settings that the command says otherwise

    @classmethod
    def of(cls, resolved: Resolved, values: Mapping[str, Any]) -> History:
        """The history in a run's configuration `values`, which `differences` has compared with
        `resolved`. Raises InputError if its list of changes is damaged.
        """
        changes = read_changes(values)
        before, said = first_values(changes), flat(resolved)
        overruled = {key for key in before if key in RunConfig.FREE and said[key] != before[key]}
        there = {**values["run"], **values["config"], **before}
        if there.get("precision") == "auto":
            del there["precision"]
        began = {key: there[key] for key in said.keys() & there.keys() - FROM_COMMAND}
        return cls(with_settings(resolved, began), changes, frozenset(overruled))

    @property
    def now(self) -> Resolved:
        """The settings after all changes."""
        return self._after(self.changes)

    @property
    def accepted(self) -> str:
        """Fingerprint of the images that were accepted last; empty if none were."""
        found = [change.data["fingerprint"] for change in self.changes if change.data]
        return found[-1] if found else ""

    def before(self, images: int) -> Resolved:
        """The settings that led to a checkpoint of `images` images."""
        return self._after(change for change in self.changes if change.images < images)

    def after(self, images: int) -> Resolved:
        """The settings from there on."""
        return self._after(self.made(images))

    def made(self, images: int) -> tuple[Change, ...]:
        """The changes up to there, those after exactly so many images included."""
        return tuple(change for change in self.changes if change.images <= images)

    def made_at(self, images: int) -> tuple[Change, ...]:
        """The changes after exactly so many images."""
        return tuple(change for change in self.changes if change.images == images)

    def next_change(self, images: int) -> int | None:
        """Where the first change after `images` images is."""
        return min((c.images for c in self.changes if c.images > images), default=None)

    def changed(
        self, images: int, wanted: Resolved, data: Mapping[str, Any] | None = None
    ) -> History:
        """The history in which the settings after `images` images are `wanted`.

        Changes that were to follow later are taken back: they were made after images that the run,
        having lost its newest checkpoint, has not seen.
        """
        before, now = flat(self.after(images)), flat(wanted)
        keys = [key for key in now if now[key] != before[key]]
        if not keys and not data:
            return self
        change = Change(
            images=images,
            settings={key: now[key] for key in keys},
            before={key: before[key] for key in keys},
            data=data or {},
        )
        overruled = self.overruled - set(keys)
        return History(self.began, (*self.made(images), change), overruled)

    def _after(self, changes: Iterable[Change]) -> Resolved:
        settings = {key: value for change in changes for key, value in change.settings.items()}
        return with_settings(
            self.began, {key: settings[key] for key in settings if key not in self.overruled}
        )


def read_changes(values: Mapping[str, Any]) -> tuple[Change, ...]:
    """The changes in a run's configuration. Raises InputError if they are damaged."""
    damaged = "the changes in a run's config.json are damaged"
    try:
        changes = msgspec.convert(values.get("changes", ()), tuple[Change, ...])
    except msgspec.ValidationError as error:
        raise InputError(f"{damaged}: {error}") from None
    for change in changes:
        if change.settings.keys() != change.before.keys():
            raise InputError(f"{damaged}: settings and before name different ones")
        if change.data and not all(isinstance(change.data.get(key), str) for key in OF_DATA):
            raise InputError(f"{damaged}: data must have {', '.join(OF_DATA)}")
    return changes


def first_values(changes: Iterable[Change]) -> dict[str, Any]:
    """The values that the changed settings had when the run began."""
    found: dict[str, Any] = {}
    for change in changes:
        found = {**change.before, **found}
    return found


def differences(values: Mapping[str, Any], resolved: Resolved) -> dict[str, tuple[Any, Any]]:
    """The settings that neither a run's configuration `values` nor its beginning allows `resolved`
    to have: key -> (value there, value here). Free settings may differ.

    A key that is missing there has its default: it is newer than the run.
    """
    now = resolved.to_json()
    began = first_values(read_changes(values))
    found = {}
    for part, record in (("config", type(resolved.config)), ("run", RunConfig)):
        there = {**defaults(record), **values[part]}
        for key in sorted(there.keys() | now[part].keys()):
            before, here = there.get(key), now[part].get(key)
            is_free = part == "run" and key in RunConfig.FREE
            if not is_free and _differ(key, before, here) and here != began.get(key, before):
                found[key] = before, here
    return found


def _differ(key: str, before: Any, now: Any) -> bool:
    """Whether a setting has changed.

    Two paths never count as different: the data may move, and a checkpoint identifies it by its
    fingerprint, as it does the images that are left when bad ones are skipped; config.json
    identifies the weights of `start_from`. The name of a data set is not a path. `precision=auto`
    is decided once, when the run begins.
    """
    if key in ("data", "start_from") and "/" in str(before) and "/" in str(now):
        return False
    if key == "bad_pictures" or (key == "precision" and now == "auto"):
        return False
    return bool(before != now)


def flat(resolved: Resolved) -> dict[str, Any]:
    """All settings of the run and of the model, as JSON would have them."""
    values = resolved.to_json()
    return {**values["run"], **values["config"]}


def with_settings(resolved: Resolved, settings: Mapping[str, Any], origin: str = "") -> Resolved:
    """The same with other settings. Raises ConfigError, which names `origin`, for a wrong one."""
    if not settings:
        return resolved
    layers = (("the run", flat(resolved)), (origin or "config.json", settings))
    return resolve(resolved.model, type(resolved.config), *layers, preset=resolved.preset)


def defaults(record: type[ModelConfig] | type[RunConfig]) -> dict[str, Any]:
    """The default of every field that has one, as JSON would have it."""
    fields = msgspec.structs.fields(record)
    made = {
        field.name: field.default if field.default_factory is msgspec.NODEFAULT
        else field.default_factory()
        for field in fields if not field.required
    }  # fmt: skip
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
    return decoded


def as_option(settings: Mapping[str, Any]) -> str:
    """What to type for these changes: `--change batch_size=16,learning_rate=0.001`."""
    said = ",".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"
        for key, value in settings.items()
    )
    return f"--change {quoted(said)}"
