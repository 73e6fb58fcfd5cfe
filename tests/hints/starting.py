"""Hints of `zoo train --from`, of parts that are not trained, and of networks without a file."""

from __future__ import annotations

import shutil
from pathlib import Path

from hints.places import (
    SORT,
    TRAIN,
    classes,
    command,
    judge,
    pairs,
    run,
    setenv,
    translator,
)
from hints.scenario import Row, World

TUNE = f"{TRAIN} --from ./run"
PROGAN = "zoo train progan --from small.safetensors --data toys --preset tiny"


def killed_early(w: World) -> None:
    """Before the first checkpoint."""
    shutil.rmtree("tuned/checkpoints")
    for name in ("generator.safetensors", "log.jsonl"):
        Path("tuned", name).unlink()


def trained_on(w: World) -> None:
    """The weights that the run started from are others by now."""
    more = w.run(f"{TRAIN} --run-dir run --images 32")
    assert more.works, more.said


def small_progan(w: World) -> None:
    import zoo_core

    network = zoo_core.create("progan", preset="tiny")
    zoo_core.save(network, "small.safetensors", licence="CC0-1.0", trained_on="nothing")


def with_another_discriminator(w: World) -> None:
    """Beside the generator lies a discriminator that is none."""
    Path("given").mkdir()
    for name in ("generator", "discriminator"):
        shutil.copy("run/generator.safetensors", f"given/{name}.safetensors")


MAKE = ">>> zoo.save(zoo.create('toy'), 'new.safetensors'"

ROWS = (
    Row("training/launch.py _start", f"{TUNE} --run-dir tuned",
        (run, command(f"{TUNE} --run-dir tuned"), killed_early, trained_on)),
    Row("training/launch.py _start 2", PROGAN,
        (setenv("ZOO_PLUGINS", "toy,progan"), small_progan),
        steps=(f"{PROGAN} --set first_resolution=16 --run-dir new",)),
    Row("training/starting.py discriminator_beside", f"{TRAIN} --from ./given",
        (run, with_another_discriminator), steps=(f"{TRAIN} --from given/generator.safetensors",)),
    Row("training/freezing.py freeze", f"{SORT} --set freeze_d=1"),
    Row("training/freezing.py freeze 2", f"{TRAIN} --set freeze_mapping=true"),
    Row("weights/run_settings.py check_model", f"{TRAIN} --from './the judge'",
        (judge, lambda w: Path("judge").rename("the judge")), steps=("{hint} --preset tiny",)),
    Row("weights/adapting.py _misfit", f"{TUNE} --set channels=1", run),
    Row("weights/adapting.py _misfit",
        f"{TUNE} --data sorted-toys --set num_classes=4 --set channels=1", run),
    Row("weights/adapting.py _misfit", ">>> zoo.load('sorted', channels=1, num_classes=2)", classes,
        steps=(">>> zoo.load('sorted', channels=1, num_classes=2, adapt=['channels', 'classes'])",
               f"{TRAIN} --from ./sorted --data sorted-toys --set channels=1 "
               "--set adapt=channels")),
    Row("weights/adapting.py _dependent",
        f"{TRAIN} --from ./translator --data ./pairs --set adapt=channels --set channels=1",
        (translator, pairs)),
    Row("wording.py unknown_key 5", ">>> zoo.create('toy', widht=8)"),
    Row("weights/making.py _configuration", ">>> zoo.create('toy', preset='tini')"),
    Row("weights/making.py save", f"{MAKE}, licence='CC0-1.0')",
        steps=(f"{MAKE}, licence='CC0-1.0', {{hint}})",)),
    Row("weights/making.py save", f"{MAKE}, trained_on='nothing')",
        steps=(f"{MAKE}, trained_on='nothing', {{hint}})",)),
)  # fmt: skip
