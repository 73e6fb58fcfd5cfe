"""DCGAN as in tutorials: the discriminator on real and on fake images, then the generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

PRESET = "paper64"
BF16_SPEED = 3.0
SETTINGS = {"batch_size": 64}


def steps(g: nn.Module, d: nn.Module, pictures: Tensor, size: int, config: Any) -> Iterator[None]:
    """Train on images, uint8 [N, C, H, W], in random batches of `size`."""
    loss = nn.BCEWithLogitsLoss()
    betas = (config.beta1, config.beta2)
    opt_d = Adam(d.parameters(), lr=config.learning_rate, betas=betas)
    opt_g = Adam(g.parameters(), lr=config.learning_rate, betas=betas)
    ones, zeros = torch.ones(size), torch.zeros(size)
    while True:
        real = pictures[torch.randperm(len(pictures))[:size]].float() / 127.5 - 1
        d.zero_grad()
        loss(d(real), ones).backward()
        fake = g(torch.randn(size, config.latent_size))
        loss(d(fake.detach()), zeros).backward()
        opt_d.step()
        g.zero_grad()
        loss(d(fake), ones).backward()
        opt_g.step()
        yield
