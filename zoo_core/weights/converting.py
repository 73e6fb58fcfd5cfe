"""Turn the tensors of somebody's network into a weights file of ours, and check that they fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from zoo_core.config import ModelConfig, fields, resolve
from zoo_core.errors import ConfigError, WeightsError, nearest
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier
from zoo_core.spec import ModelSpec
from zoo_core.weights.header import (
    MAX_NAME,
    Header,
    Origin,
    TensorInfo,
    WeightsMetadata,
    check_tensors,
)
from zoo_core.weights.recognizing import Candidate, Choice
from zoo_core.weights.tensors import blueprint, layout, load_weights, packed
from zoo_core.weights.trial import Sheet, judge

STUMBLES = (WeightsError, LookupError, ValueError, TypeError, ArithmeticError, RuntimeError)
MAX_SIDE = 4096  # pixels; a small file can describe a network of any resolution
TRACKED = "num_batches_tracked"  # of batch normalization; torch 0.4.0 and before do not write it


class Checkpoint(NamedTuple):
    """A file that is imported."""

    path: Path
    size: int  # bytes
    sha256: str

    @property
    def label(self) -> str:
        """Its name for messages."""
        return str(self.path)


class Converter:
    """Converts the networks chosen from a checkpoint, to one configuration of the model.

    Raises ConfigError if a setting is not one of the model's, WeightsError if the model has no such
    configuration as the checkpoint implies.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        choice: Choice,
        settings: Mapping[str, Any],
        licence: str,
        source: str,
    ):
        self.checkpoint, self.choice = checkpoint, choice
        self.licence, self.source = licence, source
        self.config = _config(choice, settings, checkpoint.label)

    def main(self) -> tuple[bytes, Generator | Classifier]:
        """The weights file of the main network, and that network with its weights."""
        data, network = self._converted(self.choice.main, self.choice.spec.role)
        assert isinstance(network, Generator | Classifier)
        return data, network

    def discriminator(self, sheet: Sheet) -> dict[str, bytes]:
        """The weights file of the discriminator, by its role; empty if there is none that fits.

        It must judge the images of the main network.
        """
        if self.choice.discriminator is None:
            return {}
        try:
            data, network = self._converted(self.choice.discriminator, "discriminator")
            judge(network, sheet, self.checkpoint.label)
        except WeightsError as error:
            self.choice.notes.append(f"not imported: the discriminator, because {error}")
            return {}
        return {"discriminator": data}

    def _converted(self, candidate: Candidate, role: str) -> tuple[bytes, nn.Module]:
        label, build = self.checkpoint.label, self.choice.spec.builders()[role]
        tensors = self._ours(candidate)
        make: Callable[[], nn.Module] = lambda: build(self.config)  # noqa: E731
        tensors = self._fitted(tensors, blueprint(label, make))
        data = packed(tensors, self._about(candidate, role))
        return data, load_weights(data, label, make).eval().requires_grad_(False)

    def _ours(self, candidate: Candidate) -> Mapping[str, Tensor]:
        """The tensors under our names, by an importer that has seen the names and shapes only."""
        try:
            return candidate.importer.convert(candidate.network.tensors, candidate.recognized)
        except STUMBLES as error:
            reason = str(error).partition("\n")[0]
            what = f"{self.checkpoint.label} does not fit the architecture: {reason}"
            raise WeightsError(what) from None

    def _fitted(self, tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
        """The tensors in the types of our network, after a comparison of names and shapes."""
        label, expected = self.checkpoint.label, network.state_dict()
        side = max(getattr(network, "image_shape", (0,)))
        if side > MAX_SIDE:
            raise WeightsError(
                f"{label} is of a resolution that is too high", given=side, allowed=f"{MAX_SIDE}"
            )
        missing = [key for key in expected if key.endswith(TRACKED) and key not in tensors]
        given = {**tensors, **{key: torch.zeros((), dtype=torch.int64) for key in missing}}
        if sum(each.nbytes for each in tensors.values()) > self.checkpoint.size:
            raise WeightsError(f"{label} holds tensors that share memory, larger than the file")
        typed = {
            key: each.to(expected[key].dtype) if key in expected else each
            for key, each in given.items()
        }
        if long := [key for key in typed if len(key) > MAX_NAME]:  # the next messages quote them
            raise WeightsError(f"{label} holds a tensor with a long name: {long[0][:60]!r}")
        infos = {key: TensorInfo(*each, (0, 0)) for key, each in layout(typed).items()}
        check_tensors(Header(infos, {}), layout(expected), label)
        return typed

    def _about(self, candidate: Candidate, role: str) -> WeightsMetadata:
        origin = Origin(
            family=candidate.importer.name,
            file=self.checkpoint.path.name.encode(errors="replace").decode(),
            sha256=self.checkpoint.sha256,
            part=candidate.network.place,
            source=self.source,
            licence=self.licence,
        )
        return WeightsMetadata(
            model=candidate.importer.model,
            role=role,
            config=msgspec.to_builtins(self.config),
            images=0,
            licence=self.licence,
            trained_on="not recorded",
            zoo_version=version("zoo-core"),
            origin=origin,
        )


def _config(choice: Choice, settings: Mapping[str, Any], label: str) -> ModelConfig:
    """The configuration that the networks imply, with `settings` on top."""
    spec = choice.spec
    for key in settings:
        known = fields(spec.config)
        if key not in known:
            raise ConfigError(
                f"{spec.name} has no setting {key!r}",
                near=nearest(key, known),
                hint=f"zoo show {spec.name}",
            )
    other = choice.discriminator.recognized.config if choice.discriminator else {}
    implied = {**other, **choice.main.recognized.config}
    try:
        config = _resolved(spec, implied)
    except ConfigError as error:
        raise WeightsError(
            f"{label} is of no configuration that {spec.name} has: {error}"
        ) from None
    return _resolved(spec, implied, settings) if settings else config


def _resolved(
    spec: ModelSpec, implied: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> ModelConfig:
    layers = ("the checkpoint", implied), ("the command line", settings or {})
    return resolve(spec.name, spec.config, *layers).config
