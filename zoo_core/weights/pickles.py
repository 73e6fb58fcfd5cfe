"""The restricted machine that runs the pickle program of a file.

A pickle is a program for a virtual machine that can call anything. The machine here understands
only enough to rebuild plain data and tensors (text, numbers, None, lists, tuples, dictionaries;
`OrderedDict`, `_rebuild_tensor_v2`, `_rebuild_parameter`). It imports and calls nothing that a file
names; any other name is an error that quotes it. Memory use is proportional to the file size.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

MAX_OPERATIONS = 1 << 20  # per file; a tensor takes about thirty
MAX_DIMENSIONS = 16
PLAIN = (str, bytes, int, float, type(None))  # bool is an int
DTYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64, "Float": torch.float32, "Half": torch.float16,
        "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32,
        "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
    }.items()
}  # fmt: skip


class Malformed(Exception):
    """A file cannot be read. Becomes a WeightsError that starts with the name of the file."""


@dataclass(frozen=True, eq=False)
class Global:
    """The name of a function or class in a file; it is never resolved."""

    name: str


@dataclass(frozen=True, eq=False)
class Storage:
    """A flat array that tensors are views of."""

    flat: Tensor


@dataclass(eq=False)
class Budget:
    """What reading a file may still take; its pickles, also those inside others, share it."""

    numbers: int  # bytes of storages: no more than the file has
    steps: int = MAX_OPERATIONS


class Storages:
    """The storages of a file by key; their total size is at most that of the file."""

    def __init__(self, budget: Budget, read: Callable[[str, torch.dtype, int], Tensor]):
        self.budget, self.read = budget, read
        self.found: dict[str, Tensor] = {}

    def fetch(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        """The storage `key`, which has `count` numbers of `dtype`."""
        if key not in self.found:
            self.budget.numbers -= count * dtype.itemsize
            if self.budget.numbers < 0:
                raise Malformed("is damaged: its storages are larger than the file")
            self.found[key] = self.read(key, dtype, count)
        flat = self.found[key]
        if (flat.dtype, len(flat)) != (dtype, count):
            raise Malformed(f"is damaged: storage {key[:20]!r} has the wrong dtype or size")
        return flat


def run(stream: io.BytesIO, machine: Machine) -> Any:
    """Run one program and return its result; `stream` is left at its end."""
    budget = machine.storages.budget
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name == "STOP":
            return machine.stack.pop()
        budget.steps -= 1
        if budget.steps < 0:
            raise Malformed(f"takes more than {MAX_OPERATIONS} steps to read")
        step = machine.steps.get(operation.name)
        if step is None:
            what = f" {argument[:80]!r}" if isinstance(argument, str) else ""
            raise Malformed(
                f"uses the pickle operation {operation.name}{what}, which no tensor needs"
            )
        step(machine, argument)
    raise Malformed("is damaged: it ends too early")


class Machine:
    """The state of a pickle program: a stack, what is below each open mark, and a memo."""

    steps: ClassVar[dict[str, Callable[[Any, Any], None]]] = {}  # by operation; filled below
    calls: ClassVar[dict[str, Callable[..., Any]]] = {}  # by the name that a file calls

    def __init__(self, storages: Storages):
        self.storages = storages
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        """Begin a group of values."""
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """End the group, and take its values off."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def put(self, key: int | None) -> None:
        """Remember the top of the stack under a key, by default the next number."""
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]

    def make_tuple(self, count: int) -> None:
        """Join the top values."""
        if count > len(self.stack):
            raise Malformed("is damaged: a tuple is longer than the stack")
        cut = len(self.stack) - count
        self.stack[cut:] = [tuple(self.stack[cut:])]

    def append(self, values: list[Any]) -> None:
        """Extend the list on the stack."""
        if type(self.stack[-1]) is not list:
            raise Malformed("is damaged: it appends to something that is not a list")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Set items of the dictionary on the stack, from keys and values in turn."""
        if type(self.stack[-1]) is not dict or len(values) % 2:
            raise Malformed("is damaged: it sets items of a non-dictionary or without values")
        for key, value in zip(values[::2], values[1::2], strict=True):
            self.stack[-1][checked_key(key)] = value

    def take(self, count: int) -> list[Any]:
        """Take the top values off the stack."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def name(self, module: Any, attribute: Any) -> None:
        """Look up a name in our own tables; nothing is imported."""
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise Malformed("is damaged: a name is not text")
        name = f"{module}.{attribute}"
        if name not in DTYPES and name not in self.calls:
            raise Malformed(f"wants to run {name[:120]}, but nothing in a file is ever run")
        self.push(Global(name))

    def call(self, _: Any) -> None:
        """Call one of our own functions."""
        function, arguments = self.take(2)
        if not isinstance(function, Global) or function.name not in self.calls:
            raise Malformed("is damaged: it calls something that is not a function")
        if type(arguments) is not tuple:
            raise Malformed("is damaged: the arguments of a call are not a tuple")
        self.push(self.calls[function.name](*arguments))

    def build(self, _: Any) -> None:
        """Ignore attributes, such as `_metadata` of a state dict: no tensor depends on them."""
        target, _ = self.take(2)
        if type(target) is not dict:
            raise Malformed("is damaged: it sets attributes of something that has none")
        self.push(target)

    def storage(self, _: Any) -> None:
        """Fetch the storage that a persistent name describes."""
        match self.stack.pop():
            case ("storage", Global() as kind, str() as key, str(), int() as count, *view) if (
                kind.name in DTYPES and not any(view) and count >= 0
            ):
                dtype = DTYPES[kind.name]
            case ("storage", Global() as kind, *_) if kind.name not in DTYPES:
                raise Malformed(f"has numbers of a type that is not read: {kind.name[:80]}")
            case _:
                raise Malformed("refers to something other than a storage")
        self.push(Storage(self.storages.fetch(key, dtype, count)))


def _ordered_dict(pairs: Any = None) -> dict[Any, Any]:
    """An OrderedDict: usually empty and filled later, but made of a list of pairs by Python 2.

    The list is emptied, or a file that names it many times would have it copied as many times.
    """
    if pairs is None:
        return {}
    if type(pairs) is not list:
        raise Malformed("is damaged: a dictionary is made of something that is not a list")
    filled = {checked_key(key): value for key, value in pairs}
    pairs.clear()
    return filled


def checked_key(key: Any) -> Any:
    """A key of a dictionary: plain data."""
    if not isinstance(key, PLAIN):  # hashing deeply nested tuples crashes the process
        raise Malformed(f"has a key of type {type(key).__name__}")
    return key


def rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, *rest: Any
) -> Tensor:
    """A view that lies inside its storage and has no more elements than it."""
    if type(storage) is not Storage or type(size) is not tuple or type(stride) is not tuple:
        raise Malformed("is damaged: a tensor is malformed")
    numbers = (offset, *size, *stride)
    if len(size) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in numbers):
        raise Malformed("is damaged: a tensor has an impossible shape")
    flat, count = storage.flat, math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= len(flat) or count > len(flat)):
        raise Malformed("is damaged: a tensor reaches beyond its storage")
    return flat.as_strided(size, stride, offset) if count else flat.new_empty(size)


def _rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise Malformed("is damaged: a parameter is not a tensor")
    return tensor


Machine.calls = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}

Machine.steps = {
    **dict.fromkeys(["PROTO", "FRAME"], lambda m, _: None),
    **dict.fromkeys(
        [
            "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
            "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING",
            "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
        ],
        Machine.push,
    ),
    **dict.fromkeys(["BINPUT", "LONG_BINPUT", "MEMOIZE"], Machine.put),
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
    "MARK": Machine.mark,
    "APPEND": lambda m, _: m.append(m.take(1)),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items(m.take(2)),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "GLOBAL": lambda m, name: m.name(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.name(*m.take(2)),
    "REDUCE": Machine.call,
    "BUILD": Machine.build,
    "BINPERSID": Machine.storage,
}  # fmt: skip
