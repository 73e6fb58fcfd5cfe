"""Read a pickle of anything as inert data: tensors, plain data, and records of everything else.

A checkpoint often holds more than tensors: modules, options, optimizers, even source code. Here an
object becomes a `Record`: the name of its class as text, what it would be made of, and its state.
Nothing is ever called on one, no name in a file is looked up, and embedded source is dropped.

    torch.save      zip or legacy, of tensors or of whole modules
    plain pickle    of modules whose storages are legacy files of their own, inside the pickle
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo_core.errors import WeightsError
from zoo_core.weights.pickles import (
    PLAIN,
    Budget,
    Global,
    Machine,
    Malformed,
    Storage,
    Storages,
    rebuild_tensor,
    run,
)
from zoo_core.weights.torchfile import MAGIC, no_storage, read_legacy, read_zip, reading

NESTED = "torch.storage._load_from_bytes"  # reads a legacy file that is part of the pickle
PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"  # would run embedded source
SET = "builtins.set"
MAX_NAME = 200  # characters of the name of a class


@dataclass(eq=False, slots=True)
class Record:
    """What a file says about an object; none is ever made."""

    name: str  # of its class, such as "torch.nn.modules.conv.Conv2d"
    arguments: tuple[Any, ...] = ()
    state: Any = None  # usually a dictionary of its attributes
    items: dict[Any, Any] = field(default_factory=dict)  # if it is a dictionary


def read_inert(data: bytes, name: str) -> Any:
    """Read a `torch.save` file or a pickle as a tree of plain data, tensors and `Record`s.

    Objects may contain themselves, so a walk of the tree must have an end of its own. Memory and
    time are proportional to the size of the file. Raises WeightsError, one line that starts with
    `name`, if the file is damaged or neither of the two.
    """
    with reading(name):
        if data.startswith(b"PK"):
            return read_zip(data, InertMachine)
        if _is_legacy(data):
            return read_legacy(data, InertMachine)
        if data.startswith(b"\x80"):
            return _read_pickle(data)
    raise WeightsError(
        f"{name} is not a checkpoint", allowed="files of torch.save, pickles, safetensors"
    )


def _is_legacy(data: bytes) -> bool:
    """Whether the first program is the magic number, in a frame (protocol 4) or not."""
    start = 11 if data[2:3] == b"\x95" else 2
    return data[start : start + 12] == b"\x8a\x0a" + MAGIC.to_bytes(10, "little")


def _read_pickle(data: bytes) -> Any:
    stream = io.BytesIO(data)
    result = run(stream, InertMachine(Storages(Budget(len(data)), no_storage)))
    if stream.read(1):
        raise Malformed("is damaged: there is data after its end")
    return result


class InertMachine(Machine):
    """Understands the operations that make objects, and makes `Record`s instead."""

    def name(self, module: Any, attribute: Any) -> None:
        """Keep a name as text; nothing is imported."""
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise Malformed("is damaged: a name is not text")
        self.push(Global(f"{module}.{attribute}"[:MAX_NAME]))

    def call(self, _: Any) -> None:
        """Call one of our own functions; any other call becomes a record of it."""
        function, arguments = self.take(2)
        if not isinstance(function, Global):
            raise Malformed("is damaged: it calls something that is not a function")
        if type(arguments) is not tuple:
            raise Malformed("is damaged: the arguments of a call are not a tuple")
        if function.name in self.calls:
            self.push(self.calls[function.name](*arguments))
        elif function.name == NESTED:
            self.push(self._nested(*arguments))
        elif function.name == PERSISTENT:
            self.push(_persistent(*arguments))
        else:
            self.push(Record(function.name, arguments))

    def make(self, _: Any) -> None:
        """Record an object in place of making it."""
        kind, arguments = self.take(2)
        if not isinstance(kind, Global) or type(arguments) is not tuple:
            raise Malformed("is damaged: it makes an object of something that is not a class")
        self.push(Record(kind.name, arguments))

    def make_by_name(self, _: Any) -> None:
        """Record an object whose arguments have names."""
        kind, arguments, named = self.take(3)
        self.push(kind)
        self.push(arguments)
        self.make(None)
        self.stack[-1].items = named if type(named) is dict else {}

    def build(self, _: Any) -> None:
        """Give a record its state; the attributes of anything else are dropped."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Record):
            self.stack[-1].state = state

    def append(self, values: list[Any]) -> None:
        """Extend the list on the stack, or the set; other recorded objects drop the values."""
        target = self.stack[-1]
        if not isinstance(target, Record):
            super().append(values)
        elif target.name == SET and target.arguments and type(target.arguments[0]) is list:
            target.arguments[0].extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Set items of the dictionary on the stack, or of a record of one."""
        target = self.stack[-1]
        items = target.items if isinstance(target, Record) else target
        if type(items) is not dict or len(values) % 2:
            raise Malformed("is damaged: it sets items of a non-dictionary or without values")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, PLAIN):  # no tensor that is looked for has another key
                items[key] = value

    def _nested(self, data: Any) -> Any:
        """The storage in a legacy file that is part of this one, charged by its length."""
        budget = self.storages.budget
        if type(data) is not bytes:
            raise Malformed("is damaged: a storage is not made of bytes")
        budget.numbers -= len(data)
        if budget.numbers < 0:
            raise Malformed("is damaged: its storages are larger than the file")
        inner = Budget(len(data), budget.steps)
        result = read_legacy(data, Machine, inner)
        budget.steps = inner.steps
        if not isinstance(result, Storage):
            raise Malformed("is damaged: a storage is something else")
        return result


def _persistent(described: Any) -> Record:
    """The record of an object that carries the source of its class, without that source."""
    about = attributes(described)
    if "state" not in about:
        raise Malformed("is damaged: an object has no state")
    return Record(str(about.get("class_name"))[:MAX_NAME], state=about["state"])


def attributes(value: Any) -> Mapping[Any, Any]:
    """The items of a dictionary or of a record of one, else the state of a record, if any."""
    if isinstance(value, Record):
        value = value.items or value.state
    return value if type(value) is dict else {}


def _old_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Any:
    """A tensor of torch 0.3 and before."""
    return rebuild_tensor(storage, offset, size, stride, False)


InertMachine.calls = {**Machine.calls, "torch._utils._rebuild_tensor": _old_tensor}
InertMachine.steps = {
    **Machine.steps,
    "GLOBAL": lambda m, name: m.name(*name.split(" ", 1)),
    "REDUCE": InertMachine.call,
    "NEWOBJ": InertMachine.make,
    "NEWOBJ_EX": InertMachine.make_by_name,
    "BUILD": InertMachine.build,
    "POP": lambda m, _: m.take(1),
    "POP_MARK": lambda m, _: m.since_mark(),
    "EMPTY_SET": lambda m, _: m.push(Record(SET, ([],))),
    "ADDITEMS": lambda m, _: m.append(m.since_mark()),
    "FROZENSET": lambda m, _: m.push(Record(SET, (m.since_mark(),))),
    "BYTEARRAY8": Machine.push,
}
