"""GAN: Goodfellow et al., "Generative adversarial nets", 2014, arXiv:1406.2661.

Section 5 in code: both networks are multilayer perceptrons; rectifiers inside the generator and a
sigmoid at its end, maxout units (Goodfellow et al. 2013, arXiv:1302.4389) with dropout in the
discriminator, noise at the bottom of the generator only.

Departures: the sigmoid at the generator's end is a tanh, that is a sigmoid of twice the argument
stretched to our -1..1; the discriminator returns logits. Its last layer has no bias: a relativistic
loss sees differences of logits, and a bias cancels in them. The paper does not say how weights
start; here they start as PyTorch's linear layers do. The public settings bound the norm of the
maxout weights; here nothing does.

An addition: with `num_classes` above 0 a one-hot label is appended to the latents and to the pixels
(Mirza and Osindero, "Conditional generative adversarial nets", 2014, arXiv:1411.1784, which has
hidden layers for labels of their own first).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from zoo_core import Discriminator, Generator, SeededNoise
from zoo_gan.config import GANConfig


class Maxout(nn.Module):
    """[N, in] to [N, out], each the largest of some linear pieces (arXiv:1302.4389, section 3)."""

    def __init__(self, in_features: int, out_features: int, num_pieces: int):
        super().__init__()
        self.pieces = nn.Linear(in_features, out_features * num_pieces)
        self.shape = (out_features, num_pieces)

    def forward(self, features: Tensor) -> Tensor:
        """The units."""
        return self.pieces(features).unflatten(1, self.shape).amax(2)


class GANGenerator(Generator):
    """Latents [N, latent_size] to pictures [N, C, R, R] in -1..1."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.num_classes = config.num_classes
        self.config = config
        layers: list[nn.Module] = []
        before = config.latent_size + config.num_classes
        for width in config.generator_widths:
            layers += [nn.Linear(before, width), nn.ReLU(inplace=True)]
            before = width
        layers += [nn.Linear(before, math.prod(self.image_shape)), nn.Tanh()]
        self.main = nn.Sequential(*layers, nn.Unflatten(1, self.image_shape))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures of latents [N, latent_size] and labels [N]."""
        return self.main(with_labels(latents, labels, self.num_classes))

    def generate(
        self,
        noise: SeededNoise,
        *,
        labels: Tensor | None = None,
        source: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Pictures [N, C, R, R] of latents uniform in -sqrt(3)..sqrt(3), which has variance 1.

        `truncation` scales the latents towards 0, the middle of their distribution.
        """
        uniform = noise.uniform("latents", (self.config.latent_size,)) * 2 - 1
        latents = uniform.to(self.main[0].weight.device) * math.sqrt(3)
        return self(latents * truncation, labels)


class GANDiscriminator(Discriminator):
    """Pictures [N, C, R, R], and labels [N] if there are classes, to logits [N]."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.num_classes = config.num_classes
        self.input_dropout = nn.Dropout(config.input_dropout)
        layers: list[nn.Module] = []
        before = config.channels * config.resolution**2 + config.num_classes
        for width in config.discriminator_widths:
            layers += [Maxout(before, width, config.num_pieces), nn.Dropout(config.hidden_dropout)]
            before = width
        self.main = nn.Sequential(*layers, nn.Linear(before, 1, bias=False))

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits [N]: the larger, the more real."""
        pixels = self.input_dropout(images.flatten(1))
        return self.main(with_labels(pixels, labels, self.num_classes)).float().flatten()


def with_labels(features: Tensor, labels: Tensor | None, num_classes: int) -> Tensor:
    """[N, F] to [N, F + num_classes]: a one-hot label after the features, if there are classes."""
    if not num_classes:
        return features
    return torch.cat([features, one_hot(labels, num_classes).to(features.dtype)], 1)
