"""Image quality metrics. Requires the `metrics` extra."""

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
        # on features
        "Moments": "frechet",  # streaming mean and covariance of features
        "Statistics": "frechet",  # the result of Moments
        "frechet_distance": "frechet",  # FD; FID on the 2015 Inception network
        "kernel_distance": "distributions",  # KD; KID on that network
        "precision_recall": "distributions",  # Kynkaanniemi et al. 2019
        "density_coverage": "distributions",  # Naeem et al. 2020
        "inception_score": "distributions",  # on the logits of any classifier
        # on generators and on image pairs
        "perceptual_path_length": "path_length",  # of a latent generator
        "pair_distances": "similarity",  # L1, PSNR, SSIM and LPIPS
        "load_lpips": "similarity",  # the LPIPS network
    },
)
