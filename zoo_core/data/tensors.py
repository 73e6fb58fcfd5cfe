"""Pictures to one tensor, and back: `zoo.read_pictures`, `zoo.save_pictures`, `zoo.to_pil`."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoo_core.arguments import Images, wrong_range
from zoo_core.data.batches import to_uint8
from zoo_core.data.decoding import Fit
from zoo_core.data.decoding import fit as fitted
from zoo_core.data.files import PictureFiles
from zoo_core.data.given import flat, pictures
from zoo_core.data.saving import save_grid, save_png
from zoo_core.errors import InputError
from zoo_core.filesystem import mkdir_with_rollback, typed_path
from zoo_core.memory import check_memory
from zoo_core.pictures import Picture, Pixels

logger = logging.getLogger("zoo")

HALF_A_LEVEL = 1 / 255  # what is outside -1..1 by less rounds to -1 or 1


def read_pictures(
    *paths: Images,  # paths, pictures of Pillow, uint8 arrays [H, W, C], or lists of these
    resolution: int | None = None,  # side length in pixels; None: as in the files
    channels: int = 3,  # 1 for gray, 3 for RGB
    fit: Fit = "crop",  # how an image becomes a square of `resolution`
) -> Tensor:
    """Read images as training does: float32 [N, channels, H, W] in [-1, 1].

    Paths are those of image files, folders, zip and tar files; a picture of Pillow is read as its
    file would be. The images are in the order given; those of a folder are in the order of their
    paths, whatever its sub-folders mean. What is left out, and what their owner may not expect, is
    a warning of the logger "zoo".

    Raises InputError if no `resolution` is given and images differ in size, DataError for a path
    without images, and PictureError for an image that cannot be read.
    """
    _check_options(resolution, channels, fit)
    opened = [pictures(each) for each in flat(paths)]
    if not opened:
        raise InputError("no images to read", hint="read_pictures(FOLDER)")

    count = sum(map(len, opened))
    if resolution is not None:
        _check_memory(count, (channels, resolution, resolution))

    def read(place: tuple[Sequence[Picture] | PictureFiles, int]) -> Picture:
        picture = place[0][place[1]]
        if resolution is None:
            return picture._replace(pixels=_planes(picture.pixels, channels))
        pixels = fitted(picture.pixels, resolution, channels, fit, picture.name)
        return picture._replace(pixels=pixels)

    pool = ThreadPoolExecutor()
    try:
        found = pool.map(read, [(each, index) for each in opened for index in range(len(each))])
        pixels = np.stack(list(_of_one_size(found, count)))
    finally:
        pool.shutdown(cancel_futures=True)
    for each in opened:
        if isinstance(each, PictureFiles):
            _warn(each)
    return torch.from_numpy(pixels).float().div_(127.5).sub_(1)


def save_pictures(
    images: Tensor,  # float in [-1, 1] or uint8, [N, C, H, W] or [C, H, W]; C is 1 or 3
    path: str | Path,
    *,
    columns: int | None = None,  # images per row of a grid; None: as square as possible
) -> list[Path]:
    """Save images as PNG files, and return the paths of these.

    If `path` ends in .png, it is one file: the image, or a grid of all images. Else it is a folder,
    and each image a file in it: 000000.png, 000001.png and so on. Files are written whole or not at
    all, and replace files of the same name.

    Raises InputError for images of another shape, type or range, and for what cannot be written.
    """
    levels = _levels(images)
    target = typed_path(str(path))
    if _is_folder(target):
        if columns is not None:
            raise InputError(f"{target} is a folder, not a grid", hint="omit columns, or NAME.png")
        with _writing(target):
            return _save_each(levels, target)
    columns = max(1, round(len(levels) ** 0.5)) if columns is None else columns
    if columns < 1:
        raise InputError("invalid number of columns", given=columns, allowed="1 or more")
    with _writing(target.parent):
        save_grid(target, levels, columns)
    return [target]


def _check_memory(count: int, shape: tuple[int, ...]) -> None:
    """Raise InputError if so many images of [C, H, W] do not fit: as bytes twice, and as floats."""
    check_memory(
        6 * count * math.prod(shape),
        f"{count:,} images at this resolution",
        hint="a smaller resolution, or some of the paths at a time",
    )


def to_pil(
    images: Tensor,  # float in [-1, 1] or uint8, [N, C, H, W] or [C, H, W]; C is 1 or 3
) -> list[Image.Image]:
    """Pictures of Pillow, one for each image, which a notebook shows.

    Raises InputError for images of another shape, type or range. `read_pictures` leads back.
    """
    return [
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0).copy())
        for image in _levels(images)
    ]


def _check_options(resolution: int | None, channels: int, fit: str) -> None:
    """Raise InputError for an invalid argument of `read_pictures`."""
    if resolution is not None and resolution < 1:
        raise InputError("invalid resolution", given=resolution, allowed="1 or more, or None")
    if channels not in (1, 3):
        raise InputError("invalid number of channels", given=channels, allowed="1 or 3")
    if fit not in get_args(Fit):
        raise InputError("invalid fit", given=fit, allowed=", ".join(get_args(Fit)))


def _warn(files: PictureFiles) -> None:
    """Log what `zoo train` warns of when it has read the files."""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in files.ignored.items())
    said = [f"left out {kinds}, which are not images"] if kinds else []
    said += [f"{count} {remark}" for remark, count in files.remarks.items()]
    for warning in said:
        logger.warning("%s: %s", files.path, warning)


def _planes(pixels: Pixels, channels: int) -> Pixels:
    """Pixels in `channels` planes [C, H, W], converted as `fit` does."""
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    return np.asarray(image).reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)


def _of_one_size(pictures: Iterable[Picture], count: int) -> Iterator[Pixels]:
    """Yield the pixels [C, H, W]; InputError for the first image that is not as large as the first.

    It is raised before more are read, and so it is if all `count` do not fit into memory.
    """
    first: Picture | None = None
    for picture in pictures:
        if first is None:
            first = picture
            _check_memory(count, picture.pixels.shape)
        if picture.pixels.shape != first.pixels.shape:
            raise InputError(
                "the images differ in size",
                given=f"{first.name} is {_size(first)}, {picture.name} is {_size(picture)}",
                hint=f"resolution={min(first.pixels.shape[1:])}",
            )
        yield picture.pixels


def _size(picture: Picture) -> str:
    _, height, width = picture.pixels.shape
    return f"{width} x {height}"


def _levels(images: Tensor) -> NDArray[np.uint8]:
    """Images as uint8 [N, C, H, W]. Raises InputError for another shape, type or range."""
    if not isinstance(images, Tensor):
        given = type(images).__name__
        raise InputError("images must be a tensor", given=given, hint="torch.from_numpy(images)")
    batch = images[None] if images.ndim == 3 else images
    if batch.ndim != 4 or batch.shape[1] not in (1, 3) or not batch.numel():
        raise InputError(
            "images must have 1 or 3 channels, in front of height and width",
            given=f"shape {list(images.shape)}",
            allowed="[N, C, H, W] or [C, H, W]",
            hint="images.movedim(-1, -3)" if images.shape[-1:] in ((1,), (3,)) else "",
        )
    if batch.dtype is torch.uint8:
        return batch.cpu().contiguous().numpy()
    if not batch.is_floating_point():
        allowed = "float in -1..1, uint8 in 0..255"
        raise InputError("images of this type have no range", given=batch.dtype, allowed=allowed)
    low, high = (bound.item() for bound in batch.detach().float().aminmax())
    if not (low >= -1 - HALF_A_LEVEL and high <= 1 + HALF_A_LEVEL):  # true for NaN
        raise InputError(
            "images have values outside -1..1",
            given=f"{low:g} to {high:g}",
            hint="images.clamp(-1, 1); or images.to(torch.uint8), if they are in 0..255",
        )
    if wrong_range(batch):  # no error: what a generator draws may be bright
        logger.warning("these images look as if in 0..1; for -1..1: images * 2 - 1")
    return to_uint8(batch)


def _is_folder(target: Path) -> bool:
    """Whether to save to a folder; InputError for an image file in another format than PNG."""
    suffix = target.suffix.lower()
    if suffix in Image.registered_extensions() and suffix != ".png" and not target.is_dir():
        raise InputError(f"cannot write {target}", given=suffix, allowed=".png, or a folder")
    return suffix != ".png" or target.is_dir()


def _save_each(levels: NDArray[np.uint8], folder: Path) -> list[Path]:
    digits = max(6, len(str(len(levels) - 1)))  # so that the order of names is that of the images
    files = [folder / f"{number:0{digits}d}.png" for number in range(len(levels))]
    for file, image in zip(files, levels, strict=True):
        save_png(file, image.transpose(1, 2, 0))
    return files


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make a folder to write to; an OSError becomes an InputError."""
    try:
        with mkdir_with_rollback(folder):
            yield
    except OSError as error:
        what = f"cannot write to {folder}: {error.strerror or error}"
        raise InputError(what, hint="another path") from None
