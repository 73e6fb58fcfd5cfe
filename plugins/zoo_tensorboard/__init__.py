"""Write the losses and sample grids of every run as TensorBoard events, to `tensorboard/` in the
run's folder.

A pure observer of the run hooks. If the package tensorboard is not installed (`pip install
'zoo-core[tensorboard]'`), it does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from zoo_core import hookimpl

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

    from zoo_core import RunInfo

ZOO_API = 1

_writers: dict[str, SummaryWriter] = {}  # by run folder


@hookimpl
def zoo_run_started(run: RunInfo, images: int) -> None:
    """Open the event file; a resumed run overwrites events after its checkpoint."""
    if find_spec("tensorboard") is None:
        return
    from torch.utils.tensorboard import SummaryWriter

    folder = run.directory / "tensorboard"
    _writers[str(run.directory)] = SummaryWriter(str(folder), purge_step=images or None)


@hookimpl
def zoo_progress(run: RunInfo, images: int, terms: Mapping[str, float] | None) -> None:
    """Write every loss term, at the logging interval."""
    for name, value in (terms or {}).items():
        _write(run, "add_scalar", name, value, images)


@hookimpl
def zoo_evaluation(run: RunInfo, images: int, numbers: Mapping[str, float]) -> None:
    """Write every number of an evaluation."""
    for name, value in numbers.items():
        _write(run, "add_scalar", f"evaluation/{name}", value, images)


@hookimpl
def zoo_samples(run: RunInfo, images: int, pictures: Tensor) -> None:
    """Write the images of the sample grid."""
    _write(run, "add_images", "samples", (pictures + 1) / 2, images)


@hookimpl
def zoo_run_ended(run: RunInfo) -> None:
    """Flush and close the event file."""
    writer = _writers.pop(str(run.directory), None)
    if writer is not None:
        writer.close()


def _write(run: RunInfo, method: str, *arguments: Any) -> None:
    writer = _writers.get(str(run.directory))
    if writer is not None:
        getattr(writer, method)(*arguments)
