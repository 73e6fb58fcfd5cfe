"""R3GAN as ported directly from the paper: torch's own convolutions, separate operations for biases
and activations, zeros inserted before filters, a separate forward pass for each penalty, and new
images for each network. The parameters are those of the zoo's networks, an eighth of the paper's
width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, pad, softplus
from torch.optim import Adam

PRESET = "ffhq64"
BF16_SPEED = 3.0
SETTINGS = {"resolution": 32, "widths": (96, 96, 96, 48), "batch_size": 32, "augment": "none"}
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def steps(g: nn.Module, d: nn.Module, pictures: Tensor, size: int, config: Any) -> Iterator[None]:
    """Train on images, uint8 [N, C, H, W], in random batches of `size`."""
    betas = (config.beta1, config.beta2)
    opt_d = Adam(d.parameters(), lr=config.learning_rate, betas=betas)
    opt_g = Adam(g.parameters(), lr=config.learning_rate, betas=betas)

    def draw() -> tuple[Tensor, Tensor]:
        real = pictures[torch.randperm(len(pictures))[:size]].float() / 127.5 - 1
        return real, generate(g, torch.randn(size, config.latent_size))

    while True:
        opt_d.zero_grad()
        real, fake = draw()
        fake = fake.detach()
        loss = softplus(discriminate(d, fake) - discriminate(d, real)).mean()
        penalty = r1_penalty(d, real) + r1_penalty(d, fake)
        (loss + config.penalty / 2 * penalty).backward()
        opt_d.step()
        opt_g.zero_grad()
        real, fake = draw()
        softplus(discriminate(d, real) - discriminate(d, fake)).mean().backward()
        opt_g.step()
        yield


def r1_penalty(d: nn.Module, images: Tensor) -> Tensor:
    images = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(discriminate(d, images).sum(), images, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()


def generate(g: nn.Module, latents: Tensor) -> Tensor:
    for stage, (start, *blocks) in enumerate(g.stages):
        if stage == 0:
            x = start.linear(latents)[:, :, None, None] * start.basis
        else:
            x = resample(change_width(start.conv, x), up=2, padding=(2, 1), gain=4)
        for block in blocks:
            x = residual(block, x)
    return conv2d(x, g.to_images.weight)


def discriminate(d: nn.Module, images: Tensor) -> Tensor:
    x = conv2d(images, d.from_images.weight)
    for stage, (*blocks, end) in enumerate(d.stages, start=1):
        for block in blocks:
            x = residual(block, x)
        if stage < len(d.stages):
            x = change_width(end.conv, resample(x, down=2, padding=(1, 1)))
    x = conv2d(x, end.basis[:, None], groups=x.shape[1]).flatten(1)
    return end.linear(x).flatten()


def residual(block: nn.Module, x: Tensor) -> Tensor:
    y = conv2d(x, block.expand.weight)
    y = leaky_relu(y + block.expand.bias[:, None, None], 0.2)
    y = conv2d(y, block.mix.weight, padding=1, groups=block.mix.groups)
    y = leaky_relu(y + block.mix.bias[:, None, None], 0.2)
    return x + conv2d(y, block.project.weight)


def change_width(module: nn.Module, x: Tensor) -> Tensor:
    return x if isinstance(module, nn.Identity) else conv2d(x, module.weight)


def resample(
    x: Tensor, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0), gain: float = 1
) -> Tensor:
    count, channels, height, width = x.shape
    if up > 1:
        x = x.reshape(count, channels, height, 1, width, 1)
        x = pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(count, channels, height * up, width * up)
    x = pad(x, (*padding, *padding))
    kernel = (FILTER * gain)[None, None].repeat(channels, 1, 1, 1)
    return conv2d(x, kernel, groups=channels)[:, :, ::down, ::down]
