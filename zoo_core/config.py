"""Typed, frozen configuration: one record per model, one for the run, and one reader for both.

Precedence: defaults < preset < `--config` file < `--set key=value`. All four use the same flat
keys; a key belongs either to the model's record or to the run's. An unknown key is an error that
suggests the nearest one.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from zoo_core.errors import ConfigError
from zoo_core.strict_yaml import parse_yaml, read_yaml
from zoo_core.wording import as_typed, image_count, unknown_key

EXTRACTOR = "timm/tf_efficientnet_lite0.in1k"  # the default for evaluations
NUM_CLASSES = "num_classes"  # the field by which a model's record says that it can learn classes
AUTO = "auto"  # its value for as many classes as the data have


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every model's configuration.

    Checks that involve several fields belong in `__post_init__` and raise ValueError. A model that
    can learn classes has an integer field `num_classes`, for which `auto` may be given, too: the
    number is then taken from the data, before the network is built.
    """


GROUPS = {  # of settings, as `zoo show` lists them
    "data": "what is trained on",
    "network": "network",
    "loss": "loss",
    "optimizer": "optimizer",
    "augmentation": "augmentation",
    "run": "run",
}


def setting(description: str, *, group: str = "network", **constraints: Any) -> msgspec.Meta:
    """Description, group and bounds (`ge`, `gt`, `le`, `lt`) of a field, as shown by `zoo show`."""
    return msgspec.Meta(description=description, extra={"group": group}, **constraints)


def check_power_of_two(name: str, value: int, least: int) -> None:
    """Raise ValueError unless `value` is a power of two of at least `least`."""
    if value < least or value & (value - 1):
        raise ValueError(f"{name} must be a power of two >= {least}, not {value}")


BadPictures = Literal["refuse", "skip"]
Count = Annotated[int, msgspec.Meta(ge=1)]
Config = TypeVar("Config", bound=msgspec.Struct)


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a run except its networks.

    Intervals are counted in images, so that they do not depend on the batch size.
    """

    data: Annotated[str, setting("name of a data set, or path of a folder or zip of images")] = ""
    split: Annotated[str, setting("part of the data set, such as train or test")] = "train"
    fit: Annotated[
        Literal["crop", "pad", "stretch", "exact"],
        setting(
            "how images become square: center crop, white padding, stretching, or exact size only"
        ),
    ] = "crop"
    levels: Annotated[
        str,
        setting(
            "range of 16-bit images: full (0-65535), data (smallest to largest value of the data "
            "set), or LOW-HIGH, such as 0-4095"
        ),
    ] = "full"
    bad_pictures: Annotated[
        BadPictures, setting("unusable images: refuse the data set, or skip them")
    ] = "refuse"
    layout: Annotated[
        Literal["auto", "plain", "classes", "splits"],
        setting(
            "what folders mean: auto recognizes splits, classes and files of labels; plain ignores "
            "folders; classes and splits say which of the two top-level folders are"
        ),
    ] = "auto"
    label_column: Annotated[str, setting("column of metadata.csv or .jsonl with the label")] = (
        "label"
    )
    holdout: Annotated[
        float, setting("share of your own images held out as the test split", ge=0, lt=1)
    ] = 0.0
    pack: Annotated[
        Literal["auto", "always", "never"],
        setting(
            "whether images are prepared once and kept in the cache, or decoded at each use; auto "
            "keeps them if that takes at most half of the free disk"
        ),
    ] = "auto"
    mirror: Annotated[bool, setting("flip images left to right at random")] = False
    jitter: Annotated[
        int, setting("prepare images this many pixels larger, and take random crops", ge=0, le=4096)
    ] = 0
    reverse_pairs: Annotated[bool, setting("swap source and target of every pair")] = False
    augment: Annotated[
        Literal["none", "ada", "fixed", "diffaugment"],
        setting(
            "augmentation of the discriminator's inputs: none, with adaptive (ada) or fixed "
            "probability, or DiffAugment"
        ),
    ] = "none"
    augment_prob: Annotated[
        float, setting("augmentation probability: initial for ada, final for fixed", ge=0, le=1)
    ] = 0.0
    augment_rampup: Annotated[
        int, setting("images over which fixed rises to augment_prob, along half a cosine", ge=0)
    ] = 0
    augment_blit: Annotated[
        float,
        setting(
            "multiplies the probability of flips, 90-degree rotations and whole-pixel shifts",
            ge=0,
            le=1,
        ),
    ] = 1.0
    augment_geom: Annotated[
        float,
        setting(
            "multiplies the probability of scaling, free rotation and subpixel shifts", ge=0, le=1
        ),
    ] = 1.0
    augment_color: Annotated[
        float,
        setting(
            "multiplies the probability of brightness, contrast, hue and saturation changes",
            ge=0,
            le=1,
        ),
    ] = 1.0
    augment_cutout: Annotated[
        float, setting("multiplies the probability of cutout, a box of zeros", ge=0, le=1)
    ] = 0.0
    ada_target: Annotated[
        float, setting("ada's target for the mean sign of the logits of real images", ge=-1, le=1)
    ] = 0.6
    ada_images: Annotated[
        int, setting("images in which ada can move the probability from 0 to 1", ge=1)
    ] = 500_000
    diffaugment: Annotated[
        tuple[Literal["color", "translation", "cutout"], ...],
        setting("DiffAugment operations, applied to every image"),
    ] = ("color", "translation", "cutout")
    images: Annotated[int, setting("train until this many images have been seen", ge=1)] = 1_000_000
    batch_size: Annotated[int, setting("images per step", ge=1)] = 64
    micro_batch: Annotated[
        int,
        setting(
            "compute a step on slices of this many images, to save memory; must divide batch_size; "
            "0: all at once",
            ge=0,
        ),
    ] = 0
    seed: Annotated[
        int, setting("seed of initialization, data order, latents and in-network noise", ge=0)
    ] = 0
    ema_half_life: Annotated[
        int, setting("half-life of the weight average (EMA), in images; 0: no average", ge=0)
    ] = 10_000
    ema_rampup: Annotated[
        float,
        setting(
            "limits the half-life to this fraction of the images seen, unless weights are started "
            "from; 0: no limit",
            ge=0,
        ),
    ] = 0.05
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        setting("auto: bf16 if the hardware supports it natively, decided when the run begins"),
    ] = "auto"
    device: Annotated[str, setting("auto, cpu, cuda, cuda:1 or mps")] = "auto"
    workers: Annotated[
        int, setting("processes that load images; 0: load in the training process", ge=0, le=1024)
    ] = 0
    log_every: Annotated[int, setting("images between lines of log.jsonl", ge=1)] = 512
    sample_every: Annotated[int, setting("images between sample grids", ge=1)] = 8_192
    checkpoint_every: Annotated[int, setting("images between checkpoints", ge=1)] = 16_384
    keep_checkpoints: Annotated[int, setting("number of checkpoints to keep", ge=2)] = 2
    evaluate_every: Annotated[
        int, setting("images between evaluations; the best weights are kept; 0: never", ge=0)
    ] = 0
    evaluate_count: Annotated[int, setting("images to generate for each evaluation", ge=2)] = 2_000
    evaluate_data: Annotated[
        str,
        setting(
            "data set, folder or zip to evaluate on; default: the training data, or its test split "
            "for a classifier"
        ),
    ] = ""
    evaluate_with: Annotated[str, setting("feature extractor for evaluations")] = EXTRACTOR
    start_from: Annotated[
        str, setting("weights to start from: a registered name, a file, or the folder of a run")
    ] = ""
    adapt: Annotated[
        tuple[Literal["channels", "classes", "resolution"], ...],
        setting("what may differ from the weights of start_from, and is adapted by rules"),
    ] = ()
    freeze_d: Annotated[
        int,
        setting(
            "layers of the discriminator, counted from the image, that are not trained (Freeze-D)",
            ge=0,
        ),
    ] = 0
    freeze_mapping: Annotated[
        bool, setting("do not train the mapping network of a generator with styles")
    ] = False
    stop_collapsed: Annotated[
        bool, setting("stop the run when an alarm reports that it has collapsed")
    ] = False

    def __post_init__(self) -> None:
        if self.jitter and self.fit == "exact":
            raise ValueError("jitter enlarges images, which fit=exact forbids")
        if self.augment == "fixed" and not self.augment_prob:
            raise ValueError("augment=fixed needs an augment_prob above 0")
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(
                f"batch_size {self.batch_size} must be divisible by micro_batch {self.micro_batch}"
            )

    # What is not of the run itself; `group` of `setting` says so of a model's settings.
    GROUPED: ClassVar[Mapping[str, frozenset[str]]] = {
        "data": frozenset(
            {
                "data",
                "split",
                "fit",
                "levels",
                "bad_pictures",
                "layout",
                "label_column",
                "holdout",
                "pack",
                "reverse_pairs",
            }
        ),
        "augmentation": frozenset(
            {
                "mirror",
                "jitter",
                "augment",
                "augment_prob",
                "augment_rampup",
                "augment_blit",
                "augment_geom",
                "augment_color",
                "augment_cutout",
                "ada_target",
                "ada_images",
                "diffaugment",
            }
        ),
        "optimizer": frozenset(
            {
                "batch_size",
                "micro_batch",
                "ema_half_life",
                "ema_rampup",
                "freeze_d",
                "freeze_mapping",
            }
        ),
    }
    # Numbers of images, as are all settings called *_images.
    COUNTS: ClassVar[frozenset[str]] = frozenset(
        {
            "images",
            "batch_size",
            "micro_batch",
            "augment_rampup",
            "ema_half_life",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "evaluate_every",
            "evaluate_count",
        }
    )
    # Settings that may change when a run is resumed: none affects the training of the networks.
    FREE: ClassVar[frozenset[str]] = frozenset(
        {
            "images",
            "device",
            "workers",
            "pack",
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
    # Settings that may change with `--change`, of optimization and augmentation: they affect the
    # training from then on. All others, of the data and the seed, belong to the run for good.
    CHANGEABLE: ClassVar[frozenset[str]] = (
        (GROUPED["augmentation"] - {"jitter"}) | GROUPED["optimizer"] | {"precision"}
    )


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A model's configuration and the run's, complete and checked."""

    model: str
    preset: str  # "" when none was chosen
    config: ModelConfig
    run: RunConfig
    auto_classes: bool = False  # num_classes=auto: the model's default until `with_classes`

    def to_json(self) -> dict[str, Any]:
        """The content of a run's `config.json`; tuples become lists, as when it is read back."""
        values = msgspec.json.decode(msgspec.json.encode(self), type=dict[str, Any])
        del values["auto_classes"]  # a run records the number
        return values

    def with_classes(self, count: int) -> Resolved:
        """The settings for data with `count` classes, where `num_classes=auto` left that open.

        A model that must have classes keeps its default for data without; such data do not fit it.
        Raises ConfigError for a number that the model does not allow.
        """
        if not self.auto_classes:
            return self
        config, values = self.config, msgspec.to_builtins(self.config) | {NUM_CLASSES: count}
        try:
            config = read_config(type(config), values, f"{NUM_CLASSES}={AUTO}: {count} in the data")
        except ConfigError:
            if count:
                raise
        return msgspec.structs.replace(self, config=config, auto_classes=False)


def resolve(
    model: str,  # name of the model, for messages
    config_type: type[ModelConfig],
    *layers: tuple[str, Mapping[str, Any]],  # (origin, flat keys), lowest precedence first
    preset: str = "",
    elsewhere: Callable[[str], Sequence[str]] = lambda key: (),  # models with a setting, by name
) -> Resolved:
    """Lay the `layers` over the defaults and check every key and value.

    Where `num_classes` is `auto`, the result is complete only after `with_classes`.
    """
    keys = {**fields(RunConfig), **fields(config_type)}
    examples = {**example_values(RunConfig), **example_values(config_type)}
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        for key, value in layer.items():
            if key not in keys:
                raise unknown_key(key, value, origin, model, examples, elsewhere)
            is_auto = (key, value) == (NUM_CLASSES, AUTO)
            merged[key] = (
                AUTO if is_auto else read_value(key, keys[key], value, origin, examples[key])
            )
    auto_classes = merged.get(NUM_CLASSES) == AUTO
    if auto_classes:
        del merged[NUM_CLASSES]
    return Resolved(
        model=model,
        preset=preset,
        config=_build(config_type, merged, model),
        run=_build(RunConfig, merged, model),
        auto_classes=auto_classes,
    )


def read_config(config_type: type[Config], values: Mapping[str, Any], what: str) -> Config:
    """A complete record from the plain values of a weights file, a registry or a run folder.

    Raises ConfigError, one line that starts with `what`, for an unknown key or an invalid value.
    """
    try:
        return msgspec.convert(dict(values), config_type)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{what}: {error}") from None


def check_run(values: Mapping[str, Any], origin: str, model: str) -> None:
    """Raise ConfigError for settings of a run, read from a file, that are of the wrong type."""
    for key, kind in fields(RunConfig).items():
        if key in values:
            read_value(key, kind, values[key], origin, model)


def fields(record: type[msgspec.Struct]) -> dict[str, Any]:
    """Field names and their annotated types."""
    return {field.name: field.type for field in msgspec.structs.fields(record)}


def example_values(record: type[msgspec.Struct]) -> dict[str, Any]:
    """A value of each setting, for messages: its default, if that says anything."""
    found = {}
    for field in msgspec.structs.fields(record):
        makes = field.default_factory  # for lists and mappings
        default = field.default if makes is msgspec.NODEFAULT else makes()
        said = {NUM_CLASSES: AUTO, "images": "200k", "data": "FOLDER"}.get(field.name, default)
        found[field.name] = "..." if said in ("", (), [], msgspec.NODEFAULT) else said
    return found


def counts_images(key: str) -> bool:
    """Whether a setting is a number of images, which may be written as 200k or 1.5M."""
    return key in RunConfig.COUNTS or key.endswith("_images")


def read_value(key: str, kind: Any, value: Any, origin: str, example: Any) -> Any:
    """`value` as type `kind`; infinities and NaN are refused, because JSON cannot store them.

    Text is parsed as that type, alone or in a list: `--set lr=1e-4`, and YAML, where 1e-4 is text.
    Raises ConfigError, which shows how the `example` is typed.
    """
    if isinstance(value, str) and value != value.encode(errors="ignore").decode():
        raise ConfigError(
            f"{key} in {origin} is not in UTF-8",
            given=repr(value),
            hint="rename the file or folder",
        )
    count = image_count(value) if isinstance(value, str) and counts_images(key) else None
    for reading in _readings(value) if count is None else [count]:
        lax = isinstance(reading, str | list | dict)
        with contextlib.suppress(msgspec.ValidationError):
            result = msgspec.convert(reading, kind, strict=not lax)
            if _is_finite(result):
                return result
    raise ConfigError(
        f"{key} in {origin} has an invalid value",
        given=repr(value),
        allowed=allowed_values(key, kind),
        hint=as_typed(key, example, origin),
    )


def allowed_values(key: str, kind: Any) -> str:
    """What may be given for a setting: its type in words, and what else is understood."""
    is_large = counts_images(key) and "batch" not in key
    more = ", such as 200k or 1.5M" if is_large else ""
    return describe(kind) + (f", or {AUTO}" if key == NUM_CLASSES else more)


def describe(kind: Any) -> str:
    """A type in words: `integer >= 1`, `one of crop, pad`, `[number, number]`."""
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
    """The description of a field; empty if it has none."""
    return next((note.description for note in _notes(kind) if note.description), "")


def group_of(key: str, kind: Any) -> str:
    """The group of a setting: a key of GROUPS."""
    if key in fields(RunConfig):
        return next((group for group, keys in RunConfig.GROUPED.items() if key in keys), "run")
    said = (note.extra["group"] for note in _notes(kind) if note.extra and "group" in note.extra)
    return next((group for group in said if group in GROUPS), "network")


def _notes(kind: Any) -> tuple[Any, ...]:
    return get_args(kind)[1:] if get_origin(kind) is Annotated else ()


def parse_assignments(
    assignments: list[str],
    option: str = "--set",  # named, with the example, if one is malformed
    example: str = "batch_size=16",
) -> dict[str, str]:
    """`["a=1", "b=x=y"]` to `{"a": "1", "b": "x=y"}`."""
    values = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key.strip():
            raise ConfigError(
                f"{option} takes key=value", given=repr(assignment), hint=f"{option} {example}"
            )
        values[key.strip()] = value.strip()
    return values


def read_settings_file(path: Path) -> dict[str, Any]:
    """Flat keys from a YAML or JSON file, or from the `config.json` of a run."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} must be a mapping of keys to values",
            given="nothing" if values is None else type(values).__name__,
            hint="lines such as resolution: 64",
        )
    if isinstance(values.get("config"), dict) and isinstance(values.get("run"), dict):
        check_run(values["run"], str(path), str(values.get("model", "MODEL")))
        values = {**values["run"], **values["config"]}
    return values


def _build(config_type: type[Config], merged: Mapping[str, Any], model: str) -> Config:
    """Construct with convert: only it both checks bounds and runs `__post_init__`."""
    own = {key: merged[key] for key in fields(config_type) if key in merged}
    try:
        return msgspec.convert(own, config_type)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the configuration of {model} is not valid: {error}") from None


def _readings(value: Any) -> Iterator[Any]:
    """The readings of `value` to try, in order: as it is; text with .5 written as 0.5; text such as
    [color] or color,cutout as a list or mapping.
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
            yield parse_yaml(value, "BaseLoader")  # text only: YAML's 010 is 8, its 12:30 is 750
    else:
        yield [part.strip() for part in value.split(",")]  # a list without brackets


def _is_finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
