"""Everything that changes during a run: networks, phases, the average, and the progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core.config import ModelConfig, Resolved, RunConfig
from zoo_core.errors import ConfigError, PluginError, text_of
from zoo_core.generators import Generator
from zoo_core.interfaces import Classifier, Discriminator, Networks, Phase
from zoo_core.noise import stream_key
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec
from zoo_core.training.ada import ADA
from zoo_core.training.alarms import Alarms
from zoo_core.training.augment import Augment, DiffAugment
from zoo_core.training.ema import EMA
from zoo_core.training.freezing import freeze
from zoo_core.training.slices import Slices, sliced
from zoo_core.weights.tensors import Tensors

LARGEST = 16_384  # pixels a side of an image


class Shown:
    """The size of the images that a discriminator was shown last; a growing one starts small."""

    side = 0  # pixels

    def __call__(self, discriminator: nn.Module, images: tuple[Tensor, ...]) -> None:
        """A forward pre-hook of the discriminator."""
        self.side = images[0].shape[-1]


@dataclass
class TrainState:
    """Everything that changes during a run, and so everything that a checkpoint holds."""

    networks: Networks
    phases: list[Phase]
    ema: EMA | None
    augment: Augment | None = None
    slices: Slices | None = None  # with `micro_batch`: how a batch is sliced
    shown: Shown = field(default_factory=Shown)
    images_seen: int = 0
    # Sum and count of every loss term since the last line of the log.
    terms: dict[str, tuple[Tensor | float, int]] = field(default_factory=dict)
    best: dict[str, Any] | None = None  # images, value and protocol of the best evaluation so far
    alarms: Alarms = field(default_factory=Alarms)

    @property
    def averaged(self) -> Generator | Classifier:
        """The network that is sampled, evaluated and published."""
        return self.networks.main if self.ema is None else self.ema.network

    def note(self, source: str, terms: Mapping[str, Tensor]) -> None:
        """Add `terms` to the sums for the next log line."""
        for name, value in terms.items():
            total, count = self.terms.get(f"{source}/{name}", (0.0, 0))
            self.terms[f"{source}/{name}"] = (total + value.detach(), count + 1)

    def tensors(self) -> Tensors:
        """Every tensor of the networks, the average, the augmentation and the phases; no copies."""
        modules = dict(self.networks.named())
        if self.ema is not None:
            modules["ema"] = self.ema.network
        if self.augment is not None:
            modules["augment"] = self.augment
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
        return optimizers(self.phases)


def optimizers(phases: Iterable[Phase]) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    """Each optimizer once, named after the first phase that uses it."""
    seen: set[int] = set()
    for phase in phases:
        if id(phase.optimizer) not in seen:
            seen.add(id(phase.optimizer))
            yield phase.name, phase.optimizer


def blueprint(spec: ModelSpec, config: ModelConfig) -> Generator | Classifier:
    """The main network on the meta device, without memory for weights; for its shapes."""
    try:
        with torch.device("meta"):
            network = spec.build_main(config)
    except (RuntimeError, OverflowError, TypeError) as error:  # torch, of more than 64 bits
        if "overflow" not in str(error).lower():
            raise
        what = f"{spec.name} cannot be as large as these settings say"
        raise ConfigError(what, given=text_of(error)[:80]) from error
    if max(network.image_shape) > LARGEST:
        given = f"{network.image_shape[2]:,} pixels a side"
        raise ConfigError("the images are too large", given=given, allowed=f"up to {LARGEST:,}")
    return network


def build(spec: ModelSpec, resolved: Resolved, runtime: Runtime) -> TrainState:
    """Networks, phases and average of a new run; a function of the seed."""
    settings = resolved.run
    torch.manual_seed(stream_key(settings.seed, "initialization") >> 1)
    networks = Networks(**{role: make(resolved.config) for role, make in spec.builders().items()})
    freeze(networks, settings)
    augment = _augmentation(networks.discriminator, settings)
    for _, network in networks.named():
        runtime.place(network).train()

    def build_phases() -> list[Phase]:
        return spec.build_phases(networks, resolved.config)

    size, micro = settings.batch_size, settings.micro_batch
    phases = build_phases()
    slices = sliced(size, micro, networks, augment, build_phases) if 0 < micro < size else None
    ema = (
        EMA(
            networks.main, settings.ema_half_life, 0 if settings.start_from else settings.ema_rampup
        )
        if settings.ema_half_life
        else None
    )
    shown = Shown()
    if networks.discriminator is not None:
        networks.discriminator.register_forward_pre_hook(shown)
        networks.discriminator.register_forward_hook(_check_logits)
    return TrainState(networks, phases, ema, augment, slices, shown)


def _check_logits(discriminator: nn.Module, images: tuple[Tensor, ...], logits: Any) -> None:
    """A forward hook of the discriminator. Raises PluginError for what are no logits."""
    count = len(images[0])
    if isinstance(logits, Tensor) and logits.shape[:1] == (count,):
        return
    what = f"{type(discriminator).__name__} has to return logits, a tensor [{count}] or "
    is_tensor = isinstance(logits, Tensor)
    gave = f"tensor {tuple(logits.shape)}" if is_tensor else type(logits).__name__
    raise PluginError(f"{what}[{count}, ...]; gave a {gave}")


def _augmentation(discriminator: Discriminator | None, settings: RunConfig) -> Augment | None:
    """Build the augmentation as a hook of the discriminator, so that phases need not know it."""
    if settings.augment == "none":
        return None
    if discriminator is None:
        raise ConfigError(
            "the model has no discriminator, so there is nothing to augment",
            hint="--set augment=none",
        )
    if settings.augment == "diffaugment":
        augment: Augment = DiffAugment(settings.diffaugment)
    else:
        augment = ADA(
            settings.augment_prob,
            target=settings.ada_target if settings.augment == "ada" else None,
            speed_images=settings.ada_images,
            rampup=settings.augment_rampup,
            blit=settings.augment_blit,
            geom=settings.augment_geom,
            color=settings.augment_color,
            cutout=settings.augment_cutout,
        )
    discriminator.register_forward_pre_hook(augment.before_discriminator, with_kwargs=True)
    return augment
