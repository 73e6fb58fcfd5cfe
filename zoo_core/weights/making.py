"""Networks that no file holds: with random weights, or with those of another configuration; and
saving one to a file.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from torch import nn

from zoo_core.config import (
    NUM_CLASSES,
    ModelConfig,
    example_values,
    fields,
    read_config,
    resolve,
)
from zoo_core.data.given import Reader
from zoo_core.errors import InputError, UnknownNameError
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier, Discriminator
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.spec import ModelSpec, having
from zoo_core.weights.adapting import RULES, Weights, adapt
from zoo_core.weights.header import WeightsMetadata
from zoo_core.weights.tensors import save_weights
from zoo_core.wording import unknown_key

logger = logging.getLogger("zoo")


def create(
    model: str,
    *,
    preset: str = "",
    role: str = "",
    plugins: Plugins | None = None,
    **settings: Any,
) -> Generator | Classifier | Discriminator:
    """Make a network of `model` with random weights, in training mode.

    `settings` are those of the model's configuration that `zoo show MODEL` lists, such as
    `resolution=64`; those of a run, which a preset has as well, do not matter here. `role` is
    "generator", "discriminator" or "classifier" [default: the main network]. The weights come from
    torch's own random generator: `torch.manual_seed` repeats them.

    Raises UnknownNameError for the model or the preset, ConfigError for a setting, InputError for a
    role that the model does not have.
    """
    plugins = plugins or load_plugins()
    spec = plugins.models.get(model)
    builders = spec.builders()
    if role and role not in builders:
        raise InputError(f"{model} has no {role}", allowed=", ".join(builders))
    config = _configuration(spec, preset, settings, plugins)
    role = role or spec.role
    network: Generator | Classifier | Discriminator = builders[role](config)
    if isinstance(network, Generator):
        network.reader = Reader()
    network.about = WeightsMetadata(
        model=model,
        role=role,
        config=msgspec.to_builtins(config),
        images=0,
        licence="",
        trained_on="",
        zoo_version=version("zoo-core"),
    )
    return network


def save(
    network: nn.Module,
    path: str | Path,
    *,
    licence: str = "",
    trained_on: str = "",
    images: int | None = None,
) -> Path:
    """Write a network that `create` or `load` made to a safetensors file that `load` reads.

    What a file must say of weights is kept from the file that they were loaded from, unless it is
    given: `licence` (an SPDX identifier), what they were `trained_on`, and how many `images` they
    have seen. Raises InputError for a network from elsewhere, or if licence or data are unknown.
    """
    about: WeightsMetadata | None = getattr(network, "about", None)
    if about is None:
        raise InputError(
            f"it is not known how to build this {type(network).__name__} again",
            allowed="networks that zoo.create or zoo.load made",
        )
    given = {"licence": licence, "trained_on": trained_on, "images": images}
    about = msgspec.structs.replace(about, **{k: v for k, v in given.items() if v or v == 0})
    for name in ("licence", "trained_on"):
        if not getattr(about, name):
            raise InputError(f"the file must say the {name} of the weights", hint=f'{name}="..."')
    target = Path(path)
    save_weights(target, network, about)
    return target


def refitted(
    network: Generator,
    settings: Mapping[str, Any],
    classes: Sequence[str],
    rules: Collection[str],
    plugins: Plugins,
) -> Generator:
    """The network with other settings, in eval mode, its weights adapted by these rules.

    Raises ConfigError for a setting, WeightsError if the weights do not fit by these rules.
    """
    about = network.about
    assert about is not None
    spec = plugins.models.get(about.model)
    before = read_config(spec.config, about.config, about.model)
    number = {NUM_CLASSES: len(classes)} if classes else {}
    config = _configuration(spec, "", {**about.config, **number, **settings}, plugins)
    if wrong := [rule for rule in rules if rule not in RULES]:
        raise InputError("no such rule", given=", ".join(wrong), allowed=", ".join(RULES))
    made: Generator = spec.builders()[about.role](config)
    source = Weights(before, network.state_dict(), network.classes)
    tensors, report = adapt(spec, about.role, source, config, classes, made.state_dict(), rules)
    made.load_state_dict(tensors)
    logger.warning("%s with other settings: %s", about.model, report)
    names = tuple(classes) or (network.classes if before == config else ())
    made.classes = names
    made.about = msgspec.structs.replace(about, config=msgspec.to_builtins(config), classes=names)
    return made.eval().requires_grad_(False)


def _configuration(
    spec: ModelSpec, preset: str, settings: Mapping[str, Any], plugins: Plugins
) -> ModelConfig:
    """The model's configuration: defaults < preset < settings."""
    own, examples = fields(spec.config), example_values(spec.config)
    elsewhere = partial(having, [found.spec for found in plugins.models])
    for key, value in settings.items():
        if key not in own:
            raise unknown_key(key, value, "the arguments", spec.name, examples, elsewhere)
    if preset and preset not in spec.presets:
        raise UnknownNameError("preset", preset, spec.presets, hint=f"zoo show {spec.name}")
    chosen = {key: value for key, value in spec.presets.get(preset, {}).items() if key in own}
    layers = (f"preset {preset}", chosen), ("the arguments", settings)
    return resolve(spec.name, spec.config, *layers).config
