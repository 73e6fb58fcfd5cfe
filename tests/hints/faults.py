"""What is broken when a hint is given: networks, disks, memory, loader processes."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import toys

from hints.places import picture
from hints.scenario import World

ALARMS = "zoo_core.training.alarms"


def variant(**changes: Any) -> Callable[[World], None]:
    """The toy with other parts."""
    return lambda w: w.patch.setattr("toys.TOY", msgspec.structs.replace(toys.TOY, **changes))


def failing(at: int, error: Exception, when: Callable[[Any, Any], bool]) -> Callable[[World], None]:
    """The toy, whose first phase fails from an image on, when (batch, config) says so."""

    def build_phases(networks: Any, config: Any) -> list[Any]:
        first, *others = toys.build_phases(networks, config)

        def loss(batch: Any, progress: Any) -> Any:
            if progress.images_seen >= at and when(batch, config):
                raise error
            return first.loss(batch, progress)

        return [replace(first, loss=loss), *others]

    return variant(build_phases=build_phases)


def exploding(w: World) -> None:
    """A loss that is infinite until the learning rate is lower."""

    def build_phases(networks: Any, config: Any) -> list[Any]:
        *others, last = toys.build_phases(networks, config)

        def loss(batch: Any, progress: Any) -> Any:
            terms = last.loss(batch, progress)
            grows = config.learning_rate > 6e-3 and progress.images_seen >= 8
            return {**terms, "loss": terms["loss"] * (float("inf") if grows else 1)}

        return [*others, replace(last, loss=loss)]

    variant(build_phases=build_phases)(w)


def silent(w: World) -> None:
    """A discriminator that says nothing about real images."""
    plain = toys.ToyLoss.discriminator_loss

    def loss(self: Any, batch: Any, progress: Any) -> dict[str, Any]:
        terms = plain(self, batch, progress)
        return {name: value for name, value in terms.items() if name != "real_signs"}

    w.patch.setattr("toys.ToyLoss.discriminator_loss", loss)


class Larger(toys.ToyGenerator):
    """The generator of another version."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.more = toys.nn.Linear(2, 2)


def patched(target: str, value: Any) -> Callable[[World], None]:
    return lambda w: w.patch.setattr(target, value)


def full(target: str, number: int = errno.ENOSPC) -> Callable[[World], None]:
    """A disk that is full, for what that function writes."""

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    return patched(target, fail)


def no_weights(number: int) -> Callable[[World], None]:
    """A disk that takes everything but the weights of the run."""
    from zoo_core.filesystem import write_synced

    def write(path: Path, data: bytes) -> None:
        if "generator.safetensors" in path.name:
            raise OSError(number, os.strerror(number))
        write_synced(path, data)

    return patched("zoo_core.filesystem.write_synced", write)


def heal(w: World) -> None:
    """Free disk space, or the like: all patches are taken back, and the plugins are as before."""
    here = Path.cwd()
    cache = os.environ["ZOO_CACHE"]
    w.patch.undo()
    w.patch.chdir(here)
    w.patch.setenv("ZOO_PLUGINS", "toy,sorter")
    w.patch.setenv("ZOO_CACHE", cache)


def healed(text: str) -> Callable[[World], str]:
    def step(w: World) -> str:
        heal(w)
        return text

    return step


def damage(w: World) -> None:
    for path in Path("run/checkpoints").glob("*/weights.safetensors"):
        path.write_bytes(b"")


def put_away(w: World) -> None:
    Path("run/checkpoints").rename("away")


def put_back(w: World) -> None:
    Path("run/checkpoints").rmdir() if Path("run/checkpoints").exists() else None
    Path("away").rename("run/checkpoints")


def change_a_photo(w: World) -> None:
    picture("photos/1.png", 99)


def restore_the_photo(w: World) -> None:
    picture("photos/1.png", 1)


def damage_the_log(w: World) -> None:
    log = Path("run/log.jsonl")
    log.write_bytes(b"x" + log.read_bytes()[1:])


def remove_the_line(w: World) -> None:
    log = Path("run/log.jsonl")
    log.write_bytes(log.read_bytes().partition(b"\n")[2])


def impatient(w: World) -> None:
    """Somebody presses Ctrl-C after four images."""
    from zoo_core.cli.progress import ProgressDisplay
    from zoo_core.plugins.hookspecs import hookimpl

    class Impatient(ProgressDisplay):
        @hookimpl
        def zoo_progress(self, run: Any, images: int, terms: Any) -> None:
            if images == 4:
                os.kill(os.getpid(), signal.SIGINT)

    w.patch.setattr("zoo_core.cli.progress.ProgressDisplay", Impatient)


def moved_meanwhile(name: str | None) -> Callable[[World], None]:
    """Somebody renames the run folder after four images, or removes it."""

    def prepare(w: World) -> None:
        from zoo_core.cli.progress import ProgressDisplay
        from zoo_core.plugins.hookspecs import hookimpl

        class Moving(ProgressDisplay):
            @hookimpl
            def zoo_progress(self, run: Any, images: int, terms: Any) -> None:
                if images == 4 and run.directory.name != "elsewhere":
                    shutil.rmtree(run.directory) if name is None else run.directory.rename(name)

        w.patch.setattr("zoo_core.cli.progress.ProgressDisplay", Moving)

    return prepare


def alarms(**limits: float) -> Callable[[World], None]:
    """Other limits, which a toy reaches."""

    def patch(w: World) -> None:
        for name, value in limits.items():
            w.patch.setattr(f"{ALARMS}.{name}", value)

    return patch


def lost_worker(w: World) -> None:
    from zoo_core.data.batches import batches

    def failing(data: Any, settings: Any, *others: Any) -> Any:
        if settings.workers:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        return batches(data, settings, *others)

    w.patch.setattr("zoo_core.training.engine.batches", failing)


def gone_worker(w: World) -> None:
    def started(loader: Any) -> Any:
        raise EOFError
        yield

    w.patch.setattr("zoo_core.data.loaders.TORCH_ERROR_WAIT", 0)
    w.patch.setattr("zoo_core.data.loaders._started", started)


def unstartable_worker(w: World) -> None:
    def start(self: Any) -> Any:
        raise OSError("no more processes")

    w.patch.setattr("torch.utils.data.DataLoader.__iter__", start)


NO_MIXING = patched("zoo_core.training.slices._mixing", lambda networks, phases: iter(()))
SHORTAGE = RuntimeError("CUDA out of memory. Tried to allocate")
HUNGRY = failing(8, SHORTAGE, lambda batch, config: len(batch) > 2)
TINY_BATCH = failing(
    0, ValueError("Expected more than 1 value per channel"), lambda batch, config: len(batch) < 2
)


def no_memory(w: World) -> None:
    def place(self: Any, network: Any) -> Any:
        raise SHORTAGE

    w.patch.setattr("zoo_core.runtime.Runtime.place", place)
