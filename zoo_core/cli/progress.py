"""Progress on stderr: bars on a terminal, otherwise lines, the first after 10 seconds."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from zoo_core.cli.output import note, on_terminal, warn
from zoo_core.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from zoo_core.spec import Alarm, RunInfo


FIRST, LONGEST = 10.0, 600.0  # seconds to the first line, and at most between two


class Lines:
    """When the lines come that stand for a bar: after 10 seconds, then at growing intervals."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self._next = FIRST

    def due(self) -> bool:
        """Whether it is time for one."""
        seconds = time.perf_counter() - self.started
        if seconds < self._next:
            return False
        self._next = seconds + min(LONGEST, max(FIRST, seconds / 2))
        return True


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


class ProgressDisplay:
    """Display of a run, fed by the same hooks as any plugin: images, img/s, time left, losses."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._losses = ""
        self._numbers = ""
        self._started = (0, 0.0)  # images, time
        self._alarms: dict[str, tuple[int, Alarm]] = {}  # by name: images seen, alarm

    @hookimpl
    def zoo_run_started(self, run: RunInfo, images: int) -> None:
        """Print how the run starts, and open the bar."""
        how = f"resuming after {images:,} images" if images else "starting"
        note(f"{run.name}: {how}, {run.settings.images:,} in total; Ctrl-C saves and stops")
        self._started, self._lines = (images, time.perf_counter()), Lines()
        if on_terminal():
            self._bar = _bar("{task.fields[rate]}", "{task.fields[losses]}")
            self._bar.start()
            total = run.settings.images
            self._task = self._bar.add_task(
                run.name, total=total, completed=images, rate="", losses=""
            )

    @hookimpl
    def zoo_progress(self, run: RunInfo, images: int, terms: Mapping[str, float] | None) -> None:
        """Update the bar, or print a line if one is due."""
        if terms is not None:
            self._losses = losses(terms)
        if self._bar is None and (self._lines.due() or images >= run.settings.images):
            self._say(run, images)
        if self._bar is not None and self._task is not None:
            rate = f"{self._rate(images):.0f} img/s"
            self._bar.update(self._task, completed=images, rate=rate, losses=self._status())

    @hookimpl
    def zoo_evaluation(self, run: RunInfo, images: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers until the next evaluation; without a bar, also print them on a line."""
        self._numbers = " ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self._bar is None:
            note(f"{images:,} images: {self._numbers}")

    @hookimpl
    def zoo_alarm(self, run: RunInfo, images: int, alarm: Alarm) -> None:
        """Warn when the alarm is raised, or show its name in the bar until the end."""
        self._alarms.setdefault(alarm.name, (images, alarm))
        if self._bar is None:
            warn(f"{images:,} images: {alarm.what}; try: {alarm.hint}")

    @hookimpl
    def zoo_run_ended(self, run: RunInfo) -> None:
        """Close the bar, also after an error, and repeat the alarms."""
        if self._bar is not None:
            self._bar.stop()
        for images, alarm in self._alarms.values():
            warn(f"after {images:,} images: {alarm.what}; try: {alarm.hint}")

    def _say(self, run: RunInfo, images: int) -> None:
        left = (run.settings.images - images) / max(self._rate(images), 1e-9)
        rate = f"{self._rate(images):.3g} img/s, {duration(max(left, 0))} left"
        said = (f"{images:,} of {run.settings.images:,} images", rate, self._status())
        note(", ".join(filter(None, said)))

    def _status(self) -> str:
        """Losses, numbers of the last evaluation, and names of all alarms so far."""
        parts = (self._losses, self._numbers, *(f"!{name}" for name in self._alarms))
        return " ".join(filter(None, parts))

    def _rate(self, images: int) -> float:
        before, started = self._started
        return (images - before) / max(time.perf_counter() - started, 1e-9)


def losses(terms: Mapping[str, float]) -> str:
    """Format the loss of each phase: `D 0.42 G 1.3`, or with full names if initials coincide."""
    found = {n.removesuffix("/loss"): value for n, value in terms.items() if n.endswith("/loss")}
    initials = {name: name[0].upper() for name in found}
    short = initials if len(set(initials.values())) == len(initials) else {n: n for n in found}
    return " ".join(f"{short[name]} {value:.2g}" for name, value in found.items())


def receiving(name: str) -> contextlib.AbstractContextManager[Callable[[int, int], None]]:
    """Progress bar for a download, with its size and the time left."""
    return counting(f"downloading {name}", in_bytes=True)


@contextlib.contextmanager
def counting(what: str, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Progress bar for work with a known number of items; it appears after half a second.

    Without a terminal a line names the work then, and others say how far it is.
    """
    started, lines = time.perf_counter(), Lines()
    bar: Progress | None = None
    task: TaskID | None = None

    def on_progress(done: int, total: int) -> None:
        nonlocal bar, task
        if bar is None and time.perf_counter() - started > 0.5:
            if not on_terminal():
                if done < total and task is None:
                    note(
                        f"{what} ({total / 1e6:,.1f} MB)"
                        if in_bytes
                        else f"{what} ({total:,} images)"
                    )
                    task = 0  # type: ignore[assignment]
                elif 0 < done < total and lines.due():
                    left = (time.perf_counter() - started) * (total - done) / done
                    note(f"{what}: {done / total:.0%}, {duration(left)} left")
                return
            bar = _bar(in_bytes=in_bytes)
            bar.start()
            task = bar.add_task(what, total=total)
        if bar is not None and task is not None:
            bar.update(task, completed=done)

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.stop()


def _bar(*fields: str, in_bytes: bool = False) -> Progress:
    """Build a bar on stderr; on a narrow terminal, the last of `fields` is cut off."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    last = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    texts = [TextColumn(field, table_column=Column(no_wrap=True)) for field in fields[:-1]]
    texts += [TextColumn(field, table_column=last) for field in fields[-1:]]
    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    return Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=10),
        (DownloadColumn if in_bytes else MofNCompleteColumn)(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(elapsed_when_finished=True),
        *texts,
        console=console,
        expand=bool(fields),
        refresh_per_second=4,
    )
