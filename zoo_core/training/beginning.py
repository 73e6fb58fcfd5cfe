"""How a run begins or goes on: its settings from the newest checkpoint on, and its state there."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from zoo_core.config import Resolved
from zoo_core.data.packing import PackedData
from zoo_core.errors import InputError
from zoo_core.runtime import Runtime
from zoo_core.training.changes import History
from zoo_core.training.checkpoint import Checkpoint
from zoo_core.training.maintenance import Run, other_data, restore
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.starting import start_from
from zoo_core.training.state import TrainState, build


def begin(run: Run, loaded: Checkpoint | None) -> tuple[TrainState, Run, bool]:
    """The state of a checkpoint, the run up to the next change of its settings, and whether there
    was a checkpoint.
    """
    images = loaded.record["images"] if loaded else 0
    resolved = run.history.after(images)
    runtime = Runtime.detect(resolved.run.device, resolved.run.precision)
    runtime.choose_repeatable_kernels()
    runtime.keep_freed_memory()
    config = msgspec.to_builtins(resolved.config)
    run = replace(
        run,
        resolved=resolved,
        until=run.history.next_change(images),
        runtime=runtime,
        metadata=msgspec.structs.replace(run.metadata, config=config),
    )
    state = build(run.spec, resolved, runtime)
    restored = restore(state, run, loaded)
    if run.start is not None and not restored:
        classes, rules = run.metadata.classes, resolved.run.adapt
        start_from(state, run.start, run.spec, resolved.config, classes, rules)
    return state, run, restored


def with_change(
    history: History,
    wanted: Resolved,
    accept_data: bool,
    folder: RunFolder,
    data: PackedData,
    loaded: Checkpoint | None,
) -> History:
    """The history with what a command wants changed from the newest checkpoint on, if anything.

    Raises InputError if the run is finished, so that the change would apply to nothing.
    """
    record = loaded.record if loaded else {"images": 0, "data": data.fingerprint}
    trained_on = history.accepted or record["data"]
    accepted = other_data(folder, data, trained_on) if accept_data else {}
    if wanted == history.now and not accepted:
        return history
    if record["images"] >= wanted.run.images:
        raise InputError(
            f"the run in {folder.path} is finished after {record['images']:,} images: nothing is "
            "left to train with the change",
            hint=f"--images {2 * record['images']} as well",
        )
    return history.changed(record["images"], wanted, accepted)
