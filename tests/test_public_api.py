"""The public API that plugins and programs may rely on."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_core.testing import PUBLIC_MODULES, is_public

by_door = pytest.mark.parametrize("door", PUBLIC_MODULES)


@by_door
def test_every_public_name_exists(door):
    package = importlib.import_module(door)
    assert package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None


@by_door
def test_dir_shows_the_public_names_alone(door):
    """In a fresh process too, where other names are modules that were imported since."""
    program = f"import {door} as door; print(dir(door) == door.__all__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr
    package = importlib.import_module(door)
    assert dir(package) == package.__all__


@by_door
def test_editors_see_the_same_names(door):
    """The imports under TYPE_CHECKING, which never run, match the public list."""
    package = importlib.import_module(door)
    (guarded,) = (
        node
        for node in ast.parse(Path(package.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    seen = {}
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        seen |= {alias.name: getattr(importlib.import_module(node.module), alias.name)
                 for alias in node.names}  # fmt: skip
    assert sorted(seen) == package.__all__
    for name, value in seen.items():
        assert getattr(package, name) is value


@by_door
def test_an_unknown_name_is_an_attribute_error(door):
    with pytest.raises(AttributeError, match=f"module '{door}' has no attribute 'no_such_name'"):
        _ = importlib.import_module(door).no_such_name


@pytest.mark.parametrize(
    ("module", "name", "public"),
    [
        ("zoo_core", "Generator", True),
        ("zoo_core", "nn", True),
        ("zoo_core", "", True),
        ("zoo_core.nn", "conv2d", True),
        ("zoo_core.testing", "CHECKS", True),
        ("torch.nn", "Module", True),
        ("zoo_core", "engine", False),
        ("zoo_core.interfaces", "Generator", False),
        ("zoo_core.nn", "layers", False),
        ("zoo_core.nn.layers", "", False),
        ("zoo_core.weights", "header", False),
    ],
)
def test_plugins_may_import_what_is_on_a_list_and_nothing_else(module, name, public):
    assert is_public(module, name) is public


@by_door
def test_a_list_costs_no_torch(door):
    program = f"import sys, {door}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
