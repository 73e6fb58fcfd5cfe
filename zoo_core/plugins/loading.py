"""Finds plugins, loads them one at a time, and records what each contributes or why it failed.

pluggy's own loader stops at the first plugin that fails, and silently drops a second entry point of
the same name. Here a broken plugin becomes a `Problem` with a reason, and everything else keeps
working.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pluggy

from zoo_core.errors import PluginError, ZooError, nearest
from zoo_core.plugins import hookspecs
from zoo_core.plugins.borders import bordered
from zoo_core.plugins.checks import checked_find, checked_model, checked_name, kind_of, reason_of
from zoo_core.plugins.contributions import (
    Contribution,
    Contributions,
    PluginInfo,
    Problem,
    Spec,
    name_of,
)
from zoo_core.plugins.keeping import keeping_process_state
from zoo_core.spec import DatasetSpec, FeatureExtractorSpec, ImporterSpec, ModelSpec

logger = logging.getLogger("zoo")

GROUP = "zoo"
_API = re.compile(r"^ZOO_API\s*(?::[^=\n]+)?=\s*(\d+)\s*(?:#.*)?$", re.MULTILINE)


class Plugins:
    """The installed plugins: their contributions, their problems, and calls of observer hooks."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("zoo")
        self.manager.add_hookspecs(hookspecs)
        self.infos: list[PluginInfo] = []
        self.problems: list[Problem] = []
        self.registries: list[Contribution[Path]] = []
        self.models: Contributions[ModelSpec] = Contributions("model", "zoo list")
        self.datasets: Contributions[DatasetSpec] = Contributions("data set", "zoo data list")
        self.feature_extractors: Contributions[FeatureExtractorSpec] = Contributions(
            "feature extractor", "zoo list --features"
        )
        self.importers: Contributions[ImporterSpec] = Contributions("importer", "zoo import --list")
        self._muted: set[tuple[str, str]] = set()
        self._answered: set[tuple[str, str]] = set()

    def register(self, name: str, module: object, distribution: str = "this program") -> None:
        """Add a plugin without an entry point, as tests and the command line do."""
        origin = getattr(module, "__name__", type(module).__name__)
        info = PluginInfo(name=name, distribution=distribution, module=origin)
        if self._admit(info):
            self._register(info, module)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook of every plugin.

        A plugin whose hook raises is reported once, and that hook is not called again.
        """
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            name = str(implementation.plugin_name)
            if (name, hook) in self._muted:
                continue
            changed: list[str] = []
            given = {key: arguments[key] for key in implementation.argnames}
            try:
                with keeping_process_state(changed, randomness=hook != "zoo_progress"):
                    answer = implementation.function(**given)
            except (Exception, SystemExit) as error:
                self._muted.add((name, hook))
                self._report(self._info(name), hook, f"{reason_of(error)} (not called again)")
            else:
                if (
                    answer is not None and (name, hook) not in self._answered
                ):  # such as a generator, of which nothing has been run
                    self._answered.add((name, hook))
                    reason = f"returned a {kind_of(answer)}, where nothing is expected"
                    self._report(self._info(name), hook, reason, broken=False)
            if changed:
                self._report(self._info(name), hook, _put_back(changed), broken=False)

    def find_feature_extractor(self, name: str) -> FeatureExtractorSpec:
        """The listed extractor called `name`, or what the first plugin that knows the name returns.

        A ZooError raised by such a plugin is its answer (no such name, not on this machine) and is
        passed on; any other exception becomes a Problem of the plugin.
        """
        hook = "zoo_find_feature_extractor"
        found = self._search(self.feature_extractors, hook, FeatureExtractorSpec, name)
        return (found or self.feature_extractors.find(name)).spec

    def find_dataset(self, name: str) -> Contribution[DatasetSpec]:
        """The data set called `name`, listed or found by a plugin, as `find_feature_extractor`.

        Raises UnknownNameError if there is none, and what a plugin raises as its answer.
        """
        return self.search_dataset(name) or self.datasets.find(name)

    def search_dataset(self, name: str) -> Contribution[DatasetSpec] | None:
        """Like `find_dataset`, but None if no plugin has the name: it may be a path.

        A name with a colon at the end is never a path, and the same without it.
        """
        name = name.removesuffix(":")
        return self._search(self.datasets, "zoo_find_dataset", DatasetSpec, name)

    def namespaces(self, hook: str) -> list[Contribution[str]]:
        """The first line of the docstring of each plugin's `hook`: which names it finds."""
        found = []
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            info = self._info(str(implementation.plugin_name))
            first = (implementation.function.__doc__ or "").strip().partition("\n")[0]
            found.append(Contribution(info.name, info.distribution, first or f"{info.name}/..."))
        return found

    def check_duplicates(self) -> None:
        """Report names used by several plugins to each of them, except the plugin of that name."""
        named = (self.models, self.datasets, self.feature_extractors, self.importers)
        for contributions in named:
            for contribution in contributions:
                bare = name_of(contribution.spec)
                others = [o for o in contributions.matches(bare) if o.plugin != contribution.plugin]
                if others and contribution.plugin != bare:
                    rivals = ", ".join(f"{o.plugin} ({o.distribution})" for o in others)
                    reason = f"{contributions.kind} {bare!r} is also provided by {rivals}"
                    spelling = f"{reason}; use {contribution.plugin}/{bare}"
                    self._report(self._info(contribution.plugin), "names", spelling, broken=False)

    def entry_points(self) -> Iterator[tuple[metadata.EntryPoint, str]]:
        """The group's entry points, each with its distribution; the first on sys.path wins.

        metadata.entry_points() would fail at any distribution's unreadable entry_points.txt.
        """
        seen = set()
        for dist in metadata.distributions():
            name, entries = "an unnamed distribution", []
            try:
                if f"[{GROUP}]" not in (dist.read_text("entry_points.txt") or ""):
                    continue
                name = dist.name or name
                entries = list(dist.entry_points.select(group=GROUP))
            except Exception as error:
                info = PluginInfo(name="-", distribution=name, module="-")
                self._report(info, "find", f"entry_points.txt is unreadable ({reason_of(error)})")
            if name not in seen:
                yield from ((entry, f"{name} {dist.version}") for entry in entries)
            seen.add(name)

    def load(self, entry: metadata.EntryPoint, distribution: str) -> None:
        """Import one entry point and register it. Every failure becomes a Problem."""
        info = PluginInfo(name=entry.name, distribution=distribution, module=entry.value)
        if not self._admit(info):
            return
        with self._guarded(info, "api", runs_plugin=False):
            self._check_api(stated_api(entry.module), entry.module)
        if info.status == "broken":
            return
        started = time.perf_counter()
        with self._guarded(info, "import"):
            module = entry.load()
        info.import_seconds = time.perf_counter() - started
        if info.status == "ok":
            self._register(info, module)

    def _admit(self, info: PluginInfo) -> bool:
        """List a plugin. Returns False, and reports a Problem, if its name is taken."""
        twin = next((other for other in self.infos if other.name == info.name), None)
        self.infos.append(info)
        if twin is not None:
            reason = f"the plugin name {info.name!r} is already taken by {twin.distribution}"
            self._report(info, "find", reason)
        return twin is None

    def _register(self, info: PluginInfo, module: object) -> None:
        with self._guarded(info, "register", runs_plugin=False):
            self.manager.register(module, info.name)
        if info.status == "broken":
            if self.manager.get_plugin(info.name) is module:  # pluggy 1.5, 1.6 stop half-way
                self.manager.unregister(module)
            return
        callers = self.manager.get_hookcallers(module) or []
        info.hooks = tuple(sorted(caller.name for caller in callers))
        if not callers:
            self._report(info, "register", "implements no hook; is @hookimpl missing?")
        for caller in callers:
            if not caller.has_spec():
                near = nearest(caller.name, [n for n in vars(hookspecs) if n.startswith("zoo_")])
                known = f"nearest: {', '.join(near) or 'none'}"
                self._report(info, "register", f"there is no hook {caller.name!r}; {known}")
        kinds: Mapping[str, tuple[type, Callable[[Any], None]]] = {
            "zoo_models": (ModelSpec, lambda s: self._add(self.models, info, checked_model(s))),
            "zoo_datasets": (
                DatasetSpec,
                lambda s: self._add(self.datasets, info, checked_name(s)),
            ),
            "zoo_feature_extractors": (
                FeatureExtractorSpec,
                lambda s: self._add(self.feature_extractors, info, s),
            ),
            "zoo_importers": (
                ImporterSpec,
                lambda s: self._add(self.importers, info, checked_name(s)),
            ),
            "zoo_registries": (
                Path,
                lambda p: self.registries.append(Contribution(info.name, info.distribution, p)),
            ),
        }
        for hook, (kind, accept) in kinds.items():
            if hook in info.hooks:
                self._collect(info, hook, kind, accept)

    def _collect(
        self, info: PluginInfo, hook: str, kind: type, accept: Callable[[Any], None]
    ) -> None:
        """Call one hook of one plugin and accept every record of the right kind."""
        implementations = getattr(self.manager.hook, hook).get_hookimpls()
        for implementation in (i for i in implementations if i.plugin_name == info.name):
            records: list[Any] = []
            with self._guarded(info, hook):
                result = implementation.function()
                if isinstance(result, str | bytes | Mapping) or not isinstance(result, Iterable):
                    raise TypeError(
                        f"must return a list of {kind.__name__}, returned {kind_of(result)}"
                    )
                records = list(result)
            for record in records:
                with self._guarded(info, hook):
                    if not isinstance(record, kind):
                        raise TypeError(
                            f"must return {kind.__name__} records, one is {kind_of(record)}"
                        )
                    accept(record)

    def _search(
        self, listed: Contributions[Spec], hook: str, kind: type[Spec], name: str
    ) -> Contribution[Spec] | None:
        """The listed record called `name`, else the first that a plugin finds, else None."""
        if listed.matches(name):
            return listed.find(name)
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            info = self._info(str(implementation.plugin_name))
            spec, refusal = None, None
            with self._guarded(info, hook):
                try:
                    result = implementation.function(**dict.fromkeys(implementation.argnames, name))
                    spec = checked_find(result, kind)
                except ZooError as error:
                    refusal = error
            if refusal is not None:
                raise refusal
            if spec is not None:
                return self._contribution(info, spec)
        return None

    def _add(self, contributions: Contributions[Any], info: PluginInfo, spec: Any) -> None:
        if any(
            o.plugin == info.name and name_of(o.spec) == name_of(spec)
            for o in contributions.records
        ):
            raise ValueError(f"returns {contributions.kind} {name_of(spec)!r} twice")
        contributions.records.append(self._contribution(info, spec))

    def _contribution(self, info: PluginInfo, spec: Any) -> Contribution[Any]:
        """The record of a plugin, whose functions are checked when they are called."""

        def report(function: str, changed: list[str]) -> None:
            problem = self._report(info, function, _put_back(changed), broken=False)
            logger.warning("%s", problem)  # the problems have been listed before

        return Contribution(info.name, info.distribution, bordered(spec, info.name, report))

    @staticmethod
    def _check_api(api: int | None, module: str) -> None:
        ours = hookspecs.PLUGIN_API
        if api is None:
            raise PluginError(f"states no plugin API; add the line ZOO_API = {ours} to {module}")
        if api != ours:
            newer = "upgrade zoo-core" if api > ours else "upgrade the plugin"
            raise PluginError(f"is written for plugin API {api}, this zoo has {ours}; {newer}")

    @contextlib.contextmanager
    def _guarded(self, info: PluginInfo, stage: str, *, runs_plugin: bool = True) -> Iterator[None]:
        """Make a Problem of what a plugin raises, even SystemExit, of what it prints, and of what
        it changes for the whole process, which is put back.
        """
        printed = io.StringIO()
        changed: list[str] = []
        keeping = keeping_process_state(changed) if runs_plugin else contextlib.nullcontext()
        try:
            with contextlib.redirect_stdout(printed), keeping:
                yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._report(info, stage, reason_of(error), error=error)
        if printed.getvalue():
            first = printed.getvalue().strip().splitlines() or [""]
            self._report(info, stage, f"printed to stdout: {first[0][:60]!r}", broken=False)
        if changed:
            self._report(info, stage, _put_back(changed), broken=False)

    def _report(
        self,
        info: PluginInfo,
        stage: str,
        reason: str,
        *,
        broken: bool = True,
        error: BaseException | None = None,
    ) -> Problem:
        problem = Problem(info.name, info.distribution, stage, reason)
        if broken:
            info.status = "broken"
        if problem not in self.problems:  # a finder may fail each time it is asked
            self.problems.append(problem)
        if os.environ.get("ZOO_STRICT") == "1":
            raise PluginError(str(problem)) from error
        return problem

    def _info(self, name: str) -> PluginInfo:
        return next(info for info in self.infos if info.name == name and info.hooks)


def _put_back(changed: list[str]) -> str:
    return f"changes what belongs to the whole process, which was put back: {', '.join(changed)}"


def load_plugins() -> Plugins:
    """Load every installed plugin, in order of name.

    `ZOO_PLUGINS=a,b` loads only those, `ZOO_PLUGINS=none` loads none. Raises PluginError if a name
    in ZOO_PLUGINS is not installed and, with `ZOO_STRICT=1`, for the first problem.
    """
    plugins = Plugins()
    found = sorted(plugins.entry_points(), key=lambda item: (item[0].name, item[1]))
    wanted = _wanted()
    if wanted is not None:
        _check_installed(wanted, [entry.name for entry, _ in found])
        found = [(entry, dist) for entry, dist in found if entry.name in wanted]
    for entry, distribution in found:
        plugins.load(entry, distribution)
    plugins.check_duplicates()
    return plugins


def stated_api(module: str) -> int | None:
    """The number in a plugin's `ZOO_API = n` line, read without importing the plugin."""
    package, *rest = module.split(".")
    spec = find_spec(package)  # of a top-level name, so nothing is imported
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    places = [Path(spec.origin or "")]
    if rest:
        inside = [Path(place, *rest) for place in spec.submodule_search_locations or ()]
        places = [p for place in inside for p in (place / "__init__.py", place.with_suffix(".py"))]
    for source in places:
        if source.is_file():
            stated = _API.search(source.read_text(encoding="utf-8-sig", errors="replace"))
            return int(stated.group(1)) if stated else None
    raise ModuleNotFoundError(f"No module named {module!r}")


def _check_installed(wanted: set[str], installed: Sequence[str]) -> None:
    """Raise PluginError for a name that is not, with what to set instead."""
    for name in sorted(wanted - {*installed}):
        near = nearest(name, installed)
        corrected = sorted({*(wanted & {*installed}), *near[:1]})
        raise PluginError(
            f"ZOO_PLUGINS names a plugin that is not installed: {name!r}",
            allowed=", ".join(installed) or "none",
            near=near,
            hint=f"ZOO_PLUGINS={','.join(corrected)}" + (", which loads all" * (not corrected)),
        )


def _wanted() -> set[str] | None:
    value = os.environ.get("ZOO_PLUGINS")
    if not value:
        return None
    return {name.strip() for name in value.split(",")} - {"", "none"}
