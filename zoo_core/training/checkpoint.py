"""Checkpoints: everything a resume needs, written atomically and verified when read.

A checkpoint is a folder, written under a temporary name and renamed when it is complete:

    weights.safetensors   all networks, the average, the phases' own state
    optim.safetensors     every tensor of every optimizer
    state.json            images seen, the length of the log, running sums of the loss terms
    MANIFEST.json         size and sha256 of the three, written last

Files and folders are flushed to disk before the rename and before any older checkpoint is removed,
so a complete one exists at every moment. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from zoo_core.errors import CheckpointError, WeightsError
from zoo_core.filesystem import remedy, sync_folder, write_synced
from zoo_core.weights.tensors import Tensors, cpu_copies, read_tensors

logger = logging.getLogger("zoo")


class Checkpoint(NamedTuple):
    """What was read from one checkpoint."""

    weights: Tensors
    optim: Tensors  # tensors of the optimizers
    record: dict[str, Any]  # state.json


class Checkpoints:
    """The checkpoints of one run, named by images seen; the last `keep` are kept."""

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, keep
        self._damaged: set[Path] = set()

    def save(self, images: int, weights: Tensors, optim: Tensors, state: Mapping[str, Any]) -> Path:
        """Write one complete checkpoint, then remove the oldest.

        Raises CheckpointError if that fails; older checkpoints stay.
        """
        target = self.folder / f"{images:012d}"
        temporary = self.folder / f".{target.name}.tmp"
        aside = _aside(target)
        files = {
            "weights.safetensors": safetensors.torch.save(cpu_copies(weights)),
            "optim.safetensors": safetensors.torch.save(cpu_copies(optim)),
            "state.json": json.dumps(state, indent=1).encode(),
        }
        manifest = {
            name: {"size": len(data), "sha256": _sha256(data)} for name, data in files.items()
        }
        try:
            self._sweep()
            self.folder.mkdir(exist_ok=True)  # without parents: a run that was moved stays so
            temporary.mkdir()
            for name, data in files.items():
                write_synced(temporary / name, data)
            write_synced(temporary / "MANIFEST.json", json.dumps(manifest, indent=1).encode())
            sync_folder(temporary)
            if target.exists():  # damaged, or the run was set back to before it
                target.rename(aside)
            temporary.rename(target)
            sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if aside.exists() and not target.exists():
                with contextlib.suppress(OSError):
                    aside.rename(target)
            raise CheckpointError(
                f"cannot write the checkpoint {target}: {error.strerror}",
                hint=f"{remedy(error)}, then run the same command again",
            ) from None
        self._damaged.discard(target)
        shutil.rmtree(aside, ignore_errors=True)
        self._rotate(images)
        return target

    def load(self) -> Checkpoint | None:
        """Weights, optimizer tensors and state of the newest intact checkpoint; None without any.

        Damaged checkpoints are skipped with a warning. Raises CheckpointError if all are damaged.
        """
        found = self.list()
        for path in reversed(found):
            try:
                return self._read(path)
            except (OSError, ValueError, KeyError, TypeError, WeightsError) as error:
                then = "" if path == found[0] else "; trying an older one"
                logger.warning("checkpoint %s is damaged (%s)%s", path, error, then)
                self._damaged.add(path)
        if found:
            raise CheckpointError(
                f"none of the {len(found)} checkpoints in {self.folder} can be read",
                hint="delete the run folder to start over",
            )
        return None

    def data_fingerprint(self) -> str | None:
        """Fingerprint of the training data from the newest readable state.json, if there is one.

        It is not checked against the manifest.
        """
        for path in reversed(self.list()):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                return str(json.loads((path / "state.json").read_bytes())["data"])
        return None

    def weights_sha256(self, images: int) -> str:
        """The sha256 of all networks in an intact checkpoint, as its manifest says."""
        manifest = json.loads((self.folder / f"{images:012d}" / "MANIFEST.json").read_bytes())
        return str(manifest["weights.safetensors"]["sha256"])

    def list(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if path.name.isdecimal()]
        return sorted(found, key=lambda path: int(path.name))

    def _rotate(self, newest: int) -> None:
        """Keep the last good ones up to `newest`; later ones are obsolete: the run was set back."""
        found = self.list()
        good = [p for p in found if int(p.name) <= newest and p not in self._damaged]
        for path in set(found) - set(good[-self.keep :]):
            with contextlib.suppress(OSError):  # harmless; the next save tries again
                shutil.rmtree(path.rename(_aside(path)))  # so that no part of it is listed

    def _sweep(self) -> None:
        """Remove what a killed process left behind."""
        for leftover in self.folder.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)

    @staticmethod
    def _read(path: Path) -> Checkpoint:
        manifest = json.loads((path / "MANIFEST.json").read_bytes())
        content = {}
        for name in ("weights.safetensors", "optim.safetensors", "state.json"):
            data = (path / name).read_bytes()
            if (len(data), _sha256(data)) != (manifest[name]["size"], manifest[name]["sha256"]):
                raise ValueError(f"{name} does not match the manifest")
            content[name] = data
        return Checkpoint(
            read_tensors(content["weights.safetensors"], str(path)),
            read_tensors(content["optim.safetensors"], str(path)),
            json.loads(content["state.json"]),
        )


def optimizer_tensors(name: str, optimizer: torch.optim.Optimizer) -> Tensors:
    """All tensors of an optimizer's state, by `NAME/parameter number/key`."""
    return {
        f"{name}/{number}/{key}": value
        for number, parameter in enumerate(optimizer_parameters(optimizer))
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(name: str, optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Load what `optimizer_tensors` returned, in the memory layout of each parameter."""
    parameters = optimizer_parameters(optimizer)
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        owner, number, entry = key.rsplit("/", 2)
        if owner == name:
            parameter = parameters[int(number)]
            if tensor.shape == parameter.shape and tensor.dim():
                tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
            state.setdefault(int(number), {})[entry] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def optimizer_parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters that an optimizer moves, in the order of its groups."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _aside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f".{checkpoint.name}.old.tmp")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
