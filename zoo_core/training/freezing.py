"""Parts of networks that are not trained, as the settings say."""

from __future__ import annotations

from torch import nn

from zoo_core.config import RunConfig
from zoo_core.errors import ConfigError
from zoo_core.interfaces import Networks


def freeze(networks: Networks, settings: RunConfig) -> None:
    """Let no gradient reach what `freeze_d` and `freeze_mapping` name.

    `freeze_d` is Freeze-D (Mo et al. 2020, arXiv:2002.10964, section 3): the layers of the
    discriminator that are closest to the image keep the features that they have learned elsewhere.
    Statistics of batch normalization still move with the images. Raises ConfigError if there are
    not so many layers, or no mapping network.
    """
    if settings.freeze_d:
        layers = [] if networks.discriminator is None else networks.discriminator.layers()
        if not layers:
            raise ConfigError(
                "the model has no discriminator with layers to freeze", hint="--set freeze_d=0"
            )
        if settings.freeze_d > len(layers):
            raise ConfigError(
                "there are not so many layers of the discriminator to freeze",
                given=f"freeze_d={settings.freeze_d}",
                allowed=f"0..{len(layers)}",
            )
        for layer in layers[: settings.freeze_d]:
            layer.requires_grad_(False)
    if settings.freeze_mapping:
        mapping = getattr(networks.generator, "mapping", None)
        if not isinstance(mapping, nn.Module):
            raise ConfigError(
                "the model has no mapping network to freeze", hint="--set freeze_mapping=false"
            )
        mapping.requires_grad_(False)
