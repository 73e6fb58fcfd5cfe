"""The wheel works when installed without the checkout and without a network."""

from __future__ import annotations

import socket
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from zoo_core.weights.registry import read_registry

pytest_plugins = "fresh"

ROOT = Path(__file__).parent.parent
REGISTERED = [entry.name for entry in read_registry(ROOT / "registry.yaml")]
PACKAGES = [ROOT / "zoo_core", *(init.parent for init in ROOT.glob("plugins/*/__init__.py"))]
SAMPLED = {  # arguments that give a square grid
    "unconditional": ["--seeds", "0-15"],
    "class-conditional": ["--seeds", "0-15", "--label", "0"],
    "image-to-image": ["--source", "drawn", "--columns", "2"],
}


@pytest.fixture(scope="module")
def names(build_wheel) -> set[str]:
    with zipfile.ZipFile(build_wheel(ROOT)) as wheel:
        return set(wheel.namelist())


def test_the_wheel_holds_the_packages_and_nothing_else(names):
    folders = {name.split("/")[0] for name in names}
    described = {folder for folder in folders if folder.endswith(".dist-info")}
    assert len(described) == 1
    assert folders - described == {package.name for package in PACKAGES}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_wheel_holds_every_file_of_a_package(package, names):
    files = [p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    missing = {p.relative_to(package.parent).as_posix() for p in files} - names
    assert not missing


def test_the_wheel_holds_the_registry(build_wheel):
    with zipfile.ZipFile(build_wheel(ROOT)) as wheel:
        assert wheel.read("zoo_core/registry.yaml") == (ROOT / "registry.yaml").read_bytes()


def test_a_fresh_environment_has_no_network(fresh):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        failed = fresh.run("python", "-c", program, code=1)
    assert "in a test without a network" in failed.stderr


def test_a_fresh_environment_runs_the_wheel_and_not_the_checkout(fresh):
    program = "import zoo_core, zoo_dcgan; print(zoo_core.__file__, zoo_dcgan.__file__, sep='\\n')"
    for place in map(Path, fresh.run("python", "-c", program).stdout.splitlines()):
        assert place.is_relative_to(fresh.site)


def test_every_resident_plugin_loads(fresh):
    plugins = fresh.zoo_json("plugin", "list")["plugins"]
    assert {p["name"]: p["status"] for p in plugins} == dict.fromkeys(entry_points(), "ok")


def test_a_model_is_listed_and_shown(fresh):
    assert "dcgan" in [m["name"] for m in fresh.zoo_json("list")["models"]]
    assert "Radford" in fresh.zoo("show", "dcgan")


def test_the_weights_that_the_readme_loads_are_listed(fresh):
    listed = {name for model in fresh.zoo_json("list")["models"] for name in model["weights"]}
    assert listed == set(REGISTERED)
    assert "dcgan.critters32" in listed


@pytest.mark.parametrize("name", REGISTERED)
def test_registered_weights_are_shown_and_sampled(name, fresh, tmp_path):
    draw(fresh.cwd / "drawn", count=8)
    (model,) = [m for m in fresh.zoo_json("list")["models"] if name in m["weights"]]
    assert name in fresh.zoo("show", name)
    grid = tmp_path / "x.png"
    fresh.zoo("sample", name, "--out", grid, *SAMPLED[model["task"]])
    with Image.open(grid) as picture:
        assert picture.width == picture.height
        assert len(picture.convert("RGB").getcolors(picture.width**2)) > 100


def draw(folder: Path, count: int) -> None:
    """Source images for an image-to-image model: one circle each."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).ellipse((8, 8, 24 + 4 * number, 24 + 4 * number), outline="black")
        picture.save(folder / f"{number}.png")


def entry_points() -> list[str]:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sorted(project["entry-points"]["zoo"])
