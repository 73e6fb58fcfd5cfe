"""Similarity of the two images of a pair, by torchmetrics: L1, PSNR, SSIM and LPIPS.

SSIM     Wang et al. 2004: a Gaussian window of 11 pixels, with reflection padding
LPIPS    Zhang et al. 2018: version 0.1, with the authors' layer weights
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError, OfflineError, UnknownNameError, WeightsError
from zoo_core.metrics.frechet import not_installed
from zoo_core.weights.torchfile import read_state_dict

try:
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )
    from torchmetrics.functional.image.lpips import _NoTrainLpips
except ImportError as error:
    raise not_installed(error) from None

MIN_SIZE_SSIM = 6  # pixels per side, the least that can be reflected by half a window
MIN_SIZE_LPIPS = 32  # pixels per side, the least that pooling does not reduce to nothing
MAX_PSNR = 58.92  # dB: 10 log10(12 * 255**2), the error of rounding to 8 bits
# File names of torchvision's weights; they contain the first digits of the sha256.
LPIPS_BACKBONES: Mapping[str, str] = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
}
_URL = "https://download.pytorch.org/models/"


def _l1(real: Tensor, fake: Tensor) -> Tensor:
    return (real - fake).abs().mean((1, 2, 3))


def _psnr(real: Tensor, fake: Tensor) -> Tensor:
    values = peak_signal_noise_ratio(fake, real, data_range=1.0, reduction="none", dim=(1, 2, 3))
    return values.clamp(max=MAX_PSNR)


def _ssim(real: Tensor, fake: Tensor) -> Tensor:
    _check_size(real, MIN_SIZE_SSIM, "SSIM")
    return structural_similarity_index_measure(fake, real, data_range=1.0, reduction="none")


# Distances of two batches, float64 [N, C, H, W] in 0..1, that need no network: float64 [N].
DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": _l1,
    "psnr": _psnr,
    "ssim": _ssim,
}


@torch.no_grad()
def pair_distances(
    real: Tensor,
    fake: Tensor,
    *,
    wanted: Iterable[str] = tuple(DISTANCES),
    lpips: nn.Module | None = None,
) -> dict[str, Tensor]:
    """Compute the `wanted` distances of every image pair: `l1`, `psnr` and `ssim`, and `lpips` if
    its network is given.

    Images are float [N, C, H, W] in -1..1. Results are float64 [N], on images scaled to 0..1;
    average them to get the value for the set. PSNR is capped at the error of rounding to 8 bits; it
    would be infinite for equal images. Raises InputError for images of different sizes, or too
    small for a wanted distance, UnknownNameError for another distance.
    """
    if real.shape != fake.shape or real.dim() != 4:
        raise InputError(
            "both images of a pair must have the same size",
            given=f"{list(real.shape)} and {list(fake.shape)}",
        )
    one, other = ((side.double() + 1) / 2 for side in (real, fake))
    distances = {}
    for name in wanted:
        if name not in DISTANCES:
            raise UnknownNameError("distance of image pairs", name, DISTANCES)
        distances[name] = DISTANCES[name](one, other)
    if lpips is not None:
        _check_size(real, MIN_SIZE_LPIPS, "LPIPS")
        distances["lpips"] = lpips(fake.float(), real.float()).double().flatten()
    for name, values in distances.items():
        if not values.isfinite().all():
            raise InputError(f"{name} is not finite: some of the images are not")
    return distances


def load_lpips(backbone: str = "alex") -> nn.Module:
    """Load the LPIPS network, which maps two batches [N, C, H, W] in -1..1 to [N, 1, 1, 1].

    torchmetrics ships the layer weights; those of the backbone, "alex" or "vgg", must be where
    torchvision would download them. Raises OfflineError if they are missing, WeightsError if they
    are damaged.
    """
    if backbone not in LPIPS_BACKBONES:
        raise UnknownNameError("LPIPS backbone", backbone, LPIPS_BACKBONES)
    file = Path(torch.hub.get_dir(), "checkpoints", LPIPS_BACKBONES[backbone])
    if not file.is_file():
        raise OfflineError(
            f"the weights of the LPIPS backbone are missing: there is no {file}",
            hint=f"download {_URL}{file.name} to that path",
        )
    data = file.read_bytes()
    digits = hashlib.sha256(data).hexdigest()
    if not digits.startswith(file.stem.rpartition("-")[2]):
        raise WeightsError(f"{file} is damaged: its sha256 is {digits}")
    weights = read_state_dict(data, str(file))  # torchvision would unpickle the file
    network = _NoTrainLpips(net=backbone, pnet_rand=True)
    network.net.load_state_dict(  # slice2.3.weight is the backbone's features.3.weight
        {key: weights[f"features.{key.partition('.')[2]}"] for key in network.net.state_dict()}
    )
    return network


def _check_size(pictures: Tensor, least: int, metric: str) -> None:
    if min(pictures.shape[2:]) < least:
        raise InputError(
            f"the images are too small for {metric}",
            given=" x ".join(map(str, pictures.shape[2:])),
            allowed=f"{least} or more pixels per side",
        )
