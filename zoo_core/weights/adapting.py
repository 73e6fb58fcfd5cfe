"""Weights of one configuration in a network of another, by rules that have to be asked for.

    channels    Images with another number of channels, where the fields `channels` and
                `source_channels` of a configuration say so. A layer that makes images: three
                channels from one are copies of it, one from three is their luminance. A layer that
                takes images responds to a gray image as before, stored in one channel or in three.
    classes     Other classes. What belongs to a class goes with its name (with its number, where
                there are no names), a new class gets the mean of the old ones. Between none and
                some, all that depends on the number of classes begins anew.
    resolution  Another size, for models whose layers belong to one (`ModelSpec.counterpart`). The
                layers of the sizes that both have are kept, those of the others begin anew.

What fits without a rule is kept. Nothing else is adapted, and the report says what was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec
import torch
from torch import Tensor, nn

from zoo_core.config import NUM_CLASSES, ModelConfig, fields
from zoo_core.errors import WeightsError, first_few
from zoo_core.spec import ModelSpec
from zoo_core.weights.tensors import Tensors

Rule = Literal["channels", "classes", "resolution"]
RULES: tuple[Rule, ...] = get_args(Rule)
FIELDS: Mapping[str, Rule] = {
    "channels": "channels", "source_channels": "channels", NUM_CLASSES: "classes",
}  # fmt: skip
LUMINANCE = torch.tensor([[0.299, 0.587, 0.114]])  # ITU-R BT.601, as Pillow makes images gray


@dataclass(frozen=True)
class Weights:
    """Tensors of a network, and what it was built from."""

    config: ModelConfig
    tensors: Mapping[str, Tensor]
    classes: Sequence[str] = ()  # their names by number


@dataclass
class Report:
    """What became of the tensors of a network."""

    kept: list[str] = field(default_factory=list)
    converted: dict[str, Rule] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)  # as they were initialized
    unused: list[str] = field(default_factory=list)  # of the source

    def __str__(self) -> str:
        """One line: `64 of 80 tensors kept, 16 begin anew (blocks.4)`."""
        total = len(self.kept) + len(self.converted) + len(self.fresh)
        said = [f"{len(self.kept)} of {total} tensors kept"]
        for rule in dict.fromkeys(self.converted.values()):
            names = [key for key, each in self.converted.items() if each == rule]
            said.append(f"{len(names)} adapted to other {rule} ({_parts(names)})")
        if self.fresh:
            said.append(f"{len(self.fresh)} begin anew ({_parts(self.fresh)})")
        if self.unused:
            said.append(f"{len(self.unused)} of the source not used ({_parts(self.unused)})")
        return ", ".join(said)


def adapt(
    spec: ModelSpec,
    role: str,
    source: Weights,
    config: ModelConfig,
    classes: Sequence[str],
    initial: Mapping[str, Tensor],  # tensors of the network that is to have the weights
    rules: Collection[str] = (),
) -> tuple[Tensors, Report]:
    """The tensors of a network of this role and configuration, made from those of `source`.

    Raises WeightsError, which lists the tensors that do not fit with both shapes, and names the
    rules that would help, if there are any.
    """
    needed = _needed(spec, source, config, classes)
    if missing := [rule for rule in needed if rule not in rules]:
        raise _misfit(spec, role, source.tensors, initial, needed=missing)
    stage = _replaced(config, source.config, FIELDS)
    found, report, may_be_fresh = _kept(spec, role, source, stage, "resolution" in needed)
    for name, rule in FIELDS.items():
        after = _replaced(stage, config, [name])
        if after != stage or (rule == "classes" and tuple(source.classes) != tuple(classes)):
            step = _Step(spec, role, name, stage, after, source.classes, classes)
            for key, tensor in step.converted(found):
                found[key], report.converted[key] = tensor, rule
            for key in step.dropped(found):
                if found.pop(key, None) is not None and key not in initial:
                    report.unused.append(key)
                may_be_fresh.add(key)
        stage = after
    report.fresh = [key for key in initial if key not in found]
    wrong = [k for k in initial if k in found and found[k].shape != initial[k].shape]
    if wrong or not may_be_fresh.issuperset(report.fresh):
        raise _misfit(spec, role, found, initial)
    report.kept = [key for key in initial if key in found and key not in report.converted]
    return {key: found.get(key, tensor) for key, tensor in initial.items()}, report


def _needed(
    spec: ModelSpec, source: Weights, config: ModelConfig, classes: Sequence[str]
) -> list[Rule]:
    """The rules without which weights do not fit another configuration."""
    found = [
        rule for name, rule in FIELDS.items() if _value(source.config, name) != _value(config, name)
    ]
    if source.classes and classes and tuple(source.classes) != tuple(classes):
        found.append("classes")
    if spec.counterpart and _value(source.config, "resolution") != _value(config, "resolution"):
        found.append("resolution")
    return [rule for rule in RULES if rule in found]


def _kept(
    spec: ModelSpec, role: str, source: Weights, config: ModelConfig, may_miss: bool
) -> tuple[Tensors, Report, set[str]]:
    """The tensors that a network has in common with the source, as they are; and the names of those
    that may begin anew, as they belong to a resolution that the source has not.
    """
    rename, found, report = spec.counterpart, Tensors(), Report()
    taken, missing = set(), set()
    for key in _blueprint(spec, role, config).state_dict():
        name = rename(role, key, config, source.config) if rename else key
        if name in source.tensors:
            found[key] = source.tensors[name]
            taken.add(name)
        elif name is None or may_miss:
            missing.add(key)
    report.unused = [key for key in source.tensors if key not in taken]
    return found, report, missing


@dataclass(frozen=True)
class _Step:
    """From one configuration to the next, which differs in one field."""

    spec: ModelSpec
    role: str
    name: str
    before: ModelConfig
    after: ModelConfig
    old_classes: Sequence[str]
    new_classes: Sequence[str]

    def converted(self, found: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Each tensor that depends on the field, as it is after the step."""
        old, new = _value(self.before, self.name), _value(self.after, self.name)
        if not old or not new:
            return
        matrix = self._matrix(old, new)
        modules = [_blueprint(self.spec, self.role, each) for each in (self.before, self.after)]
        for key, dim in self._dependent(old).items():
            if key in found:
                yield key, _scale_ratio(modules, key) * _mapped(found[key], dim, matrix)

    def dropped(self, found: Mapping[str, Tensor]) -> list[str]:
        """Tensors that begin anew: those that depend on the classes, between none and some."""
        counts = [_value(each, self.name) for each in (self.before, self.after)]
        if self.name != NUM_CLASSES or all(counts):
            return []
        before, after = (
            _shapes(_blueprint(self.spec, self.role, each)) for each in (self.before, self.after)
        )
        return [key for key in {**before, **after} if before.get(key) != after.get(key)]

    def _dependent(self, old: int) -> dict[str, int]:
        """The tensors whose shape depends on the field, and the dimension that does.

        Raises WeightsError for one that is not simply `old` times some size.
        """
        other = self.after
        if _value(other, self.name) == old:  # the same number of other classes
            other = _with(self.before, {self.name: old + 1})
        here, there = (_blueprint(self.spec, self.role, each) for each in (self.before, other))
        both_ways = getattr(here, "source_shape", None) is not None and self.name == "channels"
        found, others = {}, _shapes(there)
        for key, shape in _shapes(here).items():
            dims = [dim for dim, size in enumerate(shape) if others.get(key, shape)[dim] != size]
            if not dims:
                continue
            ratio = shape[dims[0]] * _value(other, self.name) == others[key][dims[0]] * old
            if len(dims) > 1 or not ratio or (both_ways and not self._tells_sources_apart()):
                same = f"{self.name}={old}"
                raise WeightsError(
                    f"no rule says what becomes of {key!r} of the {self.role} of {self.spec.name}",
                    given=f"{list(shape)} there, {list(others[key])} here",
                    hint=f"--set {same} with zoo train, {same} with zoo.load"
                    if other is self.after
                    else "",
                )
            found[key] = dims[0]
        return found

    def _tells_sources_apart(self) -> bool:
        """Whether the channels of source images are a field of their own."""
        return _value(self.before, "source_channels") is not None

    def _matrix(self, old: int, new: int) -> Tensor:
        """[new, old]: what each new channel or class is made of."""
        if self.name == NUM_CLASSES:
            return _by_name(self.old_classes, self.new_classes, old, new)
        makes_images = self.role == "generator" and self.name == "channels"
        if (old, new) == (3, 1):
            return LUMINANCE if makes_images else torch.ones(1, 3)
        return torch.ones(3, 1) if makes_images else LUMINANCE.T


def _by_name(before: Sequence[str], after: Sequence[str], old: int, new: int) -> Tensor:
    """[new, old]: a class is that of its name, or number where there are no names, or the mean."""
    names = list(before) if before and after else list(range(old))
    wanted = list(after) if before and after else list(range(new))
    rows = torch.full((new, old), 1 / old)
    for number, name in enumerate(wanted):
        if name in names:
            rows[number] = 0
            rows[number, names.index(name)] = 1
    return rows


def _mapped(tensor: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """The tensor with `matrix` [new, old] applied to a dimension of `old` times some size."""
    apart = tensor.movedim(dim, 0).unflatten(0, (matrix.shape[1], -1))
    made = torch.tensordot(matrix.to(torch.float64), apart.to(torch.float64), 1)
    return made.flatten(0, 1).movedim(0, dim).to(tensor.dtype).contiguous()


def _scale_ratio(modules: Sequence[nn.Module], key: str) -> float:
    """By how much less a weight is multiplied when it is used: equalized layers divide by fan-in,
    which depends on the number of channels or classes.
    """
    owner, _, kind = key.rpartition(".")
    before, after = (getattr(module.get_submodule(owner), "scale", 1.0) for module in modules)
    is_scaled = kind == "weight" and isinstance(before, float) and isinstance(after, float)
    return before / after if is_scaled else 1.0


def _blueprint(spec: ModelSpec, role: str, config: ModelConfig) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = spec.builders()[role](config)
    return network


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def _value(config: ModelConfig, name: str) -> Any:
    return getattr(config, name, None)


def _replaced(config: ModelConfig, other: ModelConfig, names: Collection[str]) -> ModelConfig:
    """The configuration with the values of another in some of its fields."""
    own = fields(type(config))
    return _with(config, {name: _value(other, name) for name in names if name in own})


def _with(config: ModelConfig, values: Mapping[str, Any]) -> ModelConfig:
    return msgspec.structs.replace(config, **values)


def _misfit(
    spec: ModelSpec,
    role: str,
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    needed: Sequence[Rule] = (),
) -> WeightsError:
    """The error that lists every tensor that does not fit."""
    shapes = {
        key: [list(tensors[key].shape) if key in tensors else "none" for tensors in (found, wanted)]
        for key in {**wanted, **found}
    }
    listed = [f"{k}: {old} there, {new} here" for k, (old, new) in shapes.items() if old != new]
    also = f", and other {' and other '.join(needed)}" if needed else ""
    return WeightsError(
        f"these weights do not fit the {role} of {spec.name}: {len(listed)} tensors differ{also}",
        given="; ".join(listed) or None,
        hint=f"--set adapt={','.join(needed)} with zoo train, adapt={list(needed)} with zoo.load"
        if needed
        else "",
    )


def _parts(keys: Sequence[str]) -> str:
    """The layers that tensors belong to, for a line: `blocks.4, to_rgb.3`."""
    return first_few(dict.fromkeys(".".join(key.split(".")[:2]) for key in keys))
