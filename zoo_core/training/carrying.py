"""From a checkpoint to a state whose settings have changed since: what is kept, what begins anew.

Networks keep all tensors. An optimizer keeps its moments, parameter by parameter, and gets its new
settings. What the old settings lacked begins as it would in a new run: an average at the networks
as they are, a phase's own state, an optimizer of another kind. What the new ones lack is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch

from zoo_core.config import RunConfig
from zoo_core.interfaces import Phase
from zoo_core.training.checkpoint import optimizer_parameters, restore_optimizer
from zoo_core.training.state import TrainState, optimizers
from zoo_core.weights.tensors import Tensors

logger = logging.getLogger("zoo")

Optimizers = Sequence[tuple[str, torch.optim.Optimizer]]
NO_STATE = frozenset({"lr", "weight_decay"})  # settings on which no optimizer's tensors depend


@torch.no_grad()
def carry_tensors(
    state: TrainState, weights: Tensors, before: RunConfig, now: RunConfig, images: int
) -> None:
    """Copy a checkpoint's tensors into a state that may have more or fewer than it."""
    kept = dict(weights) if _keeps_augmentation(before, now) else _without("augment", weights)
    has_average = any(key.startswith("ema.") for key in kept)
    for key, tensor in state.tensors().items():
        if key in kept and kept[key].shape == tensor.shape:
            tensor.copy_(kept[key])
    if state.ema is not None and not has_average:
        state.ema.network.load_state_dict(state.networks.main.state_dict())
    if state.augment is not None:
        state.augment.catch_up(images)


def carry_optimizers(state: TrainState, optim: Tensors, before: Sequence[Phase]) -> None:
    """Restore the optimizers of a state from those of the phases `before`, on the same networks."""
    stored = list(optimizers(before))
    now = list(state.optimizers())
    for name, optimizer in now:
        gone = [(old, it) for old, it in stored if old == name or old not in dict(now)]
        old_name, old = _counterpart(name, optimizer, gone)
        if old is None:
            continue
        if not _keeps_state(old, optimizer):
            logger.warning("the optimizer of phase %r begins anew: it is of another kind", name)
            continue
        restore_optimizer(name, optimizer, dict(_renamed(old_name, old, name, optimizer, optim)))


def _without(owner: str, weights: Tensors) -> Tensors:
    return {key: tensor for key, tensor in weights.items() if not key.startswith(f"{owner}.")}


def _keeps_augmentation(before: RunConfig, now: RunConfig) -> bool:
    """Whether an adaptive probability goes on from where it is; a new initial one begins anew."""
    return (before.augment, before.augment_prob) == (now.augment, now.augment_prob)


def _counterpart(
    name: str, optimizer: torch.optim.Optimizer, candidates: Optimizers
) -> tuple[str, torch.optim.Optimizer | None]:
    """The optimizer that moved the same weights before: that of the same name, else the first."""
    own = {id(parameter) for parameter in optimizer_parameters(optimizer)}
    sharing = [
        (old_name, old)
        for old_name, old in candidates
        if own & {id(parameter) for parameter in optimizer_parameters(old)}
    ]
    sharing.sort(key=lambda each: each[0] != name)
    return sharing[0] if sharing else ("", None)


def _keeps_state(before: torch.optim.Optimizer, now: torch.optim.Optimizer) -> bool:
    """Whether both keep the same tensors: the same algorithm, with the same parts in use."""
    if type(before) is not type(now):
        return False
    return all(
        bool(before.defaults.get(key)) == bool(now.defaults.get(key))
        for key in {**before.defaults, **now.defaults}
        if key not in NO_STATE
    )


def _renamed(
    old_name: str,
    old: torch.optim.Optimizer,
    name: str,
    optimizer: torch.optim.Optimizer,
    optim: Tensors,
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of the old optimizer, under the keys of the new one."""
    places = {id(p): number for number, p in enumerate(optimizer_parameters(optimizer))}
    moved = {n: places.get(id(p)) for n, p in enumerate(optimizer_parameters(old))}
    for key, tensor in optim.items():
        owner, number, entry = key.rsplit("/", 2)
        if owner == old_name and (place := moved[int(number)]) is not None:
            yield f"{name}/{place}/{entry}", tensor
