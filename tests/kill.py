"""Kill -9 at random steps, then the same command: `python tests/kill.py --kills 20 --workers 2`.

Trains the toy model once without interruption, then again and again in fresh folders. Each of these
runs is killed at a random moment of a random step and started again. Compares everything they
leave: networks, average, optimizers, log, samples. Prints one line per kill and exits with 1 if a
byte differs. Children are forked, so that torch is imported only once.

With `--change`, all of them go on from the middle of a run with other settings; the command that
follows a kill does not repeat them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401  else every child imports it, in its first optimizer step
import toys

from zoo_core.training.engine import train
from zoo_core.training.run_folder import RunFolder

IMAGES = 160  # 40 steps
MIDDLE = 56  # images before a change
CHANGE = {"batch_size": "8", "learning_rate": "1e-3", "augment": "diffaugment", "ema_half_life": 32}


def run(
    folder: Path, cache: Path, workers: int, steps: int, change: bool = False, images: int = IMAGES
) -> None:
    """Do what the command does; write a byte to the descriptor `steps` after each step."""

    def notify(hook: str, **arguments: object) -> None:
        if hook == "zoo_progress":
            os.write(steps, b".")

    resolved = toys.resolved(images=images, workers=workers, checkpoint_every=16, log_every=12)
    data, name = toys.packed(cache), "toys"
    train(
        toys.TOY,
        resolved,
        data,
        RunFolder(folder),
        licence="CC0-1.0",
        trained_on=name,
        notify=notify,
        change=CHANGE if change else {},
    )


def start(folder: Path, cache: Path, workers: int, **options: Any) -> tuple[int, int]:
    """Run the command in a child; return its pid and a descriptor that yields a byte per step."""
    steps, end = os.pipe()
    child = os.fork()
    if child:
        os.close(end)
        return child, steps
    os.close(steps)
    try:
        run(folder, cache, workers, end, **options)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)


def finish(started: tuple[int, int]) -> None:
    """Wait until a run has ended on its own."""
    child, steps = started
    while os.read(steps, 4096):
        pass
    os.close(steps)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"a run ended with status {status}")


def contents(folder: Path) -> dict[str, str]:
    """Map every file that has to be equal to its hash."""
    last = max((folder / "checkpoints").iterdir())
    files = [*last.glob("*.safetensors"), *folder.glob("samples/*.png")]
    files += [folder / "log.jsonl", folder / "generator.safetensors"]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--change", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    most = (IMAGES - MIDDLE) // 8 if options.change else IMAGES // 4  # steps
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if options.change:
            finish(start(place / "middle", place, options.workers, images=MIDDLE))
            shutil.copytree(place / "middle", place / "whole")
        began = time.perf_counter()
        finish(start(place / "whole", place, options.workers, change=options.change))
        duration = time.perf_counter() - began
        expected = contents(place / "whole")
        for number in range(options.kills):
            folder = place / f"run{number}"
            if options.change:
                shutil.copytree(place / "middle", folder)
            child, steps = start(folder, place, options.workers, change=options.change)
            for _ in range(chance.randrange(most)):
                os.read(steps, 1)
            time.sleep(chance.uniform(0, 2 * duration / most))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(steps)
            saved = sorted(p.name for p in folder.glob("checkpoints/[0-9]*"))
            logged = len((folder / "log.jsonl").read_text().splitlines()) if saved else 0
            finish(start(folder, place, options.workers))
            found = contents(folder)
            same = found == expected
            newest = int(saved[-1]) if saved else "none"
            print(
                f"kill {number}: checkpoint {newest}, {logged} lines logged, equal: {same}",
                flush=True,
            )
            if not same:
                different = [key for key in expected if found.get(key) != expected[key]]
                raise SystemExit(f"different after a kill: {', '.join(different)}")
    print(f"{options.kills} kills, {options.workers} workers: every byte equal")


if __name__ == "__main__":
    main()
