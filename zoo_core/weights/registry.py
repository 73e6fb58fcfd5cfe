"""Look up weights by `model.tag` in registry files: the zoo's own and those of plugins.

Weights called hf://OWNER/REPO are looked up in the registry file of that repository.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec

from zoo_core.errors import AmbiguousNameError, ConfigError, PluginError, WeightsError
from zoo_core.filesystem import as_argument, cache_folder, exists, replacing
from zoo_core.plugins.contributions import Contribution, Contributions, Problem, name_of
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import NAME, Role, WeightsEntry, about
from zoo_core.strict_yaml import as_yaml, parse_yaml, read_yaml
from zoo_core.weights.header import is_path, is_repository, is_spelled_as_path, located, run_names

SCHEMA = 1
ROLES = frozenset({"generator", "discriminator", "classifier"})
MAIN_ROLES: tuple[Role, ...] = get_args(Role)


class RegistryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of a registry file."""

    schema: Annotated[int, about("version of this format", const=SCHEMA)]
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
    return checked_entries(read_yaml(path), str(path))


def checked_entries(values: Any, label: str) -> tuple[WeightsEntry, ...]:
    """The entries of a registry file, from its content. Raises ConfigError, which names `label`."""
    try:
        file = msgspec.convert(values, RegistryFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{label}: {error}") from None
    if file.schema != SCHEMA:
        raise ConfigError(f"{label} has schema {file.schema}, this zoo reads {SCHEMA}")
    for entry in file.weights:
        if not NAME.fullmatch(entry.model):
            raise ConfigError(f"{label}: {entry.model!r} is not a valid model name")
        if not set(entry.files) <= ROLES or not entry.files:
            raise ConfigError(
                f"{label}: {entry.name} has files for the roles {', '.join(entry.files) or 'none'}",
                allowed=", ".join(sorted(ROLES)),
            )
    _check_unique(file.weights, label)
    return file.weights


def registry_text(entry: WeightsEntry) -> str:
    """A registry file with one entry, as YAML."""
    values = msgspec.to_builtins(entry)
    defaults = {field.name: field.default for field in msgspec.structs.fields(entry)}
    said = {key: value for key, value in values.items() if getattr(entry, key) != defaults[key]}
    return as_yaml({"schema": SCHEMA, "weights": [said]})


def entry_of_repository(address: str) -> WeightsEntry:
    """The weights in the repository hf://OWNER/REPO[@REVISION], with files of the commit there.

    Raises what `read_repository` raises, and WeightsError if the registry file there is damaged.
    """
    import logging  # not for listing

    from zoo_core.weights.repositories import REGISTRY, read_repository

    found = read_repository(address)
    label = f"{REGISTRY} of {address}"
    try:
        entries = checked_entries(parse_yaml(found.text), label)
    except ValueError as error:
        raise WeightsError(f"{label} is not plain YAML: {error}") from None
    except ConfigError as error:
        raise WeightsError(str(error)) from None
    if len(entries) != 1:
        raise WeightsError(f"{label} names {len(entries)} weights", allowed="1")
    at = found.repository.revision or "no commit that it names"
    logging.getLogger("zoo").info("%s is %s, at %s", address, entries[0].name, at)
    files = {
        role: msgspec.structs.replace(file, urls=(found.repository.url(f"{role}.safetensors"),))
        for role, file in entries[0].files.items()
    }
    return msgspec.structs.replace(entries[0], files=files)


def _check_unique(entries: tuple[WeightsEntry, ...], path: str) -> None:
    """Raise ConfigError if a name or alias is listed twice, or a file under two names."""
    names: set[str] = set()
    owners: dict[str, str] = {}
    for entry in entries:
        for name in (entry.name, *entry.aliases):
            if name in names:
                raise ConfigError(f"{path} lists {name!r} twice")
            names.add(name)
        for file in entry.files.values():
            if file.sha256 in owners:
                raise ConfigError(
                    f"{path}: {entry.name} has the same file as {owners[file.sha256]}",
                    given=f"sha256 {file.sha256[:12]}…",
                    hint="list one name, and the other among its aliases",
                )
            owners[file.sha256] = entry.name


def registry_schema() -> dict[str, Any]:
    """The JSON Schema of a registry file, for editors; `docs/registry.schema.json` holds it."""
    schema = msgspec.json.schema(RegistryFile)
    for record in schema["$defs"].values():
        record["description"] = " ".join(record["description"].split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


class Registry(Contributions[WeightsEntry]):
    """Registered weights by name, and by alias where nothing has that name.

    A repository is a name, too: it is read when it is first asked for.
    """

    def __init__(self) -> None:
        super().__init__("weights file, run folder or registered name", "zoo list")
        self._repositories: dict[str, Contribution[WeightsEntry]] = {}  # by address

    def matches(self, name: str) -> list[Contribution[WeightsEntry]]:
        """Every record called `name`, which may be an alias or written as `plugin/name`."""
        if is_repository(name):
            if name not in self._repositories:
                entry = entry_of_repository(name)
                self._repositories[name] = Contribution("hub", "huggingface_hub", entry)
            return [self._repositories[name]]
        return super().matches(name) or [
            contribution
            for contribution in self
            for alias in contribution.spec.aliases
            if name in (alias, f"{contribution.plugin}/{alias}")
        ]

    def known(self) -> set[str]:
        """Registered names, and those of the runs in runs/, for suggestions."""
        return super().known() | set(run_names())

    def usable(self, name: str) -> WeightsEntry:
        """The weights to load as `name`. An alias is warned of, on the logger `zoo`.

        Raises WeightsError for yanked weights, UnknownNameError and AmbiguousNameError.
        """
        entry = self.get(name)
        if entry.status == "yanked":
            raise WeightsError(
                f"{entry.name} was yanked: {entry.reason}", hint=entry.replaced_by or "zoo list"
            )
        if name.rpartition("/")[2] != entry.name and not is_repository(name):
            import logging  # not for listing

            logging.getLogger("zoo").warning("%s is now called %s", name, entry.name)
        return entry


def _fingerprint(content: bytes) -> str:
    """A name for the content: two checksums and the length, as hashlib would be one more import."""
    return f"{SCHEMA}-{zlib.crc32(content):08x}{zlib.adler32(content):08x}-{len(content)}"


def load_registry(plugins: Plugins) -> Registry:
    """All registered weights. A registry that cannot be read becomes a problem of its plugin.

    Raises PluginError instead if ZOO_STRICT=1 is set.
    """
    contributions = Registry()
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


def main_role(entry: WeightsEntry) -> Role:
    """The role of the network that is loaded. Raises WeightsError if the weights have none."""
    for role in MAIN_ROLES:
        if role in entry.files:
            return role
    allowed = " or ".join(MAIN_ROLES)
    raise WeightsError(f"{entry.name} has no {allowed}", given=", ".join(entry.files))


def means_path(name: str | Path, known: Contributions[Any]) -> bool:
    """Whether a name is that of a path, not one in `known`.

    A name that is known keeps its meaning whatever runs/ holds, which is said. Raises
    AmbiguousNameError if something here has that name as well.
    """
    if not is_path(name) or is_spelled_as_path(name) or not known.matches(str(name)):
        return is_path(name)
    if exists(name):
        check_only_path(name, known)
    _say_registered(str(name), located(name))
    return False


@lru_cache(maxsize=256)  # once
def _say_registered(name: str, run: Path) -> None:
    import logging  # not for listing

    logging.getLogger("zoo").warning("%s is registered; the run is %s", name, as_argument(run))


def check_only_path(name: str | Path, known: Contributions[Any]) -> None:
    """Raise AmbiguousNameError if a bare name of something here is also that of a contribution."""
    if is_spelled_as_path(name):
        return
    if found := known.matches(str(name)):
        spellings = [f"{o.plugin}/{name_of(o.spec)}" for o in found]
        path = as_argument(located(name))
        raise AmbiguousNameError(
            f"{name!r} is both a file or folder here and a name that is registered",
            allowed=f"{path} for the path; {' or '.join(spellings)} for the name",
        )
