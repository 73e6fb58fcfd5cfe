"""The library `datasets`, kept off the network.

Its own switch covers the Hugging Face Hub and is read once, at import; a folder's README may still
name files anywhere. So both the switch and what opens remote files are set for the time of a call.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from zoo_core import OfflineError

INSTALL = "pip install 'zoo-core[hf]'"
SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
LOCAL = {None, "", "file", "local", "zip", "tar", "gzip", "bz2", "xz", "lz4", "zstd"}


def import_datasets() -> ModuleType:
    """Import `datasets`; raises OfflineError with the install command if that fails."""
    try:
        import datasets
    except ImportError as error:
        raise OfflineError(f"datasets cannot be imported ({error})", hint=INSTALL) from None
    return datasets


@contextlib.contextmanager
def offline() -> Iterator[ModuleType]:
    """The library for calls that open no connection, show no progress and log nothing.

    What would need one raises ConnectionError.
    """
    datasets = import_datasets()
    import huggingface_hub.constants as hub

    openers = [import_module(f"fsspec.{name}") for name in ("core", "registry")]
    open_class = openers[0].get_filesystem_class

    def local_only(protocol: str | None) -> Any:
        if protocol not in LOCAL:
            raise ConnectionError(f"{protocol}:// is on the network")
        return open_class(protocol)

    with contextlib.ExitStack() as stack:
        stack.enter_context(_environment())
        for module in (datasets.config, hub):
            for switch in (name for name in SWITCHES if hasattr(module, name)):
                stack.enter_context(_changed(module, switch, True))
        for module in openers:
            stack.enter_context(_changed(module, "get_filesystem_class", local_only))
        stack.enter_context(_quiet(datasets))
        yield datasets


@contextlib.contextmanager
def _changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in SWITCHES}
    os.environ.update(dict.fromkeys(SWITCHES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _quiet(datasets: ModuleType) -> Iterator[None]:
    utils = datasets.utils
    verbosity, hidden = utils.logging.get_verbosity(), utils.are_progress_bars_disabled()
    utils.logging.set_verbosity(utils.logging.CRITICAL)  # what is wrong is raised as well
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.logging.set_verbosity(verbosity)
        if not hidden:
            utils.enable_progress_bars()
