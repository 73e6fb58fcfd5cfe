"""Runs `zoo` in this process with only the plugins that a test names; watches the network."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from zoo_core.plugins.loading import Plugins


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch, tmp_path, capsys) -> Callable[..., Answer]:
    """`command(modules, "data", "list")`; the modules are plugins, by name."""
    monkeypatch.chdir(tmp_path)
    from zoo_core.cli import main

    def run(modules: dict[str, ModuleType], *arguments: object) -> Answer:
        def load_plugins() -> Plugins:
            plugins = Plugins()
            for name, module in modules.items():
                plugins.register(name, module)
            return plugins

        monkeypatch.setattr("zoo_core.plugins.loading.load_plugins", load_plugins)
        monkeypatch.setattr(sys, "argv", ["zoo", *map(str, arguments)])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        return Answer(code, *capsys.readouterr())

    yield run
    logger = logging.getLogger("zoo")
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def no_network(monkeypatch) -> Iterator[None]:
    """Looking up or connecting to a host fails, and so does the test, even if that is caught."""
    tried = []

    def fail(*arguments: object, **options: object) -> None:
        tried.append(arguments)
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, fail)
    yield
    assert tried == []
