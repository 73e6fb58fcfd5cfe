"""Which network of timm a name stands for. Nothing is guessed.

`timm/NAME.TAG` is a network with weights; `timm/NAME` is enough where timm has one set of weights
for it. Where it has several, and a default among them that a new version may change, all are named.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from zoo_core import AmbiguousNameError, FeatureExtractorSpec, OfflineError, UnknownNameError
from zoo_timm.packaged import INSTALL

if TYPE_CHECKING:
    from zoo_core import FeatureExtractor

SHOWN = 4  # of the names that an ambiguous one may mean


def import_timm() -> ModuleType:
    """timm, or an OfflineError that says how to install it."""
    try:
        import timm
    except ImportError as error:
        raise OfflineError(f"timm cannot be imported ({error})", hint=INSTALL) from None
    return timm


def find(name: str, build: Callable[[str, int], FeatureExtractor]) -> FeatureExtractorSpec:
    """The record of `timm/NAME` or `timm/NAME.TAG`; its weights are looked for when it is built.

    Raises UnknownNameError for a network or a tag that timm has no weights for, and
    AmbiguousNameError for a name without a tag that has several.
    """
    import torch

    timm, name = import_timm(), full_name(name)
    config = timm.get_pretrained_cfg(name.removeprefix("timm/"))
    with torch.device("meta"):  # to ask for the widths of its maps
        network = timm.create_model(name.removeprefix("timm/"))
    return FeatureExtractorSpec(
        name=name,
        summary=f"{config.architecture} of timm, weights {config.tag or 'without a tag'}",
        licence=config.license or "unknown",
        input_size=config.input_size[-1],
        mean=config.mean,
        std=config.std,
        widths=tuple(stage["num_chs"] for stage in network.feature_info),
        build=partial(build, name),
    )


def full_name(name: str) -> str:
    """`timm/NAME.TAG`, or `timm/NAME` for the few whose only weights have no tag."""
    timm = import_timm()
    known = [f"timm/{each}" for each in timm.list_models(pretrained=True)]
    network, _, tag = name.partition(".")
    tagged = [each for each in known if each.partition(".")[0] == network]
    found = [name] if name in tagged else [] if tag else tagged
    if not found:
        raise UnknownNameError("network with weights in timm", name, tagged or known)
    if len(found) > 1:
        default = timm.get_pretrained_cfg(network.removeprefix("timm/")).tag
        first = sorted(found, key=lambda each: each.partition(".")[2] != default)[:SHOWN]
        raise AmbiguousNameError(
            f"timm has {len(found)} sets of weights for {name!r}",
            allowed=f"{', '.join(first)}, ..., the first of which is timm's default",
        )
    return found[0]
