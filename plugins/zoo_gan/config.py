"""Configuration and presets of the original GAN."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import Count, ModelConfig, setting


class GANConfig(ModelConfig, frozen=True, kw_only=True):
    """The defaults are a stable recipe; `paper28` has the published networks and loss."""

    resolution: Annotated[int, setting("pixels per side; need not be a power of two", ge=4)] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grayscale images, 3 for RGB")] = 3
    num_classes: Annotated[
        int,
        setting(
            "number of classes, given to both networks; auto: those of the data; 0 ignores labels",
            ge=0,
        ),
    ] = 0
    latent_size: Annotated[int, setting("length of the latent vector", ge=1)] = 100
    generator_widths: Annotated[
        tuple[Count, ...], setting("units per hidden layer of the generator", min_length=1)
    ] = (512, 512)
    discriminator_widths: Annotated[
        tuple[Count, ...],
        setting("maxout units per hidden layer of the discriminator", min_length=1),
    ] = (128, 128)
    num_pieces: Annotated[int, setting("linear pieces per maxout unit", ge=1)] = 5
    input_dropout: Annotated[
        float, setting("dropout probability of the discriminator's input pixels", ge=0, lt=1)
    ] = 0.0
    hidden_dropout: Annotated[
        float, setting("dropout probability of the discriminator's hidden units", ge=0, lt=1)
    ] = 0.0
    loss: Annotated[
        Literal[
            "minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"
        ],
        setting("adversarial loss; see zoo_core/training/losses.py", group="loss"),
    ] = "relativistic"
    penalty: Annotated[
        float, setting("weight gamma of R1 and R2; 0 disables both", ge=0, group="loss")
    ] = 1.0
    penalty_every: Annotated[int, setting("apply R1 and R2 every N steps", ge=1, group="loss")] = 4
    learning_rate: Annotated[
        float, setting("learning rate of both networks", gt=0, group="optimizer")
    ] = 1e-3
    beta1: Annotated[float, setting("beta1 of Adam", ge=0, lt=1, group="optimizer")] = 0.0
    beta2: Annotated[float, setting("beta2 of Adam", ge=0, lt=1, group="optimizer")] = 0.99


RUN = {"data": "critters", "images": 500_000, "ema_half_life": 10_000, "ema_rampup": 0.1}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "resolution": 8,
        "latent_size": 8,
        "generator_widths": [16, 16],
        "discriminator_widths": [8, 8],
        "input_dropout": 0.2,
        "hidden_dropout": 0.5,
        "batch_size": 8,
        "images": 64,
        "log_every": 8,
    },
    # One class per digit. An MLP does best on small grayscale images.
    "digits": {
        "data": "digits",
        "resolution": 16,
        "channels": 1,
        "num_classes": 10,
        "images": 300_000,
    },
    # Goodfellow et al. 2014, section 5, with the public MNIST settings; digits replace MNIST.
    "paper28": {
        "data": "digits",
        "resolution": 28,
        "channels": 1,
        "generator_widths": [1200, 1200],
        "discriminator_widths": [240, 240],
        "input_dropout": 0.2,
        "hidden_dropout": 0.5,
        "loss": "non-saturating",
        "penalty": 0.0,
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "beta2": 0.999,
        "batch_size": 100,
        "images": 1_000_000,
        "ema_half_life": 0,
    },
}
