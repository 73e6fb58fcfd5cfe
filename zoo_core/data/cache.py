"""What packed images take on the disk, how to get it back, and whether they are as they were."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from zoo_core.data.packs import DAMAGED, made_from, read_whole, remove
from zoo_core.data.progress import Counting, silent
from zoo_core.filesystem import cache_folder
from zoo_core.pictures import PictureDataset

DAY = 24 * 3600


class CachedImages(NamedTuple):
    """Packed images in the cache."""

    folder: Path
    made_from: str  # path of the files, or the kind of data set
    images: int
    resolution: int
    size: int  # bytes
    used: float  # when they were last opened, in seconds since 1970


def cached_images(cache: Path | None = None) -> list[CachedImages]:
    """All packed images of the cache folder, those used last first; damaged ones, too."""
    folder = (cache or cache_folder()) / "data"
    found = [each for path in folder.glob("[!.]*") if (each := _read(path)) is not None]
    return sorted(found, key=lambda each: -each.used)


def prune(
    days: float,  # that images have not been used for
    *,
    cache: Path | None = None,
    dry_run: bool = False,
) -> list[CachedImages]:
    """Remove packed images that have not been used for so many days; returns which.

    A run that has them open keeps them until it ends, except on Windows, where they stay.
    """
    old = [each for each in cached_images(cache) if time.time() - each.used >= days * DAY]
    return [each for each in old if dry_run or _remove(each.folder)]


def check_cached(
    dataset: PictureDataset, counting: Counting = silent, *, cache: Path | None = None
) -> list[str]:
    """Read all that was packed of these images; returns what was damaged, and is removed now.

    It is packed again when it is used next.
    """
    where = made_from(dataset)
    damaged = []
    for each in cached_images(cache):
        if each.made_from == where:
            try:
                with counting(f"reading {each.folder.name} in the cache") as on_progress:
                    read_whole(each.folder, on_progress)
            except DAMAGED as error:
                remove(each.folder)
                damaged.append(f"{each.folder} ({error})")
    return damaged


def _read(folder: Path) -> CachedImages | None:
    index = folder / "index.json"
    try:
        used = (index if index.exists() else folder).stat().st_mtime
        size = sum(path.stat().st_size for path in _files(folder))
    except OSError:  # another process has removed it
        return None
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        count, resolution, *_ = content["images"]
        return CachedImages(folder, content.get("made_from", "-"), count, resolution, size, used)
    except (OSError, ValueError, KeyError, TypeError):
        return CachedImages(folder, "damaged", 0, 0, size, used)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file())


def _remove(folder: Path) -> bool:
    """Whether a folder could be moved away, so that half of it is never found, and removed."""
    aside = folder.with_name(f".{folder.name}-pruned")
    with contextlib.suppress(OSError):
        shutil.rmtree(folder.rename(aside))
        return True
    return False
