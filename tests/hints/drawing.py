"""Hints of `zoo sample`, `interpolate`, `mix` and `show`, and of names in general."""

from __future__ import annotations

from collections.abc import Callable

from hints.places import (
    TRAIN,
    classes,
    command,
    damaged,
    file,
    folder,
    judge,
    pairs,
    photos,
    picture,
    run,
    setenv,
    styled,
    translator,
    weights,
    wide,
)
from hints.scenario import Row, World

MIX = (
    ">>> from zoo_core.sampling.latents import mix_styles as mix; "
    "mix(zoo.load('styled.safetensors')"
)


def memory(size: int) -> Callable[[World], None]:
    """A machine with so many bytes left, where each counts."""

    def prepare(w: World) -> None:
        w.patch.setattr("zoo_core.memory.available_memory", lambda: size)
        w.patch.setattr("zoo_core.memory.SMALL", 0)

    return prepare


def put_pngs(w: World) -> None:
    picture("frames/0.png")


def unequal_pairs(w: World) -> None:
    pairs(w)
    picture("pairs/B/more.png")


def ws(w: World) -> None:
    """Four ws of a network with styles."""
    styled(w)
    import zoo_core

    generator = zoo_core.load("styled.safetensors")
    made = generator.ws(generator.latents(range(4)))
    zoo_core.save_latents("w.safetensors", made, space="w")


Z = command("zoo sample run --seeds 0-3 --save-latents z.safetensors")
OF_FILE = "zoo sample run --latents z.safetensors"
OF_WS = "zoo sample styled.safetensors --latents w.safetensors"
READ, SAVE = "cli/latents.py read_latents", "cli/latents.py save_latents"
MANY = weights("many.safetensors", num_classes=17)
FINISHED = "cli/train.py _say_finished"

ROWS = (
    Row("cli/show.py show", "zoo show run --preset tiny", run),
    Row("cli/show.py _show_preset", "zoo show toy --preset tini"),
    Row("cli/show.py _show_preset 2", "zoo show toy --preset tiny",
        steps=("zoo train toy --preset tiny",)),
    Row("cli/drawing.py _say_replaced", "zoo sample run --seeds 1 --out was.png",
        (run, file("was.png", "another")),
        steps=("zoo sample run --seeds 1 --out other.png",)),
    Row("cli/drawing.py parse_seeds", "zoo sample run --seeds x", run),
    Row("cli/drawing.py parse_seeds", "zoo mix run --layers 0 --with x", run, then="no styles"),
    Row(("memory.py check_memory", "cli/sample.py check_grid"),
        "zoo sample run --seeds 0-999", (run, memory(2_000_000))),
    Row("cli/mix.py mix", "zoo mix styled.safetensors --seeds 0-39 --with 0-39 --layers 0",
        (ws, memory(2_000_000)),
        steps=("zoo mix styled.safetensors --seeds 0-1 --with 0-1 --layers 0",)),
    Row("cli/interpolate.py interpolate", "zoo interpolate run --out x.gif --frames 999",
        (run, memory(2_000_000)),
        steps=("zoo interpolate run --frames 9 --out FILE.webp",
               "zoo interpolate run --frames 9 --out folder")),
    Row("cli/data.py _draw", "zoo data show toys --resolution 512 --out x.png", memory(10**7)),
    Row("cli/drawing.py parse_seeds 2", "zoo sample run --seeds 5-1", run),
    Row(("cli/sample.py sample", "cli/drawing.py check_grid"), "zoo sample run --out a.gif", run),
    Row(
        "cli/drawing.py writing", "zoo sample run --out './my grid.png'",
        (run, folder("my grid.png")),
    ),
    Row("cli/drawing.py writing 2", "zoo sample run --out file/grid.png", (run, file("file"))),
    Row(
        "cli/interpolate.py interpolate 2", "zoo interpolate run --out frames",
        (run, put_pngs), fill={"NEW_FOLDER": "new"},
    ),
    Row((READ, f"{READ} 2", f"{READ} 3"), f"{OF_FILE} --seeds 1", (run, Z)),
    Row(
        (f"{READ} 4", "cli/latents.py _check_latent"),
        "zoo sample translator --latents z.safetensors", (translator, photos),
    ),
    Row(f"{READ} 5", f"{OF_WS} --truncation 0.5", ws),
    Row(f"{READ} 5", f"{OF_WS} --label 0", ws),
    Row((SAVE, f"{SAVE} 2"), f"{OF_FILE} --save-latents more.safetensors", (run, Z)),
    Row(
        (f"{SAVE} 3", "cli/latents.py _check_latent"),
        "zoo sample translator --source photos --save-latents z.safetensors", (translator, photos),
    ),
    Row(
        "sampling/files.py load_latents", OF_FILE, run, fill={"FILE": "z.safetensors"}, heals=True,
    ),
    Row("cli/labels.py class_number", "zoo interpolate sorted", classes),
    Row(
        "cli/labels.py class_numbers", "zoo sample many.safetensors", MANY,
        steps=("zoo sample many.safetensors --label all",),
    ),
    Row("cli/labels.py _check_takes_labels", "zoo sample run --label 0", run),
    Row(
        "cli/sample.py columns", "zoo sample sorted --columns 3", classes,
        fill={"CLASS": "1"},
    ),
    Row(
        "cli/show.py _show_model", "zoo show toy", steps=("zoo train toy --preset tiny",),
    ),
    Row(
        "cli/show.py _show_model 2", "zoo show toy",
        steps=("zoo train toy --preset tiny --set batch_size=32",),
    ),
    Row(
        "cli/sources.py names", "zoo sample translator --source photos", (translator, damaged),
        then="1 of 9 images cannot be used",
    ),
    Row(
        "cli/data.py check 2", "zoo data check wide", wide, steps=("zoo data check wide --pairs",),
    ),
    Row(
        "cli/sources.py names 2", "zoo sample translator --source wide", (translator, wide),
        steps=("zoo sample translator --source wide --pairs",),
    ),
    Row(
        "cli/sources.py check_output_outside_source",
        "zoo sample translator --source photos --out photos/a.png", (translator, photos),
    ),
    Row("cli/sources.py open_sources", "zoo sample run --source photos", (run, photos)),
    Row("cli/sources.py open_sources 2", "zoo sample translator", (translator, photos)),
    Row(
        ("cli/sources.py _open", "cli/sources.py _open 2"),
        "zoo sample translator --source pairs", (translator, unequal_pairs),
    ),
    Row(
        "cli/sources.py _open 3", "zoo sample translator --source toys --pairs", translator,
    ),
    Row(
        (FINISHED, f"{FINISHED} 3", f"{FINISHED} 4"), TRAIN,
        steps=("zoo sample runs/toy.toys16-tiny --seeds 0-63", f"{TRAIN} --images 32"),
    ),
    Row(
        "cli/train.py _say_finished 3", f"{TRAIN} --run-dir o4",
        steps=("zoo sample ./o4 --seeds 0-63",),
    ),
    Row(
        (f"{FINISHED} 2", f"{FINISHED} 3"),
        f"{TRAIN} --data ./pairs --set paired=true --run-dir o4", (pairs, photos),
        steps=("zoo sample ./o4 --source photos",),
    ),
    Row("sampling/latents.py mix_styles", "zoo mix run --layers 0", run),
    Row("sampling/latents.py mix_styles 2", f"{MIX}, range(10**7), range(10**7), [0])", ws,
        steps=(f"{MIX}, range(2), range(2), [0])",)),
    Row(
        "sampling/latents.py _check_latent", "zoo interpolate translator", (translator, photos),
        fill={"NAME": "translator"},
    ),
    Row("plugins/contributions.py find", "zoo show toi"),
    Row("plugins/contributions.py find", "zoo show toy.x"),
    Row("plugins/contributions.py find", "zoo evaluate run --extractor nothing", run),
    Row("plugins/loading.py _check_installed", "zoo list", setenv("ZOO_PLUGINS", "toi"),
        by_hand=setenv("ZOO_PLUGINS", "toy"),
    ),
    Row("weights/header.py weights_path", "zoo show ./nothing.safetensors"),
    Row(
        "weights/header.py weights_path 2", "zoo sample ./runs", command(TRAIN),
        by_hand="zoo sample {hint}",
    ),
    Row("weights/header.py weights_path 3", "zoo sample ./empty", folder("empty")),
    Row("weights/loading.py load", "zoo sample judge", judge,
        steps=(">>> import zoo_core; {hint}",),
    ),
    Row("runtime.py _device", "zoo sample run --device abacus", run),
    Row("runtime.py _device", f"{TRAIN} --set device=abacus"),
)  # fmt: skip
