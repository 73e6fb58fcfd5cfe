"""Resolve names to timm networks, without guessing.

`timm/NAME.TAG` is a network with weights. `timm/NAME` is enough if timm has a single set of weights
for it. If there are several it is an error, because a new version of timm may change the default.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from zoo_core import (
    AmbiguousNameError,
    FeatureExtractorSpec,
    InputError,
    OfflineError,
    UnknownNameError,
)
from zoo_timm.packaged import INSTALL

if TYPE_CHECKING:
    from zoo_core import FeatureExtractor

SHOWN = 4  # candidates listed for an ambiguous name


def import_timm() -> ModuleType:
    """Import timm; raises OfflineError with the install command if that fails."""
    try:
        import timm
    except ImportError as error:
        raise OfflineError(f"timm cannot be imported ({error})", hint=INSTALL) from None
    return timm


def find(name: str, build: Callable[[str, int], FeatureExtractor]) -> FeatureExtractorSpec:
    """The record of `timm/NAME` or `timm/NAME.TAG`; weights are searched for when it is built.

    Raises UnknownNameError if timm has no weights for the network or tag, AmbiguousNameError if the
    tag is missing and there are several, and InputError if only a newer timm returns feature maps
    of the network.
    """
    import torch

    timm, name = import_timm(), full_name(name)
    config = timm.get_pretrained_cfg(name.removeprefix("timm/"))
    try:
        with torch.device("meta"):  # only for the widths of its maps
            network = timm.create_model(name.removeprefix("timm/"))
    except NotImplementedError:  # a RegNet, before timm 1.0.30
        network = None
    if not hasattr(network, "forward_intermediates"):
        raise InputError(
            f"timm {timm.__version__} returns no feature maps of {name}",
            hint="pip install 'timm>=1.0.31'",
        )
    return FeatureExtractorSpec(
        name=name,
        summary=f"timm's {config.architecture}, weights {config.tag or 'without a tag'}",
        licence=config.license or "unknown",
        input_size=config.input_size[-1],
        mean=config.mean,
        std=config.std,
        widths=tuple(stage["num_chs"] for stage in network.feature_info),
        build=partial(build, name),
    )


def full_name(name: str) -> str:
    """Complete to `timm/NAME.TAG`, or to `timm/NAME` for the few weights without a tag."""
    timm = import_timm()
    known = [f"timm/{each}" for each in timm.list_models(pretrained=True)]
    network, _, tag = name.partition(".")
    tagged = [each for each in known if each.partition(".")[0] == network]
    found = [name] if name in tagged else [] if tag else tagged
    if not found:
        raise UnknownNameError("pretrained timm network", name, tagged or known)
    if len(found) > 1:
        default = timm.get_pretrained_cfg(network.removeprefix("timm/")).tag
        first = sorted(found, key=lambda each: each.partition(".")[2] != default)[:SHOWN]
        raise AmbiguousNameError(
            f"timm has {len(found)} sets of weights for {name!r}",
            allowed=f"{', '.join(first)}, ... (the first is timm's default)",
        )
    return found[0]
