"""StyleGAN2 as it is usually ported: a convolution weight per image (the paper's appendix B), zeros
inserted before filters, separate operations for activation, gain and noise, and new fake images for
each network. The parameters are those of the zoo's networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, pad, softplus
from torch.optim import Adam

PRESET = "cpu64"
BF16_SPEED = 6.8
SETTINGS = {"batch_size": 16}
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def steps(g: nn.Module, d: nn.Module, pictures: Tensor, size: int, config: Any) -> Iterator[None]:
    """Train on images, uint8 [N, C, H, W], in random batches of `size`."""
    slower = config.penalty_every / (config.penalty_every + 1)
    betas = (0.0, config.beta2)
    opt_g = Adam(g.parameters(), lr=config.learning_rate, betas=betas)
    opt_d = Adam(d.parameters(), lr=config.learning_rate * slower, betas=(0.0, 0.99**slower))
    number = 0
    while True:
        real = pictures[torch.randperm(len(pictures))[:size]].float() / 127.5 - 1
        d.requires_grad_(False)
        opt_g.zero_grad()
        softplus(-discriminate(d, generate(g, size, config))).mean().backward()
        opt_g.step()
        d.requires_grad_(True)
        opt_d.zero_grad()
        with torch.no_grad():
            fake = generate(g, size, config)
        softplus(discriminate(d, fake)).mean().backward()
        softplus(-discriminate(d, real)).mean().backward()
        opt_d.step()
        if number % config.penalty_every == 0:
            opt_d.zero_grad()
            images = real.requires_grad_()
            (slope,) = torch.autograd.grad(discriminate(d, images).sum(), images, create_graph=True)
            r1 = slope.square().sum((1, 2, 3)).mean()
            (r1 * config.penalty / 2 * config.penalty_every).backward()
            opt_d.step()
        number += 1
        yield


def generate(g: nn.Module, size: int, config: Any) -> Tensor:
    z = torch.randn(size, config.latent_size)
    styles = g.mapping(z)[:, None].repeat(1, g.num_ws, 1)
    if torch.rand(()) < config.mixing_prob:
        first = int(torch.randint(1, g.num_ws, ()))
        styles[:, first:] = g.mapping(torch.randn_like(z))[:, None]
    g.track_average(styles[:, 0])
    images = None
    for number, block in enumerate(g.blocks):
        w = styles[:, max(0, 2 * number - 1) :]
        if block.constant is not None:
            x = block.constant[None].repeat(size, 1, 1, 1)
            x = layer(block.conv1, x, w[:, 0])
            rgb = to_rgb(block.to_rgb, x, w[:, 1])
        else:
            x = layer(block.conv1, layer(block.conv0, x, w[:, 0]), w[:, 1])
            rgb = to_rgb(block.to_rgb, x, w[:, 2])
        images = rgb if images is None else resample(images, up=2, padding=(2, 1), gain=4) + rgb
    return images


def layer(module: nn.Module, x: Tensor, w: Tensor) -> Tensor:
    weight = module.weight.transpose(0, 1) if module.up else module.weight
    x = modulated(x, weight, module.affine(w), demodulate=True, up=module.up)
    x = x + torch.randn(len(x), 1, *x.shape[2:]) * module.noise_strength
    x = x + module.bias[:, None, None]
    return leaky_relu(x, 0.2) * math.sqrt(2)


def to_rgb(module: nn.Module, x: Tensor, w: Tensor) -> Tensor:
    x = modulated(x, module.weight, module.affine(w) * module.scale, demodulate=False, up=False)
    return x + module.bias[:, None, None]


def modulated(x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool, up: bool) -> Tensor:
    count, channels, height, width = x.shape
    out, _, size, _ = weight.shape
    weights = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, count * channels, height, width)
    if up:
        weights = weights.transpose(1, 2).reshape(count * channels, out, size, size)
        x = conv_transpose2d(x, weights, stride=2, groups=count)
        x = resample(x.reshape(count, out, *x.shape[2:]), padding=(1, 1), gain=4)
        return x
    weights = weights.reshape(count * out, channels, size, size)
    x = conv2d(x, weights, padding=size // 2, groups=count)
    return x.reshape(count, out, height, width)


def discriminate(d: nn.Module, images: Tensor) -> Tensor:
    x = None
    for block in d.blocks:
        if block.from_rgb is not None:
            x = convolve(block.from_rgb, images)
        skip = resample(x, down=2, padding=(1, 1))
        skip = conv2d(skip, block.shortcut.weight * block.shortcut.scale)
        x = convolve(block.conv1, convolve(block.conv0, x)) + skip
    groups = x.reshape(d.config.group_size, -1, *x.shape[1:])
    spread = (groups - groups.mean(0)).square().mean(0).add(1e-8).sqrt().mean((1, 2, 3))
    plane = spread.repeat(d.config.group_size)[:, None, None, None]
    x = torch.cat([x, plane.expand(-1, 1, *x.shape[2:])], 1)
    x = leaky_relu(d.linear(convolve(d.conv, x).flatten(1)), 0.2) * math.sqrt(2)
    return d.out(x).flatten()


def convolve(module: nn.Module, x: Tensor) -> Tensor:
    weight = module.weight * (module.scale / module.gain)
    if module.down:
        x = conv2d(resample(x, padding=(2, 2)), weight, stride=2)
    else:
        x = conv2d(x, weight, padding=module.padding)
    return leaky_relu(x + module.bias[:, None, None], 0.2) * module.gain


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
