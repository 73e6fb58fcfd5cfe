"""Hints of the plugins that come with the zoo."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hints.places import TRAIN, photos, plugin, setenv
from hints.scenario import Row, World

DATASETS = setenv("ZOO_PLUGINS", "toy,datasets")
PROJECTED = setenv("ZOO_PLUGINS", "toy,sorter,projected,dcgan")
TORCHVISION = plugin("zoo_torchvision")
PROJECT = (
    "zoo train projected --dry-run --set resolution=32 --set batch_size=4 "
    "--set extractor=toy-features --set extractor_size={}"
)


def mnist(w: World) -> None:
    """The files of MNIST, tiny."""
    w.patch.syspath_prepend(Path(__file__).parents[1] / "residents")
    from torchvision_fakes import FAKES

    FAKES["MNIST"].write(Path("files"))


def coarse(w: World) -> None:
    """An extractor whose maps are small."""
    from torch.nn.functional import max_pool2d
    from toys import ToyBackbone

    plain = ToyBackbone.feature_maps

    def feature_maps(self: Any, pixels: Any) -> list[Any]:
        return [max_pool2d(each, min(16, each.shape[-1])) for each in plain(self, pixels)]

    w.patch.setattr(ToyBackbone, "feature_maps", feature_maps)
    w.patch.setattr(ToyBackbone, "strides", (32, 64))


def hub(w: World) -> None:
    """What decides between the columns of the library `datasets`, which need not be installed."""
    from zoo_hf.names import explained, parse
    from zoo_hf.reading import _chosen, read_labels

    class Rows:
        """Rows of which one has no label."""

        features = {"label": SimpleNamespace(names=["cat"])}

        def select_columns(self, names: list[str]) -> Rows:
            return self

        def __getitem__(self, rows: slice) -> dict[str, list[int]]:
            return {"label": [0, -1]}

    def configure(request: Any) -> None:
        if not request.config:
            raise explained(request, ValueError("Config name is missing. Available: ['one']"))

    def labeled(request: Any) -> None:
        if request.columns.get("label") != "none":
            read_labels(request, Rows(), "label")

    w.names |= {"parse": parse, "chosen": _chosen, "labeled": labeled, "configure": configure}


ROWS = (
    Row("zoo_datasets/checks.py check_drawn_resolution",
        "zoo data show critters --resolution 4", DATASETS),
    Row("zoo_datasets/checks.py check_drawn_resolution",
        f"{TRAIN} --data critters --set num_classes=auto --set resolution=4096 --dry-run",
        DATASETS),
    Row("zoo_datasets/earth.py open_earth", "zoo data show earth --resolution 100", DATASETS),
    Row("zoo_hf/names.py explained", ">>> configure(parse('hf/photos,label=kind'))", (photos, hub),
        steps=(">>> configure(parse('{hint}')), parse('{hint}').columns['label']",)),
    Row("zoo_hf/reading.py _chosen",
        ">>> chosen(parse('hf/photos,source=side'), 'image', ['front', 'back'], {})", (photos, hub),
        steps=(">>> chosen(parse('{hint}'), 'image', ['front', 'back'], {}), "
               "parse('{hint}').columns['source']",)),
    Row("zoo_hf/reading.py read_labels", ">>> labeled(parse('hf/photos,image=front'))",
        (photos, hub),
        steps=(">>> labeled(parse('{hint}')), parse('{hint}').columns['image']",)),
    Row("zoo_projected/networks.py __init__", PROJECT.format(32), (PROJECTED, coarse),
        by_hand=PROJECT.format(128)),
    Row("zoo_projected/networks.py generator_config",
        PROJECT.format(32) + " --set generator=dcgan --set 'generator_settings={widht: 8}'",
        PROJECTED),
    Row("zoo_torchvision/lsun.py open_lsun", "zoo data show torchvision/LSUN:.,classes=cow",
        TORCHVISION, steps=("zoo data show {hint}",),
        then="there is no bedroom_train_lmdb"),
    Row("zoo_torchvision/names.py find_class", f"{TRAIN} --data torchvision/VOCDetection:x",
        (TORCHVISION, photos)),
    Row("zoo_torchvision/names.py find_class 2", f"{TRAIN} --data torchvision/MNISST:x",
        TORCHVISION, then="must be followed by a name; allowed: CIFAR10"),
    Row(("zoo_torchvision/names.py _as_split", "zoo_torchvision/names.py read_options"),
        f"{TRAIN} --data torchvision/MNIST:files,train=false", (TORCHVISION, mnist),
        steps=(f"{TRAIN} --data torchvision/MNIST:files --set split=test --set batch_size=2",
               "zoo data show torchvision/MNIST:files --split test")),
    Row("zoo_torchvision/names.py read_options 2", f"{TRAIN} --data torchvision/EMNIST:files",
        TORCHVISION, by_hand=f"{TRAIN} --data {{hint}}",
        then="torchvision finds no usable EMNIST"),
    Row("zoo_torchvision/names.py find_folder",
        f"{TRAIN} --set batch_size=2 --data torchvision/MNIST", (TORCHVISION, mnist),
        steps=(f"{TRAIN} --set batch_size=2 --data torchvision/MNIST:files",
               setenv("ZOO_DATA", "files"))),
)  # fmt: skip
