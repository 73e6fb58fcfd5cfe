"""Where a url of a registry leads: to a file of an installed package, or to a server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

_HF = re.compile(r"hf://(?P<repository>[^/]+/[^/]+)/(?P<file>[^@]+)(?:@(?P<revision>.+))?")


class Unavailable(Exception):
    """A place will not give the file, for the reason in the text; another place may."""


class Place(NamedTuple):
    """A file on a server; `headers` are for the host of `url` only, as they may hold a token."""

    url: str
    headers: Mapping[str, str] = {}


def packaged(url: str) -> Path | None:
    """The path of `package:NAME/path` in an installed package, found without importing it."""
    scheme, _, rest = url.partition(":")
    package, _, inside = rest.partition("/")
    if scheme != "package" or not package.isidentifier() or _leaves(inside):
        return None
    try:
        spec = find_spec(package)
    except ValueError:  # a module without a spec, such as __main__
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)), inside)


def is_remote(url: str) -> bool:
    """Whether a url of a registry names a file on a server."""
    return not url.startswith("package:")


def remote(url: str) -> Place:
    """The server and path of a remote url. Raises Unavailable for hf:// without huggingface_hub."""
    found = _HF.fullmatch(url)
    return Place(url) if found is None else _hugging_face(**found.groupdict())


def _hugging_face(repository: str, file: str, revision: str | None) -> Place:
    """A file of the Hugging Face hub, with the endpoint and the token of its own settings."""
    try:
        from huggingface_hub import constants, get_token, hf_hub_url
    except ImportError:
        raise Unavailable("needs huggingface_hub: pip install 'zoo-core[hub]'") from None
    if constants.HF_HUB_OFFLINE:
        raise Unavailable("HF_HUB_OFFLINE is set")
    # Its build_hf_headers would first ask a server which program this is.
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Place(hf_hub_url(repository, file, revision=revision), headers)


def _leaves(inside: str) -> bool:
    """Whether a path, joined to a folder, could leave it on any operating system."""
    paths = PurePosixPath(inside), PureWindowsPath(inside)
    return any(path.anchor or ".." in path.parts for path in paths)
