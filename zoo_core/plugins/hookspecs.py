"""The plugin hooks. Contribution hooks return records, observer hooks return nothing.

Observer hooks are called in this order, those in brackets only when due:

    zoo_run_started
    repeat until the run ends:    # a resumed run enters at `step`
        [zoo_alarm ...]           # raised by the loss terms just logged
        [zoo_samples]
        [zoo_alarm ...]           # raised by the evaluation that follows
        [zoo_evaluation]
        [zoo_checkpoint_saved]
        zoo_progress              # not at image 0
        step
    zoo_run_ended                 # also after an error or a signal
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from zoo_core.spec import (
        Alarm,
        DatasetSpec,
        FeatureExtractorSpec,
        ImporterSpec,
        ModelSpec,
        RunInfo,
    )

PLUGIN_API = 1  # a plugin states the version it is written for: ZOO_API = 1 in its __init__.py

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Models this plugin contributes."""


@hookspec
def zoo_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Data sets this plugin contributes."""


@hookspec
def zoo_feature_extractors() -> Iterable[FeatureExtractorSpec]:  # type: ignore[empty-body]
    """Feature extractors this plugin contributes by name."""


@hookspec
def zoo_importers() -> Iterable[ImporterSpec]:  # type: ignore[empty-body]
    """Families of other people's checkpoints that this plugin can import."""


@hookspec
def zoo_registries() -> Iterable[Path]:  # type: ignore[empty-body]
    """Registry files (see `registry.yaml`) that list the weights this plugin publishes."""


@hookspec(firstresult=True)
def zoo_find_feature_extractor(name: str) -> FeatureExtractorSpec | None:
    """The feature extractor `name`, for plugins that offer too many to list, or None.

    `zoo list --features` prints the first line of an implementation's docstring, as below.
    """


@hookspec(firstresult=True)
def zoo_find_dataset(name: str) -> DatasetSpec | None:
    """The data set `name`, for plugins that offer too many to list, or None.

    `zoo data list` prints the first line of an implementation's docstring: which names it finds.
    """


@hookspec
def zoo_run_started(run: RunInfo, images: int) -> None:
    """A run starts, or resumes after `images` images."""


@hookspec
def zoo_progress(run: RunInfo, images: int, terms: Mapping[str, float] | None) -> None:
    """A step is done. `terms`: the mean of every loss term if it was just logged, else None."""


@hookspec
def zoo_samples(run: RunInfo, images: int, pictures: Any) -> None:
    """A sample grid was saved of `pictures`: float32 tensor [N, C, H, W] in [-1, 1]."""


@hookspec
def zoo_evaluation(run: RunInfo, images: int, numbers: Mapping[str, float]) -> None:
    """The averaged network was evaluated. `numbers`: the value of each metric."""


@hookspec
def zoo_alarm(run: RunInfo, images: int, alarm: Alarm) -> None:
    """Something started to go wrong: `alarm.what`; `alarm.hint` says what to try."""


@hookspec
def zoo_checkpoint_saved(run: RunInfo, images: int, path: Path) -> None:
    """A checkpoint is complete on disk, in the folder `path`."""


@hookspec
def zoo_run_ended(run: RunInfo, images: int, error: BaseException | None) -> None:
    """A run ended: it completed if `error` is None, else it was interrupted or failed."""
