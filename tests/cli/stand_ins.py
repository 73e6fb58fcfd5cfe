"""What is run in the place of a documented command that needs hours, a network or your own files.

What the line is about stays: the model, the option. `zoo train` gets the preset `tiny` and two
batches, RUN is a run of the toy, and ~/photos a folder of flat images.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import NamedTuple

from hints.places import classes, more_photos, pairs, pets, photos, run, translator
from hints.publishing import checkpoint, measured
from hints.scenario import World

Given = Callable[[World], object]

FEW = "--data ./photos --count 8 --extractor toy-features"
KEPT = ("--dry-run", "--evaluate-every")  # options of `zoo train` that its stand-in has, too
SMALL = {"--evaluate-every": "8 --set evaluate_with=toy-features --set evaluate_count=8"}
OWN = {"pix2pix": (pairs, "./pairs")}
ELSEWHERE = {  # distributions that are installed to be tested
    "vae": "tests/test_example.py",
    "hello": "tests/test_guide.py",
}


class StandIn(NamedTuple):
    """A command, and what has to be there before it."""

    command: str
    given: tuple[Given, ...] = ()


def latents_file(w: World) -> None:
    run(w)
    assert w.run("zoo sample run --seeds 0-3 --save-latents z.safetensors").works


LINES = {  # the beginning of a line -> its stand-in
    "zoo sample RUN --label cat": StandIn("zoo sample sorted --label 1", (classes,)),
    "zoo sample runs/gan.digits16-digits": StandIn("zoo sample sorted --label 3", (classes,)),
    "zoo sample RUN --source": StandIn(
        "zoo sample translator --source photos", (translator, photos)
    ),
    "zoo sample pix2pix.line2emoji128": StandIn(
        "zoo sample pix2pix.line2emoji128 --source photos", (photos,)
    ),
    "zoo sample RUN --latents": StandIn("zoo sample run --latents z.safetensors", (latents_file,)),
    "zoo sample RUN --seeds": StandIn("zoo sample run --seeds 0-63 --truncation 0.7", (run,)),
    "zoo interpolate RUN": StandIn("zoo interpolate run --seeds 0-7 --out walk.webp", (run,)),
    "zoo mix RUN --layers": StandIn("zoo mix stylegan2.critters32 --layers 0-3"),
    "zoo mix RUN --seeds": StandIn(
        "zoo mix stylegan2.critters32 --seeds 0-3 --with 4-11 --layers 0-3"
    ),
    "zoo evaluate ./pictures": StandIn(f"zoo evaluate ./photos {FEW} --json", (photos,)),
    "zoo evaluate": StandIn(f"zoo evaluate run {FEW} --metrics fd,kd,pr", (run, photos)),
    "zoo publish": StandIn(
        "zoo publish run --name toy.photos16 --metrics-from m.json --licence CC-BY-4.0",
        (run, measured),
    ),
    "zoo import": StandIn(
        "zoo import net.pth --licence BSD-2-Clause --source URL -o facades", (checkpoint,)
    ),
    "zoo data check": StandIn("zoo data check photos", (photos,)),
    "zoo weights fetch": StandIn("zoo weights fetch dcgan.critters32"),
    "zoo weights path": StandIn("zoo weights path dcgan.critters32"),
}


def stand_in(line: str) -> StandIn:
    """What is run for a line; itself, where that is quick."""
    if line.startswith("zoo train "):
        return _training(shlex.split(line)[2:])
    found = (each for beginning, each in LINES.items() if line.startswith(beginning))
    return next(found, StandIn(line))


def _training(words: list[str]) -> StandIn:
    model = words[0]
    has_classes = model == "classifier" or any("num_classes=" in word for word in words)
    given, data = (pets, "./pets") if has_classes else (more_photos, "./photos")
    given, data = OWN.get(model, (given, data))
    options = [f"{each} {SMALL.get(each, '')}" for each in KEPT if each in words]
    if has_classes:
        options.append("--set num_classes=2")
    if "--from" in words:  # the weights decide on the sizes
        options.append(f"--from {model}.critters32")
    else:
        options.append("--preset tiny")
    batch = "--set batch_size=4 --images 8"
    command = f"zoo train {model} --data {data} {batch} {' '.join(options)}"
    return StandIn(" ".join(command.split()), (given,))
