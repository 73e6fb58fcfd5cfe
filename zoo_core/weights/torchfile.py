"""Read the tensors of a `torch.save` file without unpickling it.

    zip      a folder in a zip archive: data.pkl, and data/KEY for each storage
    legacy   consecutive pickles (magic number, version, platform, data, keys), then the storages

`pickles.py` runs the pickles, and executes nothing.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from zoo_core.errors import WeightsError
from zoo_core.weights.pickles import (
    PLAIN,
    Budget,
    Machine,
    Malformed,
    Storages,
    run,
)

MAGIC = 0x1950A86A20F9469CFC6C  # at the start of a legacy file
VERSION = 1001
MAX_DEPTH, MAX_ENTRIES = 32, 1 << 20  # of the result; a value counts each time it occurs

MachineType: TypeAlias = Callable[[Storages], Machine]


def read_torch(data: bytes, name: str) -> Any:
    """Read what `torch.save` was given: nested plain data and CPU tensors, without gradients.

    An OrderedDict comes back as a dict, a Parameter as its tensor; tensors that shared memory still
    share it. Raises WeightsError, one line that starts with `name`, if the file is damaged, too
    deep, too long, or would run anything.
    """
    with reading(name):
        if data.startswith(b"PK"):
            return checked(read_zip(data, Machine))
        if data.startswith(b"\x80"):
            return checked(read_legacy(data, Machine))
    raise WeightsError(f"{name} is not a torch.save file")


def read_state_dict(data: bytes, name: str) -> dict[str, Tensor]:
    """Read a saved state dict: tensors by name, in order.

    Raises WeightsError as `read_torch` does, and if the file holds anything else.
    """
    state = read_torch(data, name)
    if not isinstance(state, dict):
        raise WeightsError(f"{name} does not hold a state dict", given=type(state).__name__)
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            given = f"{key[:60]!r}" if isinstance(key, str) else type(key).__name__
            raise WeightsError(
                f"{name} does not hold a state dict", given=f"{given}: {type(value).__name__}"
            )
    return state


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Make a WeightsError that starts with `name` of whatever a damaged file can cause."""
    try:
        yield
    except Malformed as error:
        raise WeightsError(f"{name} {error}") from None
    except (
        zipfile.BadZipFile, struct.error, ValueError, LookupError, TypeError, RuntimeError,
        EOFError, OSError, OverflowError, MemoryError,
    ) as error:  # fmt: skip
        reason = str(error).partition("\n")[0][:80] or type(error).__name__
        raise WeightsError(f"{name} is damaged: {reason}") from None


def read_zip(data: bytes, machine: MachineType) -> Any:
    """Run the program of a zip archive on a `machine`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        programs = [name for name in entries if name.endswith("/data.pkl")]
        if len(programs) != 1 or len(entries) != len(archive.infolist()):
            raise Malformed("is a zip archive, but not from torch.save")
        folder = programs[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            entry = entries[folder + name]
            if entry.compress_type != zipfile.ZIP_STORED:
                raise Malformed("has compressed entries, which torch.save never writes")
            return archive.read(entry)

        if f"{folder}byteorder" in entries and read("byteorder") != b"little":
            raise Malformed("was written on a big-endian machine")
        budget = Budget(len(data))
        storages = Storages(budget, lambda key, dtype, _: _flat(read(f"data/{key}"), dtype))
        return run(io.BytesIO(read("data.pkl")), machine(storages))


def read_legacy(data: bytes, machine: MachineType, budget: Budget | None = None) -> Any:
    """Run the programs of a legacy file, its data on a `machine`."""
    stream, budget = io.BytesIO(data), budget or Budget(len(data))
    none = Storages(budget, no_storage)
    magic, version, platform = (run(stream, Machine(none)) for _ in range(3))
    if (magic, version) != (MAGIC, VERSION) or type(platform) is not dict:
        raise Malformed("is a pickle, but not from torch.save")
    if platform.get("little_endian") is not True:
        raise Malformed("was written on a big-endian machine")
    # The data of the storages follows the tensors that are views of it.
    storages = Storages(budget, lambda _, dtype, count: torch.empty(count, dtype=dtype))
    result = run(stream, machine(storages))
    keys = run(stream, Machine(none))
    is_list = type(keys) is list and all(type(key) is str for key in keys)  # not nested tuples
    if not is_list or sorted(keys) != sorted(storages.found):
        raise Malformed("is damaged: its list of storages does not match its tensors")
    for key in keys:
        (count,) = struct.unpack("<q", stream.read(8))
        flat = storages.found[key]
        if count != len(flat):
            raise Malformed(f"is damaged: storage {key[:20]!r} has the wrong size")
        flat.copy_(_flat(stream.read(flat.nbytes), flat.dtype))
    if stream.read(1):
        raise Malformed("is damaged: there is data after its last storage")
    return result


def no_storage(*_: Any) -> Tensor:
    """Refuse to read a storage of a file that has none."""
    raise Malformed("is damaged: it refers to a storage where there is none")


def _flat(data: bytes, dtype: torch.dtype) -> Tensor:
    """The numbers in `data`, in their own memory."""
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


# The result.


def checked(result: Any) -> Any:
    """Return `result` if it is only data and tensors, within MAX_DEPTH and MAX_ENTRIES.

    A list can contain itself, or another list twice at each of many levels, so a value counts each
    time it occurs.
    """
    open_values = [iter((result,))]
    for _ in range(MAX_ENTRIES):
        value = next(open_values[-1], _END)
        if value is _END:
            open_values.pop()
            if not open_values:
                return result
        elif isinstance(value, dict | list | tuple):
            if len(open_values) == MAX_DEPTH:
                raise Malformed(f"is nested deeper than {MAX_DEPTH} levels")
            open_values.append(_entries(value))
        elif not isinstance(value, (*PLAIN, Tensor)):
            raise Malformed("is damaged: there is a function in place of data")
    raise Malformed(f"holds more than {MAX_ENTRIES} entries")


_END = object()


def _entries(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value)
