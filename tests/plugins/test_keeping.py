"""What belongs to the whole process is put back after a plugin, and the plugin is named."""

import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import TOY, ToyGenerator

from zoo_core.errors import PluginError
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.keeping import keeping_process_state
from zoo_core.plugins.loading import Plugins

torch.use_deterministic_algorithms(False)  # imports what adds filters of its own

CHANGES = {
    "the working folder": lambda: os.chdir("/"),
    "Python's random state": lambda: random.seed(1),
    "numpy's random state": lambda: np.random.seed(1),
    "numpy's handling of errors": lambda: np.seterr(all="raise"),
    "torch's default dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch's default device": lambda: torch.set_default_device("meta"),
    "torch's number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch's deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "torch's gradients": lambda: torch.set_grad_enabled(False),
    "torch's precision of matrix products": lambda: torch.set_float32_matmul_precision("medium"),
    "torch's random state": lambda: torch.manual_seed(12345),
    "the filters of warnings": lambda: warnings.simplefilter("ignore"),
}


def process_state():
    """Everything that may have changed, as text."""
    found = [
        Path.cwd(), random.getstate(), np.random.get_state()[1].tolist(), np.geterr(),
        torch.get_default_dtype(), torch.zeros(1).device, torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(),
        torch.get_float32_matmul_precision(), torch.get_rng_state().tolist(), warnings.filters,
    ]  # fmt: skip
    return list(map(str, found))


@pytest.fixture(params=CHANGES)
def change(request):
    """A change, and its name; the process is as before when the test ends."""
    with keeping_process_state([]):
        yield request.param, CHANGES[request.param]


def plugins_with(**hooks):
    plugins = Plugins()
    plugins.register("rude", type("Rude", (), {name: hookimpl(f) for name, f in hooks.items()})())
    return plugins


def check_reported(plugins, stage, name):
    [problem] = plugins.problems
    assert (problem.plugin, problem.stage) == ("rude", stage)
    assert "changes what belongs to the whole process, which was put back: " + name in str(problem)


def test_a_hook_that_is_called_while_loading_changes_nothing(change):
    name, apply = change
    before = process_state()
    plugins = plugins_with(zoo_models=lambda self: (apply(), [])[1])
    assert process_state() == before
    check_reported(plugins, "zoo_models", name)
    assert plugins.infos[0].status == "ok"


def test_an_observer_changes_nothing(change):
    name, apply = change
    plugins = plugins_with(zoo_run_started=lambda self: (apply(), None)[1])
    before = process_state()
    plugins.notify("zoo_run_started", run=None, images=0)
    assert process_state() == before
    check_reported(plugins, "zoo_run_started", name)


def test_a_module_that_is_imported_to_build_a_network_changes_nothing(change, caplog):
    name, apply = change
    if "random" in name:
        pytest.skip("building a network draws random weights")

    def build(config):
        apply()
        return ToyGenerator(config)

    model = type(TOY)(**{key: getattr(TOY, key) for key in TOY.__struct_fields__}
                      | {"build_generator": build})  # fmt: skip
    plugins = plugins_with(zoo_models=lambda self: [model])
    before = process_state()[:-2]
    plugins.models.get("toy").build_generator(TOY.config())
    assert process_state()[:-2] == before
    check_reported(plugins, "build_generator", name)
    assert "plugin rude" in caplog.text


def test_strict_makes_an_error_of_it(monkeypatch):
    monkeypatch.setenv("ZOO_STRICT", "1")
    with keeping_process_state([]), pytest.raises(PluginError, match="default dtype"):
        plugins_with(zoo_models=lambda self: torch.set_default_dtype(torch.float64) or [])
    assert torch.get_default_dtype() is torch.float32


def test_filters_that_a_library_adds_for_itself_stay():
    class OwnWarning(UserWarning):
        pass

    with warnings.catch_warnings():
        changed = []
        with keeping_process_state(changed):
            warnings.filterwarnings("ignore", message="only this one")
            warnings.simplefilter("ignore", OwnWarning)
        assert changed == []
        assert [each[2] for each in warnings.filters[:2]] == [OwnWarning, Warning]


def test_filters_that_were_removed_come_back():
    with warnings.catch_warnings():
        before, changed = list(warnings.filters), []
        with keeping_process_state(changed):
            warnings.resetwarnings()
        assert (list(warnings.filters), changed) == (before, ["the filters of warnings"])


def test_what_a_plugin_sets_as_it_loads_torch_first_is_put_back():
    program = """
import sys
from zoo_core.plugins.keeping import keeping_process_state
changed = []
with keeping_process_state(changed):
    assert "torch" not in sys.modules
    import torch
    torch.set_default_dtype(torch.float64), torch.manual_seed(7), torch.set_num_threads(3)
assert torch.get_default_dtype() is torch.float32 and torch.get_num_threads() == 1
seven = torch.Generator().manual_seed(7).get_state()
assert not torch.equal(torch.get_rng_state(), seven)
print(*changed, sep=";")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("default dtype", "random state", "number of threads from 1 to 3"):
        assert f"torch's {name}" in done.stdout


def test_nothing_is_imported_to_keep_it():
    program = """
import sys
from zoo_core.plugins.keeping import keeping_process_state
with keeping_process_state([]):
    pass
print(*{"torch", "numpy"} & {*sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == ""
