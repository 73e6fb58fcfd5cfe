"""How alike the two pictures of a pair are, by torchmetrics: L1, PSNR, SSIM and LPIPS.

SSIM     Wang et al. 2004: a Gaussian window of 11 pixels, of the picture continued by mirrors
LPIPS    Zhang et al. 2018: version 0.1, with the authors' weights of the layers
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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

LEAST_SSIM = 6  # pixels a side, less cannot be mirrored by half a window
LEAST_LPIPS = 32  # pixels a side, less is pooled to nothing
MOST_PSNR = 58.92  # dB: 10 log10(12 * 255**2), what rounding to 8 bits leaves
# What torchvision publishes, by its file name, which holds the first digits of the sha256.
LPIPS_BACKBONES: Mapping[str, str] = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
}
_URL = "https://download.pytorch.org/models/"


@torch.no_grad()
def pair_distances(
    real: Tensor, fake: Tensor, *, lpips: nn.Module | None = None
) -> dict[str, Tensor]:
    """`l1`, `psnr` and `ssim` of every pair of pictures, and `lpips` with a network for it.

    Pictures are float [N, C, H, W] in -1..1, results float64 [N], for pictures in 0..1: their mean
    is that of the set. A PSNR ends at the error of rounding to 8 bits, where it would be infinite
    for equal pictures. Raises InputError for pictures of different or too small sizes.
    """
    if real.shape != fake.shape or real.dim() != 4:
        raise InputError(
            "pictures of a pair have one size", given=f"{list(real.shape)} and {list(fake.shape)}"
        )
    _check_size(real, LEAST_SSIM, "SSIM")
    one, other = ((side.double() + 1) / 2 for side in (real, fake))
    psnr = peak_signal_noise_ratio(other, one, data_range=1.0, reduction="none", dim=(1, 2, 3))
    ssim = structural_similarity_index_measure(other, one, data_range=1.0, reduction="none")
    distances = {
        "l1": (one - other).abs().mean((1, 2, 3)),
        "psnr": psnr.clamp(max=MOST_PSNR),
        "ssim": ssim,
    }
    if lpips is not None:
        _check_size(real, LEAST_LPIPS, "LPIPS")
        distances["lpips"] = lpips(fake.float(), real.float()).double().flatten()
    for name, values in distances.items():
        if not values.isfinite().all():
            raise InputError(f"{name} is not finite: some of the pictures are not")
    return distances


def load_lpips(backbone: str = "alex") -> nn.Module:
    """The network of LPIPS: (pictures, pictures) in -1..1, [N, C, H, W] both, to [N, 1, 1, 1].

    torchmetrics brings the layers' weights; those of the backbone, "alex" or "vgg", have to lie
    where torchvision would download them to. Raises OfflineError if they do not, WeightsError if
    they are damaged.
    """
    if backbone not in LPIPS_BACKBONES:
        raise UnknownNameError("backbone of LPIPS", backbone, LPIPS_BACKBONES)
    file = Path(torch.hub.get_dir(), "checkpoints", LPIPS_BACKBONES[backbone])
    if not file.is_file():
        raise OfflineError(
            f"LPIPS needs the weights of a backbone: there is no {file}",
            hint=f"download {_URL}{file.name} to there",
        )
    data = file.read_bytes()
    digits = hashlib.sha256(data).hexdigest()
    if not digits.startswith(file.stem.rpartition("-")[2]):
        raise WeightsError(f"{file} is damaged: its sha256 is {digits}")
    weights = read_state_dict(data, str(file))  # torchvision would unpickle whatever lies there
    network = _NoTrainLpips(net=backbone, pnet_rand=True)
    network.net.load_state_dict(  # slice2.3.weight is features.3.weight of the backbone
        {key: weights[f"features.{key.partition('.')[2]}"] for key in network.net.state_dict()}
    )
    return network


def _check_size(pictures: Tensor, least: int, metric: str) -> None:
    if min(pictures.shape[2:]) < least:
        raise InputError(
            f"the pictures are too small for {metric}",
            given=" x ".join(map(str, pictures.shape[2:])),
            allowed=f"{least} pixels a side or more",
        )
