"""Hints of `zoo import`: what a checkpoint holds, and where its weights go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from hints.places import add_plugin, file, folder, run
from hints.scenario import Row, World

IMPORT = "zoo import netG.pth --licence CC0-1.0 -o mine"
FILL = {"FILE": "netG.pth", "ID": "CC0-1.0", "OUT": "mine"}


def theirs() -> dict[str, Any]:
    """The state dict of a generator, as the public code of the toy has it."""
    from toys import ToyGenerator, resolved

    state = ToyGenerator(resolved().config).state_dict()
    return {name.replace("stem.", "first."): tensor for name, tensor in state.items()}


def checkpoint(*parts: str) -> Callable[[World], None]:
    """A file of torch.save with a generator in each of its parts."""

    def write(w: World) -> None:
        import torch

        torch.save({part: theirs() for part in parts}, "netG.pth")

    return write


def unknown(w: World) -> None:
    import torch

    torch.save({"a.weight": torch.ones(1)}, "netG.pth")


def odd(w: World) -> None:
    """A generator with an option that the importer does not know."""
    import torch
    from pickled import modules, pickled

    tree = modules(theirs(), persistent=True)
    stem = modules({"x": torch.ones(1)}, persistent=True)
    stem.arguments[0]["state"]["mode"] = "odd"
    tree.arguments[0]["state"]["_modules"]["stem"] = stem
    Path("netG.pth").write_bytes(pickled({"G_ema": tree}))


def twin(w: World) -> None:
    """Another model whose checkpoints have the same names."""
    import toys
    from toy_importer import importer

    from zoo_core.plugins.hookspecs import hookimpl

    model = msgspec.structs.replace(toys.TOY, name="twin")
    module = SimpleNamespace(
        zoo_models=hookimpl(lambda: [model]),
        zoo_importers=hookimpl(lambda: [importer("twin-public", model="twin")]),
    )
    add_plugin(w, "twin", lambda: module)


NET = checkpoint("netG")

ROWS = (
    Row("cli/import_.py import_checkpoint", "zoo import netG.pth --licence CC0-1.0", NET,
        fill=FILL),
    Row("cli/import_.py import_checkpoint", "zoo import -o mine --licence CC0-1.0", NET, fill=FILL),
    Row(("cli/import_.py import_checkpoint 2", "cli/import_.py "), "zoo import netG.pth -o mine",
        NET),
    Row("plugins/loading.py __init__", ">>> zoo.load_features('runs/classifier.gone')",
        steps=("zoo list --features",)),
    Row("plugins/loading.py __init__ 2",
        ">>> from zoo_core.plugins.loading import load_plugins as load; load().importers.get('x')"),
    Row(("weights/recognizing.py _recognize", "weights/recognizing.py "), IMPORT, unknown),
    Row("weights/recognizing.py _importers", f"{IMPORT} --model sorter", NET),
    Row("weights/recognizing.py _refusal", IMPORT, odd),
    Row(("weights/recognizing.py _only", "weights/recognizing.py _only 3"), IMPORT, (NET, twin)),
    Row(("weights/recognizing.py _only 2", "weights/recognizing.py _only 3"), IMPORT,
        checkpoint("G_A", "G of B")),
    Row(("weights/recognizing.py _only 2", "weights/recognizing.py _only 3"), IMPORT,
        checkpoint("G of B", "G_C")),
    Row("weights/header.py parse_header", "zoo sample ./netG.pth", NET, fill=FILL),
    Row("weights/converting.py _config", f"{IMPORT} --set wide=1", NET),
    Row("weights/importing.py _networks",
        "zoo import run/generator.safetensors --licence CC0-1.0 -o mine", run),
    Row("weights/importing.py _free", IMPORT, (NET, folder("mine")), fill={"OTHER_PATH": "other"}),
    Row("weights/importing.py _written", "zoo import netG.pth --licence CC0-1.0 -o file/mine",
        (NET, file("file")), fill={"OTHER_PATH": "other"}),
)  # fmt: skip
