"""pix2pix as in tutorials: the discriminator on real and fake pairs, then the generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

PRESET = "paper256"
BF16_SPEED = 2.5
SETTINGS = {"batch_size": 1, "jitter": 0, "mirror": False}


def steps(g: nn.Module, d: nn.Module, pictures: Tensor, size: int, config: Any) -> Iterator[None]:
    """Train on image pairs, uint8 [N, source C + C, H, W], in random batches of `size`."""
    bce, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
    betas = (config.beta1, config.beta2)
    opt_d = Adam(d.parameters(), lr=config.learning_rate, betas=betas)
    opt_g = Adam(g.parameters(), lr=config.learning_rate, betas=betas)
    while True:
        pairs = pictures[torch.randperm(len(pictures))[:size]].float() / 127.5 - 1
        source, real = pairs[:, : config.source_channels], pairs[:, config.source_channels :]
        fake = g.translator(source, None)
        d.zero_grad()
        judged_real, judged_fake = d(real, source=source), d(fake.detach(), source=source)
        loss_real = bce(judged_real, torch.ones_like(judged_real))
        loss_fake = bce(judged_fake, torch.zeros_like(judged_fake))
        ((loss_real + loss_fake) / 2).backward()
        opt_d.step()
        g.zero_grad()
        judged = d(fake, source=source)
        (bce(judged, torch.ones_like(judged)) + config.l1 * l1(fake, real)).backward()
        opt_g.step()
        yield
