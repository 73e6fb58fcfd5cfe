"""Read what `zoo publish` wrote to a repository of the Hugging Face hub: its registry file.

The file names the weights and everything about them. The weights themselves are in the same
repository, at the same commit, each under its role; nothing that the file says leads elsewhere.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import NamedTuple

from zoo_core.errors import DownloadError, InputError, OfflineError
from zoo_core.filesystem import cache_folder, replacing
from zoo_core.weights import connection
from zoo_core.weights.hub import is_offline
from zoo_core.weights.places import Unavailable, remote

REGISTRY = "registry.yaml"  # its name in a published folder or repository
CARD = "README.md"
MAX_BYTES = 1 << 20  # of it
TRIES, WAIT = 3, 1.0  # of a connection that breaks; seconds between them
COMMIT = re.compile(r"[0-9a-f]{40}")
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?", re.ASCII)


class Repository(NamedTuple):
    """A repository of the hub, at one of its revisions."""

    name: str  # OWNER/REPO
    revision: str  # a commit, branch or tag; "" for the newest

    def url(self, file: str) -> str:
        """A file in it, as a registry spells it."""
        return f"hf://{self.name}/{file}" + (f"@{self.revision}" if self.revision else "")


class Published(NamedTuple):
    """The registry file of a repository, and where the hub says that it is from."""

    text: str
    repository: Repository  # at the commit


def parse_repository(address: str) -> Repository:
    """The repository that an address names. Raises InputError for a malformed one."""
    found = _ADDRESS.fullmatch(address)
    if found is None or any(part.strip(".") != part for part in found[1].split("/")):
        raise InputError(
            "this is no repository", given=address[:80], allowed="hf://OWNER/REPO[@REVISION]"
        )
    return Repository(found[1], found[2] or "")


def read_repository(address: str) -> Published:
    """The registry file of a repository; one that a commit names is asked for only once.

    Raises InputError for a malformed address, DownloadError for a repository that `zoo publish` did
    not write or that cannot be reached, and OfflineError if ZOO_OFFLINE=1.
    """
    asked = parse_repository(address)
    if (text := _remembered(asked)) is not None:
        return Published(text, asked)
    if is_offline():
        raise OfflineError(
            f"{address} is not on this machine",
            hint=f"zoo show {address} without ZOO_OFFLINE, then name the commit that it shows",
        )
    try:
        data, commit = _received(asked)
        text = data.decode()
    except (Unavailable, connection.Broken) as error:
        raise DownloadError(
            f"cannot read {REGISTRY} of {address}: it {error}",
            allowed="a repository that `zoo publish` wrote",
        ) from None
    except UnicodeDecodeError:
        raise DownloadError(f"{REGISTRY} of {address} is not text") from None
    if COMMIT.fullmatch(asked.revision) and commit != asked.revision:
        raise DownloadError(f"{address} is at another commit", given=commit or "none")
    found = Published(text, asked._replace(revision=commit or asked.revision))
    _remember(found)
    return found


def _received(asked: Repository) -> tuple[bytes, str]:
    """The bytes of the registry file, and their commit. Raises Unavailable or Broken."""
    place = remote(asked.url(REGISTRY))
    for left in reversed(range(TRIES)):
        with contextlib.suppress(*[connection.Broken] if left else []):
            with connection.get(place, {}) as answer:
                commit = answer.getheader("X-Repo-Commit", "")
                with connection.failures():
                    data = answer.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise Unavailable(f"is larger than {MAX_BYTES} bytes")
            return data, commit if COMMIT.fullmatch(commit) else ""
        time.sleep(WAIT)
    raise AssertionError  # the last try returned or raised


def _remembered(asked: Repository) -> str | None:
    if not COMMIT.fullmatch(asked.revision):
        return None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _place(asked).read_text(encoding="utf-8")
    return None


def _remember(found: Published) -> None:
    """Keep what a commit names, which never changes."""
    if not COMMIT.fullmatch(found.repository.revision):
        return
    path = _place(found.repository)
    with contextlib.suppress(OSError):  # without a writable cache it is asked for again
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, shared=True) as temporary:
            temporary.write_bytes(found.text.encode())


def _place(repository: Repository) -> Path:
    name = repository.name.replace("/", "--")
    return cache_folder() / "repositories" / f"{name}@{repository.revision}.yaml"
