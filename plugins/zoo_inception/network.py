"""The network that FID is defined by (Heusel et al. 2017, arXiv:1706.08500), as torch-fidelity has
it: Szegedy et al. 2016, arXiv:1512.00567, with the weights and the resize of a TensorFlow graph of
2015-12-05. torchvision's and timm's Inception-v3 are other networks with other weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from zoo_core import (
    FeatureExtractor,
    InputError,
    OfflineError,
    WeightsError,
    cache_folder,
    read_state_dict,
)
from zoo_core.nn import as_rgb, digest, exact_float32, fingerprint

SIZE = 299
SHA256 = "6726825d"  # how it begins: all that is published, as a part of the file's names
FILES = (  # the same bytes, as torch-fidelity and pytorch-fid name them
    f"weights-inception-2015-12-05-{SHA256}.pth",
    f"pt_inception-2015-12-05-{SHA256}.pth",
)
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILES[0]}"


class InceptionExtractor(FeatureExtractor):
    """Features for FID and KID, and logits for the Inception score.

    Pictures are rounded to 256 levels, which the network was made for and what files hold, so no
    gradient reaches them. The resize is TensorFlow 1's bilinear one, without antialiasing. Logits
    are those without bias, as Salimans et al. 2016 computed the score. What is not finite in a
    picture makes all of its features NaN.
    """

    width, num_classes = 2048, 1008

    def __init__(self, network: nn.Module, weights: str):
        super().__init__()
        self.network = network
        self.fingerprint = fingerprint("inception-2015", weights, f"{SIZE}px", "tf1-bilinear")
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, 2048]."""
        return self._outputs(images)[0]

    def logits(self, images: Tensor) -> Tensor:
        """A logit for each class: float32 [N, 1008]."""
        return self._outputs(images)[1]

    def _outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        with exact_float32(images.device):
            pixels = as_rgb(images)
            broken = ~pixels.isfinite().flatten(1).all(1, keepdim=True)
            levels = (pixels * 255).round().clamp(0, 255).to(torch.uint8)
            return tuple(each.masked_fill(broken, torch.nan) for each in self.network(levels))


def load(input_size: int) -> InceptionExtractor:
    """The extractor with its weights.

    Under `torch.device("meta")` it has none and none are looked for. Raises OfflineError if their
    file or torch-fidelity is not on this machine, WeightsError if it is another file, InputError
    for any size but 299.
    """
    if input_size != SIZE:
        raise InputError("inception-2015 takes one size", given=input_size, allowed=str(SIZE))
    with torch.random.fork_rng(devices=[]):  # initial weights are overwritten
        network = blank()
    if torch.get_default_device().type != "meta":
        path = find()
        try:
            network.load_state_dict(_read(path))
        except RuntimeError as error:
            reason = str(error).split("\n\t")[-1]
            raise WeightsError(f"{path} does not fit the network: {reason}") from None
    return InceptionExtractor(network, digest(network.state_dict()))


def blank() -> nn.Module:
    """torch-fidelity's network with random weights: uint8 [N, 3, H, W] to features and logits.

    Its own constructor downloads and unpickles; it is given nothing to load instead.
    """
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as inception
    except ImportError as error:
        raise OfflineError(
            f"torch-fidelity cannot be imported ({error})", hint="pip install 'zoo-core[metrics]'"
        ) from None

    class Blank(inception.FeatureExtractorInceptionV3):
        def load_state_dict(self, state: Any, *arguments: Any, **options: Any) -> Any:
            return state and super().load_state_dict(state, *arguments, **options)

    with mock.patch.object(inception, "load_state_dict_from_url", return_value={}):
        return Blank("inception-2015", ["2048", "logits_unbiased"])


def find() -> Path:
    """The file of weights, in the zoo's cache or in torch's; OfflineError if it is in neither."""
    folders = (cache_folder(), Path(torch.hub.get_dir()) / "checkpoints")
    for path in (folder / file for folder in folders for file in FILES):
        if path.is_file():
            return path
    raise OfflineError(
        "the weights of inception-2015 are not on this machine",
        allowed=f"{FILES[0]} in {folders[0]} or {folders[1]}",
        hint=f"put {URL} there",
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(SHA256):
        raise WeightsError(
            f"{path} is not the file it is named after",
            given=f"sha256 {found[:8]}…",
            allowed=f"sha256 {SHA256}…",
            hint=f"remove it and put {URL} there",
        )
    return read_state_dict(data, str(path))
