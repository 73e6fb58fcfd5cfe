"""`zoo.load`: a registered name, a weights file or a run folder becomes a generator that is ready
to use.
"""

from __future__ import annotations

from pathlib import Path

from zoo_core.checkpoint import load_weights
from zoo_core.config import read_config
from zoo_core.errors import ConfigError, UnknownNameError, WeightsError
from zoo_core.hub import read_weights
from zoo_core.interfaces import Generator
from zoo_core.plugins import Plugins, load_plugins
from zoo_core.registry import load_registry
from zoo_core.runtime import Runtime
from zoo_core.spec import WeightsEntry
from zoo_core.weights import About, about, exists, is_path, parse_header, read_file, weights_path


def load(name: str | Path, *, device: str = "cpu", plugins: Plugins | None = None) -> Generator:
    """A generator in evaluation mode, without gradients; verified, and no code in a file is run.

    `name` is a registered `model.tag`, the path of a `.safetensors` file, or the folder of a run.
    Registered weights are compared with the registry's sha256. `device` is "cpu", "cuda", "auto"
    and so on. `plugins` are the ones to look in, by default all that are installed.

    Raises UnknownNameError or AmbiguousNameError for a name, InputError for a path that is not
    there, and WeightsError for a file that is damaged, unsafe, or does not fit its architecture.
    """
    plugins = plugins or load_plugins()
    data, label = _read(name, plugins)
    header = parse_header(data, len(data), label)
    record = about(header, label)
    generator = _build(record, data, label, plugins)
    runtime = Runtime.detect(device, "fp32")
    return runtime.place(generator).eval().requires_grad_(False)


def _read(name: str | Path, plugins: Plugins) -> tuple[bytes, str]:
    """The bytes of the weights, and what a message calls them."""
    if not is_path(name):
        entry = _registered(str(name), plugins)
        return read_weights(entry.files["generator"], entry.name), entry.name
    path = weights_path(name)
    return read_file(path), str(path)


def _registered(name: str, plugins: Plugins) -> WeightsEntry:
    registry = load_registry(plugins)
    if not registry.claimants(name) and exists(name):
        raise UnknownNameError(
            registry.kind, name, registry.names(), hint=f"./{name} for what lies in this folder"
        )
    entry = registry.get(name)
    if "generator" not in entry.files:
        raise WeightsError(f"{name} has no generator", given=", ".join(entry.files))
    return entry


def _build(record: About, data: bytes, label: str, plugins: Plugins) -> Generator:
    if record.role != "generator":
        raise WeightsError(f"{label} holds a {record.role!r}, not a generator")
    if not plugins.models.claimants(record.model):
        known, need = plugins.models.names(), f"install the plugin that {label} was made with"
        raise UnknownNameError("model", record.model, known, hint=need)
    spec = plugins.models.get(record.model)
    try:
        config = read_config(spec.config, record.config, label)
    except ConfigError as error:
        raise WeightsError(str(error)) from None
    network = load_weights(data, label, lambda: spec.build_generator(config))
    assert isinstance(network, Generator)
    return network
