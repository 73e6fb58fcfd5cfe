"""Read the tensors of a `torch.save` file without unpickling it.

A pickle is a program for a virtual machine that can call anything. The machine here understands
only enough to rebuild plain data and tensors (text, numbers, None, lists, tuples, dictionaries;
`OrderedDict`, `_rebuild_tensor_v2`, `_rebuild_parameter`). It imports and calls nothing that a file
names; any other name is an error that quotes it. Memory use is proportional to the file size.

    zip      a folder in a zip archive: data.pkl, and data/KEY for each storage
    legacy   consecutive pickles (magic number, version, platform, data, keys), then the storages
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core.errors import WeightsError

MAX_OPERATIONS = 1 << 20  # per program; a tensor takes about thirty
MAX_DEPTH, MAX_ENTRIES = 32, 1 << 20  # of the result; a value counts each time it occurs
MAX_DIMENSIONS = 16
MAGIC = 0x1950A86A20F9469CFC6C  # at the start of a legacy file
VERSION = 1001
PLAIN = (str, bytes, int, float, type(None))  # bool is an int
DTYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64, "Float": torch.float32, "Half": torch.float16,
        "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32,
        "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
    }.items()
}  # fmt: skip


class _Malformed(Exception):
    """A file cannot be read. Becomes a WeightsError that starts with the name of the file."""


@dataclass(frozen=True, eq=False)
class _Global:
    """The name of a function or class in a file; it is never resolved."""

    name: str


@dataclass(frozen=True, eq=False)
class _Storage:
    """A flat array that tensors are views of."""

    flat: Tensor


def read_torch(data: bytes, name: str) -> Any:
    """Read what `torch.save` was given: nested plain data and CPU tensors, without gradients.

    An OrderedDict comes back as a dict, a Parameter as its tensor; tensors that shared memory still
    share it. Raises WeightsError, one line that starts with `name`, if the file is damaged, too
    deep, too long, or would run anything.
    """
    try:
        if data.startswith(b"PK"):
            return _checked(_read_zip(data))
        if data.startswith(b"\x80"):
            return _checked(_read_legacy(data))
    except _Malformed as error:
        raise WeightsError(f"{name} {error}") from None
    except (
        zipfile.BadZipFile, struct.error, ValueError, LookupError, TypeError, RuntimeError,
        EOFError, OSError, OverflowError, MemoryError,
    ) as error:  # fmt: skip
        reason = str(error).partition("\n")[0][:80] or type(error).__name__
        raise WeightsError(f"{name} is damaged: {reason}") from None
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


# Both formats.


class _Storages:
    """The storages of a file by key; their total size is at most that of the file."""

    def __init__(self, size: int, read: Callable[[str, torch.dtype, int], Tensor]):
        self.left, self.read = size, read
        self.found: dict[str, Tensor] = {}

    def fetch(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        """The storage `key`, which has `count` numbers of `dtype`."""
        if key not in self.found:
            self.left -= count * dtype.itemsize
            if self.left < 0:
                raise _Malformed("is damaged: its storages are larger than the file")
            self.found[key] = self.read(key, dtype, count)
        flat = self.found[key]
        if (flat.dtype, len(flat)) != (dtype, count):
            raise _Malformed(f"is damaged: storage {key[:20]!r} has the wrong dtype or size")
        return flat


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        programs = [name for name in entries if name.endswith("/data.pkl")]
        if len(programs) != 1 or len(entries) != len(archive.infolist()):
            raise _Malformed("is a zip archive, but not from torch.save")
        folder = programs[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            entry = entries[folder + name]
            if entry.compress_type != zipfile.ZIP_STORED:
                raise _Malformed("has compressed entries, which torch.save never writes")
            return archive.read(entry)

        if f"{folder}byteorder" in entries and read("byteorder") != b"little":
            raise _Malformed("was written on a big-endian machine")
        storages = _Storages(len(data), lambda key, dtype, _: _flat(read(f"data/{key}"), dtype))
        return _run(io.BytesIO(read("data.pkl")), storages)


def _read_legacy(data: bytes) -> Any:
    stream = io.BytesIO(data)
    none = _Storages(0, lambda *_: torch.empty(0))
    magic, version, platform = (_run(stream, none) for _ in range(3))
    if (magic, version) != (MAGIC, VERSION) or type(platform) is not dict:
        raise _Malformed("is a pickle, but not from torch.save")
    if platform.get("little_endian") is not True:
        raise _Malformed("was written on a big-endian machine")
    # The data of the storages follows the tensors that are views of it.
    storages = _Storages(len(data), lambda _, dtype, count: torch.empty(count, dtype=dtype))
    result = _run(stream, storages)
    keys = _run(stream, none)
    is_list = type(keys) is list and all(type(key) is str for key in keys)  # not nested tuples
    if not is_list or sorted(keys) != sorted(storages.found):
        raise _Malformed("is damaged: its list of storages does not match its tensors")
    for key in keys:
        (count,) = struct.unpack("<q", stream.read(8))
        flat = storages.found[key]
        if count != len(flat):
            raise _Malformed(f"is damaged: storage {key[:20]!r} has the wrong size")
        flat.copy_(_flat(stream.read(flat.nbytes), flat.dtype))
    if stream.read(1):
        raise _Malformed("is damaged: there is data after its last storage")
    return result


def _flat(data: bytes, dtype: torch.dtype) -> Tensor:
    """The numbers in `data`, in their own memory."""
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


# The pickle program.


def _run(stream: io.BytesIO, storages: _Storages) -> Any:
    """Run one program and return its result; `stream` is left at its end."""
    machine = _Machine(storages)
    for number, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        if number == MAX_OPERATIONS:
            raise _Malformed(f"takes more than {MAX_OPERATIONS} steps to read")
        if operation.name == "STOP":
            return machine.stack.pop()
        step = _STEPS.get(operation.name)
        if step is None:
            what = f" {argument[:80]!r}" if isinstance(argument, str) else ""
            raise _Malformed(
                f"uses the pickle operation {operation.name}{what}, which no tensor needs"
            )
        step(machine, argument)
    raise _Malformed("is damaged: it ends too early")


class _Machine:
    """The state of a pickle program: a stack, what is below each open mark, and a memo."""

    def __init__(self, storages: _Storages):
        self.storages = storages
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.below.pop()
        return values

    def put(self, key: int | None) -> None:
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]

    def make_tuple(self, count: int) -> None:
        if count > len(self.stack):
            raise _Malformed("is damaged: a tuple is longer than the stack")
        cut = len(self.stack) - count
        self.stack[cut:] = [tuple(self.stack[cut:])]

    def append(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise _Malformed("is damaged: it appends to something that is not a list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(values) % 2:
            raise _Malformed("is damaged: it sets items of a non-dictionary or without values")
        for key, value in zip(values[::2], values[1::2], strict=True):
            self.stack[-1][_checked_key(key)] = value

    def take(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def name(self, module: Any, attribute: Any) -> None:
        """Look up a name in our own tables; nothing is imported."""
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise _Malformed("is damaged: a name is not text")
        name = f"{module}.{attribute}"
        if name not in DTYPES and name not in _CALLS:
            raise _Malformed(f"wants to run {name[:120]}, but nothing in a file is ever run")
        self.push(_Global(name))

    def call(self, _: Any) -> None:
        function, arguments = self.take(2)
        if not isinstance(function, _Global) or function.name not in _CALLS:
            raise _Malformed("is damaged: it calls something that is not a function")
        if type(arguments) is not tuple:
            raise _Malformed("is damaged: the arguments of a call are not a tuple")
        self.push(_CALLS[function.name](*arguments))

    def drop_attributes(self, _: Any) -> None:
        """Ignore attributes, such as `_metadata` of a state dict: no tensor depends on them."""
        target, _ = self.take(2)
        if type(target) is not dict:
            raise _Malformed("is damaged: it sets attributes of something that has none")
        self.push(target)

    def storage(self, _: Any) -> None:
        match self.stack.pop():
            case ("storage", _Global() as kind, str() as key, str(), int() as count, *view) if (
                kind.name in DTYPES and not any(view) and count >= 0
            ):
                dtype = DTYPES[kind.name]
            case _:
                raise _Malformed("refers to something other than a storage")
        self.push(_Storage(self.storages.fetch(key, dtype, count)))


def _ordered_dict(pairs: Any = None) -> dict[Any, Any]:
    """An OrderedDict: usually empty and filled later, but made of a list of pairs by Python 2.

    The list is emptied, or a file that names it many times would have it copied as many times.
    """
    if pairs is None:
        return {}
    if type(pairs) is not list:
        raise _Malformed("is damaged: a dictionary is made of something that is not a list")
    filled = {_checked_key(key): value for key, value in pairs}
    pairs.clear()
    return filled


def _checked_key(key: Any) -> Any:
    if not isinstance(key, PLAIN):  # hashing deeply nested tuples crashes the process
        raise _Malformed(f"has a key of type {type(key).__name__}")
    return key


def _rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, *rest: Any
) -> Tensor:
    """A view that lies inside its storage and has no more elements than it."""
    if type(storage) is not _Storage or type(size) is not tuple or type(stride) is not tuple:
        raise _Malformed("is damaged: a tensor is malformed")
    numbers = (offset, *size, *stride)
    if len(size) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in numbers):
        raise _Malformed("is damaged: a tensor has an impossible shape")
    flat, count = storage.flat, math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= len(flat) or count > len(flat)):
        raise _Malformed("is damaged: a tensor reaches beyond its storage")
    return flat.as_strided(size, stride, offset) if count else flat.new_empty(size)


def _rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise _Malformed("is damaged: a parameter is not a tensor")
    return tensor


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(["PROTO", "FRAME"], lambda m, _: None),
    **dict.fromkeys(
        [
            "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
            "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING",
            "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
        ],
        _Machine.push,
    ),
    **dict.fromkeys(["BINPUT", "LONG_BINPUT", "MEMOIZE"], _Machine.put),
    **dict.fromkeys(["BINGET", "LONG_BINGET"], lambda m, key: m.push(m.memo[key])),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.make_tuple(1),
    "TUPLE2": lambda m, _: m.make_tuple(2),
    "TUPLE3": lambda m, _: m.make_tuple(3),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "MARK": _Machine.mark,
    "APPEND": lambda m, _: m.append(m.take(1)),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items(m.take(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "GLOBAL": lambda m, name: m.name(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.name(*m.take(2)),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.drop_attributes,
    "BINPERSID": _Machine.storage,
}  # fmt: skip


# The result.


def _checked(result: Any) -> Any:
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
                raise _Malformed(f"is nested deeper than {MAX_DEPTH} levels")
            open_values.append(_entries(value))
        elif not isinstance(value, (*PLAIN, Tensor)):
            raise _Malformed("is damaged: there is a function in place of data")
    raise _Malformed(f"holds more than {MAX_ENTRIES} entries")


_END = object()


def _entries(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value)
