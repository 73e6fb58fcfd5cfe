"""What networks are made of."""

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
        convolve_and_halve,
        double_and_convolve,
        full_precision,
        minibatch_stddev,
        pixel_norm,
        scaled,
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

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        # convolutions and resampling
        "conv2d": "convolution",  # torch's, with a fast second derivative
        "conv_transpose2d": "convolution",  # likewise
        "fir": "resample",  # a filter as a buffer
        "filter2d": "resample",  # FIR filter, same size
        "upsample2d": "resample",  # twice the size, by a FIR filter
        "downsample2d": "resample",  # half the size, by a FIR filter
        "average2d": "resample",  # half the size, means of 2 x 2 pixels
        "average_to": "resample",  # any whole fraction of the size
        "fade": "resample",  # between two resolutions (ProGAN)
        # layers
        "EqualizedLinear": "layers",  # equalized learning rate (ProGAN)
        "EqualizedConv2d": "layers",  # likewise
        "double_and_convolve": "layers",  # nearest upsampling and a 3 x 3 convolution in one
        "convolve_and_halve": "layers",  # a 3 x 3 convolution and 2 x 2 means in one
        "scaled": "layers",  # scales features or weight, whichever is smaller
        "full_precision": "layers",  # no autocast inside
        "pixel_norm": "layers",  # ProGAN, section 4.2
        "minibatch_stddev": "layers",  # ProGAN, section 3
        # feature extractors
        "Backbone": "features",  # a pretrained network behind its input
        "BackboneExtractor": "features",  # a backbone with resize and normalization in front
        "ClassifierFeatures": "features",  # a classifier of the zoo as an extractor
        "as_rgb": "features",  # pictures of any kind as float RGB in 0..1
        "resize_linear": "features",  # any linear resize as two matrix products
        "exact_float32": "features",  # no autocast and no TF32 inside
        "digest": "features",  # short sha256 of weights
        "fingerprint": "features",  # what a number measured on features depends on
    },
)
