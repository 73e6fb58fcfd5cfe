"""How weights came to be: the commands that made them, and what that cost.

Folders above the images and runs of whoever trained are left out of everything that is published.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from zoo_core.config import Resolved, RunConfig, resolve
from zoo_core.spec import ModelSpec
from zoo_core.training.changes import Change, first_values, flat, read_changes
from zoo_core.training.run_folder import RunFolder
from zoo_core.weights.header import Origin, WeightsMetadata

SHORT = {"data": "--data", "start_from": "--from"}


class Cost(NamedTuple):
    """What a training took, as far as its run recorded that."""

    seconds: float  # 0 if they are not recorded
    devices: tuple[str, ...]  # on which; empty if that is not recorded


def commands(folder: RunFolder, spec: ModelSpec, record: WeightsMetadata) -> str:
    """The commands that train the weights of a run again: one, and one more for each change.

    Settings that do not affect the networks are left out.
    """
    values = folder.read_config()
    changes = [each for each in read_changes(values) if 0 < each.images <= record.images]
    settings = _began(values)
    usual = flat(_usual(spec, values.get("preset", "")))
    said = {
        key: settings[key]
        for key in usual
        if settings.get(key, usual[key]) != usual[key] and key not in RunConfig.FREE
    }
    begin = ["zoo", "train", spec.name, *_preset(values), *_options(said)]
    ends = [*(change.images for change in changes), _end({**usual, **settings}, record)]
    lines = []
    for change, end in zip([None, *changes], ends, strict=True):
        images = [] if end == usual["images"] else ["--images", str(end)]
        lines.append(shlex.join([*begin, *images, *_changing(change)]))
    return " && ".join(lines)


def import_command(origin: Origin, model: str) -> str:
    """The command that imported weights, but for settings that were given to it."""
    options = {"--part": origin.part, "--source": origin.source, "--licence": origin.licence}
    said = [word for option, value in options.items() if value for word in (option, value)]
    return shlex.join(["zoo", "import", origin.file, "--model", model, *said, "-o", "imported"])


def cost(folder: RunFolder, images: int) -> Cost:
    """Seconds of all lines of timing.jsonl up to there, and the devices that they name."""
    seconds: dict[int, float] = {}  # a run that was set back repeats lines
    devices: list[str] = []
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        for text in folder.timing.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["images"] <= images:
                seconds[line["images"]] = float(line["seconds"])
                devices += [str(line["device"])] if "device" in line else []
    return Cost(sum(seconds.values()), tuple(dict.fromkeys(devices)))


def without_folders(value: Any) -> Any:
    """Plain data in which absolute paths have lost the folders above them."""
    if isinstance(value, Mapping):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    return _last_part(value) if isinstance(value, str) else value


def _last_part(text: str) -> str:
    """`./photos` for /home/me/photos and C:/me/photos; NAME:./photos for NAME:/home/me/photos."""
    before, _, path = text.rpartition(":")
    if not path.startswith("/") or path.startswith("//"):
        return text
    kept = f"{before}:" if "/" in before else ""
    return f"{kept}./{PurePosixPath(path).name}"


def _began(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the run began with, changes before its first image included."""
    changes = read_changes(values)
    at_once = {k: v for each in changes if not each.images for k, v in each.settings.items()}
    return {**values["run"], **values["config"], **first_values(changes), **at_once}


def _end(settings: Mapping[str, Any], record: WeightsMetadata) -> int:
    """What `--images` ends a run with the images of these weights: steps overshoot it."""
    wanted = settings["images"]
    return wanted if 0 <= record.images - wanted < settings["batch_size"] else record.images


def _usual(spec: ModelSpec, preset: str) -> Resolved:
    """The settings of a command that gives none but a preset, which may be gone by now."""
    own = spec.presets.get(preset, {})
    return resolve(spec.name, spec.config, ("the model", spec.run), (preset, own), preset=preset)


def _preset(values: Mapping[str, Any]) -> list[str]:
    return ["--preset", values["preset"]] if values.get("preset") else []


def _options(settings: Mapping[str, Any]) -> list[str]:
    words = []
    for key, value in without_folders(settings).items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += [SHORT[key], text] if key in SHORT else ["--set", f"{key}={text}"]
    return words


def _changing(change: Change | None) -> list[str]:
    if change is None:
        return []
    settings = {**change.settings, **({"data": "accept"} if change.data else {})}
    said = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in settings.items()]
    return ["--change", ",".join(said)]
