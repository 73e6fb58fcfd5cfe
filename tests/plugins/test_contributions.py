"""Names of contributions, and the plugins they resolve to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zoo_core.errors import AmbiguousNameError, UnknownNameError
from zoo_core.plugins.contributions import Contribution, Contributions


def contributions(*claims: str) -> Contributions[SimpleNamespace]:
    """Contributions from `plugin/name` pairs."""
    found: Contributions[SimpleNamespace] = Contributions("model", "zoo list")
    for claim in claims:
        plugin, _, name = claim.partition("/")
        found.records.append(Contribution(plugin, f"zoo-{plugin} 1.0", SimpleNamespace(name=name)))
    return found


def holder(found: Contributions[SimpleNamespace], name: str) -> str:
    return found.find(name).plugin


def test_a_name_claimed_once_needs_no_plugin():
    assert holder(contributions("a/cat", "b/dog"), "dog") == "b"


def test_a_name_claimed_twice_names_both_owners():
    with pytest.raises(AmbiguousNameError, match=r"a/cat \(zoo-a 1.0\), b/cat \(zoo-b 1.0\)"):
        contributions("b/cat", "a/cat").find("cat")


def test_each_owner_is_reached_by_its_name():
    found = contributions("a/cat", "b/cat")
    assert (holder(found, "a/cat"), holder(found, "b/cat")) == ("a", "b")


def test_a_name_belongs_to_the_plugin_named_after_it():
    found = contributions("a/cat", "cat/cat", "z/cat")
    assert holder(found, "cat") == "cat"
    assert found.names() == ["a/cat", "cat", "z/cat"]


def test_every_listed_name_reaches_its_record():
    found = contributions("a/cat", "b/cat", "cat/cat", "b/dog", "c/cow", "d/cow")
    assert [found.get(name) for name in found.names()] == [
        contribution.spec for contribution in found
    ]


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="nearest: cat"):
        contributions("a/cat", "b/dog").find("cta")
