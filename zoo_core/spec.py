"""Records that plugins contribute and the core uses; they do not import torch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from zoo_core.filesystem import quoted

if TYPE_CHECKING:
    from torch import Tensor

    from zoo_core.generators import Generator
    from zoo_core.interfaces import Classifier, Discriminator, FeatureExtractor, Networks, Phase
    from zoo_core.pictures import PictureDataset

Role = Literal["generator", "classifier"]
# How latents are distributed; `Generator` says what each means.
LatentDistribution = Literal["normal", "uniform", "sphere"]
Task = Literal["unconditional", "class-conditional", "image-to-image", "classifier"]

NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")  # of a model, data set, plugin or preset
TAG = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")  # the part of a weights name after the first dot
WEIGHTS_NAME = re.compile(rf"{NAME.pattern}\.{TAG.pattern}")  # MODEL.TAG
URL = re.compile(  # where a registry may say that a file is; loopback is for tests
    r"package:\w+/\S+|hf://[\w.-]+/[\w.-]+/[^@\s]+(@[\w./-]+)?|https://[^/\s@]+/\S*"
    r"|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?/\S*",
    re.ASCII,
)


def about(text: str, **schema: Any) -> msgspec.Meta:
    """The meaning of a field of a registry file, for the JSON Schema that editors read."""
    return msgspec.Meta(description=text, extra_json_schema=schema or None)


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model: how to build it, how to train it, and how to describe it.

    `presets` are named sets of the `key: value` pairs that `--set` takes, for the model's
    configuration and the run's. One of them must be `tiny`, which trains a step in about a second.
    `run` overrides the core's default run settings for this model. `parameters` states the number
    of trainable parameters of each network in the default configuration, if anything (`zoo plugin
    check` prints it), and `latents` the distribution of the latents there. A model has either a
    generator or a classifier. The `build_*` functions import torch themselves, so that listing
    stays light. `counterpart` is for models whose layers belong to a resolution, so that weights of
    another one can be taken over, layer by layer.
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
    latents: LatentDistribution | None = None  # None for a model without latents
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


def having(models: Iterable[ModelSpec], key: str) -> list[str]:
    """The names of the models with a setting of that name."""
    return [spec.name for spec in models if key in fields(spec.config)]


def resolve_settings(
    spec: ModelSpec,
    preset: str,
    config: Path | None,
    *given: tuple[str, Mapping[str, Any]],  # (origin, settings), lowest precedence first
    base: tuple[str, Mapping[str, Any]] = ("", {}),  # instead of the model's defaults
    models: Iterable[ModelSpec] = (),  # all others, which may have a setting that this one lacks
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
        elsewhere=partial(having, models),
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


class FoundNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A network in somebody's checkpoint, as an importer is shown it: everything but its values.

    `shapes` are those of its tensors by name. `attributes` are the plain attributes of its modules,
    such as `b4.conv1.activation`; empty if the file holds a state dict. They are untrusted.
    """

    place: str  # where it is in the file, such as "G_ema"; empty for all of it
    kind: str  # name of its class, where the file says so
    shapes: Mapping[str, tuple[int, ...]]
    attributes: Mapping[str, Any] = {}


class Recognized(msgspec.Struct, frozen=True, kw_only=True):
    """What an importer takes a `FoundNetwork` for.

    `config` holds the settings of the model that differ from its defaults, `summary` describes the
    network in a few words, such as "U-Net 256, batch norm".
    """

    role: str  # generator, discriminator, classifier
    config: Mapping[str, Any]
    summary: str


class ImporterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A family of checkpoints that others have published the code of, and that `model` can load.

    `recognize` returns what a network is, or None if it is not of this family; it raises
    WeightsError, one line, for a network of the family with an option that the model does not have.
    `convert` maps the tensors of a recognized network, by name, to the state dict of ours. Both
    import torch themselves, so that listing stays light.
    """

    name: str
    summary: str  # one line: which networks, in which files
    model: str
    source: str  # URL of the public code
    recognize: Callable[[FoundNetwork], Recognized | None]
    convert: Callable[[Mapping[str, Tensor], Recognized], Mapping[str, Tensor]]


class WeightsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a weights file is, and the size and sha256 that it must have.

    `urls` are tried in order: `package:NAME/path` is a file of an installed package, and is taken
    wherever it stands in the list; `https://` and `hf://OWNER/REPO/FILE[@REVISION]` are downloaded.
    """

    urls: Annotated[
        tuple[Annotated[str, about("place", pattern=f"^({URL.pattern})$")], ...],
        about(
            "Places of the file, tried in order: https://, hf://OWNER/REPO/FILE[@REVISION] or "
            "package:NAME/path",
            minItems=1,
        ),
    ]
    sha256: Annotated[str, about("64 lower-case hex digits", pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, about("bytes", minimum=1)]

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("urls must not be empty")
        for url in self.urls:
            if not URL.fullmatch(url):
                raise ValueError(
                    f"urls must be https://HOST/PATH, hf://OWNER/REPO/FILE[@REVISION] or "
                    f"package:NAME/PATH, given {url[:80]!r}"
                )
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError("sha256 must be 64 lower-case hex digits")
        if self.size <= 0:
            raise ValueError("size must be a positive number of bytes")


class Metric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A measured number and everything needed to measure it again.

    Two metrics can be compared only if they have the same name and the same protocol.
    """

    name: Annotated[str, about("such as fd, kd, precision, recall")]
    value: float
    protocol: Annotated[
        Mapping[str, Any], about("extractor, data, split, num_real, num_fake, seed and so on")
    ]
    command: Annotated[str, about("the command that measured it")]

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
                hint=_as_before(self.protocol, other.protocol),
            )
        return self.value - other.value


def _as_before(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """The options of `zoo evaluate` that measure by another protocol; empty if there are none."""
    data, was = ([*str(each.get("data", "")).split(", ")[-3:], "", ""] for each in (ours, theirs))
    found = []
    if data[0] != was[0]:
        return ""  # other images, which are recorded by name only
    if data[1] != was[1] and was[1].endswith(" px"):
        found.append(f"--resolution {was[1].removesuffix(' px')}")
    options = {"num_fake": "count", "split": "split", "seed": "seed", "truncation": "truncation"}
    options |= {"extractor": "extractor", "fit": "fit"}
    for key, option in options.items():
        if ours.get(key) != theirs.get(key) and key in theirs:
            found.append(f"--{option} {quoted(str(theirs[key]).partition(' ')[0])}")
    return " ".join(found)


class WeightsEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights called `model.tag`, and what a user must know before using them.

    Yanked weights stay listed, with the reason and what replaces them, but are no longer loaded.
    An alias is a name that the weights had before; loading by it works, with a warning.
    """

    name: Annotated[str, about("MODEL.TAG", pattern=f"^{WEIGHTS_NAME.pattern}$")]
    model: Annotated[str, about("the part of the name before the first dot")]
    summary: Annotated[str, about("one line")]
    config: Annotated[Mapping[str, Any], about("the model's configuration")]
    files: Annotated[
        Mapping[str, WeightsFile],
        about(
            "by role",
            minProperties=1,
            propertyNames={"enum": ["generator", "discriminator", "classifier"]},
        ),
    ]
    licence: Annotated[str, about("SPDX identifier of the weights", minLength=1)]
    trained_on: Annotated[str, about("data set, split, how many images", minLength=1)]
    images: Annotated[int, about("images seen in training")]
    command: Annotated[str, about("the command that produced them", minLength=1)]
    metrics: Annotated[tuple[Metric, ...], about("measured numbers with their protocols")] = ()
    status: Annotated[Literal["active", "yanked"], about("yanked weights are not loaded")] = (
        "active"
    )
    reason: Annotated[str, about("why they were yanked")] = ""
    replaced_by: Annotated[
        str, about("what to use instead of yanked weights", pattern=f"^({WEIGHTS_NAME.pattern})?$")
    ] = ""
    aliases: Annotated[
        tuple[Annotated[str, about("MODEL.TAG", pattern=f"^{WEIGHTS_NAME.pattern}$")], ...],
        about("names that they had before", uniqueItems=True),
    ] = ()

    def __post_init__(self) -> None:
        model, _, tag = self.name.partition(".")
        if model != self.model or not TAG.fullmatch(tag):
            raise ValueError(f"name must be {self.model}.TAG with TAG in lower case")
        for field in ("licence", "trained_on", "command"):
            if not getattr(self, field):
                raise ValueError(f"{field} must not be empty")
        if (self.status == "yanked") != bool(self.reason):
            raise ValueError(f"{self.name}: yanked weights, and no others, have a reason")
        if self.replaced_by and self.status != "yanked":
            raise ValueError(f"{self.name}: replaced_by is for yanked weights")
        for other in filter(None, (self.replaced_by, *self.aliases)):
            if not WEIGHTS_NAME.fullmatch(other):
                raise ValueError(f"{self.name}: {other[:80]!r} must be MODEL.TAG in lower case")


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
