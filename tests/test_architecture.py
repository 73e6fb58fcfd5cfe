"""Which floor may import which. To change the architecture, change the list below."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "zoo_core"

# Bottom first: a floor imports only floors below it. "nouns" are the files directly in zoo_core;
# testing.py and testing_tensors.py belong to the same floor as the commands.
FLOORS = ["nouns", "nn", "plugins", "data", "weights", "metrics", "training", "sampling", "cli"]

# Floors without torch, and the only modules among the nouns that import it.
TORCHLESS = {"plugins", "cli"}
TORCH_NOUNS = {
    f"zoo_core.{name}" for name in ("arguments", "generators", "interfaces", "noise", "runtime")
}
HEAVY = {"torch", "numpy", "torchvision", "timm", "safetensors", "PIL", "rich", "yaml"}
TESTING = {"zoo_core.testing", "zoo_core.testing_tensors"}

ONE_DOOR = {  # third-party library -> the only core modules that may import it
    "typer": {"zoo_core.cli"},
    "rich": {"zoo_core.cli"},
    "pluggy": {"zoo_core.plugins"},
    "yaml": {"zoo_core.strict_yaml"},
    "platformdirs": {"zoo_core.filesystem"},
    "safetensors": {"zoo_core.weights.tensors", "zoo_core.training.checkpoint"},
    "torchmetrics": {"zoo_core.metrics"},
    "torch_fidelity": {"zoo_core.metrics"},
    "http": {"zoo_core.weights.connection"},
    "urllib": {"zoo_core.weights.connection"},
    "socket": {"zoo_core.weights.connection"},
    "ssl": {"zoo_core.weights.connection"},
    "truststore": {"zoo_core.weights.connection"},
    "huggingface_hub": {"zoo_core.weights.places", "zoo_core.weights.uploading"},
    "filelock": {"zoo_core.weights.store"},
    "onnx": {"zoo_core.weights.graphs"},
    "onnxruntime": {"zoo_core.weights.graphs"},
    "onnxscript": {"zoo_core.weights.graphs"},
}


def module(path: Path) -> str:
    """The dotted name of a core file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(CORE.rglob("*.py"))
MODULES = {module(path): path for path in FILES if path.parent != CORE or path.stem != "__init__"}
by_module = pytest.mark.parametrize("name", MODULES)


def floor(name: str) -> str:
    """The floor that a core module belongs to."""
    if name in (*TESTING, "zoo_core"):  # the latter lists names of every floor
        return "cli"
    parts = name.split(".")
    return parts[1] if (CORE / parts[1]).is_dir() else "nouns"


def imports(source: str, *, running: bool = False, at_top: bool = False) -> set[str]:
    """Dotted names that a source imports, such as `torch.nn` and `zoo_core.nn.layers`.

    `running` leaves out imports for type checkers only; `at_top` those inside functions.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if running and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if at_top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(inside & MODULES.keys() or {node.module})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def core_imports(source: str, **only: bool) -> set[str]:
    return {name for name in imports(source, **only) if name.split(".")[0] == "zoo_core"}


def upward(name: str, source: str) -> set[str]:
    """What a core module's source imports from floors above its own, for types as well."""
    own = FLOORS.index(floor(name))
    return {other for other in core_imports(source) if FLOORS.index(floor(other)) > own}


@cache
def heavy(name: str) -> frozenset[str]:
    """The heavy libraries that importing a core module loads."""
    source = MODULES[name].read_text()
    found = {
        library.split(".")[0] for library in imports(source, running=True, at_top=True)
    } & HEAVY
    others = core_imports(source, running=True, at_top=True) - {name}
    return frozenset(found.union(*map(heavy, others)))


def test_every_core_module_stands_on_a_floor():
    assert {floor(name) for name in MODULES} == set(FLOORS)


@by_module
def test_a_core_module_imports_downward_only(name: str):
    assert upward(name, MODULES[name].read_text()) == set()


@pytest.mark.parametrize(
    "planted",
    [
        "from zoo_core.training.engine import train",
        "import zoo_core.training.engine",
        "from zoo_core.training import engine",
        "def later():\n    from zoo_core.training.engine import train",
        "if TYPE_CHECKING:\n    from zoo_core.training.engine import train",
    ],
)
def test_an_upward_import_would_be_noticed(planted: str):
    assert upward("zoo_core.data.packing", planted) == {"zoo_core.training.engine"}
    assert upward("zoo_core.sampling.latents", planted) == set()


@pytest.mark.parametrize("room", FLOORS)
def test_inside_a_floor_no_imports_go_round(room: str):
    here = {name for name in MODULES if floor(name) == room}
    graph = {name: core_imports(MODULES[name].read_text(), running=True) & here for name in here}
    assert set(TopologicalSorter(graph).static_order()) == here  # CycleError names the cycle


@by_module
def test_what_needs_no_torch_imports_nothing_heavy(name: str):
    room = floor(name)
    if name in TORCH_NOUNS:
        assert "torch" in heavy(name)
    elif room in TORCHLESS | {"nouns"} and name not in TESTING:
        assert not heavy(name)


@pytest.mark.parametrize("library", ONE_DOOR)
def test_a_library_is_imported_through_one_door(library: str):
    users = {
        name
        for name, path in MODULES.items()
        if library in {imported.split(".")[0] for imported in imports(path.read_text())}
    }
    assert users
    for name in users:
        assert {name, f"zoo_core.{floor(name)}"} & ONE_DOOR[library], name


def test_only_the_hub_and_its_downloads_open_connections():
    opener = "zoo_core.weights.connection"
    users = {name for name, path in MODULES.items() if opener in imports(path.read_text())}
    assert users == {f"zoo_core.weights.{name}" for name in ("hub", "download", "repositories")}


@by_module
def test_private_names_are_imported_from_one_other_package_at_most(name: str):
    owners = {
        node.module.split(".")[0]
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if any(part.startswith("_") and part != "__future__" for part in
               [*node.module.split("."), alias.name])
    }  # fmt: skip
    assert "zoo_core" not in owners
    assert len(owners) <= 1


def test_the_core_names_no_plugin():
    plugins = {
        path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists()
    }
    for path in FILES:
        named = {name.split(".")[0] for name in imports(path.read_text())}
        assert not named & plugins, path


def test_networks_never_import_training():
    for path in (ROOT / "plugins").glob("*/networks.py"):
        assert f"{path.parent.name}.training" not in imports(path.read_text()), path


@by_module
def test_nothing_unpickles_or_executes_text(name: str):
    source = MODULES[name].read_text()
    assert not imports(source) & {"pickle", "dill", "joblib", "cloudpickle"}
    calls = {ast.unparse(n.func) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)}
    assert not calls & {"exec", "eval", "torch.load", "torch.save"}


def test_only_the_command_line_prints():
    for name, path in MODULES.items():
        if name.startswith("zoo_core.cli"):
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert "print" not in {ast.unparse(call.func) for call in calls}, path


def test_the_engine_asks_for_no_family():
    source = ast.parse((CORE / "training" / "engine.py").read_text())
    assert "isinstance" not in {
        ast.unparse(n.func) for n in ast.walk(source) if isinstance(n, ast.Call)
    }


def test_functions_are_short():
    lengths = []
    for path in FILES + sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths.append((node.end_lineno - node.lineno + 1, f"{path.name}:{node.name}"))
    assert max(lengths)[0] <= 60, max(lengths)
    assert sum(length <= 40 for length, _ in lengths) >= 0.9 * len(lengths)


def test_the_picture_of_the_floors_is_drawn_from_the_code():
    script = ROOT / "docs" / "floors.py"
    spec = importlib.util.spec_from_file_location("floors", script)
    floors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(floors)
    assert (ROOT / "docs" / "floors.svg").read_text() == floors.draw(), "python docs/floors.py"
