"""Typed, frozen configuration: one record a model, one for the run, one reader for all of them.

Precedence: defaults < preset < `--config` file < `--set key=value`. All four speak the same flat
keys; a key belongs either to the model's record or to the run's. An unknown key is an error that
names the nearest one.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from zoo_core.errors import ConfigError, nearest
from zoo_core.strict_yaml import parse_yaml, read_yaml

EXTRACTOR = "timm/tf_efficientnet_lite0.in1k"  # whose features are compared by default


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every model's configuration.

    Checks that span fields go into `__post_init__` and raise ValueError.
    """


def setting(description: str, **constraints: Any) -> msgspec.Meta:
    """The meaning and the bounds (`ge`, `gt`, `le`, `lt`) of a field, shown by `zoo show`."""
    return msgspec.Meta(description=description, **constraints)


def check_power_of_two(name: str, value: int, least: int) -> None:
    """Raise ValueError unless `value` is `least`, a power of two, or twice that, and so on."""
    if value < least or value & (value - 1):
        raise ValueError(f"{name} has to be a power of two from {least}, not {value}")


BadPictures = Literal["refuse", "skip"]
Count = Annotated[int, msgspec.Meta(ge=1)]
Config = TypeVar("Config", bound=msgspec.Struct)


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a run that is not about its networks.

    Time is counted in images, so that batch sizes compare.
    """

    data: Annotated[str, setting("name of a data set, or path of a folder or zip of pictures")] = ""
    split: Annotated[str, setting("which part of the data set")] = "train"
    fit: Annotated[
        Literal["crop", "pad", "stretch", "exact"],
        setting(
            "how a picture becomes square: middle cut out, padded white, stretched, or it is exact"
        ),
    ] = "crop"
    bad_pictures: Annotated[
        BadPictures, setting("what to do with pictures that cannot be read")
    ] = "refuse"
    mirror: Annotated[bool, setting("show every picture also mirrored left to right")] = False
    jitter: Annotated[
        int, setting("prepare pictures so many pixels larger, and cut out a random part", ge=0)
    ] = 0
    reverse_pairs: Annotated[bool, setting("swap the source and the picture of every pair")] = False
    augment: Annotated[
        Literal["none", "ada", "fixed", "diffaugment"],
        setting(
            "what is done to pictures before the discriminator sees them: nothing, operations with "
            "an adaptive or a fixed probability, or DiffAugment"
        ),
    ] = "none"
    augment_prob: Annotated[
        float, setting("of every operation: where ada starts, what fixed reaches", ge=0, le=1)
    ] = 0.0
    augment_rampup: Annotated[
        int, setting("images over which fixed reaches augment_prob, along half a cosine", ge=0)
    ] = 0
    augment_blit: Annotated[
        float,
        setting("share of augment_prob for flips, quarter turns, whole-pixel shifts", ge=0, le=1),
    ] = 1.0
    augment_geom: Annotated[
        float, setting("share of augment_prob for scaling, rotation, shifts", ge=0, le=1)
    ] = 1.0
    augment_color: Annotated[
        float,
        setting("share of augment_prob for brightness, contrast, hue, saturation", ge=0, le=1),
    ] = 1.0
    augment_cutout: Annotated[
        float, setting("share of augment_prob for a box without picture", ge=0, le=1)
    ] = 0.0
    ada_target: Annotated[
        float, setting("mean sign of the logits of real pictures that ada holds", ge=-1, le=1)
    ] = 0.6
    ada_images: Annotated[
        int, setting("images in which ada can go from probability 0 to 1", ge=1)
    ] = 500_000
    diffaugment: Annotated[
        tuple[Literal["color", "translation", "cutout"], ...],
        setting("operations of DiffAugment, done to every picture"),
    ] = ("color", "translation", "cutout")
    images: Annotated[int, setting("train until this many images were seen", ge=1)] = 1_000_000
    batch_size: Annotated[int, setting("images a step", ge=1)] = 64
    seed: Annotated[
        int, setting("of initialization, order, latents and in-network noise", ge=0)
    ] = 0
    ema_half_life: Annotated[
        int, setting("of the averaged generator, in images; 0 switches it off", ge=0)
    ] = 10_000
    ema_rampup: Annotated[
        float,
        setting("half-life is at most this share of the images seen; 0 switches it off", ge=0),
    ] = 0.05
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        setting("auto: bf16 where the hardware has units for it when the run begins"),
    ] = "auto"
    device: Annotated[str, setting("auto, cpu, cuda, cuda:1, mps")] = "auto"
    workers: Annotated[
        int, setting("processes that load pictures; 0 loads them in the loop", ge=0)
    ] = 0
    log_every: Annotated[int, setting("images between two lines of log.jsonl", ge=1)] = 512
    sample_every: Annotated[int, setting("images between two sample grids", ge=1)] = 8_192
    checkpoint_every: Annotated[int, setting("images between two checkpoints", ge=1)] = 16_384
    keep_checkpoints: Annotated[int, setting("how many checkpoints to keep", ge=2)] = 2
    evaluate_every: Annotated[
        int, setting("images between two evaluations, which keep the best weights; 0: none", ge=0)
    ] = 0
    evaluate_count: Annotated[
        int, setting("pictures that an evaluation generates and compares", ge=2)
    ] = 2_000
    evaluate_data: Annotated[
        str,
        setting(
            "pictures that an evaluation compares with; by default those of the run, or, for a "
            "classifier, their test split"
        ),
    ] = ""
    evaluate_with: Annotated[str, setting("feature extractor that an evaluation compares with")] = (
        EXTRACTOR
    )
    stop_collapsed: Annotated[
        bool, setting("stop when an alarm says that the run will not recover")
    ] = False

    def __post_init__(self) -> None:
        if self.jitter and self.fit == "exact":
            raise ValueError("jitter enlarges pictures, which fit=exact forbids")
        if self.augment == "fixed" and not self.augment_prob:
            raise ValueError("augment=fixed needs an augment_prob above 0")

    # What may change when a run goes on: none of it changes what the networks become.
    FREE: ClassVar[frozenset[str]] = frozenset(
        {
            "images",
            "device",
            "workers",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "keep_checkpoints",
            "evaluate_every",
            "evaluate_count",
            "evaluate_data",
            "evaluate_with",
            "stop_collapsed",
        }
    )


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A model's configuration and the run's, complete and checked."""

    model: str
    preset: str  # "" when none was chosen
    config: ModelConfig
    run: RunConfig

    def to_json(self) -> dict[str, Any]:
        """What `config.json` of a run holds; tuples are lists, as they are when it is read."""
        return msgspec.json.decode(msgspec.json.encode(self), type=dict[str, Any])


def resolve(
    model: str,  # name of the model, for messages
    config_type: type[ModelConfig],
    *layers: tuple[str, Mapping[str, Any]],  # (where it comes from, flat keys), weakest first
    preset: str = "",
) -> Resolved:
    """Lay the `layers` over the defaults and check every key and value."""
    keys = {**fields(RunConfig), **fields(config_type)}
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        for key, value in layer.items():
            if key not in keys:
                raise ConfigError(
                    f"unknown configuration key {key!r} in {origin}",
                    near=nearest(str(key), keys),  # YAML has keys that are no text
                    hint=f"--preset {value}" if key == "preset" else f"zoo show {model}",
                )
            merged[key] = read_value(key, keys[key], value, origin, model)
    return Resolved(
        model=model,
        preset=preset,
        config=_build(config_type, merged, model),
        run=_build(RunConfig, merged, model),
    )


def read_config(config_type: type[Config], values: Mapping[str, Any], what: str) -> Config:
    """A complete record from plain values, as found in a weights file, a registry or a run folder.

    Raises ConfigError, one line that starts with `what`, when a key is unknown or a value does not
    fit.
    """
    try:
        return msgspec.convert(dict(values), config_type)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{what}: {error}") from None


def fields(record: type[msgspec.Struct]) -> dict[str, Any]:
    """Field name to annotated type."""
    return {field.name: field.type for field in msgspec.structs.fields(record)}


def read_value(key: str, kind: Any, value: Any, origin: str, model: str) -> Any:
    """`value` as type `kind`; infinities and nan are refused, since JSON cannot keep them.

    Text is read as that type, alone and in a list: `--set lr=1e-4`, and YAML, whose 1e-4 is text.
    """
    if isinstance(value, str) and value != value.encode(errors="ignore").decode():
        raise ConfigError(
            f"{key} in {origin} is not in UTF-8",
            given=repr(value),
            hint="another name for the file or folder",
        )
    for reading in _readings(value):
        lax = isinstance(reading, str | list | dict)
        with contextlib.suppress(msgspec.ValidationError):
            result = msgspec.convert(reading, kind, strict=not lax)
            if _is_finite(result):
                return result
    raise ConfigError(
        f"{key} in {origin} has an unusable value",
        given=repr(value),
        allowed=describe(kind),
        hint=f"zoo show {model}",
    )


def describe(kind: Any) -> str:
    """A type as a person says it: `integer >= 1`, `one of crop, pad`, `[number, number]`."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner, *notes = inside
        bounds = [
            f"{sign} {limit}"
            for note in notes
            for sign, limit in ((">=", note.ge), (">", note.gt), ("<=", note.le), ("<", note.lt))
            if limit is not None
        ]
        return " ".join([describe(inner), " and ".join(bounds)]).strip()
    if origin is Literal:
        return "one of " + ", ".join(map(str, inside))
    if origin in (Union, UnionType):
        return " or ".join(map(describe, inside))
    if origin in (list, tuple):
        items = [describe(item) for item in inside if item is not Ellipsis]
        is_open = origin is list or Ellipsis in inside
        return f"[{', '.join(items + ['...'] * is_open)}]"
    if origin is dict:
        return "{key: value, ...}"
    names = {
        int: "integer",
        float: "number",
        bool: "true or false",
        str: "text",
        type(None): "null",
    }
    return names.get(kind) or str(kind).replace("typing.", "")


def meaning(kind: Any) -> str:
    """The description that a field was declared with."""
    notes = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((note.description for note in notes if note.description), "")


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """`["a=1", "b=x=y"]` to `{"a": "1", "b": "x=y"}`."""
    values = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key.strip():
            raise ConfigError(
                "--set takes key=value", given=repr(assignment), hint="--set resolution=64"
            )
        values[key.strip()] = value.strip()
    return values


def read_settings_file(path: Path) -> dict[str, Any]:
    """Flat keys from a YAML or JSON file; the `config.json` of a run is understood as well."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} has to be a mapping of keys to values",
            given="nothing" if values is None else type(values).__name__,
            hint="a line such as resolution: 64",
        )
    if isinstance(values.get("config"), dict) and isinstance(values.get("run"), dict):
        values = {**values["run"], **values["config"]}
    return values


def _build(config_type: type[Config], merged: Mapping[str, Any], model: str) -> Config:
    """Construct through convert, because only it runs `__post_init__` and the bounds together."""
    own = {key: merged[key] for key in fields(config_type) if key in merged}
    try:
        return msgspec.convert(own, config_type)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the configuration of {model} does not fit together: {error}") from None


def _readings(value: Any) -> Iterator[Any]:
    """What `value` may mean: itself, then, for text that looks like one, a list, a mapping or a
    number, such as [color], .5 or 1e6.
    """
    yield value
    if not isinstance(value, str):
        return
    value = re.sub(r"(?<![\w.])\.(?=\d)", "0.", value)  # .5
    yield value
    if value[:1] in ("[", "{"):
        with contextlib.suppress(msgspec.DecodeError):
            yield msgspec.json.decode(value)
        with contextlib.suppress(ValueError):
            yield parse_yaml(value, "BaseLoader")  # all text: YAML's 010 is 8, its 12:30 is 750


def _is_finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
