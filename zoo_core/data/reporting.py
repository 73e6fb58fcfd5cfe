"""What is said of images that are read: their layout, what was left out, what was done to them.

Lines go to the logger `zoo`: warnings are shown by default, the others in the zoo command only.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo_core.data.datasets import OpenedDataset
    from zoo_core.data.packing import PackedData
    from zoo_core.pictures import PictureDataset

logger = logging.getLogger("zoo")


def say_what_it_is(opened: OpenedDataset) -> None:
    """Say which layout was recognized, and warn about files that are not read."""
    if opened.dataset.summary:
        logger.info("%s: %s", opened.name, opened.dataset.summary)
    warn_ignored(opened.dataset)


def warn_ignored(source: PictureDataset) -> None:
    """Warn about files that are not images, or are in a format that is not read."""
    if source.ignored:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in source.ignored.items())
        logger.warning("left out %s, which are not images", kinds)


def warn_left_out(packed: PackedData) -> None:
    """Warn about images that could not be used, and about what was done to others."""
    for name, reason in packed.skipped[:5]:
        logger.warning("skipped %s: %s", name, reason)
    warn_remarks(packed)
    if packed.skipped:
        total = len(packed.skipped) + len(packed)
        logger.warning("skipped %d of %d images", len(packed.skipped), total)


def warn_remarks(images: PictureDataset | PackedData) -> None:
    """Say what was done to images that their owner may not expect."""
    for remark, count in images.remarks.items():
        logger.warning("%d %s", count, remark)
