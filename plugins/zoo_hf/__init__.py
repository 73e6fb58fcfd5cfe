"""Data sets of Hugging Face's library `datasets`, from folders and from its cache; no downloads.

Listing is cheap: the library is imported only when a name that starts with `hf/` is used.
"""

from __future__ import annotations

from zoo_core import DatasetSpec, hookimpl

ZOO_API = 1


@hookimpl
def zoo_find_dataset(name: str) -> DatasetSpec | None:
    """hf/PATH_OR_NAME[:CONFIG][,image=COLUMN][,label=COLUMN], such as hf/~/flowers"""
    if not name.startswith("hf/"):
        return None
    from zoo_hf.names import find

    return find(name)
