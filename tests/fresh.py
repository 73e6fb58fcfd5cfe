"""Fixtures for packaging tests: the zoo's wheel, installed in a virtual environment of its own.

A test file loads them with `pytest_plugins = "fresh"`, so that all test files share one wheel.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Installed in a fresh environment, so that every Python in it refuses network access.
NO_NETWORK = """
import sys

def refuse(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"}:
        raise OSError(f"{event} in a test without a network")

sys.addaudithook(refuse)
"""


class FreshEnvironment:
    """A virtual environment that holds only what a test installs.

    Dependencies such as torch take several GB, so they are borrowed: a .pth file adds the
    site-packages of the environment that runs the tests. Packages installed here precede them on
    sys.path, so the wheel hides the checkout that the tests otherwise import.
    """

    def __init__(self, folder: Path):
        venv.EnvBuilder().create(folder)
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.cwd = folder / "elsewhere"
        self.cwd.mkdir()
        place = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site = Path(self.run("python", "-c", place).stdout.strip())
        (self.site / "no_network.py").write_text(NO_NETWORK)
        # Not sitecustomize.py: Debian's Python has its own, which would come first.
        (self.site / "no_network.pth").write_text("import no_network\n")

    def borrow(self) -> None:
        """Let this environment import the packages of the running one, but not its checkout: .pth
        files in a borrowed folder, such as an editable install's, are not read.
        """
        lenders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
        (self.site / "borrowed.pth").write_text("\n".join(sorted(lenders)) + "\n")

    def pip(self, *arguments: str | Path) -> str:
        """Run the running environment's pip on this one, without a package index."""
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python")]
        return _checked([*command, *map(str, arguments)], self.cwd, self.environment()).stdout

    def run(self, program: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment outside the checkout; it must exit with `code`."""
        command = [*without_network(), str(self.bin / program), *map(str, arguments)]
        return _checked(command, self.cwd, self.environment(), code)

    def zoo(self, *arguments: str | Path, code: int = 0) -> str:
        """Standard output of a `zoo` command."""
        return self.run("zoo", *map(str, arguments), code=code).stdout

    def zoo_json(self, *arguments: str) -> dict[str, object]:
        """The answer of a command that takes --json; it must not report plugin problems."""
        answer = json.loads(self.zoo(*arguments, "--json"))
        assert not answer["problems"]
        return answer

    def environment(self) -> dict[str, str]:
        """The environment variables of this process, except those that lead to the checkout."""
        misleading = (
            "PYTHONPATH",
            "PYTHONHOME",
            "VIRTUAL_ENV",
            "ZOO_PLUGINS",
            "PIP_REQUIRE_VIRTUALENV",
        )
        kept = {name: value for name, value in os.environ.items() if name not in misleading}
        return kept | {"PYTHONNOUSERSITE": "1", "PIP_NO_INDEX": "1", "ZOO_STRICT": "1"}


@functools.cache
def without_network() -> list[str]:
    """Command prefix that starts a process without a network; empty where that is not possible.

    On Linux root may use it, and other users where the kernel allows them user namespaces.
    Elsewhere the audit hook in every fresh environment must suffice.
    """
    for command in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        probe = [*command, "true"]
        if shutil.which("unshare") and not subprocess.run(probe, capture_output=True).returncode:
            return command
    return []


def _checked(
    command: list[str], cwd: Path, environment: dict[str, str], code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == code, (
        f"{command} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done


@pytest.fixture(scope="session")
def build_wheel(tmp_path_factory) -> Callable[[Path], Path]:
    """Builds the wheel of a project folder, once, with this environment's build tools."""

    @functools.cache
    def build(project: Path) -> Path:
        folder = tmp_path_factory.mktemp("wheel")
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
        command = [sys.executable, "-m", "pip", "wheel", *options, str(project)]
        _checked(command, folder, dict(os.environ))
        (wheel,) = folder.glob("*.whl")
        return wheel

    return build


@pytest.fixture(scope="module")
def fresh(build_wheel, tmp_path_factory) -> FreshEnvironment:
    """An environment with the zoo's wheel, one per test file."""
    environment = FreshEnvironment(tmp_path_factory.mktemp("fresh") / "venv")
    environment.pip("install", "--no-deps", build_wheel(ROOT))
    environment.borrow()
    return environment
