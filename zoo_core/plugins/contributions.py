"""Contributions by name, with their contributors, and what was wrong with some of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from zoo_core.errors import AmbiguousNameError, UnknownNameError

Spec = TypeVar("Spec")


class Problem(msgspec.Struct, frozen=True):
    """Something a plugin did wrong, at a stage: find, api, import, register, names, or a hook."""

    plugin: str
    distribution: str
    stage: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin} ({self.distribution}), {self.stage}: {self.reason}"


class PluginInfo(msgspec.Struct, kw_only=True):
    """One entry point, and how far it got."""

    name: str
    distribution: str  # "zoo-core 0.1.0"
    module: str
    status: str = "ok"  # ok, or broken
    import_seconds: float = 0.0
    hooks: tuple[str, ...] = ()


class Contribution(msgspec.Struct, Generic[Spec], frozen=True):
    """A contributed record with its contributor."""

    plugin: str
    distribution: str
    spec: Spec


class Contributions(Generic[Spec]):
    """Contributions of one kind by name.

    A name claimed twice is reached as `plugin/name`. By itself it stands for the record that a
    plugin of that very name brings, so that nobody can take a model from the plugin named after
    it; where there is no such plugin it is an error that names all matches.
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
        """Every record that `name` or `plugin/name` reaches."""
        return [o for o in self if name in (name_of(o.spec), f"{o.plugin}/{name_of(o.spec)}")]

    def find(self, name: str) -> Contribution[Spec]:
        """The one record that `name` stands for, with its plugin.

        Raises UnknownNameError or AmbiguousNameError.
        """
        found = self.matches(name)
        found = [contribution for contribution in found if contribution.plugin == name] or found
        if not found:
            known = {*self.names(), *(name_of(o.spec) for o in self.records)}
            raise UnknownNameError(self.kind, name, sorted(known), hint=self.listing)
        if len(found) > 1:
            spellings = ", ".join(f"{o.plugin}/{name_of(o.spec)} ({o.distribution})" for o in found)
            raise AmbiguousNameError(
                f"{len(found)} plugins bring a {self.kind} called {name!r}", allowed=spellings
            )
        return found[0]

    def get(self, name: str) -> Spec:
        """The record that `find` finds."""
        return self.find(name).spec

    def names(self) -> list[str]:
        """The shortest name that reaches each record, in order."""
        bare = [name_of(contribution.spec) for contribution in self]
        return [
            n if bare.count(n) == 1 or o.plugin == n else f"{o.plugin}/{n}"
            for n, o in zip(bare, self, strict=True)
        ]


def name_of(spec: Any) -> str:
    """The name under which a record is contributed."""
    return str(spec.name)
