"""The network that defines FID (Heusel et al. 2017, arXiv:1706.08500), as implemented by
torch-fidelity: Inception-v3 (Szegedy et al. 2016, arXiv:1512.00567) with the weights and the resize
of a TensorFlow graph of 2015-12-05. The Inception-v3 of torchvision and timm are different networks
with different weights.
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
from zoo_inception import INCEPTION

SIZE = INCEPTION.input_size
SHA256 = "6726825d"  # the first 8 digits; only these are published, in the file names
FILES = (  # the same file, as named by torch-fidelity and pytorch-fid
    f"weights-inception-2015-12-05-{SHA256}.pth",
    f"pt_inception-2015-12-05-{SHA256}.pth",
)
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILES[0]}"


class InceptionExtractor(FeatureExtractor):
    """Features for FID and KID, and logits for the Inception score.

    Images are rounded to 256 levels, as in image files and in the network's training, so no
    gradient reaches them. The resize is TensorFlow 1's bilinear one, without antialiasing. Logits
    exclude the bias, as in the score of Salimans et al. 2016. If any pixel of an image is not
    finite, all of its features are NaN.
    """

    width, num_classes = 2048, 1008

    def __init__(self, network: nn.Module, weights: str):
        super().__init__()
        self.network = network
        self.fingerprint = fingerprint(
            INCEPTION.name,
            weights,
            f"{SIZE}px",
            "tf1-bilinear",
            mean=INCEPTION.mean,
            std=INCEPTION.std,
        )
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features: float32 [N, 2048]."""
        return self._outputs(images)[0]

    def logits(self, images: Tensor) -> Tensor:
        """One logit per class: float32 [N, 1008]."""
        return self._outputs(images)[1]

    def _outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        device = next(self.network.parameters()).device
        with exact_float32(device):
            parts = [self._of_one_size(as_rgb(e.to(device))) for e in self.batches(images)]
            return tuple(map(torch.cat, zip(*parts, strict=True)))

    def _of_one_size(self, pixels: Tensor) -> tuple[Tensor, ...]:
        broken = ~pixels.isfinite().flatten(1).all(1, keepdim=True)
        levels = (pixels * 255).round().clamp(0, 255).to(torch.uint8)
        return tuple(each.masked_fill(broken, torch.nan) for each in self.network(levels))


def load(input_size: int) -> InceptionExtractor:
    """Load the extractor with its weights.

    Under `torch.device("meta")` no weights are searched for or loaded. Raises OfflineError if the
    weights file or torch-fidelity is missing, WeightsError if the file is not the expected one,
    InputError if `input_size` is not 299.
    """
    if input_size != SIZE:
        raise InputError(
            "inception-2015 has a fixed input size", given=input_size, allowed=str(SIZE)
        )
    with torch.random.fork_rng(devices=[]):  # the initialization is overwritten
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

    Its constructor would download and unpickle weights; here both are patched out.
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
    """Find the weights file in the zoo's or torch's cache; OfflineError if it is in neither."""
    folders = (cache_folder(), Path(torch.hub.get_dir()) / "checkpoints")
    for path in (folder / file for folder in folders for file in FILES):
        if path.is_file():
            return path
    raise OfflineError(
        "the weights of inception-2015 are not on this machine",
        allowed=f"{FILES[0]} in {folders[0]} or {folders[1]}",
        hint=f"download {URL} into one of these folders",
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(SHA256):
        raise WeightsError(
            f"{path} has the wrong content",
            given=f"sha256 {found[:8]}…",
            allowed=f"sha256 {SHA256}…",
            hint=f"replace it with {URL}",
        )
    return read_state_dict(data, str(path))
