"""Images and data sets: opening, decoding, packing and batching them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core.lazy import public

if TYPE_CHECKING:  # for editors and type checkers
    from zoo_core.data.arrays import ArrayImages
    from zoo_core.data.datasets import open_dataset
    from zoo_core.data.decoding import decode, fit
    from zoo_core.data.files import PictureFiles
    from zoo_core.data.packing import PackedData, pack
    from zoo_core.data.saving import save_grid, save_png
    from zoo_core.data.tensors import read_pictures, save_pictures, to_pil

__getattr__, __dir__, __all__ = public(
    __name__,
    {
        # images
        "read_pictures": "tensors",  # files or pictures of Pillow to a tensor in [-1, 1]
        "save_pictures": "tensors",  # such a tensor to PNG files
        "to_pil": "tensors",  # such a tensor to pictures of Pillow
        "decode": "decoding",  # an encoded file to pixels
        "fit": "decoding",  # pixels to a square of the given size
        "save_png": "saving",  # one image to a PNG
        "save_grid": "saving",  # many images to one PNG
        # data sets
        "ArrayImages": "arrays",  # images in a NumPy file
        "PictureFiles": "files",  # images in a folder or zip file
        "open_dataset": "datasets",  # a data set by name or path
        "PackedData": "packing",  # all images of a data set at one size
        "pack": "packing",  # a data set to one array on disk
    },
)
