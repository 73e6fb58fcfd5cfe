"""Write pickles without `pickle`: of modules of classes that do not exist, and of hostile ones."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Call:
    """A function that a pickle calls, or a class that it makes an object of, and its state."""

    name: str  # "module.attribute"
    arguments: tuple[Any, ...] = ()
    state: Any = None
    makes: bool = False  # NEWOBJ instead of REDUCE


@dataclass
class Raw:
    """Operations, written as they are."""

    operations: bytes


def pickled(value: Any) -> bytes:
    """A pickle of protocol 4."""
    return b"\x80\x04" + written(value) + b"."


def written(value: Any) -> bytes:
    """The operations that leave a value on the stack."""
    match value:
        case Raw():
            return value.operations
        case None | bool():
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():
            return b"B" + struct.pack("<I", len(value)) + value
        case tuple():
            return b"(" + b"".join(map(written, value)) + b"t"
        case list():
            return b"](" + b"".join(map(written, value)) + b"e"
        case dict():
            items = (written(key) + written(item) for key, item in value.items())
            return b"}(" + b"".join(items) + b"u"
        case Tensor():
            return written(tensor(value))
        case Call():
            return called(value)
    raise TypeError(type(value))


def called(call: Call) -> bytes:
    module, _, attribute = call.name.rpartition(".")
    start = f"c{module}\n{attribute}\n".encode() + written(call.arguments)
    start += b"\x81" if call.makes else b"R"
    return start + (b"" if call.state is None else written(call.state) + b"b")


def storage_bytes(value: Tensor) -> bytes:
    """What a pickle outside of torch.save holds of a storage: a legacy file of its own."""
    file = io.BytesIO()
    torch.save(value._typed_storage(), file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def tensor(value: Tensor) -> Call:
    storage = Call("torch.storage._load_from_bytes", (storage_bytes(value.contiguous()),))
    shape, stride = tuple(value.shape), value.contiguous().stride()
    ordered = Call("collections.OrderedDict")
    return Call("torch._utils._rebuild_tensor_v2", (storage, 0, shape, stride, False, ordered))


def modules(state: dict[str, Tensor], persistent: bool, source: str = "raise SystemExit") -> Call:
    """A module, with those inside it, whose state dict is `state`.

    `persistent`: of classes that carry their source along, as NVIDIA's do.
    """
    own = {name: value for name, value in state.items() if "." not in name}
    inner: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        first, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(first, {})[rest] = value
    attributes = {
        "training": False,
        "_parameters": own,
        "_buffers": {},
        "_modules": {name: modules(part, persistent, source) for name, part in inner.items()},
    }
    if not persistent:
        return Call("public.networks.Network", (), attributes, makes=True)
    about = {
        "type": "class",
        "version": 6,
        "module_src": source,
        "class_name": "Network",
        "state": attributes,
    }
    return Call("torch_utils.persistence._reconstruct_persistent_obj", (about,))
