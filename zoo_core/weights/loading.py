"""Load networks: `zoo.load` for generators, by registered name, repository, weights file or run
folder; `zoo.load_features` for feature extractors, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from zoo_core.config import read_config
from zoo_core.data.given import Reader
from zoo_core.data.progress import OnProgress
from zoo_core.errors import ConfigError, InputError, UnknownNameError, WeightsError
from zoo_core.filesystem import exists
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier, FeatureExtractor
from zoo_core.nn.features import ClassifierFeatures
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.runtime import Runtime
from zoo_core.spec import WeightsEntry
from zoo_core.weights.header import (
    Bytes,
    Header,
    WeightsMetadata,
    is_path,
    is_repository,
    is_spelled_as_path,
    parse_header,
    parse_metadata,
    read_file,
    weights_path,
)
from zoo_core.weights.hub import read_weights
from zoo_core.weights.making import refitted
from zoo_core.weights.registry import MAIN_ROLES, load_registry, main_role, means_path
from zoo_core.weights.run_settings import settings_of_run
from zoo_core.weights.tensors import load_weights

Network = TypeVar("Network", bound=nn.Module)


def load(
    name: str | Path,
    *,
    device: str = "cpu",
    adapt: Iterable[str] = (),
    classes: Sequence[str] = (),
    plugins: Plugins | None = None,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> Generator:
    """Load a generator in eval mode, without gradients. Files are verified; no code in them is run.

    `name` is a registered `model.tag`, a repository `hf://OWNER/REPO[@REVISION]` that `zoo publish`
    wrote, the path of a `.safetensors` file, a run folder, spelled `./model.tag` if weights are
    registered under its name, or the name of a run in runs/ that none have. Registered weights, and
    those of a repository, are compared with the registry's sha256; those that are not on this
    machine are downloaded into the cache, and `on_progress(bytes, size)` is called meanwhile.
    `device` is "cpu", "cuda", "auto" and so on.
    `plugins` are the plugins to search, by default all that are installed.

    `settings` are those of the model's configuration that shall differ from the weights', such as
    `channels=1`, and `classes` the names of other classes; what has another shape then is adapted
    by the rules in `adapt` only ("channels", "classes", "resolution": see weights/adapting.py), and
    a warning says what became of the tensors.

    Raises UnknownNameError or AmbiguousNameError for a name, InputError for a path that does not
    exist, ConfigError for a setting, WeightsError for a file that is damaged, unsafe, yanked, or
    does not fit its architecture, DownloadError if no server sends it, and OfflineError if
    ZOO_OFFLINE=1.
    """
    plugins = plugins or load_plugins()
    network = _loaded(name, plugins, on_progress)
    if not isinstance(network, Generator):
        raise WeightsError(
            f"{name} holds a classifier, not a generator",
            hint=f"zoo_core.load_features({str(name)!r})",
        )
    if settings or classes:
        network = refitted(network, settings, classes, tuple(adapt), plugins)
    if network.source_shape is not None:
        network.reader = _reader_of(name, plugins)
    return _placed(network, device)


def load_main(
    name: str | Path,
    *,
    device: str = "cpu",
    plugins: Plugins | None = None,
    on_progress: OnProgress | None = None,
) -> Generator | Classifier:
    """Like `load`, for the main network of a model: its generator or classifier."""
    return _placed(_loaded(name, plugins or load_plugins(), on_progress), device)


def _loaded(
    name: str | Path, plugins: Plugins, on_progress: OnProgress | None
) -> Generator | Classifier:
    """The main network on the CPU, in eval mode."""
    entry = _registered(name, plugins)
    data, label = _read(name, entry, on_progress)
    header = parse_header(data, len(data), label)
    record = parse_metadata(header, label)
    if entry is not None and is_repository(name):
        _check_agrees(entry, record, str(name))
    is_known = entry is not None and not is_repository(name)
    network = _build(record, header, data, label, plugins, is_known)
    return network.eval().requires_grad_(False)


def _reader_of(name: str | Path, plugins: Plugins) -> Reader:
    """How pictures are read for the network: as in its run, where there is one."""
    settings = settings_of_run(name, plugins)
    return Reader(**{key: settings[key] for key in ("fit", "levels") if key in settings})


def load_features(
    name: str,
    *,
    input_size: int | None = None,
    device: str = "cpu",
    plugins: Plugins | None = None,
) -> FeatureExtractor:
    """Load a frozen network that turns images into features; no code in a file is run.

    It takes tensors, arrays, pictures of Pillow and paths, as data/given.py says. `name` is an
    extractor of a plugin, such as `timm/tf_efficientnet_lite0.in1k`, or the registered name, file
    or run folder of a classifier. Images are resized to `input_size` pixels a side, by default the
    size that the network was trained on. Under `torch.device("meta")` it is built there, without
    its weights.

    Raises UnknownNameError or AmbiguousNameError for a name, InputError for an unsupported size,
    WeightsError for a file that is not the expected one, and OfflineError for a file that is not on
    this machine.
    """
    plugins = plugins or load_plugins()
    extractor = load_extractor(name, input_size=input_size, device=device, plugins=plugins)
    extractor.reader = Reader()
    if isinstance(extractor, ClassifierFeatures):
        extractor.reader = replace(
            _reader_of(name, plugins), side=extractor.classifier.image_shape[1]
        )
    return extractor


def load_extractor(
    name: str,
    *,
    input_size: int | None = None,
    device: str = "cpu",
    plugins: Plugins | None = None,
) -> FeatureExtractor:
    """Like `load_features`, for tensors only, whose values are not looked at."""
    plugins = plugins or load_plugins()
    if means_path(name, plugins.feature_extractors):
        return _of_classifier(name, input_size, device, plugins)
    if load_registry(plugins).matches(name):
        return _of_classifier(name, input_size, device, plugins)
    spec = plugins.find_feature_extractor(name)
    if input_size is not None and input_size < 1:
        raise InputError("invalid input size", given=input_size, allowed="1 or more")
    extractor = spec.build(spec.input_size if input_size is None else input_size)
    extractor.distance = spec.distance
    return _placed(extractor, device)


def _placed(network: Network, device: str) -> Network:
    """Move to the requested device, except under `torch.device("meta")`."""
    if torch.get_default_device().type == "meta":
        return network
    return Runtime.detect(device, "fp32").place(network)


def _of_classifier(
    name: str, input_size: int | None, device: str, plugins: Plugins
) -> FeatureExtractor:
    classifier = load_main(name, device=device, plugins=plugins)
    if not isinstance(classifier, Classifier):
        raise WeightsError(f"{name} holds a generator, which has no features")
    size = classifier.image_shape[2]
    if input_size not in (None, size):
        raise InputError(f"{name} has a fixed input size", given=input_size, allowed=str(size))
    return ClassifierFeatures(classifier, name="classifier")


def _read(
    name: str | Path, entry: WeightsEntry | None, on_progress: OnProgress | None
) -> tuple[bytearray, str]:
    """The bytes of the weights, and their name for messages."""
    if entry is not None:
        return read_weights(entry.files[main_role(entry)], entry.name, on_progress), entry.name
    path = weights_path(name)
    return read_file(path), str(path)


def _registered(name: str | Path, plugins: Plugins) -> WeightsEntry | None:
    """The weights that are registered under a name; None for a path."""
    if is_path(name) and is_spelled_as_path(name):
        return None
    registry = load_registry(plugins)
    if means_path(name, registry):
        return None
    is_here = exists(name) and not registry.matches(str(name))
    return None if is_here else registry.usable(str(name))


def _check_agrees(entry: WeightsEntry, record: WeightsMetadata, name: str) -> None:
    """Raise WeightsError if a repository says other things of its weights than the file itself."""
    for key in ("model", "config", "licence"):
        said, found = getattr(entry, key), getattr(record, key)
        if said != found:
            raise WeightsError(
                f"the registry file of {name} does not describe its weights: {key}",
                given=str(said)[:200],
                allowed=str(found)[:200],
            )


def _build(
    record: WeightsMetadata,
    header: Header,
    data: Bytes,
    label: str,
    plugins: Plugins,
    is_known: bool,
) -> Generator | Classifier:
    if record.role not in MAIN_ROLES:
        raise WeightsError(f"{label} holds a {record.role!r}, not a {' or a '.join(MAIN_ROLES)}")
    if not plugins.models.matches(record.model):
        known, need = plugins.models.names(), f"install the plugin that {label} needs"
        raise UnknownNameError("model", record.model, known, hint=need)
    spec = plugins.models.get(record.model)
    try:
        config = read_config(spec.config, record.config, label)
    except ConfigError as error:
        raise WeightsError(str(error)) from None
    if record.role != spec.role:
        raise WeightsError(f"{label} holds a {record.role}, but {spec.name} has a {spec.role}")
    network = load_weights(
        data, label, lambda: spec.build_main(config), header=header, is_known=is_known
    )
    assert isinstance(network, Generator | Classifier)
    if record.classes and len(record.classes) != network.num_classes:
        raise WeightsError(
            f"{label} has the wrong number of class names",
            given=len(record.classes),
            allowed=str(network.num_classes),
        )
    network.classes, network.about = record.classes, record
    return network
