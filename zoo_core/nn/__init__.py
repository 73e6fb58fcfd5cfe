"""Building blocks of networks: convolutions, resampling, layers, feature extractors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core.lazy import public

if TYPE_CHECKING:  # for editors and type checkers
    from zoo_core.nn.convolution import conv2d, conv_transpose2d
    from zoo_core.nn.features import (
        Backbone,
        BackboneExtractor,
        ClassifierFeatures,
        as_rgb,
        digest,
        exact_float32,
        fingerprint,
        resize_linear,
    )
    from zoo_core.nn.layers import (
        EqualizedConv2d,
        EqualizedLinear,
        conv2d_downsample,
        full_precision,
        layer_groups,
        minibatch_stddev,
        pixel_norm,
        scaled,
        standard_normal,
        upsample_conv2d,
    )
    from zoo_core.nn.resample import (
        average2d,
        average_to,
        downsample2d,
        fade,
        filter2d,
        fir,
        upsample2d,
    )
    from zoo_core.nn.tracing import Growing, traced

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        # convolutions and resampling
        "conv2d": "convolution",  # like torch's, with a fast second derivative
        "conv_transpose2d": "convolution",  # likewise
        "fir": "resample",  # FIR filter taps as a tensor
        "filter2d": "resample",  # FIR filter at the same size
        "upsample2d": "resample",  # double the size with a FIR filter
        "downsample2d": "resample",  # halve the size with a FIR filter
        "average2d": "resample",  # halve the size by 2 x 2 means
        "average_to": "resample",  # reduce the size by any integer factor
        "fade": "resample",  # blend two resolutions (ProGAN)
        # layers
        "standard_normal": "layers",  # a parameter that starts from N(0, 1)
        "EqualizedLinear": "layers",  # equalized learning rate (ProGAN)
        "EqualizedConv2d": "layers",  # likewise
        "upsample_conv2d": "layers",  # nearest upsampling + 3 x 3 convolution, fused
        "conv2d_downsample": "layers",  # 3 x 3 convolution + 2 x 2 averaging, fused
        "layer_groups": "layers",  # convolutions of a Sequential, each with what follows it
        "scaled": "layers",  # scale features or weight, whichever is smaller
        "full_precision": "layers",  # context without autocast
        "pixel_norm": "layers",  # ProGAN, section 4.2
        "minibatch_stddev": "layers",  # ProGAN, section 3
        # networks as graphs
        "traced": "tracing",  # whether torch records this call as a graph
        "Growing": "tracing",  # a network that depends on the number of images seen
        # feature extractors
        "Backbone": "features",  # network without its preprocessing
        "BackboneExtractor": "features",  # backbone with resize and normalization
        "ClassifierFeatures": "features",  # zoo classifier as a feature extractor
        "as_rgb": "features",  # gray or RGB, uint8 or float, to float RGB in 0..1
        "resize_linear": "features",  # any linear resize as two matrix products
        "exact_float32": "features",  # context without autocast and TF32
        "digest": "features",  # short sha256 of weights
        "fingerprint": "features",  # identifies what a metric on features depends on
    },
)
