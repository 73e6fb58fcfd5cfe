"""Hints about registered weights: what a server, a package and the cache have of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from file_server import serving

from hints.faults import full
from hints.places import setenv, weights
from hints.scenario import Row, World
from zoo_core.weights import store

NAME = "toy.bars16"
SAMPLE = f"zoo sample {NAME}"
FETCH = f"zoo weights fetch {NAME}"
OPENED = store._opened
OFFLINE = setenv("ZOO_OFFLINE", "1")


def entry(data: bytes, url: str, name: str = NAME, **changes: Any) -> dict[str, Any]:
    file = {"urls": [url], "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return {
        "name": name, "model": "toy", "summary": "bars", "config": {},
        "files": {"generator": file}, "licence": "CC0-1.0", "trained_on": "bars", "images": 16,
        "command": "zoo train toy", **changes,
    }  # fmt: skip


def data_of_weights(w: World) -> bytes:
    weights("published.safetensors")(w)
    return Path("published.safetensors").read_bytes()


def register(w: World, *entries: dict[str, Any]) -> None:
    path = Path("registry.yaml").absolute()
    path.write_text(json.dumps({"schema": 1, "weights": entries}))
    w.patch.setattr("zoo_core.weights.registry.builtin_registry", lambda: path)


def published(w: World) -> None:
    """A server has the weights."""
    data = data_of_weights(w)
    w.names |= {"copy": copy, "remove": remove}
    server = w.end.enter_context(serving())
    register(w, entry(data, server.serve("/a", data)))


def gone(w: World) -> None:
    """No server has the weights any more."""
    data = data_of_weights(w)
    w.names["copy"] = copy
    register(w, entry(data, w.end.enter_context(serving()).url("/a")))


def yanked(**changes: str) -> Callable[[World], None]:
    """There were other weights, which were withdrawn."""

    def publish(w: World) -> None:
        published(w)
        (first,) = json.loads(Path("registry.yaml").read_text())["weights"]
        gone = {"status": "yanked", "reason": "black images", **changes}
        register(w, first, entry(b"bad", "https://example.org/bad", "toy.bad16", **gone))

    return publish


def twice(w: World) -> None:
    data = data_of_weights(w)
    url = "https://example.org/a"
    register(w, entry(data, url), entry(data, url, "toy.stripes16"))


def one_name(w: World) -> None:
    """The other name is an alias."""
    data = data_of_weights(w)
    register(w, entry(data, "https://example.org/a", aliases=["toy.stripes16"]))


def installed(w: World) -> None:
    """The weights are in a package."""
    data = data_of_weights(w)
    place = Path("site", "weights_of_bars")
    place.mkdir(parents=True)
    (place / "__init__.py").touch()
    (place / "a").write_bytes(data)
    w.patch.syspath_prepend(Path("site").absolute())
    w.end.callback(sys.modules.pop, "weights_of_bars", None)
    register(w, entry(data, "package:weights_of_bars/a"))


def stored() -> list[Path]:
    folder = Path(os.environ["ZOO_CACHE"], "weights")
    return [path for path in folder.iterdir() if not path.suffix]


def fetched(w: World) -> None:
    done = w.run(FETCH)
    assert done.works, done.said


def damage(w: World) -> None:
    for path in stored():
        path.write_bytes(b"x" + path.read_bytes()[1:])


def damage_the_package(w: World) -> None:
    Path("site/weights_of_bars/a").write_bytes(b"damaged")


def reinstall(w: World) -> None:
    shutil.copy("published.safetensors", "site/weights_of_bars/a")


def renounce(w: World) -> None:
    """No registry names the weights any more."""
    register(w)


def withdraw(w: World) -> None:
    """The weights that are here are yanked."""
    (first,) = json.loads(Path("registry.yaml").read_text())["weights"]
    register(w, first | {"status": "yanked", "reason": "black images"})


def remove(hint: str) -> None:
    """Remove the file that the hint names."""
    Path(hint.removeprefix("remove ")).unlink()


def go_online(w: World) -> None:
    w.patch.delenv("ZOO_OFFLINE")


def fetch_online(w: World) -> None:
    go_online(w)
    fetched(w)
    OFFLINE(w)


def free_space(w: World) -> None:
    w.patch.setattr("zoo_core.weights.store._opened", OPENED)


def no_folder(w: World) -> None:
    Path("file").touch()
    w.patch.setenv("ZOO_CACHE", "file/cache")


def copy(hint: str) -> None:
    """Copy the file to where the hint says."""
    place = Path(hint.partition("copy it to ")[2])
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy("published.safetensors", place)


VERIFY = ("cli/weights.py verify", "cli/weights.py _remedy")
BAD = "zoo sample toy.bad16"
LINKS = "zoo registry validate registry.yaml --links"

ROWS = (
    Row("cli/weights.py _here", f"zoo weights path {NAME}", published, heals=True),
    Row(VERIFY, "zoo weights verify", (published, fetched, damage), heals=True),
    Row(VERIFY[0], "zoo weights verify", (published, fetched, damage, renounce), heals=True),
    Row(VERIFY[0], "zoo weights verify", (installed, damage_the_package), by_hand=reinstall),
    Row(VERIFY[0], "zoo weights verify", (published, fetched, damage, withdraw),
        by_hand=">>> remove('{hint}')", heals=True),
    Row("cli/registry.py _links", LINKS, (published, OFFLINE), by_hand=go_online),
    Row("weights/registry.py _check_unique", "zoo registry validate registry.yaml", twice,
        by_hand=one_name),
    Row("weights/registry.py usable", BAD, yanked(replaced_by=NAME), by_hand="zoo sample {hint}"),
    Row("weights/registry.py usable 2", BAD, yanked()),
    Row("weights/hub.py _downloaded", SAMPLE, (published, OFFLINE),
        by_hand=(fetch_online, ">>> copy('{hint}')"), heals=True),
    Row("weights/hub.py _filled", SAMPLE, gone, by_hand=">>> copy('{hint}')", heals=True),
    Row("weights/hub.py _differs 2", SAMPLE, (published, fetched, damage, OFFLINE),
        by_hand=fetch_online, heals=True),
    Row("weights/hub.py _differs", SAMPLE, (installed, damage_the_package), by_hand=reinstall),
    Row("weights/store.py _writing", SAMPLE, (published, full("zoo_core.weights.store._opened")),
        by_hand=free_space),
    Row("weights/store.py _writing 2", SAMPLE, (published, no_folder),
        by_hand=setenv("ZOO_CACHE", "other")),
)  # fmt: skip
