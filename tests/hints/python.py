"""Hints of errors that only Python brings up."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hints.places import classes, judge, pairs, photos, picture, run, translator
from hints.scenario import Row, World
from zoo_core.generators import Generator

PAIR = "[0, 1]"


def two_sizes(w: World) -> None:
    picture("sizes/0.png", size=(20, 24))
    picture("sizes/1.png", 1, size=(30, 30))


def some_images(w: World) -> None:
    w.names["images"] = torch.zeros(2, 3, 8, 8)


def an_array(w: World) -> None:
    w.names["images"] = np.zeros((2, 3, 16, 16), np.float32)


def unread(w: World) -> None:
    """A translator that no door made, and what it does not take."""
    translator(w)
    import zoo_core

    generator = zoo_core.load("translator")
    generator.reader = None
    levels = torch.rand(2, 3, 16, 16) * 255
    w.names |= {"generator": generator, "array": np.zeros((2, 3, 16, 16), np.float32)}
    w.names |= {"images": levels, "source": levels.long()}


def channels_last(w: World) -> None:
    w.names["images"] = torch.zeros(2, 8, 8, 3)


def some_latents(w: World) -> None:
    w.names["latents"] = torch.zeros(2, 8, 1, 1)


def some_pixels(w: World) -> None:
    w.names["pixels"] = torch.full((2, 3, 8, 8), 200.0)


def a_file(w: World) -> None:
    some_images(w)
    open("file", "w").close()  # noqa: PTH123


def a_source(w: World) -> None:
    translator(w)
    w.names["images"] = torch.rand(2, 3, 16, 16)
    w.names["last"] = torch.zeros(2, 16, 16, 3)


def features(w: World) -> None:
    judge(w)
    from zoo_core.metrics.frechet import Statistics, frechet_distance

    def distance(one: int, other: int) -> float:
        spread = {width: torch.rand(4 * width, width).double() for width in (one, other)}
        made = [Statistics(len(each), each.mean(0), each.T.cov())
                for each in (spread[one], spread[other])]  # fmt: skip
        return float(frechet_distance(*made))

    w.names["distance"] = distance


class Old(Generator):
    """A class of a plugin from before there was `forward`, which computes in float32 only."""

    image_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(8))

    def generate(self, noise: Any, *, labels: Any = None, source: Any = None,
                 truncation: float = 1.0) -> torch.Tensor:  # fmt: skip
        return noise.normal("latents", self.image_shape) @ self.weight


def old(w: World) -> None:
    w.names |= {"generator": Old(), "seeds": [0, 1]}


def half(w: World) -> None:
    w.names["generator"] = Old().half()


def translating(w: World) -> None:
    translator(w)
    import zoo_core

    w.names |= {"generator": zoo_core.load("translator"), "source": torch.zeros(2, 3, 16, 16)}


def whole(w: World) -> str:
    """The class of the plugin, after its author has followed the hint."""
    run(w)
    return ">>> zoo.load('run').latents([0, 1])"


LOAD = ">>> zoo.load('run').sample"
DRAW = ">>> generator.sample"
TRANSLATE = ">>> zoo.load('translator').sample"
SAVE = ">>> zoo.save_pictures"
PPL = (
    ">>> from zoo_core.metrics.path_length import perceptual_path_length as ppl; "
    "ppl(zoo.load('{}'), zoo.load_features('judge'), num_pairs=4)"
)

ROWS = (
    Row("data/tensors.py read_pictures", ">>> zoo.read_pictures()", photos,
        steps=(">>> zoo.read_pictures('photos')",)),
    Row("data/tensors.py _check_memory", ">>> zoo.read_pictures('photos', resolution=10**6)",
        photos, steps=(">>> zoo.read_pictures('photos', resolution=16)",)),
    Row("data/tensors.py save_pictures", f"{SAVE}(images, 'new', columns=2)", some_images,
        steps=(f"{SAVE}(images, 'new')", f"{SAVE}(images, 'new.png', columns=2)")),
    Row("data/tensors.py _of_one_size", ">>> zoo.read_pictures('sizes')", two_sizes,
        steps=(">>> zoo.read_pictures('sizes', {hint})",)),
    Row("data/tensors.py _levels", f"{SAVE}(images, 'new')", an_array,
        steps=(f">>> import torch; {SAVE[4:]}({{hint}}, 'new')",)),
    Row("data/tensors.py _levels 2", f"{SAVE}(images, 'new')", channels_last,
        steps=(f"{SAVE}({{hint}}, 'new')",)),
    Row("data/tensors.py _levels 3", f"{SAVE}(pixels, 'new')", some_pixels,
        steps=(f"{SAVE}(pixels.clamp(-1, 1), 'new')",
               f">>> import torch; {SAVE[4:]}(pixels.to(torch.uint8), 'new')")),
    Row("data/tensors.py _writing", f"{SAVE}(images, 'file/new')", a_file,
        steps=(f"{SAVE}(images, 'new')",)),
    Row("arguments.py checked_seeds", f"{LOAD}(7)", run, steps=(f"{LOAD}({{hint}})",)),
    Row("arguments.py checked_labels", f"{LOAD}({PAIR}, labels=1)", run,
        steps=(f"{LOAD}({PAIR})",)),
    Row("arguments.py checked_labels 2", ">>> zoo.load('sorted').sample([0], labels='1')", classes,
        steps=(">>> zoo.load('sorted').sample([0], labels=1)",)),
    Row("arguments.py checked_source", f"{LOAD}({PAIR}, source=1)", run,
        steps=(f"{LOAD}({PAIR})",)),
    Row("arguments.py checked_source 2", f"{DRAW}({PAIR}, source=array)", unread,
        steps=(f">>> import torch; source = array; {DRAW[4:]}({PAIR}, source={{hint}})",)),
    Row("arguments.py checked_source 3", f"{DRAW}({PAIR}, source=source)", unread,
        steps=(f"{DRAW}({PAIR}, source=source / 127.5 - 1)",)),
    Row("arguments.py checked_source 4", f"{DRAW}({PAIR}, source=images)", unread,
        steps=(f"{DRAW}({PAIR}, source={{hint}})",)),
    Row("data/given.py _checked", f"{TRANSLATE}({PAIR}, source=last)", a_source,
        steps=(f">>> images = last; {TRANSLATE[4:]}({PAIR}, source={{hint}})",)),
    Row("data/given.py _checked 2", f"{TRANSLATE}({PAIR}, source=images)", a_source,
        steps=(f"{TRANSLATE}({PAIR}, source={{hint}})",)),
    Row("generators.py _check_room", f"{LOAD}(range(10**12))", run, steps=(f"{LOAD}([0])",)),
    Row("generators.py latents", ">>> zoo.load('run').latents(range(10**12))", run,
        steps=(">>> zoo.load('run').latents([0])",)),
    Row("arguments.py check_placed", ">>> zoo.load('run').half()(latents)", (run, some_latents),
        steps=(">>> import torch; zoo.load('run').half()(latents{hint})",)),
    Row("generators.py latents_of", ">>> zoo.load('run').latents_of([0, 1])", run,
        steps=(">>> generator = zoo.load('run'); seeds = [0, 1]; {hint}",)),
    Row("generators.py _made", ">>> generator.sample([0])", half,
        steps=(">>> {hint}.sample([0])",)),
    Row("generators.py _no_latents", ">>> generator.latents([0])", translating,
        steps=(">>> {hint}",)),
    Row("generators.py _incomplete", ">>> generator.latents(seeds)", old,
        steps=(">>> exec('{hint}'.partition(', or')[0])", whole)),
    Row("metrics/frechet.py different_widths", ">>> distance(4, 5)", features,
        steps=(">>> distance(4, 4)",)),
    Row("metrics/path_length.py perceptual_path_length", PPL.format("translator"),
        (translator, judge, pairs),
        steps=("zoo evaluate translator --data ./pairs --count 8 --extractor toy-features "
               "--metrics l1,psnr,ssim",)),
)  # fmt: skip
