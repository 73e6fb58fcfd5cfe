"""What is published: weights of a run, or imported ones, and all that is known of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from zoo_core.errors import InputError
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import ModelSpec
from zoo_core.training.provenance import Cost, commands, cost, import_command, without_folders
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.starting import discriminator_beside, read_start
from zoo_core.weights.header import (
    WeightsMetadata,
    parse_header,
    parse_metadata,
    read_file,
    weights_path,
)
from zoo_core.weights.licences import OWN_PICTURES, check_licence, is_known
from zoo_core.weights.loading import load_main
from zoo_core.weights.tensors import Tensors, packed, read_tensors

logger = logging.getLogger("zoo")
_OF_HUB = re.compile(r"hf/([\w-][\w.-]*/[\w-][\w.-]*)(,.*)?")  # data sets with a page on the hub


@dataclass(frozen=True)
class Source:
    """Weights that may be published; `record` is what the published file says of itself."""

    path: Path
    record: WeightsMetadata
    data: bytes
    network: Generator | Classifier
    spec: ModelSpec

    @cached_property
    def folder(self) -> RunFolder:
        """The run, or what was imported."""
        return RunFolder(self.path.parent)

    @property
    def is_run(self) -> bool:
        """Whether a training made the weights."""
        return self.folder.config.is_file()

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the run; none of imported weights."""
        return self.folder.read_config()["run"] if self.is_run else {}

    @property
    def command(self) -> str:
        """What made the weights."""
        if self.is_run:
            return commands(self.folder, self.spec, self.record)
        assert self.record.origin
        return import_command(self.record.origin, self.spec.name)

    @property
    def cost(self) -> Cost:
        """What the training took."""
        return cost(self.folder, self.record.images)

    @property
    def precision(self) -> str:
        """What computed."""
        return str(self.settings.get("precision", ""))

    @property
    def dataset(self) -> str:
        """The data set's name on the hub, if it is from there."""
        found = _OF_HUB.fullmatch(str(self.settings.get("data", "")))
        return found[1] if found else ""

    def discriminator(self, plugins: Plugins) -> bytes:
        """The weights file of the discriminator that belongs to the weights.

        Raises InputError if there is none, CheckpointError if no checkpoint can be read.
        """
        if self.spec.build_discriminator is None:
            raise InputError(f"{self.spec.name} has no discriminator", hint="omit --discriminator")
        tensors = self._last_trained(plugins) if self.is_run else self._beside()
        if tensors is None:
            raise InputError(
                f"there is no discriminator of {self.record.images:,} images to {self.path}",
                hint="omit --discriminator",
            )
        return packed(tensors, replace(self.record, role="discriminator"))

    def _beside(self) -> Tensors | None:
        return discriminator_beside(self.path, self.record, self.spec)

    def _last_trained(self, plugins: Plugins) -> Tensors | None:
        """The discriminator of the run's newest checkpoint, if that has seen as many images."""
        start = read_start(str(self.path.parent.absolute()), self.spec, plugins)
        found = start.networks.get("discriminator")
        is_same = start.origin.images == self.record.images
        return found.tensors if found is not None and is_same else None


def read_source(run: str | Path, licence: str | None, plugins: Plugins) -> Source:
    """Read weights, and check that they may be published, under the licence given or their own.

    Raises InputError if they may not, and what `load` raises.
    """
    path = weights_path(run)
    data = read_file(path)
    network = load_main(path, plugins=plugins)
    recorded = parse_metadata(parse_header(data, len(data), str(path)), str(path))
    spec = plugins.models.get(recorded.model)
    if not recorded.origin and not (path.parent / "config.json").is_file():
        raise InputError(
            f"{path} is in no run, so that nothing says how it was made",
            allowed="the folder of a run, weights in it, or what `zoo import` wrote",
        )
    licence = _licence(recorded, licence, str(path))
    values = without_folders(msgspec.to_builtins(replace(recorded, licence=licence)))
    record = msgspec.convert(values, WeightsMetadata)
    if record != recorded:
        data = packed(read_tensors(data, str(path)), record)
    return Source(path, record, data, network, spec)


def _licence(record: WeightsMetadata, given: str | None, label: str) -> str:
    """The licence to publish under. Raises InputError if it is unknown, or not ours to choose."""
    origin, started = record.origin or None, record.started_from or None
    for made_from in filter(None, (origin, started)):
        if not is_known(made_from.licence):
            raise InputError(
                f"{label} was made from weights whose licence is unknown, and cannot be published",
                hint="zoo import FILE --licence ID -o OUT, once its owner has stated one",
            )
    licence = record.licence if given is None else given
    if origin and licence != origin.licence:
        raise InputError(
            f"{label} was imported under another licence",
            given=licence,
            allowed=origin.licence,
            hint="omit --licence",
        )
    if not is_known(licence) or (given is None and licence == OWN_PICTURES):
        raise InputError(
            f"nobody has stated the licence of {label}", given=licence, hint="--licence CC-BY-4.0"
        )
    if given is None and started and started.licence != licence:
        raise InputError(
            f"the images of {label} are under {licence}, and the weights that it started from "
            f"under {started.licence}",
            hint=f"--licence {licence}, if both allow it",
        )
    check_licence(licence)
    if licence != record.licence and record.licence != OWN_PICTURES:
        logger.warning("trained on images under %s, published under %s", record.licence, licence)
    return licence
