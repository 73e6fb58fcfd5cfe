"""Look up weights by `model.tag` in registry files: the zoo's own and those of plugins."""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path
from typing import Any

import msgspec

from zoo_core.errors import AmbiguousNameError, ConfigError, PluginError
from zoo_core.filesystem import as_argument, cache_folder, replacing
from zoo_core.plugins.contributions import Contribution, Contributions, Problem, name_of
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import NAME, WeightsEntry
from zoo_core.strict_yaml import read_yaml
from zoo_core.weights.header import is_spelled_as_path

SCHEMA = 1
ROLES = frozenset({"generator", "discriminator", "classifier"})


class RegistryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a registry file."""

    schema: int
    weights: tuple[WeightsEntry, ...]


def builtin_registry() -> Path:
    """The zoo's own registry file: beside the package in a checkout, inside it when installed."""
    here = Path(__file__).resolve().parents[1]
    inside = here / "registry.yaml"
    return inside if inside.is_file() else here.parent / "registry.yaml"


def read_registry(path: Path) -> tuple[WeightsEntry, ...]:
    """Read every entry of a registry file. Raises ConfigError for the first error in it.

    The entries are cached as JSON in the cache folder, under a name derived from the file's
    content: importing the YAML parser takes longer than all the rest of listing weights.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    remembered = cache_folder() / "registry" / f"{_fingerprint(content)}.json"
    try:
        return msgspec.json.decode(remembered.read_bytes(), type=tuple[WeightsEntry, ...])
    except (OSError, msgspec.DecodeError):  # not cached yet, or damaged
        entries = parse_registry(path)
    with contextlib.suppress(OSError):  # without a writable cache, reading is only slower
        remembered.parent.mkdir(parents=True, exist_ok=True)
        with replacing(remembered, shared=True) as temporary:
            temporary.write_bytes(msgspec.json.encode(entries))
    return entries


def parse_registry(path: Path) -> tuple[WeightsEntry, ...]:
    """Parse and check the entries of a YAML registry file."""
    try:
        file = msgspec.convert(read_yaml(path), RegistryFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None
    if file.schema != SCHEMA:
        raise ConfigError(f"{path} has schema {file.schema}, this zoo reads {SCHEMA}")
    for entry in file.weights:
        if not NAME.fullmatch(entry.model):
            raise ConfigError(f"{path}: {entry.model!r} is not a valid model name")
        if not set(entry.files) <= ROLES or not entry.files:
            raise ConfigError(
                f"{path}: {entry.name} has files for the roles {', '.join(entry.files) or 'none'}",
                allowed=", ".join(sorted(ROLES)),
            )
    names = [entry.name for entry in file.weights]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path} lists {name!r} twice")
    return file.weights


def _fingerprint(content: bytes) -> str:
    """A name for the content: two checksums and the length, as hashlib would be one more import."""
    return f"{SCHEMA}-{zlib.crc32(content):08x}{zlib.adler32(content):08x}-{len(content)}"


def load_registry(plugins: Plugins) -> Contributions[WeightsEntry]:
    """All registered weights. A registry that cannot be read becomes a problem of its plugin.

    Raises PluginError instead if ZOO_STRICT=1 is set.
    """
    contributions: Contributions[WeightsEntry] = Contributions(
        "weights file, run folder or registered name", "zoo list"
    )
    contributions.records += [
        Contribution("zoo", "zoo-core", e) for e in read_registry(builtin_registry())
    ]
    for contribution in plugins.registries:
        try:
            entries = read_registry(contribution.spec)
        except ConfigError as error:
            problem = Problem(
                contribution.plugin, contribution.distribution, "zoo_registries", str(error)
            )
            if os.environ.get("ZOO_STRICT") == "1":
                raise PluginError(str(problem)) from error
            if problem not in plugins.problems:  # this function may be called more than once
                plugins.problems.append(problem)
            continue
        contributions.records += [
            Contribution(contribution.plugin, contribution.distribution, entry) for entry in entries
        ]
    return contributions


def check_only_path(name: str | Path, known: Contributions[Any]) -> None:
    """Raise AmbiguousNameError if a bare name of something here is also that of a contribution."""
    if is_spelled_as_path(name):
        return
    if found := known.matches(str(name)):
        spellings = [f"{o.plugin}/{name_of(o.spec)}" for o in found]
        raise AmbiguousNameError(
            f"{name!r} is both a file or folder here and a name that is registered",
            allowed=f"{as_argument(name)} for the path; {' or '.join(spellings)} for the name",
        )
