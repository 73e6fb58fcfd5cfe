"""What plugins build is checked where it enters, and a mistake is named with its plugin.

Without that it would show up deep inside the engine, as an error of somebody else.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from zoo_core.errors import PluginError
from zoo_core.plugins.checks import kind_of
from zoo_core.plugins.keeping import keeping_process_state
from zoo_core.spec import DatasetSpec, FeatureExtractorSpec, ModelSpec

if TYPE_CHECKING:
    from zoo_core.interfaces import Batch, Phase, Progress

Report = Callable[[str, list[str]], None]  # (function, what it changed in the process)
Check = Callable[[Any, str, str], Any]  # (what was built, function, plugin) -> the same, checked


def bordered(spec: Any, plugin: str, report: Report) -> Any:
    """A record whose functions check what they return, and leave the process as it was.

    They raise PluginError for what is not of the promised type.
    """
    checks: dict[str, Check] = {}
    if isinstance(spec, ModelSpec):
        checks = {
            "build_generator": _network,
            "build_discriminator": _network,
            "build_classifier": _network,
            "build_phases": _phases,
        }
    elif isinstance(spec, FeatureExtractorSpec):
        checks = {"build": _extractor}
    elif isinstance(spec, DatasetSpec):
        checks = {"open": lambda made, name, plugin: made}  # checked by `open_dataset`
    functions = {name: getattr(spec, name) for name in checks}
    return structs.replace(
        spec,
        **{
            name: _entering(function, name, plugin, checks[name], report)
            for name, function in functions.items()
            if callable(function)
        },
    )


def _entering(
    function: Callable[..., Any], name: str, plugin: str, check: Check, report: Report
) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        changed: list[str] = []
        try:
            with (
                contextlib.redirect_stdout(sys.stderr),
                keeping_process_state(changed, randomness=False),
            ):
                made = function(*arguments)
        finally:
            if changed:
                report(name, changed)
        return check(made, name, plugin)

    return call


def _network(made: Any, name: str, plugin: str) -> Any:
    """A network of the class that the function is named for."""
    from zoo_core.generators import Generator
    from zoo_core.interfaces import Classifier, Discriminator

    role = name.removeprefix("build_")
    kind = {"generator": Generator, "discriminator": Discriminator, "classifier": Classifier}[role]
    if not isinstance(made, kind):
        raise _wrong(name, plugin, f"a {kind.__name__}", f"a {kind_of(made)}")
    if role != "discriminator":
        shape = getattr(made, "image_shape", None)
        if not _is_shape(shape):
            what = f"a {kind.__name__} with image_shape, the numbers (channels, height, width)"
            raise _wrong(name, plugin, what, f"one with {shape!r}")
    return made


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, Sequence)
        and len(shape) == 3
        and all(isinstance(number, int) and number > 0 for number in shape)
    )


def _extractor(made: Any, name: str, plugin: str) -> Any:
    from zoo_core.interfaces import FeatureExtractor

    if not isinstance(made, FeatureExtractor):
        raise _wrong(name, plugin, "a FeatureExtractor", f"a {kind_of(made)}")
    for attribute, kind in (("width", int), ("fingerprint", str)):
        value = getattr(made, attribute, None)
        if not isinstance(value, kind):
            what = f"a FeatureExtractor with {attribute}, of type {kind.__name__}"
            raise _wrong(name, plugin, what, f"one with {value!r}")
    return made


def _phases(made: Any, name: str, plugin: str) -> list[Phase]:
    """Phases with different names, whose losses are checked whenever they are computed."""
    from zoo_core.interfaces import Phase

    if not isinstance(made, list | tuple) or not made:
        given = "an empty one" if isinstance(made, list | tuple) else f"a {kind_of(made)}"
        raise _wrong(name, plugin, "a list of Phase", given)
    for phase in made:
        if not isinstance(phase, Phase):
            raise _wrong(name, plugin, "a list of Phase", f"one with a {kind_of(phase)}")
        _check_phase(phase, plugin)
    names = [phase.name for phase in made]
    if len({*names}) < len(names):
        raise _wrong(name, plugin, "phases with different names", ", ".join(names))
    return [replace(phase, loss=_checked_loss(phase, plugin)) for phase in made]


def _check_phase(phase: Phase, plugin: str) -> None:
    from torch import nn
    from torch.optim import Optimizer

    for field, kind in (("name", str), ("module", nn.Module), ("optimizer", Optimizer),
                        ("every", int)):  # fmt: skip
        value = getattr(phase, field)
        if not isinstance(value, kind):
            what = f"phase {phase.name!r} of plugin {plugin} needs {field}, of type {kind.__name__}"
            raise PluginError(what, given=f"a {kind_of(value)}")
    if phase.every < 1 or not callable(phase.loss):
        wrong = "every >= 1" if phase.every < 1 else "a loss, which is a function"
        raise PluginError(f"phase {phase.name!r} of plugin {plugin} needs {wrong}")


def _checked_loss(phase: Phase, plugin: str) -> Callable[[Batch, Progress], Mapping[str, Any]]:
    def loss(batch: Batch, progress: Progress) -> Mapping[str, Any]:
        terms = phase.loss(batch, progress)
        if wrong := _wrong_terms(terms):
            raise PluginError(
                f"phase {phase.name!r} of plugin {plugin} has to return {{'loss': ...}}, named "
                f"tensors of one number each; gave {wrong}"
            )
        return terms

    return loss


def _wrong_terms(terms: Any) -> str:
    """What is wrong with what a loss has returned, in words; empty if nothing is."""
    from torch import Tensor

    if not isinstance(terms, Mapping):
        return f"a {kind_of(terms)}"
    if "loss" not in terms:
        return f"only {', '.join(map(repr, terms)) or 'nothing'}"
    for name, value in terms.items():
        if not isinstance(value, Tensor):
            return f"a {kind_of(value)} for {name!r}"
        if value.dim():
            return f"a tensor {tuple(value.shape)} for {name!r}"
    return "" if terms["loss"].requires_grad else "a loss without a gradient"


def _wrong(function: str, plugin: str, what: str, given: str) -> PluginError:
    return PluginError(f"{function} of plugin {plugin} has to return {what}; gave {given}")
