"""What belongs to the whole process, and so to no plugin: kept, put back, and named if it changed.

A plugin that sets torch's default dtype while it is imported breaks every model, and nobody would
look for the reason there. Neither torch nor numpy is imported here: their state is read if they
are loaded, or as soon as a plugin has loaded them.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

Filters = list[Any]  # of warnings


class Setting(NamedTuple):
    """One thing that belongs to the process: how it is read, and how it is put back."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], None]
    is_secret: bool = False  # too long to be printed


@contextlib.contextmanager
def keeping_process_state(changed: list[str], *, randomness: bool = True) -> Iterator[None]:
    """Put back what is changed meanwhile, and add to `changed` what that was, in words.

    Without `randomness`, random numbers may be drawn: networks are initialized.
    """
    before = [
        (setting, setting.read())
        for setting in _settings(sys.modules)
        if randomness or not setting.is_secret
    ]
    late = _Late([name for name in ("numpy", "torch") if name not in sys.modules])
    filters = list(warnings.filters)
    try:
        with late.watching():
            yield
    finally:
        for setting, value in [*before, *late.found]:
            if setting.is_secret and not randomness:
                continue
            now = setting.read()
            if not _same(value, now):
                setting.write(value)
                changed.append(_described(setting, value, now))
        changed.extend(_restore_filters(filters))


def _settings(modules: Any) -> list[Setting]:
    """The settings of Python, and those of numpy and torch if they are loaded."""
    found = [
        Setting("the working folder", _folder, _go_to),
        Setting("Python's random state", random.getstate, random.setstate, is_secret=True),
    ]
    for name, settings in (("numpy", _of_numpy), ("torch", _of_torch)):
        if name in modules:
            found += settings(modules[name])
    return found


def _of_numpy(numpy: Any) -> list[Setting]:
    state = numpy.random
    return [
        Setting("numpy's handling of errors", numpy.geterr, lambda kept: numpy.seterr(**kept)),
        Setting("numpy's random state", state.get_state, state.set_state, is_secret=True),
    ]


def _of_torch(torch: Any) -> list[Setting]:
    def write_deterministic(kept: tuple[bool, bool]) -> None:
        torch.use_deterministic_algorithms(kept[0], warn_only=kept[1])

    def read_deterministic() -> tuple[bool, bool]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    return [
        Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("torch's default device", lambda: _device(torch), torch.set_default_device),
        Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        Setting("torch's deterministic algorithms", read_deterministic, write_deterministic),
        Setting("torch's gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting(
            "torch's precision of matrix products",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        Setting("torch's random state", torch.get_rng_state, torch.set_rng_state, is_secret=True),
    ]


def _folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return None


def _go_to(folder: Path | None) -> None:
    with contextlib.suppress(OSError):
        if folder is not None:
            os.chdir(folder)


def _device(torch: Any) -> Any:
    """The device that was set; None if none was. Not that of a `with torch.device(...)`."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device


def _same(one: Any, other: Any) -> bool:
    try:
        same = one == other
    except ValueError:  # numpy's, of a tuple with an array in it
        return all(map(_same, one, other))
    return bool(same if isinstance(same, bool) else same.all())  # of an array, for each element


def _described(setting: Setting, before: Any, now: Any) -> str:
    """What changed, in words."""
    return setting.name + ("" if setting.is_secret else f" from {before} to {now}")


def _restore_filters(before: Filters) -> Iterator[str]:
    """Put back the filters of warnings, but keep new ones of single messages or of own classes, as
    libraries add them for themselves.
    """
    now = warnings.filters
    if list(now) == before:
        return
    added = [each for each in now if each not in before]
    target = [each for each in added if not _is_for_all(each)] + before
    if list(now) != target:
        now[:] = target  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]
        yield "the filters of warnings"


def _is_for_all(entry: Any) -> bool:
    """Whether a filter is for warnings of everybody."""
    _, message, category, module, _ = entry
    return message is None and module is None and category.__module__ == "builtins"


class _Late(importlib.abc.MetaPathFinder):
    """Reads the settings of libraries that are not loaded yet, the moment they are."""

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        self.found: list[tuple[Setting, Any]] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        if self.names:
            sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """What the next finder finds, with a loader that calls us back."""
        if name not in self.names:
            return None
        self.names.remove(name)
        found = (f.find_spec(name, path, target) for f in sys.meta_path if f is not self)
        spec = next((each for each in found if each is not None), None)
        if spec is not None and spec.loader is not None:
            self._call_back(name, spec.loader)
        return spec

    def _call_back(self, name: str, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            only = {name: module}
            settings = [each for each in _settings(only) if each.name.startswith(name)]
            self.found += [(setting, setting.read()) for setting in settings]

        loader.exec_module = exec_module
