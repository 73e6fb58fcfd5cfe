"""Lazy imports for packages: each public name is imported when it is first used.

    __getattr__, __dir__, __all__ = public(__name__, {"conv2d": "convolution"})

This keeps `import zoo_core` cheap, and `zoo list` never imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def public(
    package: str,  # its __name__
    homes: Mapping[str, str],  # public name -> module inside the package that defines it
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` for a package."""

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    doors = sorted(homes)  # `dir` shows these alone: no helper, no file that was imported
    return find, lambda: list(doors), doors
