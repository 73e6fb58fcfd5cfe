"""Penalties on the discriminator's gradient, in float32 at any precision of the run.

Each returns the mean over images, unweighted. Applied lazily (Karras et al. 2020, section 3.1),
every k-th step in a phase with `every=k`, a penalty is multiplied by k, so that its effect over
time stays the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def r1_penalty(discriminate: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """||grad_x D(x)||^2 averaged over images: a differentiable scalar.

    `discriminate` maps images [N, C, H, W] to logits, N first, and includes labels and
    augmentation. On real images this is R1, on generated ones R2 (Mescheder et al. 2018, eqs. 9 and
    10); both are weighted by gamma / 2.
    """
    images = images.detach().requires_grad_()
    return r1_of_logits(discriminate(images), images)


def r1_of_logits(logits: Tensor, images: Tensor) -> Tensor:
    """The same, from logits already computed from `images`, which require gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().flatten(1).sum(1).mean()


def gradient_penalty(
    discriminate: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    mix: Tensor,  # float32 [N], uniform in 0..1: the share of the real image in each mixture
    target: float = 1.0,
) -> Tensor:
    """(||grad_x D(x)|| - target)^2 on mixtures of real and fake (Gulrajani et al. 2017, eq. 3)."""
    share = mix.to(real.device, real.dtype).view(-1, *[1] * (real.dim() - 1))
    images = (share * real + (1 - share) * fake).detach().requires_grad_()
    logits = discriminate(images)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    # 1e-12 keeps the slope of the root finite where the gradient is 0
    norm = gradient.float().square().flatten(1).sum(1).add(1e-12).sqrt()
    return (norm - target).square().mean()
