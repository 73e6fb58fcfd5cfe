"""`zoo weights` and `zoo registry`: every subcommand, its JSON, and one line per mistake."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest
from file_server import DATA, serving

from zoo_core.weights import registry

NAME = "toy.bars16"


def entry(name=NAME, data=DATA, urls=(), **changes):
    file = {"urls": urls, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return {
        "name": name,
        "model": "toy",
        "summary": "bars",
        "config": {},
        "files": {"generator": file},
        "licence": "CC0-1.0",
        "trained_on": "bars",
        "images": 16,
        "command": "zoo train toy",
        **changes,
    }


@pytest.fixture
def server():
    with serving() as server:
        server.serve("/a", DATA)
        yield server


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a registry file, which becomes the zoo's own."""

    def write_entries(*entries):
        path = tmp_path / "registry.yaml"
        path.write_text(json.dumps({"schema": 1, "weights": entries}))
        monkeypatch.setattr(registry, "builtin_registry", lambda: path)
        return path

    return write_entries


@pytest.fixture
def published(server, write):
    """One that a server has, one that was yanked, one in a package that is not installed."""
    yanked = {"status": "yanked", "reason": "black images", "replaced_by": NAME}
    return write(
        entry(urls=[server.url("/a")], aliases=["toy.stripes"]),
        entry("toy.bad16", b"bad", [server.url("/bad")], **yanked),
        entry("toy.elsewhere", b"elsewhere", ["package:not_installed/a"]),
    )


def cache() -> Path:
    return Path(os.environ["ZOO_CACHE"]) / "weights"


def stored() -> Path:
    return cache() / hashlib.sha256(DATA).hexdigest()


def rows(answer) -> dict[str, list[str]]:
    """The cells of each line of a table by name."""
    return {line.split()[0]: line.split()[1:] for line in answer.out.splitlines()[1:]}


def test_weights_are_listed_with_size_licence_place_and_status(zoo, published):
    listed = rows(zoo("weights", "list"))
    assert listed == {
        "toy.bad16": ["0.0", "CC0-1.0", "to", "fetch", "yanked:", "black", "images;", "use", NAME],
        NAME: ["0.3", "CC0-1.0", "to", "fetch", "active"],
        "toy.elsewhere": ["0.0", "CC0-1.0", "missing", "active"],
    }
    zoo("weights", "fetch", NAME)
    assert rows(zoo("weights", "list", "*.bars*")) == {NAME: ["0.3", "CC0-1.0", "cached", "active"]}


def test_listing_weights_asks_no_server(zoo, published, server):
    assert zoo("weights", "list").code == 0
    assert server.requests == []


def test_a_pattern_without_matches_is_a_warning(zoo, published):
    answer = zoo("weights", "list", "none*")
    assert (answer.code, answer.out) == (0, "")
    assert "no weights match 'none*'" in answer.err


def test_weights_are_listed_as_json(zoo, published):
    listed = zoo("weights", "list", "--json").json
    assert (listed["schema"], listed["problems"]) == (1, [])
    found = {record["name"]: record for record in listed["weights"]}
    assert found[NAME] == {
        "name": NAME, "model": "toy", "role": "generator", "bytes": len(DATA),
        "sha256": stored().name, "licence": "CC0-1.0", "where": "to fetch", "path": None,
        "status": "active", "reason": "", "replaced_by": "", "aliases": ["toy.stripes"],
        "plugin": "zoo", "distribution": "zoo-core",
    }  # fmt: skip
    assert found["toy.bad16"]["replaced_by"] == NAME


def test_of_several_roles_the_network_that_is_loaded_is_listed(zoo, write):
    files = {
        role: entry(data=role.encode(), urls=["https://a.b/c"])["files"]["generator"]
        for role in ("discriminator", "generator", "classifier")
    }
    two = {role: files[role] for role in ("discriminator", "generator")}
    only = {"discriminator": {**files["classifier"]}}
    write(entry("toy.both", files=two), entry("toy.only", files=only))
    listed = zoo("weights", "list", "--json").json["weights"]
    assert [(r["name"], r["role"]) for r in listed] == [
        ("toy.both", "generator"), ("toy.only", "discriminator"),
    ]  # fmt: skip


def test_a_broken_registry_of_a_plugin_is_a_problem_in_the_listing(zoo, published, monkeypatch):
    import zoo_core.plugins.loading as loading
    from zoo_core.plugins.contributions import Contribution

    load = loading.load_plugins

    def with_broken():
        plugins = load()
        plugins.registries.append(Contribution("broken", "broken-dist 1.0", Path("none.yaml")))
        return plugins

    monkeypatch.setattr(loading, "load_plugins", with_broken)
    assert zoo("weights", "list", "--json").json["problems"][0]["plugin"] == "broken"
    assert "warning: plugin broken (broken-dist 1.0)" in zoo("weights", "list").err


def test_weights_are_fetched_once(zoo, published, server):
    for _ in range(2):
        assert rows(zoo("weights", "fetch", NAME)) == {NAME: ["0.3", "cached", str(stored())]}
    assert stored().read_bytes() == DATA
    assert len(server.requests) == 1


def test_a_dry_run_says_what_would_be_downloaded(zoo, published, server):
    answer = zoo("weights", "fetch", NAME, "--dry-run")
    assert rows(answer) == {NAME: ["0.3", "to", "fetch", "-"]}
    assert answer.err == "0.3 MB to download\n"
    assert (server.requests, cache().exists()) == ([], False)
    zoo("weights", "fetch", NAME)
    assert zoo("weights", "fetch", NAME, "--dry-run").err == "0.0 MB to download\n"


def test_everything_that_can_be_fetched_is_fetched_and_the_rest_is_said(zoo, published):
    answer = zoo("weights", "fetch", "--all")
    assert rows(answer) == {NAME: ["0.3", "cached", str(stored())]}
    assert answer.code == 6
    assert answer.error.startswith("error: the weights file of toy.elsewhere is not on this")


def test_of_several_failures_each_is_said(zoo, write, server):
    write(*(entry(f"toy.b{n}", b"%d" % n, [server.url(f"/{n}")]) for n in range(2)))
    answer = zoo("weights", "fetch", "--all")
    assert answer.code == 5
    assert "cannot download the weights file of toy.b0" in answer.error
    assert "warning: cannot download the weights file of toy.b1" in answer.err


@pytest.mark.parametrize("arguments", [[], [NAME, "--all"]])
def test_what_to_fetch_has_to_be_said(zoo, published, arguments):
    answer = zoo("weights", "fetch", *arguments)
    assert answer.code == 2
    assert "allowed: names of weights, or --all" in answer.error


def test_a_name_from_before_is_fetched_with_a_warning(zoo, published):
    answer = zoo("weights", "fetch", "toy.stripes")
    assert answer.code == 0
    assert f"warning: toy.stripes is now called {NAME}" in answer.err


BAD = {  # what the server does -> exit code and what is said
    "404": (lambda visit: visit.answer(404), 5, "answered 404 Not Found"),
    "500": (lambda visit: visit.answer(500), 5, "answered 500 Internal Server Error, 4 times"),
    "other bytes": (lambda visit: visit.answer(200, DATA[::-1]), 5, "sends other bytes"),
    "other size": (lambda visit: visit.answer(200, b"x"), 5, "has a file of 1 bytes"),
    "http": (lambda visit: visit.answer(302, Location="http://a.b/"), 5, "only https is opened"),
}


@pytest.mark.parametrize(("behave", "code", "told"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("command", [("weights", "fetch"), ("sample",)], ids=" ".join)
def test_a_bad_server_is_one_line(zoo, published, server, monkeypatch, command, behave, code, told):
    monkeypatch.setattr("zoo_core.weights.download.BACKOFF", 0)
    server.serve("/a", behave)
    answer = zoo(*command, NAME)
    assert answer.code == code
    assert told in answer.error
    assert [path.suffix for path in cache().iterdir()] == [".lock"]


NAMED = {  # a name -> exit code and what is said
    "toy.bars61": (3, "no weights file, run folder or registered name is called 'toy.bars61'"),
    "toy.bad16": (5, f"toy.bad16 was yanked: black images; try: {NAME}"),
    "toy.elsewhere": (6, "the weights file of toy.elsewhere is not on this machine"),
}


@pytest.mark.parametrize("command", ["fetch", "verify", "path"])
@pytest.mark.parametrize("name", NAMED)
def test_a_bad_name_is_one_line(zoo, published, name, command):
    code, told = NAMED[name]
    answer = zoo("weights", command, name)
    assert answer.code == code
    assert told in answer.error


def test_offline_is_an_exit_code_of_its_own(zoo, published, server, monkeypatch):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    for command in (("weights", "fetch"), ("sample",), ("evaluate",)):
        answer = zoo(*command, NAME)
        assert answer.code == 6
        assert f"try: zoo weights fetch {NAME} without ZOO_OFFLINE, or copy it to" in answer.error
    assert server.requests == []


def test_a_cache_that_is_a_file_is_one_line(zoo, published, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    answer = zoo("weights", "fetch", NAME)
    assert answer.code == 5
    assert "cannot write" in answer.error


def test_the_path_of_what_is_here_is_printed(zoo, published):
    answer = zoo("weights", "path", NAME)
    assert (answer.code, answer.out) == (6, "")
    assert f"try: zoo weights fetch {NAME}" in answer.error
    zoo("weights", "fetch", NAME)
    assert zoo("weights", "path", NAME).out == f"{stored()}\n"


def test_whole_files_are_verified(zoo, published):
    zoo("weights", "fetch", NAME)
    answer = zoo("weights", "verify")
    assert (answer.code, rows(answer)) == (0, {NAME: ["cached", str(stored()), "-"]})
    assert answer.err == "1 of 1 files are the registered ones\n"
    assert zoo("weights", "verify", NAME).code == 0


@pytest.mark.parametrize("damaged", [DATA[::-1], DATA[:-1], b""])
def test_damaged_files_are_found(zoo, published, damaged):
    zoo("weights", "fetch", NAME)
    stored().write_bytes(damaged)
    answer = zoo("weights", "verify")
    assert answer.code == 5
    assert f"{len(damaged)} bytes" in answer.out
    assert "1 of 1 files are not the registered ones" in answer.error
    (record,) = zoo("weights", "verify", "--json").json["weights"]
    assert record["problem"].startswith(f"{len(damaged)} bytes")


def test_a_cached_file_that_no_registry_names_is_verified_too(zoo, published):
    cache().mkdir(parents=True)
    for data in (b"one", b"two"):
        (cache() / hashlib.sha256(data).hexdigest()).write_bytes(b"one")
    answer = zoo("weights", "verify")
    assert answer.code == 5
    assert [line.split()[3:] for line in sorted(answer.out.splitlines()[1:])].count(["-"]) == 1
    assert "1 of 2 files are not the registered ones" in answer.error


def test_verifying_reads_each_file_once(zoo, published, monkeypatch):
    zoo("weights", "fetch", NAME)
    from zoo_core.weights import store

    read, digest = [], store.digest_of
    monkeypatch.setattr(store, "digest_of", lambda path: read.append(path) or digest(path))
    zoo("weights", "verify")
    assert read == [stored()]


@pytest.fixture
def litter(zoo, published):
    """What nothing needs: a file of no registry, and the rest of a download that was killed."""
    zoo("weights", "fetch", NAME)
    made = {cache() / ("ab" * 32): b"x" * 5000, cache() / f"{'cd' * 32}.part": b"y" * 5000}
    for path, data in made.items():
        path.write_bytes(data)
    (cache() / f"{'cd' * 32}.lock").touch()
    (cache() / "notes.txt").touch()
    return set(made)


def test_what_nothing_needs_is_removed(zoo, litter):
    before = set(cache().iterdir())
    dry = zoo("weights", "prune", "--dry-run")
    assert (set(cache().iterdir()), dry.err) == (before, "would free 0.0 MB\n")
    removed = zoo("weights", "prune", "--json").json["removed"]
    assert {Path(record["path"]) for record in removed} == litter
    assert [record["bytes"] for record in removed] == [5000, 5000]
    assert set(cache().iterdir()) == before - litter
    assert stored().read_bytes() == DATA


def test_what_cannot_be_removed_is_one_line(zoo, litter, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    answer = zoo("weights", "prune")
    assert answer.code == 5
    assert "cannot remove" in answer.error


def test_a_cached_file_that_cannot_be_read_is_listed(zoo, litter, monkeypatch):
    unreadable = cache() / ("ab" * 32)
    opened = Path.open

    def refuse(path, *mode, **options):
        if path == unreadable:
            raise PermissionError(13, "Permission denied")
        return opened(path, *mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    answer = zoo("weights", "verify")
    assert answer.code == 5
    assert "cannot be read: Permission denied" in answer.out


def test_a_part_that_somebody_fills_is_not_removed(zoo, litter):
    from filelock import FileLock

    with FileLock(cache() / f"{'cd' * 32}.lock"):
        assert len(zoo("weights", "prune", "--json").json["removed"]) == 1
    assert (cache() / f"{'cd' * 32}.part").exists()


def test_a_part_without_a_lock_is_removed_after_a_day(zoo, published):
    cache().mkdir(parents=True)
    new, old, future = (cache() / f"{'ab' * 32}.{n * 16}.part" for n in "123")
    for path, age in ((new, 0), (old, 2), (future, -2)):
        path.write_bytes(b"part")
        os.utime(path, (time.time() - age * 86400,) * 2)
    zoo("weights", "prune")
    assert list(cache().iterdir()) == [new]


@pytest.mark.parametrize(
    "command",
    [
        ("weights", "fetch"),
        ("sample",),
        ("evaluate",),
        ("train", "toy", "--images", 8, "--set", "batch_size=8", "--from"),
    ],
)
def test_a_download_is_said_with_its_size(zoo, published, monkeypatch, command):
    monkeypatch.setattr("zoo_core.weights.download.CHUNK", 1000)
    ticks = iter(range(10**6))
    monkeypatch.setattr("zoo_core.cli.progress.time.perf_counter", lambda: next(ticks))
    assert "downloading toy.bars16 (0.3 MB)\n" in zoo(*command, NAME).err


def test_models_do_not_offer_yanked_weights(zoo, published):
    assert zoo("list", "--json").json["models"][0]["weights"] == [NAME, "toy.elsewhere"]
    assert zoo("show", "toy", "--json").json["models"][0]["weights"] == [NAME, "toy.elsewhere"]


def test_yanked_weights_are_shown_with_the_reason(zoo, published):
    lines = [line.split() for line in zoo("show", "toy.bad16").out.splitlines()]
    assert ["status", "yanked"] in lines
    assert ["reason", "black", "images"] in lines
    assert ["replaced_by", NAME] in lines
    assert "reason" not in zoo("show", NAME).out
    assert zoo("show", NAME, "--json").json["records"][0]["reason"] == ""


# zoo registry


def test_a_valid_registry_is_said_to_be(zoo, published):
    assert zoo("registry", "validate", published).out == f"{published}: 3 weights, valid\n"
    found = zoo("registry", "validate", published, "--json").json
    assert found["weights"][1] == {"name": "toy.bad16", "status": "yanked"}


def test_an_invalid_registry_is_one_line(zoo, write):
    path = write(entry(urls=["http://a.b/c"]))
    answer = zoo("registry", "validate", path)
    assert answer.code == 2
    assert "urls must be https://" in answer.error
    assert zoo("registry", "validate", "none.yaml").code == 2


def test_links_that_work_are_counted_without_downloading(zoo, write, server):
    path = write(entry(urls=[server.url("/a"), server.url("/a")]))
    answer = zoo("registry", "validate", path, "--links")
    assert answer.out == f"{path}: 1 weights, valid, 2 of 2 links work\n"
    assert server.requests[0].headers["Range"] == "bytes=0-0"
    assert not cache().exists()


def test_a_server_without_ranges_has_the_file_too(zoo, write, server):
    path = write(entry(urls=[server.serve("/b", lambda visit: visit.answer(200, DATA))]))
    assert zoo("registry", "validate", path, "--links").code == 0


def test_links_that_do_not_work_are_listed(zoo, published, server):
    server.serve("/a", b"other")
    answer = zoo("registry", "validate", published, "--links")
    assert answer.code == 5
    assert "3 of 3 links" in answer.error
    for reason in ("has a file of 5 bytes", "answered 404 Not Found", "is in no installed package"):
        assert reason in answer.out
    links = zoo("registry", "validate", published, "--links", "--json").json["links"]
    assert [record["problem"] != "" for record in links] == [True] * 3


def test_links_are_not_followed_offline(zoo, published, server, monkeypatch):
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert zoo("registry", "validate", published, "--links").code == 6
    assert server.requests == []


def test_the_schema_is_printed(zoo):
    assert zoo("registry", "schema").json["$defs"]["WeightsFile"]["required"] == [
        "urls", "sha256", "size",
    ]  # fmt: skip
