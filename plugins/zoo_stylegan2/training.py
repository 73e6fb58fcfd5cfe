"""Training of StyleGAN2: generator, lazy path length penalty, discriminator, lazy R1.

Sections 3.1 and 3.2 of the paper. A lazy penalty's weight is multiplied by its interval k, and its
network's Adam is slowed down by k / (k + 1), since it takes k + 1 optimizer steps in k steps.

Departures: one set of fake images per step serves both networks (the public code draws two), and
the path length penalty uses the first half of the step's latents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.training import LOSSES, Adam, r1_penalty
from zoo_stylegan2.config import StyleGAN2Config

LOSS = LOSSES["non-saturating"]
PATH_DECAY = 0.01  # update rate of the mean path length
PATH_SHARE = 2  # the path length penalty uses 1 / PATH_SHARE of the batch


class MeanPathLength(nn.Module):
    """Running mean of the path length, the target of the path length penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros([]))


class StyleGAN2Loss:
    """Losses of all phases, on one set of fake images per step.

    The generator's loss scores the fakes first. The discriminator's loss scores them again,
    detached, when the generator's graph has been freed.
    """

    def __init__(self, networks: Networks, config: StyleGAN2Config):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.config = config
        self.path_length = MeanPathLength().to(self.generator.average_w.device)
        self._fake: Tensor | None = None

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on fake images with the classes of the batch."""
        ws = self.generator.sample_ws(progress.noise, labels=batch.labels)
        self.generator.track_average(ws[:, 0])
        images = self.generator.synthesize(ws)
        self._fake = images.detach()
        fake = self.discriminator(images, labels=batch.labels)
        return {"loss": LOSS.generator(fake, fake)}

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Adversarial loss on real images and on the fakes of the generator's phase."""
        assert self._fake is not None
        real = self.discriminator(batch.images, labels=batch.labels)
        fake, self._fake = self.discriminator(self._fake, labels=batch.labels), None
        return LOSS.discriminator_terms(real, fake)

    def r1_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """gamma / 2 times R1, times the interval between penalties."""

        def discriminate(images: Tensor) -> Tensor:
            return self.discriminator(images, labels=batch.labels)

        r1 = r1_penalty(discriminate, batch.images)
        return {"loss": self.config.penalty / 2 * self.config.penalty_every * r1, "r1": r1}

    def path_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Path length penalty (eq. 4), times its weight and its interval: squared distance of
        |J^T y| from its running mean, with random images y and J the Jacobian of synthesis by w.
        """
        noise = progress.noise[: max(1, len(batch) // PATH_SHARE)]
        labels = None if batch.labels is None else batch.labels[: len(noise)]
        ws = self.generator.sample_ws(noise, labels=labels)
        if not ws.requires_grad:  # the mapping network is frozen
            ws.requires_grad_()
        images = self.generator.synthesize(ws)
        y = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
        (gradient,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
        lengths = gradient.float().square().sum(2).mean(1).sqrt()
        with torch.no_grad():
            self.path_length.mean.lerp_(lengths.mean(), PATH_DECAY)
        penalty = (lengths - self.path_length.mean).square().mean()
        loss = self.config.path_weight * self.config.path_every * penalty
        return {"loss": loss, "path_length": lengths.mean()}


def build_phases(networks: Networks, config: StyleGAN2Config) -> list[Phase]:
    """Phases of the generator, then of the discriminator, as in the public code."""
    losses = StyleGAN2Loss(networks, config)
    generator, discriminator = losses.generator, losses.discriminator
    d_optimizer = lazy_adam(discriminator, config, config.penalty_every if config.penalty else 0)
    g_optimizer = lazy_adam(generator, config, config.path_every if config.path_weight else 0)
    phases = [Phase("generator", generator, g_optimizer, losses.generator_loss)]
    if config.path_weight:
        path = Phase(
            "path_length",
            generator,
            g_optimizer,
            losses.path_loss,
            every=config.path_every,
            state=losses.path_length,
        )
        phases.append(path)
    phases.append(Phase("discriminator", discriminator, d_optimizer, losses.discriminator_loss))
    if config.penalty:
        phases.append(
            Phase("r1", discriminator, d_optimizer, losses.r1_loss, every=config.penalty_every)
        )
    return phases


def lazy_adam(network: nn.Module, config: StyleGAN2Config, every: int) -> Adam:
    """Adam for a network that takes one extra step every `every` steps; 0: no extra steps."""
    slower = every / (every + 1) if every else 1.0
    return Adam(
        network.parameters(),
        lr=config.learning_rate * slower,
        betas=(config.beta1**slower, config.beta2**slower),
        fused=True,
    )
