"""`zoo.load`: every way to name weights, and every way in which they can be wrong."""

import hashlib
import json
import os
import pickle  # noqa: TID251 - to make a hostile file
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from file_server import serving
from toys import FEATURES, Sorter, SorterConfig, ToyGenerator, resolved, toy_plugins

from zoo_core.errors import AmbiguousNameError, InputError, UnknownNameError, WeightsError
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.weights import loading
from zoo_core.weights.header import WeightsMetadata
from zoo_core.weights.loading import load, load_features
from zoo_core.weights.tensors import load_weights, save_weights

CONFIG = resolved().config
ABOUT = WeightsMetadata(
    model="toy",
    role="generator",
    config=msgspec.to_builtins(CONFIG),
    images=16,
    licence="CC0-1.0",
    trained_on="bars",
    zoo_version="0.1.0",
)
ENTRY = {
    "name": "toy.bars16",
    "model": "toy",
    "summary": "bars",
    "config": msgspec.to_builtins(CONFIG),
    "licence": "CC0-1.0",
    "trained_on": "bars",
    "images": 16,
    "command": "zoo train toy",
    "aliases": ["toy.stripes"],
}


@pytest.fixture
def generator():
    return ToyGenerator(CONFIG)


@pytest.fixture
def save(tmp_path, generator):
    """Write the weights of the generator, optionally with changed metadata."""

    def write(name="toy.safetensors", network=generator, **changes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, network, msgspec.structs.replace(ABOUT, **changes))
        return path

    return write


def assert_same_pictures(loaded, generator):
    assert torch.equal(loaded.sample(range(3)), generator.sample(range(3)))


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_loaded(save, generator, kind):
    loaded = load(kind(save()), plugins=toy_plugins())
    assert_same_pictures(loaded, generator)


def test_the_folder_of_a_run_is_loaded(save, generator):
    folder = save("runs/toy.bars16/generator.safetensors").parent
    assert_same_pictures(load(str(folder), plugins=toy_plugins()), generator)


def test_a_path_object_needs_no_spelling(save, generator, monkeypatch):
    """The string `run` might be a name; a Path cannot be one."""
    folder = save("run/generator.safetensors").parent
    monkeypatch.chdir(folder.parent)
    assert_same_pictures(load(Path("run"), plugins=toy_plugins()), generator)


def test_the_names_of_its_classes_come_with_it(save):
    config = msgspec.structs.replace(CONFIG, num_classes=2)
    record = {"config": msgspec.to_builtins(config), "network": ToyGenerator(config)}
    loaded = load(save(**record, classes=("cat", "dog")), plugins=toy_plugins())
    assert loaded.classes == ("cat", "dog")
    assert load(save(**record), plugins=toy_plugins()).classes == ()
    with pytest.raises(WeightsError, match="wrong number of class names; given: 1; allowed: 2"):
        load(save(**record, classes=("cat",)), plugins=toy_plugins())


def test_what_counts_is_the_content_not_the_suffix(save, generator):
    assert_same_pictures(load(save("toy.pth"), plugins=toy_plugins()), generator)


def test_it_is_in_evaluation_mode_without_gradients_on_the_cpu(save):
    loaded = load(save(), plugins=toy_plugins())
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert {tensor.device.type for tensor in loaded.state_dict().values()} == {"cpu"}


def test_a_device_that_is_not_here_is_an_input_error(save):
    with pytest.raises(InputError, match="cannot use the device 'nonsense'"):
        load(save(), device="nonsense", plugins=toy_plugins())


# Registered names.


@pytest.fixture
def registered(save, monkeypatch, tmp_path):
    """Make plugins with the toy model and registered weights that a package ships."""

    def register(roles=("generator",), **changes):
        data = save("site/throwaway_toy/a.safetensors").read_bytes()
        (tmp_path / "site" / "throwaway_toy" / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path / "site")
        file = {
            "urls": ["package:throwaway_toy/a.safetensors"],
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            **changes,
        }
        entry = {**ENTRY, "files": dict.fromkeys(roles, file)}
        path = tmp_path / "registry.yaml"
        path.write_text(json.dumps({"schema": 1, "weights": [entry]}))

        class Registry:
            @hookimpl
            def zoo_registries(self):
                return [path]

        plugins = toy_plugins()
        plugins.register("registry", Registry())
        return plugins

    return register


@pytest.mark.parametrize("name", ["toy.bars16", "registry/toy.bars16"])
def test_a_registered_name_is_loaded(registered, generator, name):
    assert_same_pictures(load(name, plugins=registered()), generator)


def test_registered_weights_are_compared_with_the_registry(registered):
    with pytest.raises(WeightsError, match="is not the registered one"):
        load("toy.bars16", plugins=registered(sha256="0" * 64))


def test_weights_are_loaded_by_the_name_that_they_had_before(registered, generator, caplog):
    assert_same_pictures(load("toy.stripes", plugins=registered()), generator)
    assert caplog.messages == ["toy.stripes is now called toy.bars16"]


def test_registered_weights_are_downloaded(registered, generator):
    told = []
    with serving() as server:
        data = hidden(registered()).read_bytes()
        plugins = registered(urls=[server.serve("/a", data)])
        loaded = load("toy.bars16", plugins=plugins, on_progress=lambda *done: told.append(done))
        assert_same_pictures(loaded, generator)
        assert_same_pictures(load("toy.bars16", plugins=plugins), generator)
        assert len(server.requests) == 1
    assert told[-1] == (len(data), len(data))


def hidden(plugins):
    """The weights file of a package."""
    from zoo_core.weights.hub import find
    from zoo_core.weights.registry import load_registry

    return find(load_registry(plugins).get("toy.bars16").files["generator"]).path


def test_one_bit_is_enough_to_refuse_registered_weights(registered, tmp_path):
    plugins = registered()
    data = bytearray(hidden(plugins).read_bytes())
    for position in (0, len(data) // 2, len(data) - 1):
        data[position] ^= 4
        hidden(plugins).write_bytes(data)
        with pytest.raises(WeightsError, match="not the registered one"):
            load("toy.bars16", plugins=plugins)
        data[position] ^= 4


def test_registered_weights_without_a_generator_are_refused(registered):
    plugins = registered(roles=["discriminator"])
    with pytest.raises(WeightsError, match=r"toy\.bars16 has no generator"):
        load("toy.bars16", plugins=plugins)


def test_an_unknown_name_comes_with_the_nearest(registered):
    with pytest.raises(UnknownNameError, match=r"nearest: toy\.bars16") as error:
        load("toy.bar16", plugins=registered())
    assert error.value.exit_code == 3


@pytest.mark.parametrize("name", ["o4", "my.run", "toy.bars", "toy.pth"])
def test_what_is_here_needs_no_spelling_if_nothing_is_registered_so(
    save, generator, monkeypatch, tmp_path, name
):
    save(name if name.endswith(".pth") else f"{name}/generator.safetensors")
    monkeypatch.chdir(tmp_path)
    assert_same_pictures(load(name, plugins=toy_plugins()), generator)


def test_a_folder_without_weights_is_no_run(monkeypatch, tmp_path):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no generator\.safetensors or .* in the folder photos"):
        load("photos", plugins=toy_plugins())


def test_a_folder_of_runs_says_how_to_type_them(save, monkeypatch, tmp_path):
    save("my runs/toy.bars16/generator.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"try: 'my runs/toy\.bars16'$"):
        load("my runs", plugins=toy_plugins())
    monkeypatch.chdir(tmp_path / "my runs")
    with pytest.raises(InputError, match=r"try: \./toy\.bars16$"):
        load(".", plugins=toy_plugins())


def test_a_registered_name_wins_over_a_folder_that_is_no_run(
    registered, generator, monkeypatch, tmp_path
):
    (tmp_path / "toy.bars16").mkdir()
    monkeypatch.chdir(tmp_path)
    assert_same_pictures(load("toy.bars16", plugins=registered()), generator)


def test_a_run_that_is_called_like_registered_weights_has_to_be_spelled(
    save, registered, generator, monkeypatch, tmp_path
):
    other = ToyGenerator(CONFIG)
    save("toy.bars16/generator.safetensors", network=other)
    monkeypatch.chdir(tmp_path)
    plugins = registered()
    with pytest.raises(AmbiguousNameError) as error:
        load("toy.bars16", plugins=plugins)
    assert "allowed: ./toy.bars16 for the path; registry/toy.bars16 for" in str(error.value)
    assert_same_pictures(load("./toy.bars16", plugins=plugins), other)
    assert_same_pictures(load(Path("toy.bars16"), plugins=plugins), other)
    assert_same_pictures(load("registry/toy.bars16", plugins=plugins), generator)


def test_a_run_that_is_called_like_an_extractor_has_to_be_spelled(monkeypatch, tmp_path):
    config = SorterConfig()
    described = {"model": "sorter", "role": "classifier", "config": msgspec.to_builtins(config)}
    about = msgspec.structs.replace(ABOUT, **described)
    (tmp_path / "toy-features").mkdir()
    save_weights(tmp_path / "toy-features" / "classifier.safetensors", Sorter(config), about)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AmbiguousNameError, match=r"\./toy-features for the path; toys/"):
        load_features("toy-features", plugins=toy_plugins())
    for name in ("./toy-features", "toys/toy-features"):
        assert load_features(name, plugins=toy_plugins()).width == 6


@pytest.mark.parametrize(
    "name", ["none.safetensors", "./none", "~/none-such-file", "a/b.safetensors"]
)
def test_a_path_that_is_not_there_is_an_input_error(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no file") as error:
        load(name, plugins=toy_plugins())
    assert error.value.exit_code == 2


def test_a_file_that_cannot_be_read_is_one_line(save, monkeypatch):
    path = save()

    def fail(self, mode):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(WeightsError, match=f"cannot read {path}: Input/output error"):
        load(path, plugins=toy_plugins())


# Files that are not what they claim to be.


def refusal(path, kind=WeightsError):
    with pytest.raises(kind) as error:
        load(path, plugins=toy_plugins())
    text = str(error.value)
    assert str(path) in text
    assert text.isprintable(), text
    assert len(text) < 1000
    return text


def rewritten(path, change):
    """Change the text of the header of a file, and return its path."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = change(data[8 : 8 + length])
    assert header != data[8 : 8 + length]
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    return path


@pytest.mark.parametrize("role", ["discriminator", "feature_extractor", "\x1b[31mred"])
def test_weights_of_another_role_are_refused(save, role):
    assert "not a generator" in refusal(save(role=role))


@pytest.mark.parametrize("model", ["toi", "os.system", "toys/toi", "../toy", "", "\x1b[31mtoy"])
def test_weights_of_a_model_that_is_not_installed_are_refused(save, model):
    path = save(model=model)
    assert f"no model is called {model!r}" in refusal(path, UnknownNameError)


def test_weights_of_a_model_that_is_not_installed_exit_with_3(save):
    with pytest.raises(UnknownNameError, match="nearest: toy") as error:
        load(save(model="toi"), plugins=toy_plugins())
    assert error.value.exit_code == 3


CONFIGS = {
    "unknown key": ({"widht": 4}, "widht"),
    "a value of another type": ({"width": "4"}, "width"),
    "a value out of range": ({"width": 0}, "width"),
    "another architecture": ({"width": 5}, "does not fit the architecture"),
    "images of another size": ({"resolution": 32}, "does not fit the architecture"),
    "classes": ({"num_classes": 3}, "is missing"),
    "a width of a million": ({"width": 1_000_000_000}, "does not fit the architecture"),
    "a width that no machine has": ({"width": 1 << 60}, "a network that cannot be built"),
    "a width of a hundred digits": ({"width": 10**100}, ""),
}


@pytest.mark.parametrize(("config", "reason"), CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_that_does_not_fit_is_refused(save, config, reason):
    if config.get("width") == 10**100:  # too large for the JSON encoder
        path = rewritten(save(), lambda h: h.replace(rb"\"width\":4", rb"\"width\":" + b"9" * 100))
    else:
        path = save(config={**ABOUT.config, **config})
    assert reason in refusal(path)


def test_tensors_of_another_type_are_refused(save, generator):
    assert "F64" in refusal(save(network=generator.double()))


def test_a_tensor_listed_twice_is_refused(save):
    path = save()
    rewritten(path, lambda header: header.replace(b'"norm.bias"', b'"norm.weight"'))
    assert "'norm.weight' appears twice" in refusal(path)


def test_tensors_that_share_memory_are_saved_and_loaded(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Linear(2, 2, bias=False)
            self.other = torch.nn.Linear(2, 2, bias=False)
            self.other.weight = self.one.weight

    tied = Tied()
    save_weights(tmp_path / "tied", tied, ABOUT)
    loaded = load_weights((tmp_path / "tied").read_bytes(), "tied", Tied)
    assert loaded.one.weight is loaded.other.weight
    assert torch.equal(loaded.one.weight, tied.one.weight)


def test_weights_that_are_not_finite_are_refused(save, generator):
    with torch.no_grad():
        generator.paint.bias[1] = float("nan")
    assert "non-finite values in 'paint.bias'" in refusal(save())


def test_a_truncated_file_is_refused(save):
    path = save()
    path.write_bytes(path.read_bytes()[:-1])
    assert "damaged" in refusal(path)


class Hostile:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", ["pickle", "torch", "legacy torch"])
def test_a_pickle_is_refused_and_not_run(tmp_path, write):
    path, witness = tmp_path / "toy.safetensors", tmp_path / "witness"
    if write == "pickle":
        path.write_bytes(pickle.dumps(Hostile(witness)))
    else:
        torch.save(Hostile(witness), path, _use_new_zipfile_serialization=write == "torch")
    assert "pickle" in refusal(path)
    assert not witness.exists()


def test_what_is_checked_is_what_is_loaded(save, generator, monkeypatch):
    """The file is read once, so replacing it after the check has no effect."""
    path, parse = save(), loading.parse_header

    def parse_and_replace(*arguments):
        header = parse(*arguments)
        path.write_bytes(b"something else")
        return header

    monkeypatch.setattr(loading, "parse_header", parse_and_replace)
    assert_same_pictures(load(path, plugins=toy_plugins()), generator)


AUDIT = """
import sys

always, while_loading, loading = [], [], False
BAD = ("import", "exec", "compile", "marshal.loads", "code.__new__", "ctypes.dlopen")
BAD_KINDS = ("socket.", "subprocess.", "os.", "shutil.", "pickle.")

def watch(event, arguments):
    if event == "pickle.find_class" or event.startswith("socket."):
        always.append(f"{event} {arguments}")
    if loading and (event in BAD or event.startswith(BAD_KINDS)):
        while_loading.append(f"{event} {arguments}")
    if loading and event == "open" and set(arguments[1] or "r") & set("wax+"):
        while_loading.append(f"{event} {arguments}")

sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
from toys import toy_plugins
from zoo_core import load, load_features

plugins = toy_plugins()
if len(sys.argv) > 3:
    from pathlib import Path
    from zoo_core.plugins.contributions import Contribution
    plugins.registries.append(Contribution("registry", "this test", Path(sys.argv[3])))
load(sys.argv[2], plugins=plugins)  # so that torch has imported all that it needs
loading = True
load(sys.argv[2], plugins=plugins)
found = list(while_loading)
eval("1 + 1")
assert len(while_loading) > len(found), "the audit hook is not active"
loading = False
import json
print(json.dumps({"always": always, "while loading": found}))
"""


@pytest.fixture(scope="module", params=["file", "cached"])
def audit(request, tmp_path_factory):
    """The audit events of a process that loads weights: a file, or a name whose file is cached."""
    folder = tmp_path_factory.mktemp("audit")
    path = folder / "toy.safetensors"
    save_weights(path, ToyGenerator(CONFIG), ABOUT)
    arguments = [str(Path(__file__).parents[1]), str(path)]
    if request.param == "cached":
        arguments[1:] = ["toy.bars16", str(cached(path, folder))]
    command = [sys.executable, "-c", AUDIT, *arguments]
    environment = {**os.environ, "ZOO_CACHE": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def cached(path, folder):
    """Put a file into the cache below `folder`; returns a registry that names it."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    (folder / "weights").mkdir()
    path.rename(folder / "weights" / digest)
    file = {"urls": ["https://weights.invalid/a"], "sha256": digest, "size": len(data)}
    registry = folder / "registry.yaml"
    entry = {**ENTRY, "files": {"generator": file}}
    registry.write_text(json.dumps({"schema": 1, "weights": [entry]}))
    return registry


def test_loading_runs_no_code_and_writes_no_file(audit):
    assert audit["while loading"] == []


def test_nothing_is_unpickled_and_no_socket_opened_from_the_first_import_on(audit):
    assert audit["always"] == []


def test_the_installed_plugins_are_searched_unless_others_are_given(save, generator, monkeypatch):
    monkeypatch.setattr(loading, "load_plugins", toy_plugins)
    assert_same_pictures(load(save()), generator)


# Feature extractors by name.


def test_a_feature_extractor_is_loaded_by_name_and_of_its_own_size():
    extractor = load_features("toy-features", plugins=toy_plugins())
    assert extractor.input_size == 16
    assert extractor(torch.zeros(2, 3, 9, 9)).shape == (2, 6)
    assert not extractor.training


def test_a_feature_extractor_takes_another_size():
    extractor = load_features("toy-features", input_size=32, plugins=toy_plugins())
    assert "32px" in extractor.fingerprint


@pytest.mark.parametrize("size", [0, -1])
def test_an_impossible_input_size_is_refused(size):
    with pytest.raises(InputError, match="invalid input size"):
        load_features("toy-features", input_size=size, plugins=toy_plugins())


def test_an_unknown_extractor_comes_with_the_nearest():
    with pytest.raises(UnknownNameError, match="nearest: toy-features"):
        load_features("toy-feature", plugins=toy_plugins())


def test_an_extractor_built_on_the_meta_device_stays_there():
    with torch.device("meta"):
        extractor = load_features("toy-features", plugins=toy_plugins())
    assert extractor.mean.is_meta


def test_a_classifier_built_on_the_meta_device_stays_there(save):
    config = SorterConfig()
    described = {"model": "sorter", "role": "classifier", "config": msgspec.to_builtins(config)}
    path = save("sorter.safetensors", Sorter(config), **described)
    with torch.device("meta"):
        extractor = load_features(str(path), plugins=toy_plugins())
    assert all(parameter.is_meta for parameter in extractor.parameters())
    assert "sha256:unloaded" in extractor.fingerprint


def test_an_extractor_on_a_device_that_is_not_here_is_an_input_error():
    with pytest.raises(InputError, match="cannot use the device 'nonsense'"):
        load_features("toy-features", device="nonsense", plugins=toy_plugins())


def test_the_distance_is_called_what_the_plugin_says():
    plugins = toy_plugins()
    assert load_features("toy-features", plugins=plugins).distance == "fd"

    class Graph:
        @hookimpl
        def zoo_feature_extractors(self):
            return [msgspec.structs.replace(FEATURES, name="graph", distance="fid")]

    plugins.register("graph", Graph())
    assert load_features("graph", plugins=plugins).distance == "fid"
