"""All that changes during a run: networks, phases, the average, and where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo_core.checkpoint import Tensors
from zoo_core.config import ModelConfig, Resolved
from zoo_core.ema import EMA
from zoo_core.interfaces import Generator, Networks, Phase
from zoo_core.noise import stream_key
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec


@dataclass
class Training:
    """Everything that changes during a run, which is everything that a checkpoint holds."""

    networks: Networks
    phases: list[Phase]
    ema: EMA | None
    images: int = 0
    # Sum and count of every loss term since the last line of the log.
    terms: dict[str, tuple[Tensor | float, int]] = field(default_factory=dict)

    @property
    def averaged(self) -> Generator:
        """The generator that is sampled and published."""
        return self.networks.generator if self.ema is None else self.ema.network

    def tensors(self) -> Tensors:
        """Every tensor of every network, of the average and of the phases, without copying."""
        modules = dict(self.networks.named())
        if self.ema is not None:
            modules["ema"] = self.ema.network
        modules |= {
            f"state.{phase.name}": phase.state for phase in self.phases if phase.state is not None
        }
        return {
            f"{owner}.{key}": tensor
            for owner, module in modules.items()
            for key, tensor in module.state_dict().items()
        }

    def optimizers(self) -> Iterator[tuple[str, torch.optim.Optimizer]]:
        """Each optimizer once, named after the first phase that uses it."""
        seen: set[int] = set()
        for phase in self.phases:
            if id(phase.optimizer) not in seen:
                seen.add(id(phase.optimizer))
                yield phase.name, phase.optimizer


def blueprint(spec: ModelSpec, config: ModelConfig) -> Generator:
    """The generator without memory for its weights, to ask for its shapes."""
    with torch.device("meta"):
        return spec.build_generator(config)


def build(spec: ModelSpec, resolved: Resolved, runtime: Runtime) -> Training:
    """Networks, phases and average of a run that has seen nothing yet; a function of the seed."""
    settings = resolved.run
    torch.manual_seed(stream_key(settings.seed, "initialization") >> 1)
    generator = spec.build_generator(resolved.config)
    discriminator = spec.build_discriminator(resolved.config) if spec.build_discriminator else None
    networks = Networks(generator, discriminator)
    for _, network in networks.named():
        runtime.place(network).train()
    phases = spec.build_phases(networks, resolved.config)
    ema = (
        EMA(generator, settings.ema_half_life, settings.ema_rampup)
        if settings.ema_half_life
        else None
    )
    return Training(networks, phases, ema)
