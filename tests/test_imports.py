"""Light commands load no heavy libraries: listing takes milliseconds, with any plugins."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "numpy", "torchvision", "timm", "rich", "pydantic"]
PROBE = """
import json, sys
sys.argv = ["zoo", *{arguments!r}]
{before}
from zoo_core.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(json.dumps([name for name in {heavy!r} if name in sys.modules]), file=sys.stderr)
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def heavy_modules(*arguments: str, before: str = "") -> list[str]:
    """The modules of HEAVY that a command has imported when it ends."""
    program = PROBE.format(arguments=arguments, heavy=HEAVY, before=before)
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["list"], ["list", "--json"], ["plugin", "list"],
        ["data", "list"], ["import", "--list"], ["train", "--help"], ["weights", "list"],
        ["weights", "verify"], ["registry", "schema"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_light_command_imports_nothing_heavy(arguments):
    assert heavy_modules(*arguments) == []


def test_a_command_imports_no_other_command():
    program = (
        "import sys; sys.argv = ['zoo', 'list']\n"
        "from zoo_core.cli import COMMANDS, main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "modules = {module for module, _ in COMMANDS.values()}\n"
        "print(*[m for m in modules if f'zoo_core.cli.{m}' in sys.modules], file=sys.stderr)"
    )
    assert python("-c", program).stderr.split() == ["list_"]


def test_showing_a_model_imports_nothing_heavy():
    listed = python("-m", "zoo_core.cli", "list", "--json")
    name = json.loads(listed.stdout)["models"][0]["name"]
    assert heavy_modules("show", name) == []


def test_the_probe_would_notice():
    assert heavy_modules("list", before="import numpy") == ["numpy"]


def test_importing_the_package_is_light():
    heavy = [*HEAVY, "pluggy", "msgspec", "typer"]
    done = python("-c", f"import sys, zoo_core; print([n for n in {heavy!r} if n in sys.modules])")
    assert done.stdout.strip() == "[]"
