"""GAN: Goodfellow et al., "Generative adversarial nets", 2014, arXiv:1406.2661.

Section 5: both networks are multilayer perceptrons. The generator has rectifiers, a sigmoid at its
end, and noise at its lowest layer only; the discriminator has maxout units (Goodfellow et al. 2013,
arXiv:1302.4389) with dropout.

Departures:
- The generator ends in a tanh, which is a sigmoid of twice the argument rescaled to -1..1.
- The discriminator returns logits, and its last layer has no bias: a relativistic loss depends on
  differences of logits, in which a bias cancels.
- The paper does not specify the initialization; here it is PyTorch's default for linear layers.
- The public settings bound the norm of the maxout weights; here it is not bounded.

Addition: with `num_classes` above 0, a one-hot label is appended to the latents and to the pixels
(Mirza and Osindero, "Conditional generative adversarial nets", 2014, arXiv:1411.1784; there, labels
first pass through hidden layers of their own).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from zoo_core import Discriminator, Generator
from zoo_core.nn import layer_groups
from zoo_gan.config import GANConfig


class Maxout(nn.Module):
    """[N, in] to [N, out]: maximum over several linear pieces (arXiv:1302.4389, section 3)."""

    def __init__(self, in_features: int, out_features: int, num_pieces: int):
        super().__init__()
        self.pieces = nn.Linear(in_features, out_features * num_pieces)
        self.shape = (out_features, num_pieces)

    def forward(self, features: Tensor) -> Tensor:
        """Maximum over the pieces of each unit."""
        return self.pieces(features).unflatten(1, self.shape).amax(2)


class GANGenerator(Generator):
    """Latents [N, latent_size] to images [N, C, R, R] in -1..1."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.latent_shape, self.latent_distribution = (config.latent_size,), "uniform"
        self.num_classes = config.num_classes
        layers: list[nn.Module] = []
        before = config.latent_size + config.num_classes
        for width in config.generator_widths:
            layers += [nn.Linear(before, width), nn.ReLU(inplace=True)]
            before = width
        layers += [nn.Linear(before, math.prod(self.image_shape)), nn.Tanh()]
        self.main = nn.Sequential(*layers, nn.Unflatten(1, self.image_shape))

    def forward(
        self, latents: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        """Images [N, C, R, R] of latents [N, latent_size] in -1..1 and labels [N].

        The latents are scaled to variance 1, and by `truncation` toward 0, their mean.
        """
        latents = latents * math.sqrt(3) * truncation
        return self.main(with_labels(latents, labels, self.num_classes))


class GANDiscriminator(Discriminator):
    """Images [N, C, R, R], and labels [N] if there are classes, to logits [N]."""

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
        """Logits [N]; higher is more real."""
        pixels = self.input_dropout(images.flatten(1))
        return self.main(with_labels(pixels, labels, self.num_classes)).float().flatten()

    def layers(self) -> list[nn.Module]:
        """The layers before the last one, from the image on."""
        return layer_groups(self.main)


def with_labels(features: Tensor, labels: Tensor | None, num_classes: int) -> Tensor:
    """[N, F] to [N, F + num_classes]: append a one-hot label, if there are classes."""
    if not num_classes:
        return features
    return torch.cat([features, one_hot(labels, num_classes).to(features.dtype)], 1)
