"""Find the networks in a checkpoint: state dicts, and modules as state dicts.

A state dict is found at any depth down to MAX_PLACES, below keys such as `state_dict`, `G_ema` or
`netG`; a common prefix `module.` is removed. Of a module its tensors are taken under the names that
its state dict would have, and its plain attributes (sizes, names of activations) under such names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from zoo_core.errors import printable
from zoo_core.spec import FoundNetwork
from zoo_core.weights.inert import Record, attributes
from zoo_core.weights.pickles import Malformed

MAX_PLACES = 3  # keys from the top of a file to a state dict
MAX_ENTRIES = 1 << 20  # looked at in all: an object can contain itself, or another one often
MAX_MODULES = 64  # inside each other
MAX_NETWORKS = 64  # an optimizer's state looks like many
MAX_TEXT, MAX_LIST = 200, 16  # of a place or an attribute: characters, values
PREFIX = "module."  # of networks trained on several devices


@dataclass(eq=False)
class Network:
    """The tensors of a network that may be one of ours, and what is known of it without them."""

    place: str  # where in the file, such as "G_ema"; empty for all of it
    tensors: dict[str, Tensor]
    kind: str = ""  # name of its class, where the file says so
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def found(self) -> FoundNetwork:
        """What a plugin recognizes it by."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        return FoundNetwork(
            place=self.place, kind=self.kind, shapes=shapes, attributes=self.attributes
        )

    def parts(self) -> list[Network]:
        """The networks whose names begin with `netG.`, `netD.` and so on, if all begin so."""
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            first, _, rest = name.partition(".")
            groups.setdefault(first, {})[rest] = tensor
        if any("" in group for group in groups.values()) or len(groups) > MAX_NETWORKS:
            return []
        places = {first: _line(f"{self.place}.{first}".strip(".")) for first in groups}
        return [Network(places[first], tensors) for first, tensors in groups.items()]


def find_networks(tree: Any) -> list[Network]:
    """The first MAX_NETWORKS networks in a tree of `read_inert`.

    Raises Malformed if there is too much to look at, as in a module that contains itself.
    """
    search = _Search()
    networks = []
    for network in search.walk(tree, ()):
        networks.append(network)
        if len(networks) == MAX_NETWORKS:
            break
    return networks


class _Search:
    """A walk through a tree, with a limit on the entries it looks at."""

    def __init__(self) -> None:
        self.left = MAX_ENTRIES

    def items(self, value: Any) -> Mapping[Any, Any]:
        """The items or attributes of a value."""
        found = attributes(value)
        self.left -= 1 + len(found)
        if self.left < 0:
            raise Malformed(f"has more than {MAX_ENTRIES} entries, or contains itself")
        return found

    def walk(self, value: Any, place: tuple[str, ...]) -> Iterator[Network]:
        """The networks in a value at a place."""
        items, where = self.items(value), _line(".".join(place))
        if _is_module(value):
            yield self.module(value, where)
            return
        tensors = {key: item for key, item in items.items() if _is_entry(key, item)}
        if tensors:
            yield Network(where, _unprefixed(tensors))
        if len(place) < MAX_PLACES:
            for key, item in items.items():
                if isinstance(key, str) and isinstance(item, dict | Record):
                    yield from self.walk(item, (*place, key))

    def module(self, module: Record, place: str) -> Network:
        """The tensors and attributes of a module and of those inside it."""
        network = Network(place, {}, module.name.rpartition(".")[2])
        waiting = deque([(module, "", 0)])
        while waiting:
            inner, prefix, depth = waiting.popleft()
            if depth > MAX_MODULES:
                raise Malformed(f"has modules nested deeper than {MAX_MODULES} levels")
            state = self.items(inner)
            self.take(network, state, prefix)
            for name, child in self.items(state.get("_modules")).items():
                if isinstance(name, str) and _is_module(child):
                    waiting.append((child, f"{prefix}{name}.", depth + 1))
        network.tensors = _unprefixed(network.tensors)
        return network

    def take(self, network: Network, state: Mapping[Any, Any], prefix: str) -> None:
        """Add the tensors of one module to a network, and its attributes."""
        unsaved = _texts(state.get("_non_persistent_buffers_set"))
        for group in ("_parameters", "_buffers"):
            for name, value in self.items(state.get(group)).items():
                if _is_entry(name, value) and name not in unsaved:
                    network.tensors[f"{prefix}{name}"] = value
        for name, value in state.items():
            if isinstance(name, str) and not name.startswith("_") and _is_plain(value):
                network.attributes[f"{prefix}{name}"] = value


def _line(text: str) -> str:
    """Text of a file, fit for a message and a record."""
    return printable(text[:MAX_TEXT])


def _is_entry(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _is_module(value: Any) -> bool:
    return isinstance(value, Record) and "_modules" in attributes(value)


def _unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while tensors and all(name.startswith(PREFIX) for name in tensors):
        tensors = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    return tensors


def _texts(value: Any) -> set[str]:
    """The texts in a recorded set."""
    values = value.arguments[0] if isinstance(value, Record) and value.arguments else None
    if type(values) is not list or len(values) > MAX_LIST:
        return set()
    return {each for each in values if isinstance(each, str)}


def _is_plain(value: Any) -> bool:
    """Whether an attribute is short text, a number, None, or a few of these."""
    if isinstance(value, tuple | list):
        return len(value) <= MAX_LIST and all(map(_is_short, value))
    return _is_short(value)


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    if isinstance(value, int):
        return value.bit_length() < 64
    return value is None or isinstance(value, float)
