"""The documentation matches the code."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from packaging.version import Version

import zoo_core
from zoo_core import errors
from zoo_core.cli import build
from zoo_core.plugins import hookspecs
from zoo_core.strict_yaml import read_yaml
from zoo_core.weights.registry import read_registry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PYPROJECT = (ROOT / "pyproject.toml").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def commands() -> set[str]:
    """Every registered command: `list`, `data check` and so on."""
    app = build()
    own = {command.name for command in app.registered_commands}
    for group in app.registered_groups:
        own |= {f"{group.name} {c.name}" for c in group.typer_instance.registered_commands}
    return own


def code_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_readme_names_every_command_and_no_other():
    named = set(
        re.findall(
            r"\bzoo (list|show|train|sample|import|export|publish|interpolate|mix|evaluate"
            r"|(?:data|plugin|weights|registry) [a-z]+)\b",
            README,
        )
    )
    assert named | {"data show"} == commands()


def test_every_option_in_the_readme_exists():
    import typer

    root = typer.main.get_command(build())

    def options(command) -> set[str]:
        own = {option for parameter in command.params for option in parameter.opts}
        for child in getattr(command, "commands", {}).values():
            own |= options(child)
        return own

    lines = [line for line in README.splitlines() if re.match(r"    .*zoo ", line)]
    used = {option for line in lines for option in re.findall(r"(--[a-z-]+)", line)}
    assert used <= options(root)


def test_ci_runs_the_command_of_the_readme():
    install = "pip install -c constraints.txt -e '.[demo,test]'"
    assert f"    {install} && pytest -n auto" in README
    script = (ROOT / ".ci" / "run").read_text()
    constraints = '"${CONSTRAINTS:-constraints.txt}"'
    assert install.removeprefix("pip install ").replace("constraints.txt", constraints) in script
    assert script.rstrip().endswith("pytest -n auto")


def test_the_workflow_tests_every_python_that_is_promised():
    jobs = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    promised = re.findall(r"Programming Language :: Python :: (3\.\d+)", PYPROJECT)
    assert matrix["python"] == promised
    assert f'requires-python = ">={promised[0]}"' in PYPROJECT
    assert jobs["test"]["steps"][-1]["run"] == "bash .ci/run"


def test_the_lowest_versions_that_are_tested_are_those_that_are_stated():
    tested = dict(
        line.split("==") for line in (ROOT / ".ci" / "constraints-lowest.txt").read_text().split()
    )
    stated = dict(re.findall(r'"([\w-]+)>=([\d.]+)', PYPROJECT.partition("[project]")[2]))
    for name, version in stated.items():
        assert Version(tested[name]) == Version(version), name


def test_exit_codes_in_the_readme_are_those_of_the_errors():
    section = README[README.index("Exit codes:") : README.index("## Your own")]
    stated = {int(code) for code in re.findall(r"\b(\d+)\s+[a-z]", section)}
    used = {e.exit_code for e in vars(errors).values() if hasattr(e, "exit_code")}
    assert stated == used | {0}


def test_python_in_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    has_onnx = find_spec("onnxruntime") is not None
    for block in code_blocks(README):
        if has_onnx or "onnxruntime" not in block:
            exec(block, names)
    sampled = names["generator"].sample(range(16))
    assert names["latents"].shape == (16, *names["generator"].latent_shape)
    assert torch.equal(names["images"], sampled)
    torch.testing.assert_close(names["program"].module()(names["latents"]), sampled)
    assert tuple(names["images"].shape) == (16, 3, 32, 32)
    assert -1 <= float(names["images"].min()) <= float(names["images"].max()) <= 1
    assert torch.equal(zoo_core.read_pictures(zoo_core.to_pil(sampled)), names["same"])
    assert (tmp_path / "samples.png").is_file()
    assert tuple(names["features"].shape) == (16, 1280)
    assert tuple(each.shape[1] for each in names["maps"]) == names["extractor"].channels
    if has_onnx:
        torch.testing.assert_close(torch.from_numpy(names["drawn"]), sampled, rtol=0, atol=1e-3)


def test_the_guide_states_the_api_of_the_code():
    assert f"ZOO_API = {hookspecs.PLUGIN_API} " in CONTRIBUTING


@pytest.mark.parametrize(
    "path", sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/*/README.md")})
)
def test_links_lead_somewhere(path: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_files_that_the_architecture_names_exist():
    core, example = ROOT / "zoo_core", ROOT / "examples" / "zoo-vae" / "zoo_vae"
    named = set(re.findall(r"`((?:[\w-]+/)*\w+\.(?:py|svg|yaml))`", ARCHITECTURE))
    assert "training/engine.py" in named
    for name in named:
        assert any((folder / name).exists() for folder in (core, example, ROOT)), name


def test_every_environment_variable_is_documented():
    sources = [*(ROOT / "zoo_core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    used = {
        name
        for path in sources
        for name in re.findall(r"environ\S*?[\"'](ZOO_[A-Z]+)", path.read_text())
    }
    assert set(re.findall(r"\| `(ZOO_[A-Z]+)` \|", ARCHITECTURE)) == used


def test_every_hook_has_one_sentence():
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("zoo_")]
    assert len(hooks) >= 10
    assert all(hook.__doc__ for hook in hooks)


CARDS = [
    (entry, path)
    for entry in read_registry(ROOT / "registry.yaml")
    for path in ROOT.glob(f"plugins/*_{entry.model}/README.md")
]


@pytest.mark.parametrize(("entry", "path"), CARDS, ids=[entry.name for entry, _ in CARDS])
def test_a_card_says_what_training_took_and_how_good_its_numbers_are(entry, path: Path):
    text = " ".join(path.read_text().split())
    assert re.search(
        r"Training took [\d.]+ (minutes|hours) on (one core|two cores) of an? \w+", text
    )
    assert f"`{entry.metrics[0].command}`" in text
    assert "Lower is better for" in text
    value = entry.metrics[0].value
    assert any(f" {value:{digits}}" in text for digits in (".3g", ".3f", ".0f"))


def test_every_published_weight_has_a_card():
    assert len(CARDS) == len(read_registry(ROOT / "registry.yaml")) >= 8
