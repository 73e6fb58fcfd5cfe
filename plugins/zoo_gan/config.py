"""The configuration of the first GAN and its presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from zoo_core import Count, ModelConfig, setting


class GANConfig(ModelConfig, frozen=True, kw_only=True):
    """Defaults are a stable recipe; `paper28` has the published networks and loss."""

    resolution: Annotated[int, setting("pixels a side; any, not only a power of two", ge=4)] = 32
    channels: Annotated[Literal[1, 3], setting("1 for grey pictures, 3 for RGB")] = 3
    num_classes: Annotated[
        int, setting("classes that both networks are told; 0 for none", ge=0)
    ] = 0
    latent_size: Annotated[int, setting("length of the latent vector", ge=1)] = 100
    generator_widths: Annotated[
        tuple[Count, ...], setting("units of each hidden layer, from the latents on", min_length=1)
    ] = (512, 512)
    discriminator_widths: Annotated[
        tuple[Count, ...], setting("maxout units of each hidden layer", min_length=1)
    ] = (128, 128)
    num_pieces: Annotated[int, setting("linear pieces of a maxout unit", ge=1)] = 5
    input_dropout: Annotated[
        float, setting("share of the pixels that the discriminator is not shown", ge=0, lt=1)
    ] = 0.0
    hidden_dropout: Annotated[
        float, setting("share of its hidden units that are left out", ge=0, lt=1)
    ] = 0.0
    loss: Annotated[
        Literal[
            "minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"
        ],
        setting("see zoo_core/training/losses.py"),
    ] = "relativistic"
    penalty: Annotated[float, setting("weight gamma of R1 and R2; 0 switches both off", ge=0)] = 1.0
    penalty_every: Annotated[int, setting("steps between two penalties", ge=1)] = 4
    learning_rate: Annotated[float, setting("of both networks", gt=0)] = 1e-3
    beta1: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.0
    beta2: Annotated[float, setting("of Adam", ge=0, lt=1)] = 0.99


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
    # A class a digit. Small grey pictures are what an MLP is best at.
    "digits": {
        "data": "digits",
        "resolution": 16,
        "channels": 1,
        "num_classes": 10,
        "images": 300_000,
    },
    # Goodfellow et al. 2014, section 5, at the public settings for MNIST; digits stand in for it.
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
