"""Every door a plugin can use. A contribution returns records; an observer returns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from zoo_core.spec import Alarm, DatasetSpec, FeatureExtractorSpec, ModelSpec, RunInfo

PLUGIN_API = 1  # a plugin states the one it was written for: ZOO_API = 1 in its __init__.py

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
def zoo_registries() -> Iterable[Path]:  # type: ignore[empty-body]
    """Registry files (see `registry.yaml`) that catalogue the weights this plugin publishes."""


@hookspec(firstresult=True)
def zoo_find_feature_extractor(name: str) -> FeatureExtractorSpec | None:
    """The feature extractor called `name` in a namespace that is too large to list, or None."""


@hookspec
def zoo_run_started(run: RunInfo, images: int) -> None:
    """A run begins, or goes on after `images` images."""


@hookspec
def zoo_progress(run: RunInfo, images: int, terms: Mapping[str, float] | None) -> None:
    """A step is done. `terms`: mean of every loss term if a log line was written, else None."""


@hookspec
def zoo_samples(run: RunInfo, images: int, pictures: Any) -> None:
    """A grid was drawn from `pictures`: float32 tensor [N, C, H, W] in [-1, 1]."""


@hookspec
def zoo_evaluation(run: RunInfo, images: int, numbers: Mapping[str, float]) -> None:
    """The averaged network was measured."""


@hookspec
def zoo_alarm(run: RunInfo, images: int, alarm: Alarm) -> None:
    """Something began to go wrong: `alarm.what`, and `alarm.hint` for what to try."""


@hookspec
def zoo_checkpoint_saved(run: RunInfo, images: int, path: Path) -> None:
    """A checkpoint is complete on disk, in the folder `path`."""


@hookspec
def zoo_run_ended(run: RunInfo, images: int, error: BaseException | None) -> None:
    """A run has ended: finished when `error` is None, else interrupted or failed."""
