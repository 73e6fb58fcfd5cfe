"""Images as people give them: one rule for `sample(source=...)` and for feature extractors.

    tensor        [N, C, H, W] or [C, H, W], C is 1 or 3: uint8 in 0..255, or floats in -1..1
    NumPy array   uint8 are pictures: [H, W], [H, W, C], [N, H, W, C], or as a tensor, which
                  floats are always
    Pillow's      as if read from a file: turned upright, composited on white, and so on
    path          of an image, folder, zip or tar file, by the policy in `decoding`
    list          of any of these

Floats that are clearly in 0..255 or 0..1 are refused (`arguments.wrong_range`). For an image-to-
image model and a classifier, pictures and files are fitted as in its run; not for other extractors,
which resize whatever they get, whole, to their own square. Tensors and arrays of floats must have
the size that an image-to-image model takes. `read_pictures` takes what is a picture here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoo_core.arguments import unit_floats, wrong_range
from zoo_core.data.decoding import Fit, fit, from_pillow
from zoo_core.data.files import PictureFiles
from zoo_core.data.levels import parse_levels
from zoo_core.errors import InputError
from zoo_core.filesystem import typed_path
from zoo_core.nn.tracing import traced
from zoo_core.pictures import Picture

ALLOWED = "a tensor, a NumPy array, a picture of Pillow, a path, or a list of these"


@dataclass(frozen=True)
class Reader:
    """Turns what is given for images into tensors; a loaded network has one."""

    fit: Fit = "crop"  # how a picture becomes a square
    levels: str = "full"  # of pictures of more than 8 bits in files, as in the settings of a run
    side: int = 0  # pixels, to which pictures are fitted for an extractor; 0: they are not

    def __call__(self, given: Any) -> Iterable[Tensor]:
        """Tensors [N, C, H, W], each picture in one of its own size: for a feature extractor.

        Raises InputError for what is no image, and PictureError for one that cannot be read.
        """
        if isinstance(given, Tensor) and (traced() or given.requires_grad):
            return (given,)  # its values are not known yet, or are on their way through training
        return map(self._as_tensor, self._each(given))

    def fitted(self, given: Any, shape: tuple[int, int, int]) -> Tensor:
        """A float32 tensor [N, *shape] in [-1, 1]: for an image-to-image model.

        Raises like a call, and InputError for tensors of another shape.
        """
        channels, side, _ = shape
        found = []
        for each in self._each(given):
            if isinstance(each, Picture):
                each = fit(each.pixels, side, channels, self.fit, each.name)[None]
                found.append(unit_floats(torch.from_numpy(each)))
            else:
                found.append(unit_floats(each))
        if wrong := [each for each in found if each.shape[1:] != shape]:
            given, allowed = list(wrong[0].shape), f"[N, {', '.join(map(str, shape))}]"
            what = "tensors are not resized: these have another size than the model"
            raise InputError(what, given=given, allowed=f"{allowed}, or pictures of any size")
        if not found:
            raise InputError("there are no images", given="an empty list", allowed=ALLOWED)
        return found[0] if len(found) == 1 else torch.cat(found)

    def _as_tensor(self, each: Tensor | Picture) -> Tensor:
        if isinstance(each, Tensor):
            return each
        planes = np.atleast_3d(each.pixels).transpose(2, 0, 1)
        if self.side:
            planes = fit(each.pixels, self.side, 3, self.fit, each.name)
        return torch.from_numpy(planes[None].copy())  # torch warns about read-only arrays

    def _each(self, given: Any) -> Iterator[Tensor | Picture]:
        for item in flat(given):
            if isinstance(item, np.ndarray) and item.dtype != np.uint8:
                item = torch.from_numpy(item)
            if isinstance(item, Tensor):
                yield _checked(item)
            else:
                yield from _read(pictures(item, self.levels))


def flat(given: Any) -> Iterator[Any]:
    """What is in lists of lists, one after the other."""
    if isinstance(given, str | os.PathLike | Tensor | np.ndarray | Image.Image):
        yield given
    elif isinstance(given, Iterable):
        for each in given:
            yield from flat(each)
    else:
        raise InputError("these are no images", given=type(given).__name__, allowed=ALLOWED)


def pictures(item: Any, levels: str = "full") -> Sequence[Picture] | PictureFiles:
    """The pictures of a path, of an array of uint8, or of Pillow."""
    if isinstance(item, Image.Image):
        name = getattr(item, "filename", "") or "picture"
        return [Picture(str(name), from_pillow(item, str(name)))]
    if isinstance(item, np.ndarray):
        return [Picture(f"array {n}", pixels) for n, pixels in enumerate(_channels_last(item))]
    if not isinstance(item, str | os.PathLike):
        raise InputError("this is no picture", given=type(item).__name__, allowed=ALLOWED)
    files = PictureFiles(typed_path(str(item)), layout="plain", levels=parse_levels(levels))
    files.measure_levels()
    return files


def _read(found: Sequence[Picture] | PictureFiles) -> Iterator[Picture]:
    for index in range(len(found)):
        yield found[index]


def _channels_last(array: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Each picture of an array: uint8 [H, W] or [H, W, 3]."""
    shape = array.shape
    is_last = array.ndim >= 3 and shape[-1] in (1, 3)
    is_first = array.ndim >= 3 and shape[-3] in (1, 3)
    if (array.ndim != 2 and not is_last and not is_first) or array.ndim > 4 or not array.size:
        allowed = "[H, W], [H, W, C] or [N, H, W, C], C is 1 or 3"
        raise InputError("these are no pictures", given=f"shape {list(shape)}", allowed=allowed)
    if is_first and is_last and shape[-2] != shape[-1]:
        allowed = "a tensor: torch.from_numpy(array), for [C, H, W]"
        raise InputError("channels may be first or last", given=list(shape), allowed=allowed)
    if is_first and not is_last:
        array = np.moveaxis(array, -3, -1)
    for each in array if array.ndim == 4 else [array]:
        yield np.ascontiguousarray(each[:, :, 0] if each.shape[2:] == (1,) else each)


def _checked(images: Tensor) -> Tensor:
    """Images as [N, C, H, W]. Raises InputError for another shape, dtype or range."""
    batch = images[None] if images.ndim == 3 else images
    known = batch.dtype is torch.uint8 or batch.is_floating_point()
    if batch.ndim != 4 or batch.shape[1] not in (1, 3) or not known:
        raise InputError(
            "these are no images",
            given=f"{images.dtype} {list(images.shape)}",
            allowed="[N, C, H, W] or [C, H, W], C is 1 or 3; uint8 in 0..255, or float in -1..1",
            hint="images.movedim(-1, -3)" if images.shape[-1:] in ((1,), (3,)) else "",
        )
    if said := wrong_range(batch):
        what, hint = "the values of these images are not in -1..1", said.hint
        raise InputError(what, given=said.given, hint=hint)
    return batch
