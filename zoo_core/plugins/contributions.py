"""Contributions by name, the plugins they come from, and the problems of plugins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from zoo_core.errors import AmbiguousNameError, UnknownNameError

Spec = TypeVar("Spec")


class Problem(msgspec.Struct, frozen=True):
    """A problem with a plugin, and its stage: find, api, import, register, names, or a hook."""

    plugin: str
    distribution: str
    stage: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin} ({self.distribution}), {self.stage}: {self.reason}"


class PluginInfo(msgspec.Struct, kw_only=True):
    """One entry point, and whether it was loaded."""

    name: str
    distribution: str  # "zoo-core 0.1.0"
    module: str
    status: str = "ok"  # ok, or broken
    import_seconds: float = 0.0
    hooks: tuple[str, ...] = ()


class Contribution(msgspec.Struct, Generic[Spec], frozen=True):
    """A contributed record, and the plugin it comes from."""

    plugin: str
    distribution: str
    spec: Spec


class Contributions(Generic[Spec]):
    """Contributions of one kind, by name.

    A name that several plugins use is reached as `plugin/name`. On its own it means the record of
    the plugin with the same name, so that no other plugin can take over a model; if there is no
    such plugin, it is an error that lists all matches.
    """

    def __init__(self, kind: str, listing: str):
        self.kind, self.listing = kind, listing
        self.records: list[Contribution[Spec]] = []

    def __iter__(self) -> Iterator[Contribution[Spec]]:
        return iter(
            sorted(
                self.records,
                key=lambda contribution: (name_of(contribution.spec), contribution.plugin),
            )
        )

    def matches(self, name: str) -> list[Contribution[Spec]]:
        """Every record called `name`, which may be written as `plugin/name`."""
        return [o for o in self if name in (name_of(o.spec), f"{o.plugin}/{name_of(o.spec)}")]

    def find(self, name: str) -> Contribution[Spec]:
        """The one record that `name` means, with its plugin.

        Raises UnknownNameError or AmbiguousNameError.
        """
        found = self.matches(name)
        found = [contribution for contribution in found if contribution.plugin == name] or found
        if not found:
            raise UnknownNameError(self.kind, name, sorted(self.known()), hint=self.listing)
        if len(found) > 1:
            spellings = ", ".join(f"{o.plugin}/{name_of(o.spec)} ({o.distribution})" for o in found)
            raise AmbiguousNameError(
                f"{len(found)} plugins provide a {self.kind} called {name!r}", allowed=spellings
            )
        return found[0]

    def known(self) -> set[str]:
        """What is suggested for a misspelled name."""
        return {*self.names(), *(name_of(contribution.spec) for contribution in self.records)}

    def get(self, name: str) -> Spec:
        """Like `find`, but only the record."""
        return self.find(name).spec

    def names(self) -> list[str]:
        """The shortest unambiguous name of each record, in order."""
        bare = [name_of(contribution.spec) for contribution in self]
        return [
            n if bare.count(n) == 1 or o.plugin == n else f"{o.plugin}/{n}"
            for n, o in zip(bare, self, strict=True)
        ]


def name_of(spec: Any) -> str:
    """The name under which a record is contributed."""
    return str(spec.name)
