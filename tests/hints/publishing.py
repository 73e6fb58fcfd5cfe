"""Hints of `zoo publish`, and of repositories that it wrote."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
from hub_server import TOKEN, a_hub

from hints.faults import full
from hints.places import TRAIN, command, file, folder, judge, photos, run, setenv
from hints.scenario import Row, World
from zoo_core.filesystem import write_synced

METRICS = "--metrics-from m.json"
PUBLISH = f"zoo publish run --name toy.bars {METRICS}"
SORTER = "zoo publish judge --name sorter.bars"
HUB = f"{PUBLISH} --to hf://me/bars"
WRITES = "zoo_core.training.publishing.write_synced"
OFFLINE = setenv("ZOO_OFFLINE", "1")
own = command(f"{TRAIN} --data ./photos --run-dir own")
tuned = command(f"{TRAIN} --from ./theirs --run-dir tuned")
to_a_folder, to_the_hub = command(PUBLISH), command(HUB)


def measured(w: World) -> None:
    """The output of `zoo evaluate --json`."""
    metric = {"name": "fd", "value": 1.0, "protocol": {"seed": 0}, "command": "zoo evaluate run"}
    Path("m.json").write_text(json.dumps({"metrics": [metric]}))


def hub(w: World) -> None:
    w.names["hub"] = a_hub(w.patch)
    w.names["hub"].__enter__()
    w.patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "none")


def taken(w: World) -> None:
    """A registry in which the name stands."""
    to_a_folder(w)
    path = Path("published/toy.bars/registry.yaml").rename("taken.yaml").absolute()
    shutil.rmtree("published")
    w.patch.setattr("zoo_core.weights.registry.builtin_registry", lambda: path)


def best(w: World) -> None:
    """Weights of fewer images than the newest checkpoint."""
    shutil.copy("run/generator.safetensors", "run/best.safetensors")
    command(f"{TRAIN} --run-dir run --images 32")(w)


def checkpoint(w: World) -> None:
    """A file that `zoo import` takes."""
    from toys import ToyGenerator, resolved

    state = ToyGenerator(resolved().config).state_dict()
    torch.save({key.replace("stem.", "first."): state[key] for key in state}, "net.pth")


def imported(licence: str):
    def theirs(w: World) -> None:
        checkpoint(w)
        command(f"zoo import net.pth --licence {licence} -o theirs")(w)

    return theirs


def free_space(w: World) -> None:
    w.patch.setattr(WRITES, write_synced)


def online(w: World) -> str:
    w.patch.delenv("ZOO_OFFLINE")
    return "zoo show hf://me/bars"


def by_commit(w: World) -> str:
    commit = re.search(r"@([0-9a-f]{40})", w.run(online(w)).said)
    w.run(f"zoo sample hf://me/bars@{commit[1]} --seeds 0-3")
    OFFLINE(w)
    return f"zoo sample hf://me/bars@{commit[1]} --seeds 0-3"


HERE = (run, measured)
ON_HUB = (*HERE, hub)

ROWS = (
    Row("cli/publish.py publish", "zoo publish run", run, fill={"MODEL": "toy", "TAG": "bars"},
        then="weights are published with metrics"),
    Row("cli/publish.py publish 2", f"{SORTER} {METRICS} --evaluate", (judge, measured),
        steps=(f"{SORTER} {METRICS}", f"{SORTER} --evaluate")),
    Row("training/publishing.py _check_name", f"zoo publish run --name bars {METRICS}", HERE,
        fill={"TAG": "bars"}),
    Row("training/publishing.py _check_name 2", PUBLISH, (*HERE, taken),
        fill={"OTHER_TAG": "more"}),
    Row("training/publishing.py _target", f"{PUBLISH} --to here", (*HERE, folder("here"))),
    Row("training/publishing.py _checked", SORTER, (judge, measured),
        steps=(f"{SORTER} --evaluate", "zoo evaluate judge --json", f"{SORTER} {METRICS}")),
    Row("training/publishing.py _write", f"{PUBLISH} --to full/new", (*HERE, file("full"))),
    Row("training/publishing.py _temporary", HUB, (*ON_HUB, full(WRITES)), by_hand=free_space),
    Row("training/source.py discriminator", f"{SORTER} {METRICS} --discriminator",
        (judge, measured)),
    Row("training/source.py discriminator 2",
        f"zoo publish run/best.safetensors --name toy.bars {METRICS} --discriminator",
        (*HERE, best)),
    Row("training/source.py _licence", f"zoo publish theirs --name toy.bars {METRICS}",
        (measured, imported("unknown")),
        steps=("zoo import net.pth --licence MIT -o again",)),
    Row("training/source.py _licence 2",
        f"zoo publish theirs --name toy.bars {METRICS} --licence MIT",
        (measured, imported("CC-BY-4.0"))),
    Row("training/source.py _licence 3", f"zoo publish own --name toy.bars {METRICS}",
        (photos, measured, own)),
    Row("training/source.py _licence 4", f"zoo publish tuned --name toy.bars {METRICS}",
        (measured, imported("MIT"), tuned)),
    Row("weights/repositories.py read_repository", "zoo sample hf://me/bars --seeds 0-3",
        (*ON_HUB, to_the_hub, OFFLINE), steps=(online, by_commit)),
    Row("weights/uploading.py check_upload", f"{HUB}@main", ON_HUB),
    Row("weights/uploading.py check_upload 2", HUB, (*ON_HUB, OFFLINE),
        by_hand=lambda w: w.patch.delenv("ZOO_OFFLINE")),
    Row("weights/uploading.py check_upload 3", HUB, (*ON_HUB, setenv("HF_TOKEN", "")),
        by_hand=setenv("HF_TOKEN", TOKEN)),
    Row("weights/uploading.py check_upload 4", HUB, (*ON_HUB, to_the_hub),
        fill={"OWNER": "me", "OTHER_REPO": "more"}),
    Row("weights/uploading.py _explained", HUB, (*ON_HUB, setenv("HF_TOKEN", "hf_other")),
        by_hand=setenv("HF_TOKEN", TOKEN)),
)  # fmt: skip
