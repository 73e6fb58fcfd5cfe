"""Records that plugins contribute and the core uses; they do not import torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from zoo_core.config import (
    NUM_CLASSES,
    ModelConfig,
    Resolved,
    RunConfig,
    fields,
    read_settings_file,
    resolve,
)
from zoo_core.errors import ConfigError, InputError, UnknownNameError

if TYPE_CHECKING:
    from zoo_core.interfaces import (
        Classifier,
        Discriminator,
        FeatureExtractor,
        Generator,
        Networks,
        Phase,
    )
    from zoo_core.pictures import PictureDataset

Role = Literal["generator", "classifier"]
Task = Literal["unconditional", "class-conditional", "image-to-image", "classifier"]

NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")  # of a model, data set, plugin or preset
TAG = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")  # the part of a weights name after the first dot


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model: how to build it, how to train it, and how to describe it.

    `presets` are named sets of the `key: value` pairs that `--set` takes, for the model's
    configuration and the run's. One of them must be `tiny`, which trains a step in about a second.
    `run` overrides the core's default run settings for this model. `parameters` states the number
    of trainable parameters of each network in the default configuration. A model has either a
    generator or a classifier. The `build_*` functions import torch themselves, so that listing
    stays light. `counterpart` is for models whose layers belong to a resolution, so that weights
    of another one can be taken over, layer by layer.
    """

    name: str
    summary: str  # one line, shown by `zoo list`
    task: Task
    paper: str  # authors, year, and where to find it
    licence: str  # SPDX identifier of the plugin's code
    config: type[ModelConfig]
    presets: Mapping[str, Mapping[str, Any]]
    build_phases: Callable[[Networks, Any], list[Phase]]
    build_generator: Callable[[Any], Generator] | None = None
    build_discriminator: Callable[[Any], Discriminator] | None = None
    build_classifier: Callable[[Any], Classifier] | None = None
    run: Mapping[str, Any] = {}
    parameters: Mapping[str, int] = {}
    # (role, tensor, configuration, that of other weights) -> the tensor's name there, if any
    counterpart: Callable[[str, str, Any, Any], str | None] | None = None

    def __post_init__(self) -> None:
        if (self.build_generator is None) == (self.build_classifier is None):
            raise ValueError(f"model {self.name!r} must have either a generator or a classifier")

    @property
    def role(self) -> Role:
        """The role of the main network."""
        return "generator" if self.build_generator is not None else "classifier"

    @property
    def learns_classes(self) -> bool:
        """Whether the model can learn classes: its configuration has a field `num_classes`."""
        return NUM_CLASSES in fields(self.config)

    @property
    def build_main(self) -> Callable[[Any], Generator | Classifier]:
        """The function that builds the main network: the one averaged, evaluated and published."""
        return self.builders()[self.role]

    def builders(self) -> dict[str, Callable[[Any], Any]]:
        """The functions that build the networks, by role."""
        built = {
            "generator": self.build_generator,
            "discriminator": self.build_discriminator,
            "classifier": self.build_classifier,
        }
        return {role: build for role, build in built.items() if build is not None}


def resolve_settings(
    spec: ModelSpec,
    preset: str,
    config: Path | None,
    *given: tuple[str, Mapping[str, Any]],  # (origin, settings), lowest precedence first
    base: tuple[str, Mapping[str, Any]] = ("", {}),  # instead of the model's defaults
) -> Resolved:
    """All settings of a run: defaults < base < preset < file < what was given.

    Raises UnknownNameError for the preset, ConfigError for a setting or for a run without data.
    """
    if preset and preset not in spec.presets:
        raise UnknownNameError("preset", preset, spec.presets, hint=f"zoo show {spec.name}")
    resolved = resolve(
        spec.name,
        spec.config,
        ("the model's defaults", spec.run),
        base,
        (f"preset {preset}", spec.presets.get(preset, {})),
        (str(config), read_settings_file(config) if config else {}),
        *given,
        preset=preset,
    )
    if not resolved.run.data:
        raise ConfigError(f"{spec.name} has no default data set", hint="--data NAME_OR_FOLDER")
    return resolved


class DatasetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A data set: `open(resolution, split)` returns its images, drawn or read at that size.

    `resolutions` lists the sizes in pixels that make sense; empty means any. `provenance` says
    where the images come from, `licence` is the SPDX identifier that a model trained on them must
    respect. `address` is the name that finds it from any folder, for one found by a relative path.
    """

    name: str
    summary: str
    task: Task
    licence: str
    provenance: str
    open: Callable[[int, str], PictureDataset]
    resolutions: tuple[int, ...] = ()
    splits: tuple[str, ...] = ("train", "test")
    address: str = ""


class FeatureExtractorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A pretrained network that turns images into features.

    `input_size` is in pixels, `mean` and `std` apply to images in [0, 1], `widths` are the channels
    of its feature maps from shallow to deep (empty if it has none). `build(input_size)` imports
    torch and loads the network, which then resizes images to that many pixels a side. `distance` is
    the name of the Frechet distance of its features: "fd", or "fid" for the 2015 Inception network.
    """

    name: str
    summary: str
    licence: str
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    build: Callable[[int], FeatureExtractor]
    widths: tuple[int, ...] = ()
    distance: str = "fd"


class WeightsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a weights file is, and the size and sha256 that it must have.

    Only urls such as `package:zoo_dcgan/weights/x.safetensors`, a file of an installed package, are
    opened; others (https, hf) are only named in the error when the file is missing.
    """

    urls: tuple[str, ...]
    sha256: str
    size: int  # bytes

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("urls must not be empty")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError("sha256 must be 64 lower-case hex digits")
        if self.size <= 0:
            raise ValueError("size must be a positive number of bytes")


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A measured number and everything needed to measure it again.

    Two metrics can be compared only if they have the same name and the same protocol.
    """

    name: str
    value: float
    protocol: Mapping[str, Any]  # extractor, data, split, num_real, num_fake, seed, ...
    command: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.name} must be a finite number, given {self.value}")

    def difference(self, other: Metric) -> float:
        """This value minus the other. Raises InputError, which lists the differences, unless names
        and protocols are equal.
        """
        ours, theirs = ({"name": metric.name, **metric.protocol} for metric in (self, other))
        different = [
            f"{key} {ours.get(key, 'none')!r} and {theirs.get(key, 'none')!r}"
            for key in {**ours, **theirs}
            if key not in ours or key not in theirs or ours[key] != theirs[key]
        ]
        if different:
            raise InputError(
                "metrics measured in different ways cannot be compared",
                given=", ".join(different),
            )
        return self.value - other.value


class WeightsEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights called `model.tag`, and what a user must know before using them."""

    name: str
    model: str
    summary: str
    config: Mapping[str, Any]
    files: Mapping[str, WeightsFile]  # by role: generator, discriminator, classifier
    licence: str  # SPDX identifier of the weights
    trained_on: str
    images: int  # images seen in training
    command: str  # the command that produced them
    metrics: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        model, _, tag = self.name.partition(".")
        if model != self.model or not TAG.fullmatch(tag):
            raise ValueError(f"name must be {self.model}.TAG with TAG in lower case")
        for field in ("licence", "trained_on", "command"):
            if not getattr(self, field):
                raise ValueError(f"{field} must not be empty")


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What observer hooks learn about a run."""

    name: str  # model.tag
    model: str
    directory: Path
    config: ModelConfig
    settings: RunConfig


class Alarm(msgspec.Struct, frozen=True):
    """What is going wrong in a run (`what`), and what to try (`hint`)."""

    name: str
    what: str
    hint: str
