"""The data sets of torchvision, from files that are on this machine; nothing is downloaded.

Listing is cheap: torchvision is imported only when a name that starts with `torchvision/` is used.
"""

from __future__ import annotations

from zoo_core import DatasetSpec, hookimpl

ZOO_API = 1


@hookimpl
def zoo_find_dataset(name: str) -> DatasetSpec | None:
    """torchvision/NAME[:FOLDER][,KEY=VALUE...], such as torchvision/CIFAR10:~/data"""
    if not name.startswith("torchvision/"):
        return None
    from zoo_torchvision.names import find

    return find(name)
