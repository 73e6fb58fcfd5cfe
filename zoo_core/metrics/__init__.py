"""From pictures to numbers; needs the extra `metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core.lazy import public

if TYPE_CHECKING:  # for editors and type checkers
    from zoo_core.metrics.distributions import (
        density_coverage,
        inception_score,
        kernel_distance,
        precision_recall,
    )
    from zoo_core.metrics.frechet import Moments, Statistics, frechet_distance
    from zoo_core.metrics.path_length import perceptual_path_length
    from zoo_core.metrics.similarity import load_lpips, pair_distances

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        # of features
        "Moments": "frechet",  # mean and covariance of features, batch by batch
        "Statistics": "frechet",  # the result
        "frechet_distance": "frechet",  # FD, or FID on the 2015 Inception
        "kernel_distance": "distributions",  # KD, or KID
        "precision_recall": "distributions",  # Kynkaanniemi et al. 2019
        "density_coverage": "distributions",  # Naeem et al. 2020
        "inception_score": "distributions",  # of any classifier's logits
        # of generators and of pairs
        "perceptual_path_length": "path_length",  # of a latent generator
        "pair_distances": "similarity",  # L1, PSNR, SSIM and LPIPS
        "load_lpips": "similarity",  # the network of LPIPS
    },
)
