"""Who may import whom. A change of architecture is a change of the table below."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "zoo_core"

# A file may import files of lower layers, and earlier ones of its own.
LAYERS = [
    ["errors", "plain_yaml", "config", "schedules", "alarms", "spec", "hookspecs"],  # no torch
    ["catalogue", "plugins", "hub", "registry", "runs", "weights", "pictures", "pairs"],  # no torch
    [
        "noise",
        "interfaces",
        "runtime",
        "losses",
        "regularizers",
        "optimizers",
        "convolution",
        "resample",
        "warp",
        "layers",
        "features",
        "augment",
        "ada",
        "ema",
    ],
    [
        "packing",
        "loaders",
        "data",
        "checkpoint",
        "torchfile",
        "moments",
        "similarity",
        "metrics",
        "sides",
    ],
    ["state", "upkeep", "engine", "estimate", "pretrained", "latents", "evaluation", "testing"],
    ["cli"],
]
LIGHT = {name for layer in LAYERS[:2] for name in layer} | {"__init__", "cli"}
HEAVY = {
    "torch",
    "numpy",
    "torchvision",
    "timm",
    "safetensors",
    "PIL",
    "rich",
    "yaml",
    "platformdirs",
}
ONE_DOOR = {  # third-party library -> the only core files that may import it
    "typer": {"cli"},
    "pluggy": {"hookspecs", "plugins"},
    "yaml": {"plain_yaml"},
    "safetensors": {"checkpoint"},
    "rich": {"cli"},
    "platformdirs": {"hub"},
    "torchmetrics": {"moments", "similarity", "metrics"},
    "torch_fidelity": {"metrics"},
}
FILES = sorted(CORE.rglob("*.py"))


def module(path: Path) -> str:
    """The name of a core file in the table: its stem, or its folder for a package."""
    relative = path.relative_to(CORE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Dotted names a file imports at run time; what stands under TYPE_CHECKING is not."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "zoo_core":
                found.update(f"zoo_core.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def core_imports(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("zoo_core.")}


def test_the_table_names_every_core_file():
    named = {name for layer in LAYERS for name in layer} | {"__init__"}
    assert {module(path) for path in FILES} == named


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_core_file_imports_downward_only(path: Path):
    order = [name for layer in LAYERS for name in layer]
    own = module(path)
    if own == "__init__":
        return  # the public list; test_imports proves that it is lazy
    allowed = {*order[: order.index(own)], *(["cli"] if own == "cli" else [])}
    assert core_imports(path) - {"__init__"} <= allowed


@pytest.mark.parametrize(
    "path", [p for p in FILES if module(p) in LIGHT], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_light_file_imports_nothing_heavy_at_its_top(path: Path):
    top = {name.split(".")[0] for name in imports(path, top_level_only=True)}
    assert not top & HEAVY


@pytest.mark.parametrize("library", ONE_DOOR)
def test_a_library_is_imported_through_one_door(library: str):
    users = {module(p) for p in FILES if library in {n.split(".")[0] for n in imports(p)}}
    assert users <= ONE_DOOR[library]


def test_the_core_names_no_plugin():
    plugins = {
        path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists()
    }
    for path in FILES:
        assert not {name.split(".")[0] for name in imports(path)} & plugins, path


def test_networks_never_import_training():
    for path in (ROOT / "plugins").glob("*/networks.py"):
        assert not any(name.endswith(".training") for name in imports(path)), path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles_or_executes_text(path: Path):
    assert not imports(path) & {"pickle", "dill", "joblib", "cloudpickle"}
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    assert not calls & {"exec", "eval", "torch.load", "torch.save"}


def test_only_the_command_line_prints():
    for path in FILES:
        if module(path) == "cli":
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert "print" not in {ast.unparse(call.func) for call in calls}, path


def test_the_engine_asks_for_no_family():
    source = ast.parse((CORE / "engine.py").read_text())
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
