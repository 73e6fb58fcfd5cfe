"""What the zoo tells people to type works: every row of the tables in tests/hints."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from hints.scenario import Row, World, play, watch
from hints.sites import sites
from hints.tables import ROWS

SITES = {site.name: site for site in sites()}


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """A folder of trained runs, which tests copy."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def worlds(zoo, store, tmp_path) -> Iterator[Iterator[World]]:
    """Empty folders to work in, one after the other; nothing patched in one is so in the next."""
    interrupt = signal.getsignal(signal.SIGINT)  # an interrupted command ignores it until the end

    def made() -> Iterator[World]:
        for number in count():
            place = tmp_path / f"{number}"
            place.mkdir()
            with pytest.MonkeyPatch.context() as patch, ExitStack() as end:
                patch.setenv("ZOO_PLUGINS", "toy,sorter")
                patch.setenv("ZOO_CACHE", str(place / ".cache"))
                patch.chdir(place)
                world = World(place, store, zoo, patch, end)
                watch(world)
                yield world

    found = made()
    yield found
    found.close()
    signal.signal(signal.SIGINT, interrupt)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.names[0]}: {row.fails}"[:90])
def test_what_a_hint_says_works(row: Row, worlds: Iterator[World]):
    play(row, SITES, worlds)
