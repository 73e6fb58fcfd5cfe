"""Reads YAML that is plain data, from untrusted files, and writes what it would read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo_core.errors import ConfigError
from zoo_core.filesystem import read_start

MAX_FILE_BYTES = 1 << 20  # larger files are not configuration files
MAX_FILE_DEPTH = 50  # of nested lists and mappings


def read_yaml(path: Path) -> Any:
    """The content of a small YAML file. Raises ConfigError for tags, aliases and duplicate keys."""
    try:
        data = read_start(path, MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(
                f"{path} is too large",
                given=f"{max(len(data), path.stat().st_size)} bytes or more",
                allowed=f"at most {MAX_FILE_BYTES} bytes",
            )
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {path}: {reason}") from None
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not plain YAML: {error}") from None


def parse_yaml(text: str, loader_name: str = "SafeLoader") -> Any:
    """The content of a YAML text. Raises ValueError if it is not valid YAML or not plain data."""
    import yaml

    loader = getattr(yaml, f"C{loader_name}", getattr(yaml, loader_name))
    try:
        _refuse_more_than_data(yaml, text, loader)
        return yaml.load(text, _strict_loader(yaml, loader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def as_yaml(value: Any) -> str:
    """Plain data as a YAML text, in the order of its keys, that `parse_yaml` reads back."""
    import yaml

    class Writer(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True  # what occurs twice is written twice

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            parent: Any = super()  # older type stubs leave it untyped
            return parent.increase_indent(flow, False)  # items of lists are indented

    text: str = yaml.dump(value, Dumper=Writer, sort_keys=False, allow_unicode=True, width=100)
    return text


def _refuse_more_than_data(yaml: Any, text: str, loader: Any) -> None:
    """Refuse aliases, tags and deep nesting, which the parser's events show.

    This has to happen before loading: libyaml composes nodes in C, without calling methods that
    could be overridden, and deep nesting overflows its stack.
    """
    depth = 0
    for event in yaml.parse(text, loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            problem = "aliases are not allowed"
        elif getattr(event, "tag", None) is not None:
            problem = "tags are not allowed"
        elif depth > MAX_FILE_DEPTH:
            problem = f"more than {MAX_FILE_DEPTH} levels of nesting are not allowed"
        else:
            continue
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _strict_loader(yaml: Any, loader: Any) -> Any:
    class StrictLoader(loader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if isinstance(key.value, str) and key.value in seen:
                    problem = f"duplicate key {key.value!r}"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    return StrictLoader
