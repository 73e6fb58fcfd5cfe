"""The public list is what it says, and every module that the contract allows can be imported."""

from __future__ import annotations

import importlib

import pytest

import zoo_core
from zoo_core import testing


def test_every_public_name_exists_and_is_sorted():
    assert zoo_core.__all__ == sorted(zoo_core.__all__)
    for name in zoo_core.__all__:
        assert getattr(zoo_core, name) is not None


def test_homes_and_public_list_agree():
    assert set(zoo_core._HOMES) == set(zoo_core.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = zoo_core.no_such_name


def test_public_modules_that_exist_can_be_imported():
    for name in testing.PUBLIC:
        importlib.import_module(name)
