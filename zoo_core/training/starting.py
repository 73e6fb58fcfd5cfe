"""Start a run from weights: those of another run, a file, or registered ones.

A run has every network as it was last trained, the average and the optimizers. A file, and most
registered weights, have the averaged generator (or classifier) only; then the other networks begin
anew, which is said. A folder that was imported or published may have a discriminator, too.

What becomes of each tensor is decided in weights/adapting.py. Where all tensors are kept, the
optimizers go on as well, and so does what phases keep, such as the mean path length; else they
begin anew.

The state at image 0 is a function of the weights and the seed, so a resume is exact. After the
first checkpoint the weights are not read again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from zoo_core.config import ModelConfig, read_config
from zoo_core.data.progress import OnProgress
from zoo_core.errors import CheckpointError, WeightsError
from zoo_core.filesystem import as_argument
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import ModelSpec
from zoo_core.training.carrying import carry_optimizers
from zoo_core.training.checkpoint import Checkpoint, Checkpoints
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.state import TrainState
from zoo_core.weights.adapting import Report, Weights, adapt
from zoo_core.weights.header import (
    StartedFrom,
    WeightsMetadata,
    is_repository,
    located,
    parse_header,
    parse_metadata,
    read_file,
    read_header,
    weights_path,
)
from zoo_core.weights.hub import read_weights
from zoo_core.weights.loading import load_main
from zoo_core.weights.registry import load_registry, means_path
from zoo_core.weights.run_settings import check_model
from zoo_core.weights.store import digest_of
from zoo_core.weights.tensors import Tensors, load_weights

logger = logging.getLogger("zoo")


@dataclass(frozen=True)
class Start:
    """What a run starts from."""

    origin: StartedFrom
    networks: Mapping[str, Weights]  # by role, as last trained
    average: Weights  # of the main network
    optim: Tensors = field(default_factory=dict)
    others: Tensors = field(default_factory=dict)  # all else that the checkpoint of a run holds

    @property
    def config(self) -> ModelConfig:
        """The configuration of the networks."""
        return self.average.config


def read_start(
    name: str, spec: ModelSpec, plugins: Plugins, on_progress: OnProgress | None = None
) -> Start:
    """Read registered weights, a file, or a folder: of a run, the newest checkpoint is taken.

    `on_progress(bytes, size)` is called while weights are downloaded. Raises what `load` raises,
    InputError for weights of another model, and CheckpointError if no checkpoint of a run can be
    read.
    """
    if not means_path(name, load_registry(plugins)):
        return _registered(name, spec, plugins, on_progress)
    path = weights_path(name)
    record = parse_metadata(read_header(path), str(path))
    check_model(name, record.model, spec)
    is_folder = path != located(name)
    checkpoint = Checkpoints(path.parent / "checkpoints").load() if is_folder else None
    if checkpoint is not None:
        return _of_run(name, path.parent, record, checkpoint, spec)
    network = load_main(path, plugins=plugins)
    config = read_config(spec.config, record.config, str(path))
    weights = Weights(config, network.state_dict(), record.classes)
    networks = {spec.role: weights}
    if is_folder and (found := discriminator_beside(path, record, spec)):
        networks["discriminator"] = Weights(config, found, record.classes)
    _, sha256 = digest_of(path)
    return Start(_origin(name, record, sha256, networks), networks, weights)


def discriminator_beside(path: Path, record: WeightsMetadata, spec: ModelSpec) -> Tensors | None:
    """The discriminator that `zoo import` or `zoo publish` wrote beside the weights at `path`.

    None if there is none; raises WeightsError if it does not belong to them.
    """
    build, file = spec.build_discriminator, path.with_name("discriminator.safetensors")
    if build is None or not file.is_file():
        return None
    data = read_file(file)
    header = parse_header(data, len(data), str(file))
    about = parse_metadata(header, str(file))
    theirs = (about.role, about.model, about.config)
    if theirs != ("discriminator", record.model, record.config):
        raise WeightsError(
            f"{file} is not the discriminator of {path}: role, model and config differ",
            given=f"{about.role} of {about.model}",
            hint=f"remove it, or give {as_argument(path)} alone",
        )
    config = read_config(spec.config, record.config, str(file))
    network = load_weights(data, str(file), lambda: build(config), header=header)
    return network.state_dict()


def _registered(
    name: str, spec: ModelSpec, plugins: Plugins, on_progress: OnProgress | None
) -> Start:
    """The networks of registered weights: the main one, and a discriminator where there is one."""
    network = load_main(name, plugins=plugins, on_progress=on_progress)
    entry = load_registry(plugins).get(name)
    check_model(name, entry.model, spec)
    config = read_config(spec.config, entry.config, name)
    networks = {spec.role: Weights(config, network.state_dict(), network.classes)}
    if (file := entry.files.get("discriminator")) and (build := spec.build_discriminator):
        judge = load_weights(read_weights(file, name, on_progress), name, lambda: build(config))
        networks["discriminator"] = Weights(config, judge.state_dict(), network.classes)
    origin = StartedFrom(
        name=name if is_repository(name) else entry.name,
        sha256=entry.files[spec.role].sha256,
        images=entry.images,
        licence=entry.licence,
        networks=tuple(networks),
    )
    return Start(origin, networks, networks[spec.role])


def _of_run(
    name: str, folder: Path, record: WeightsMetadata, loaded: Checkpoint, spec: ModelSpec
) -> Start:
    """All networks of a run, as in a checkpoint."""
    config = read_config(spec.config, RunFolder(folder).read_config()["config"], str(folder))
    owners: dict[str, Tensors] = {}
    for key, tensor in loaded.weights.items():
        owner, _, rest = key.partition(".")
        owners.setdefault(owner, {})[rest] = tensor
    networks = {
        role: Weights(config, owners.pop(role), record.classes)
        for role in spec.builders()
        if role in owners
    }
    if spec.role not in networks:
        raise CheckpointError(f"the checkpoints in {folder} have no {spec.role}")
    average = Weights(config, owners.pop("ema", networks[spec.role].tensors), record.classes)
    others = {f"{owner}.{key}": t for owner, own in owners.items() for key, t in own.items()}
    images = loaded.record["images"]
    sha256 = Checkpoints(folder / "checkpoints").weights_sha256(images)
    origin = _origin(name, record, sha256, networks, images)
    return Start(origin, networks, average, loaded.optim, others)


def _origin(
    name: str,
    record: WeightsMetadata,
    sha256: str,
    networks: Collection[str],
    images: int | None = None,
) -> StartedFrom:
    return StartedFrom(
        name=name,
        sha256=sha256,
        images=record.images if images is None else images,
        licence=record.licence,
        networks=tuple(networks),
    )


@torch.no_grad()
def start_from(
    state: TrainState,
    start: Start,
    spec: ModelSpec,
    config: ModelConfig,
    classes: Sequence[str],
    rules: Collection[str],
) -> None:
    """Copy the weights into a new state, and say what became of them.

    Raises WeightsError if they do not fit by these rules.
    """
    whole = True
    for role, network in state.networks.named():
        if role not in start.networks:
            whole = False
            logger.info("%s of %s: not in the source; begins anew", role, start.origin.name)
            continue
        report = _fill(network, role, start.networks[role], spec, config, classes, rules)
        whole = whole and not (report.converted or report.fresh or report.unused)
        logger.info("%s from %s: %s", role, start.origin.name, report)
    if state.ema is not None:
        _fill(state.ema.network, spec.role, start.average, spec, config, classes, rules)
    if whole and start.optim:
        _go_on(state, start, spec)
    else:
        logger.info("the optimizers begin anew")


def _fill(
    network: nn.Module,
    role: str,
    source: Weights,
    spec: ModelSpec,
    config: ModelConfig,
    classes: Sequence[str],
    rules: Collection[str],
) -> Report:
    own = network.state_dict()
    tensors, report = adapt(spec, role, source, config, classes, own, rules)
    for key, tensor in own.items():
        tensor.copy_(tensors[key])
    return report


def _go_on(state: TrainState, start: Start, spec: ModelSpec) -> None:
    """Take over the optimizers, and what phases keep, of a run with the same networks."""
    carry_optimizers(state, start.optim, spec.build_phases(state.networks, start.config))
    for key, tensor in state.tensors().items():
        if key.startswith("state.") and key in start.others:
            tensor.copy_(start.others[key])
