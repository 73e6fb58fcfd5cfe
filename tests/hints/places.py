"""What the commands of the tables find in their folder: runs, images, and what is broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from hints.scenario import World

TRAIN = "zoo train toy --preset tiny"
SORT = "zoo train sorter --preset tiny"
TRAINED = {
    "run": TRAIN,
    "sorted": f"{TRAIN} --data sorted-toys --set num_classes=4",
    "translator": f"{TRAIN} --data ./pairs --set paired=true",
    "judge": SORT,
}


def _copy_of(name: str) -> Callable[[World], None]:
    """A run of that name, trained once for all tests."""

    def copy(w: World) -> None:
        first = w.store / name
        if not first.exists():
            w.patch.chdir(w.store)
            pairs(w)
            trained = w.run(f"{TRAINED[name]} --run-dir {name}")
            assert trained.works, trained.said
            w.patch.chdir(w.place)
        shutil.copytree(first, name)

    return copy


run, classes, translator, judge = map(_copy_of, TRAINED)


def picture(path: str | Path, number: int = 0, size: tuple[int, int] = (20, 24)) -> None:
    """A flat image; others have other numbers."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (30 * number % 256, 7 * number % 256, 200)).save(path)


def photos(w: World) -> None:
    for number in range(8):
        picture(f"photos/{number}.png", number)


def more_photos(w: World) -> None:
    for number in range(40):
        picture(f"photos/{number}.png", number)


def splits(w: World) -> None:
    for number in range(40):
        picture(f"splits/{'val' if number > 35 else 'train'}/{number}.png", number)


def pets(w: World) -> None:
    for number in range(4):
        for kind in ("cat", "dog"):
            picture(f"pets/{kind}/{number}.png", number + 10 * (kind == "dog"))


def pairs(w: World) -> None:
    for number in range(8):
        for side in "AB":
            picture(f"pairs/{side}/{number}.png", number + 10 * (side == "B"))


def wide(w: World) -> None:
    for number in range(4):
        picture(f"wide/{number}.png", number, size=(48, 24))


def damaged(w: World) -> None:
    """Photos, and one that is none."""
    photos(w)
    Path("photos/page.png").write_text("<!DOCTYPE html>")


def mend(w: World) -> None:
    Path("photos/page.png").unlink()


def deep(path: str, least: int = 0, kind: type = np.uint16) -> None:
    """A gray image of 16 bits, or of floating-point numbers."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    values = np.arange(400, dtype=kind).reshape(20, 20) + kind(least)
    Image.fromarray(values).save(path)


def dark(w: World) -> None:
    """Images of 16 bits that use a part of their range."""
    for number in range(8):
        deep(f"dark/{number}.png", number)


def weights(name: str, **settings: object) -> Callable[[World], None]:
    """The weights of a toy with these settings, outside a run."""

    def write(w: World) -> None:
        import msgspec
        from toys import ToyConfig, ToyGenerator

        from zoo_core.weights.header import WeightsMetadata
        from zoo_core.weights.tensors import save_weights

        config = ToyConfig(**settings)
        about = WeightsMetadata(
            model="toy", role="generator", config=msgspec.to_builtins(config), images=16,
            licence="CC0-1.0", trained_on="bars", zoo_version="0.1.0",
        )  # fmt: skip
        save_weights(Path(name), ToyGenerator(config), about)

    return write


def styled(w: World) -> None:
    """The weights of a network with styles."""
    w.patch.setenv("ZOO_PLUGINS", "toy,stylegan2")
    import zoo_core

    network = zoo_core.create("stylegan2", preset="tiny")
    zoo_core.save(network, "styled.safetensors", licence="CC0-1.0", trained_on="nothing")


def folder(name: str) -> Callable[[World], None]:
    return lambda w: Path(name).mkdir(parents=True)


def file(name: str, content: str = "") -> Callable[[World], None]:
    def write(w: World) -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)

    return write


def command(text: str) -> Callable[[World], None]:
    """Run a command that works."""

    def given(w: World) -> None:
        done = w.run(text)
        assert done.works, done.said

    return given


def setenv(name: str, value: str) -> Callable[[World], None]:
    return lambda w: w.patch.setenv(name, value)


def plugin(name: str) -> Callable[[World], None]:
    """Install a plugin of the zoo beside the toys, by its module."""

    def install(w: World) -> None:
        from importlib import import_module

        add_plugin(w, name.removeprefix("zoo_"), lambda: import_module(name))

    return install


def add_plugin(w: World, name: str, module: Callable[[], object]) -> None:
    """Load this module as a plugin of that name whenever plugins are loaded."""
    from zoo_core.plugins import loading

    load = loading.load_plugins

    def load_plugins() -> loading.Plugins:
        plugins = load()
        plugins.register(name, module())
        return plugins

    w.patch.setattr("zoo_core.plugins.loading.load_plugins", load_plugins)
