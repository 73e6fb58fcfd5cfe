"""The numbers that `zoo evaluate` prints, and reads to compare others with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.output import print_json, print_table, warn

if TYPE_CHECKING:
    from zoo_core.plugins.loading import Plugins
    from zoo_core.spec import Metric

MAX_BYTES = 1 << 24  # that are read of it
NUMBERS = "numbers.json"  # what zoo evaluate --json said of a run, in its folder
CHANGE = "change"  # what --compare adds to a number in --json


def parse_count(text: str) -> int:
    """A number of images on the command line, such as 5000 or 5k."""
    from zoo_core.wording import image_count

    count = image_count(text)
    if count is None or count < 2:
        raise typer.BadParameter(f"{text[:80]!r} is not 2 or more images, such as 5000 or 5k")
    return count


def read_numbers(name: str, plugins: Plugins) -> list[Metric]:
    """The numbers of registered weights, or those in a file or a folder.

    Raises InputError if there are none, and what looking up a name raises.
    """
    from zoo_core.errors import InputError
    from zoo_core.filesystem import as_argument, exists
    from zoo_core.weights.header import located
    from zoo_core.weights.registry import check_only_path, load_registry, means_path, parse_registry

    registry = load_registry(plugins)
    if not means_path(name, registry) and not exists(name) and not name.endswith(".json"):
        return list(registry.get(name).metrics)
    check_only_path(name, registry)
    place = located(name)
    if not place.is_dir():
        return numbers_of_file(place)
    if (place / NUMBERS).is_file():
        return numbers_of_file(place / NUMBERS)
    if (place / "registry.yaml").is_file():
        return [
            metric for entry in parse_registry(place / "registry.yaml") for metric in entry.metrics
        ]
    folder = as_argument(place)
    raise InputError(
        f"there are no numbers in {place}",
        allowed=f"{NUMBERS}, written by zoo evaluate --json",
        hint=f"zoo evaluate {folder} --json > {as_argument(place / NUMBERS)}",
    )


def numbers_of_file(path: Path) -> list[Metric]:
    """Read the output of an earlier `zoo evaluate --json`. Raises InputError for anything else."""
    import msgspec

    from zoo_core.errors import InputError
    from zoo_core.filesystem import read_start
    from zoo_core.spec import Metric

    try:
        records = msgspec.json.decode(read_start(path, MAX_BYTES))["metrics"]
        for record in records:
            record.pop(CHANGE, None)
        return msgspec.convert(records, list[Metric])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        raise InputError(f"{path} is not the output of `zoo evaluate --json`") from None


def show_numbers(
    numbers: Sequence[Metric], before: Sequence[Metric], as_json: bool, plugins: Plugins
) -> None:
    """Print the numbers and their changes, then the part of the protocol that they share.

    Raises InputError if a number was measured otherwise before.
    """
    old = {metric.name: metric for metric in before}
    changes = {m.name: m.difference(old[m.name]) for m in numbers if m.name in old}
    if before and not changes:
        warn(f"nothing to compare with: the earlier evaluation has only {', '.join(old)}")
    if as_json:
        print_json("metrics", [_record(each, changes) for each in numbers], plugins.problems)
        return
    print_table(
        ("METRIC", "VALUE", "CHANGE", "MEASURED WITH"),
        [_row(metric, changes, _own(metric, numbers)) for metric in numbers],
    )
    typer.echo()
    for key, value in numbers[0].protocol.items():
        if key not in _own(numbers[0], numbers):
            typer.echo(f"{key:10} {value}")


def _record(metric: Metric, changes: dict[str, float]) -> dict[str, Any]:
    import msgspec

    record: dict[str, Any] = msgspec.to_builtins(metric)
    return record | ({CHANGE: changes[metric.name]} if metric.name in changes else {})


def _row(metric: Metric, changes: dict[str, float], own: dict[str, Any]) -> tuple[str, ...]:
    return (
        metric.name,
        f"{metric.value:.6g}",
        f"{changes[metric.name]:+.4g}" if metric.name in changes else "-",
        ", ".join(f"{key} {value}" for key, value in own.items()) or "-",
    )


def _own(metric: Metric, numbers: Sequence[Metric]) -> dict[str, Any]:
    """The part of a protocol that differs between the numbers."""
    return {
        key: value
        for key, value in metric.protocol.items()
        if any(other.protocol.get(key) != value for other in numbers)
    }
