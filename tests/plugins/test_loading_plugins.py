"""Plugins are discovered and loaded, using throw-away distributions written to disk."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoo_core.config import ModelConfig
from zoo_core.errors import AmbiguousNameError, OfflineError, PluginError, UnknownNameError
from zoo_core.plugins.hookspecs import PLUGIN_API, hookimpl
from zoo_core.plugins.loading import Plugins, load_plugins, stated_api
from zoo_core.spec import DatasetSpec, FeatureExtractorSpec, ModelSpec

HEAD = f"""
ZOO_API = {PLUGIN_API}
from pathlib import Path
from zoo_core.config import ModelConfig
from zoo_core import hookimpl
from zoo_core.spec import ModelSpec

class Config(ModelConfig, frozen=True):
    width: int = 8

def model(name, config=Config, presets={{"tiny": {{}}}}):
    return ModelSpec(
        name=name, summary="", task="unconditional", paper="", licence="", config=config,
        presets=presets, build_generator=lambda c: None, build_phases=lambda n, c: [],
    )
"""
GOOD = HEAD + "@hookimpl\ndef zoo_models(): return [model('good-model')]"


def hook(body, name="zoo_models", arguments=""):
    """Source of a plugin with one hook, `name`, and its body."""
    return f"{HEAD}\n@hookimpl\ndef {name}({arguments}):\n    {body}\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Writes a distribution with one entry point, and puts it on sys.path."""
    installed = []

    def write(plugin, source, *, distribution=None, value=None, entry_points=None):
        distribution = distribution or f"{plugin}-dist"
        place = tmp_path / distribution
        info = place / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        module = f"throwaway_{distribution.replace('-', '_')}"
        entry = f"[zoo]\n{plugin} = {value or module}\n"
        (info / "entry_points.txt").write_text(entry_points or entry)
        if source is not None:
            (place / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(place)
        importlib.invalidate_caches()
        installed.append(plugin)
        monkeypatch.setenv("ZOO_PLUGINS", ",".join(installed))  # built-in ones are not under test
        return place

    yield write
    for name in [name for name in sys.modules if name.startswith("throwaway_")]:
        del sys.modules[name]


def status(plugins, name):
    return [info.status for info in plugins.infos if info.name == name]


class Model:
    """A plugin that is an object, not a module."""

    def __init__(self, *names):
        self.names = names

    @hookimpl
    def zoo_models(self):
        return [model_spec(name) for name in self.names]


class Config(ModelConfig, frozen=True):
    width: int = 8


def model_spec(name):
    return ModelSpec(
        name=name,
        summary="",
        task="unconditional",
        paper="",
        licence="",
        config=Config,
        presets={"tiny": {}},
        build_generator=lambda config: None,
        build_phases=lambda networks, config: [],
    )


def extractor(name):
    return FeatureExtractorSpec(
        name=name,
        summary="",
        licence="",
        input_size=8,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        build=lambda: None,
    )


# A good plugin


def test_a_plugin_contributes_under_its_own_name(install):
    install("good", GOOD)
    plugins = load_plugins()
    [info] = plugins.infos
    assert (info.name, info.status, info.hooks) == ("good", "ok", ("zoo_models",))
    assert info.distribution == "good-dist 1.0"
    [contribution] = plugins.models
    assert (contribution.plugin, contribution.distribution) == ("good", "good-dist 1.0")
    assert (
        plugins.models.get("good-model")
        is plugins.models.get("good/good-model")
        is contribution.spec
    )
    assert plugins.problems == []


def test_registry_files_are_collected_with_their_owner(install):
    install("paths", hook("return [Path('a.yaml')]", "zoo_registries"))
    [contribution] = load_plugins().registries
    assert (contribution.plugin, contribution.spec) == ("paths", Path("a.yaml"))


def test_a_hook_may_be_a_generator(install):
    install("lazy", hook("yield model('one'); yield model('two')"))
    assert load_plugins().models.names() == ["one", "two"]


def test_an_object_is_a_plugin_as_well():
    plugins = Plugins()
    plugins.register("mine", Model("one"), "a test")
    assert plugins.models.names() == ["one"]
    [info] = plugins.infos
    assert (info.distribution, info.module, info.hooks) == ("a test", "Model", ("zoo_models",))
    assert plugins.problems == []


# Broken plugins: each is reported with a reason, and everything else keeps working

BROKEN = {
    "raises at import": (
        HEAD + "raise RuntimeError('no\\nluck')",
        "import",
        "RuntimeError: no luck",
    ),
    "raises what has no text": (
        HEAD + "class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd",
        "import",
        "Odd: its text cannot be read: ZeroDivisionError",
    ),
    "exits at import": (HEAD + "import sys; sys.exit(3)", "import", "called sys.exit(3)"),
    "is not Python": (HEAD + "def f(:", "import", "SyntaxError"),
    "is for a later API": (
        f"ZOO_API = {PLUGIN_API + 1}",
        "api",
        f"is written for plugin API {PLUGIN_API + 1}, this zoo has {PLUGIN_API}; upgrade zoo-core",
    ),
    "is for an earlier API": ("ZOO_API: int = 0  # old", "api", "upgrade the plugin"),
    "states no API": (GOOD.replace("ZOO_API", "API"), "api", "states no plugin API; add the line"),
    "has no hook": (HEAD + "def zoo_models(): return []", "register", "is @hookimpl missing?"),
    "misspells a hook": (
        hook("return []", "zoo_modles"),
        "register",
        "there is no hook 'zoo_modles'; nearest: zoo_models",
    ),
    "misspells an argument": (
        hook("pass", "zoo_progress", "run, image"),
        "register",
        "image",
    ),
    "raises when called": (hook("1 / 0"), "zoo_models", "ZeroDivisionError"),
    "exits when called": (hook("raise SystemExit"), "zoo_models", "called sys.exit(None)"),
    "raises half-way": (hook("yield model('one'); 1 / 0"), "zoo_models", "ZeroDivisionError"),
    "returns a string": (hook("return 'x'"), "zoo_models", "list of ModelSpec, returned str"),
    "returns nothing": (hook("return None"), "zoo_models", "list of ModelSpec, returned NoneType"),
    "returns a record": (hook("return model('x')"), "zoo_models", "returned ModelSpec"),
    "returns a mapping": (hook("return {'x': model('x')}"), "zoo_models", "returned dict"),
    "returns an integer": (hook("return [1]"), "zoo_models", "ModelSpec records, one is int"),
    "returns a text path": (hook("return ['a']", "zoo_registries"), "zoo_registries", "one is str"),
    "uses a bad name": (hook("return [model('A b')]"), "zoo_models", "'A b' is not a usable name"),
    "has no tiny preset": (
        hook("return [model('x', presets={})]"),
        "zoo_models",
        "model 'x' has no preset called 'tiny'",
    ),
    "takes keys of the run": (
        hook(
            "class Greedy(ModelConfig, frozen=True):\n"
            "        seed: int = 0\n"
            "        images: int = 0\n"
            "    return [model('x', Greedy)]"
        ),
        "zoo_models",
        "configuration of 'x' redefines run settings: images, seed",
    ),
    "repeats a name": (hook("return [model('x')] * 2"), "zoo_models", "model 'x' twice"),
}


@pytest.fixture(params=BROKEN)
def broken(request, install):
    source, stage, reason = BROKEN[request.param]
    install("bad", source)
    install("good", GOOD)
    return SimpleNamespace(stage=stage, reason=reason)


def test_a_broken_plugin_is_named_with_its_reason_in_one_line(broken, capsys):
    plugins = load_plugins()
    [problem] = plugins.problems
    assert (problem.plugin, problem.distribution) == ("bad", "bad-dist 1.0")
    assert problem.stage == broken.stage
    assert broken.reason in problem.reason
    assert "\n" not in str(problem)
    assert status(plugins, "bad") == ["broken"]
    assert capsys.readouterr().out == ""


def test_a_broken_plugin_does_not_stop_the_next_one(broken):
    plugins = load_plugins()
    assert status(plugins, "good") == ["ok"]
    assert plugins.models.get("good-model").name == "good-model"


def test_strict_turns_the_problem_into_an_error(broken, monkeypatch):
    monkeypatch.setenv("ZOO_STRICT", "1")
    with pytest.raises(PluginError) as caught:
        load_plugins()
    assert "plugin bad (bad-dist 1.0)" in str(caught.value)
    assert broken.reason in str(caught.value)


def test_one_bad_record_does_not_cost_the_others(install):
    install("half", hook("return [model('one'), 1, model('two')]"))
    assert load_plugins().models.names() == ["one", "two"]


def test_a_plugin_for_another_api_is_not_imported(install, tmp_path):
    trace = tmp_path / "imported"
    touch = f"open({str(trace)!r}, 'w').close()"
    install("later", f"ZOO_API = {PLUGIN_API + 1}\n{touch}\n")
    install("silent", f"{touch}\n")
    load_plugins()
    assert not trace.exists()


def test_a_refused_plugin_leaves_no_hook_behind():
    called = []

    class HalfWrong:
        @hookimpl
        def zoo_progress(self, images):
            called.append(images)

        @hookimpl
        def zoo_run_started(self, nonsense):
            pass

    plugins = Plugins()
    plugins.register("half", HalfWrong())
    plugins.notify("zoo_progress", run=None, images=1, terms=None)
    assert called == []
    assert [problem.stage for problem in plugins.problems] == ["register"]


def test_what_a_plugin_prints_stays_off_stdout_and_is_reported(install, capsys):
    install(
        "loud",
        HEAD
        + "print('hello\\nworld')\n@hookimpl\ndef zoo_models():\n    print('again')\n    return []",
    )
    plugins = load_plugins()
    assert capsys.readouterr().out == ""
    assert [str(problem) for problem in plugins.problems] == [
        "plugin loud (loud-dist 1.0), import: printed to stdout: 'hello'",
        "plugin loud (loud-dist 1.0), zoo_models: printed to stdout: 'again'",
    ]
    assert status(plugins, "loud") == ["ok"]


def test_an_interrupt_is_not_a_plugins_fault(install):
    install("slow", HEAD + "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_plugins()


@pytest.mark.parametrize("value", ["throwaway_nowhere", "throwaway_nowhere.inside", "json.nowhere"])
def test_an_entry_point_to_a_missing_module_is_a_problem(install, value):
    install("lost", None, value=value)
    install("good", GOOD)
    plugins = load_plugins()
    [problem] = plugins.problems
    assert (problem.plugin, problem.stage) == ("lost", "api")
    assert "No module named" in problem.reason
    assert plugins.models.names() == ["good-model"]


@pytest.mark.parametrize("content", ["[zoo]\nthis is no entry point\n", "[zoo]\na = \xff\n"])
def test_an_unreadable_entry_points_file_is_a_problem_of_its_distribution(install, content):
    place = install("odd", None)
    next(place.glob("*/entry_points.txt")).write_bytes(content.encode("latin-1"))
    install("good", GOOD)
    plugins = Plugins()
    found = [entry.name for entry, _ in plugins.entry_points()]
    assert "good" in found
    assert "odd" not in found
    [problem] = plugins.problems
    assert (problem.stage, "entry_points.txt is unreadable" in problem.reason) == ("find", True)


def test_an_unreadable_file_without_our_group_is_none_of_our_business(install):
    install("odd", None, entry_points="[other]\nthis is no entry point\n")
    plugins = Plugins()
    assert list(plugins.entry_points())
    assert plugins.problems == []


# Two of a kind


def test_two_distributions_with_one_plugin_name(install):
    install("same", GOOD, distribution="a-first")
    install("same", GOOD, distribution="b-second")
    plugins = load_plugins()
    [problem] = plugins.problems
    assert problem.distribution == "b-second 1.0"
    assert problem.reason == "the plugin name 'same' is already taken by a-first 1.0"
    assert status(plugins, "same") == ["ok", "broken"]
    assert plugins.models.names() == ["good-model"]


def test_registering_a_name_again_is_a_problem_and_keeps_the_first():
    plugins = Plugins()
    plugins.register("mine", Model("one"))
    plugins.register("mine", Model("two"))
    assert plugins.models.names() == ["one"]
    [problem] = plugins.problems
    assert problem.reason == "the plugin name 'mine' is already taken by this program"


def test_a_distribution_found_twice_on_the_path_counts_once(install, tmp_path, monkeypatch):
    place = install("good", GOOD)
    (tmp_path / "again").symlink_to(place)
    monkeypatch.syspath_prepend(tmp_path / "again")
    plugins = load_plugins()
    assert status(plugins, "good") == ["ok"]
    assert plugins.problems == []


@pytest.fixture
def rivals(install):
    install("left", hook("return [model('swan'), model('only-left')]"))
    install("right", hook("return [model('swan')]"))
    return load_plugins()


def test_a_name_claimed_twice_is_ambiguous_and_names_both_owners(rivals):
    with pytest.raises(AmbiguousNameError) as caught:
        rivals.models.get("swan")
    assert "left/swan (left-dist 1.0), right/swan (right-dist 1.0)" in str(caught.value)


def test_a_name_claimed_twice_is_reached_through_its_owner(rivals):
    assert rivals.models.get("left/swan") is not rivals.models.get("right/swan")
    assert rivals.models.names() == ["only-left", "left/swan", "right/swan"]


def test_a_name_claimed_twice_is_a_problem_of_both_but_breaks_neither(rivals):
    assert [str(problem) for problem in rivals.problems] == [
        "plugin left (left-dist 1.0), names: "
        "model 'swan' is also provided by right (right-dist 1.0); use left/swan",
        "plugin right (right-dist 1.0), names: "
        "model 'swan' is also provided by left (left-dist 1.0); use right/swan",
    ]
    assert status(rivals, "left") == status(rivals, "right") == ["ok"]


@pytest.mark.parametrize("name", ["swam", "left/swam", "nobody/swan"])
def test_an_unknown_name_offers_the_nearest(rivals, name):
    with pytest.raises(UnknownNameError, match="swan"):
        rivals.models.get(name)


def test_data_sets_have_a_catalogue_of_their_own():
    spec = DatasetSpec(
        name="swan",
        summary="",
        task="unconditional",
        licence="",
        provenance="",
        open=lambda r, s: None,
    )

    class Data:
        @hookimpl
        def zoo_datasets(self):
            return [spec]

    plugins = Plugins()
    plugins.register("data", Data())
    plugins.register("models", Model("swan"))
    assert isinstance(plugins.datasets.get("swan"), DatasetSpec)
    assert isinstance(plugins.models.get("swan"), ModelSpec)


# Which plugins are loaded


def test_without_a_limit_every_plugin_is_loaded(install, monkeypatch):
    install("good", GOOD)
    monkeypatch.delenv("ZOO_PLUGINS")
    assert "good-model" in load_plugins().models.names()


def test_none_loads_no_plugin(install, monkeypatch):
    install("good", GOOD)
    monkeypatch.setenv("ZOO_PLUGINS", "none")
    assert load_plugins().infos == []


def test_only_the_named_plugins_are_loaded_in_the_order_of_names(install, monkeypatch):
    for name in ("a", "b", "c"):
        install(name, hook(f"return [model('{name}')]"))
    monkeypatch.setenv("ZOO_PLUGINS", "c, a")
    assert [info.name for info in load_plugins().infos] == ["a", "c"]


def test_naming_a_plugin_that_is_not_installed_is_an_error(install, monkeypatch):
    install("goose", GOOD)
    monkeypatch.setenv("ZOO_PLUGINS", "gose")
    with pytest.raises(PluginError, match=r"not installed: 'gose'.*nearest: goose"):
        load_plugins()


@pytest.mark.parametrize(
    ("named", "told"),
    [("gose", "ZOO_PLUGINS=goose"), ("gose,swan", "ZOO_PLUGINS=goose,swan"),
     ("albatross", "ZOO_PLUGINS=, which loads all"), ("albatross,swan", "ZOO_PLUGINS=swan")],
)  # fmt: skip
def test_what_to_name_instead_of_it_is_what_is_installed(install, monkeypatch, named, told):
    install("goose", GOOD)
    install("swan", GOOD)
    monkeypatch.setenv("ZOO_PLUGINS", named)
    with pytest.raises(PluginError) as error:
        load_plugins()
    assert error.value.hint == told
    monkeypatch.setenv("ZOO_PLUGINS", told.partition("=")[2].partition(", which")[0])
    assert "swan" in [info.name for info in load_plugins().infos] or "swan" not in named


# The API a plugin states


@pytest.mark.parametrize(
    ("source", "api"),
    [
        ("ZOO_API = 3\n", 3),
        ("ZOO_API: int = 3  # why\r\n", 3),
        ("\ufeffZOO_API=3", 3),
        ("x = 1\nZOO_API = 3", 3),
        ("ZOO_API = '3'", None),
        ("# ZOO_API = 3", None),
        ("", None),
    ],
)
def test_the_api_is_read_from_the_source(install, source, api):
    install("p", source)
    assert stated_api("throwaway_p_dist") == api


@pytest.mark.parametrize("init", [None, "raise RuntimeError"])
@pytest.mark.parametrize("inside", ["deep.py", "deep/__init__.py"])
def test_the_api_of_a_module_inside_a_package_is_found(tmp_path, monkeypatch, init, inside):
    package = tmp_path / "throwaway_package"  # without __init__.py a namespace package
    (package / inside).parent.mkdir(parents=True)
    (package / inside).write_text("ZOO_API = 4")
    if init is not None:
        (package / "__init__.py").write_text(init)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert stated_api("throwaway_package.deep") == 4


# Observers


class Observer:
    def __init__(self, error=None):
        self.seen, self.error = [], error

    @hookimpl
    def zoo_progress(self, images):
        self.seen.append(images)
        if self.error is not None:
            raise self.error

    @hookimpl
    def zoo_run_ended(self):
        self.seen.append("ended")


def progress(plugins, images):
    plugins.notify("zoo_progress", run=None, images=images, terms=None)


def test_an_observer_may_take_fewer_arguments():
    plugins, observer = Plugins(), Observer()
    plugins.register("watch", observer)
    progress(plugins, 5)
    plugins.notify("zoo_run_ended", run=None, images=5, error=None)
    assert observer.seen == [5, "ended"]


@pytest.mark.parametrize("error", [ValueError("tired"), SystemExit(2)])
def test_an_observer_that_raises_is_reported_once_and_muted(error):
    plugins, bad = Plugins(), Observer(error)
    plugins.register("bad", bad)
    progress(plugins, 1)
    progress(plugins, 2)
    assert bad.seen == [1]
    [problem] = plugins.problems
    assert (problem.plugin, problem.stage) == ("bad", "zoo_progress")
    assert problem.reason.endswith("(not called again)")


def test_a_muted_hook_leaves_the_plugins_other_hooks():
    plugins, bad = Plugins(), Observer(ValueError())
    plugins.register("bad", bad)
    progress(plugins, 1)
    plugins.notify("zoo_run_ended", run=None, images=1, error=None)
    assert bad.seen == [1, "ended"]


def test_an_observer_that_raises_does_not_stop_the_others():
    plugins = Plugins()
    observers = [Observer(), Observer(ValueError()), Observer()]
    for index, observer in enumerate(observers):
        plugins.register(f"watch{index}", observer)
    progress(plugins, 1)
    progress(plugins, 2)
    assert [observer.seen for observer in observers] == [[1, 2], [1], [1, 2]]


def test_an_interrupt_inside_an_observer_goes_through():
    plugins = Plugins()
    plugins.register("watch", Observer(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        progress(plugins, 1)


def test_strict_makes_an_observers_failure_an_error(monkeypatch):
    monkeypatch.setenv("ZOO_STRICT", "1")
    plugins = Plugins()
    plugins.register("bad", Observer(ValueError("tired")))
    with pytest.raises(PluginError, match="ValueError: tired"):
        progress(plugins, 1)


# Feature extractors


class Space:
    """Finds extractors called `space/...`, and lists those in `listed`."""

    def __init__(self, found=None, listed=()):
        self.found, self.listed = found or extractor, listed

    @hookimpl
    def zoo_feature_extractors(self):
        return [extractor(name) for name in self.listed]

    @hookimpl
    def zoo_find_feature_extractor(self, name):
        return self.found(name) if name.startswith("space/") else None


def test_a_namespace_is_opened_by_the_plugin_that_has_it():
    plugins = Plugins()
    plugins.register("nothing", Space(found=lambda name: None))
    plugins.register("space", Space())
    assert plugins.find_feature_extractor("space/eye").name == "space/eye"


@pytest.mark.parametrize("name", ["space/eye", "eye", "p/eye", "p/space/eye"])
def test_a_listed_extractor_comes_before_a_namespace(name):
    plugins = Plugins()
    plugins.register("p", Space(found=lambda name: 1 / 0, listed=["space/eye", "eye"]))
    assert plugins.find_feature_extractor(name) is plugins.feature_extractors.get(name)
    assert plugins.problems == []


def test_an_extractor_nobody_has_is_unknown():
    plugins = Plugins()
    plugins.register("p", Space(listed=["eye"]))
    with pytest.raises(UnknownNameError, match="nearest: eye"):
        plugins.find_feature_extractor("eyes")


@pytest.mark.parametrize("found", [lambda name: 1 / 0, lambda name: "garbage"])
def test_a_namespace_that_fails_is_reported_and_the_next_one_asked(found):
    plugins = Plugins()
    plugins.register("bad", Space(found))
    plugins.register("good", Space())
    assert plugins.find_feature_extractor("space/eye").name == "space/eye"
    assert [problem.plugin for problem in plugins.problems] == ["bad"]


@pytest.mark.parametrize("error", [UnknownNameError("eye", "i", []), OfflineError("not here")])
def test_what_a_namespace_refuses_reaches_the_user(error):
    def refuse(name):
        raise error

    plugins = Plugins()
    plugins.register("space", Space(refuse))
    plugins.register("later", Space())
    with pytest.raises(type(error)) as caught:
        plugins.find_feature_extractor("space/eye")
    assert caught.value is error
    assert plugins.problems == []


def test_a_namespace_hook_may_take_no_argument():
    class Always:
        @hookimpl
        def zoo_find_feature_extractor(self):
            return extractor("always")

    plugins = Plugins()
    plugins.register("always", Always())
    assert plugins.find_feature_extractor("anything").name == "always"
