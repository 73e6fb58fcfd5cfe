"""Measure the startup time of light commands, relative to importing torch.

    python benchmarks/startup.py [-n 15]

Times are wall times of whole processes and include interpreter startup. Commands take turns, so
that a busy machine slows all of them alike. The first round is a warm-up that also writes bytecode
to a temporary folder, as an installer would have done. Read the column `of torch`: the time of a
command as a share of importing torch in the same round, as the median over rounds. Milliseconds are
not comparable across machines. The last lines compare with the project's limits: 80 and 120 ms
where importing torch takes 1.4 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ZOO = str(Path(sys.executable).with_name("zoo"))
TORCH = 'python -c "import torch"'
COMMANDS: Mapping[str, Sequence[str]] = {
    TORCH: (sys.executable, "-c", "import torch"),
    "zoo --help": (ZOO, "--help"),
    "zoo list": (ZOO, "list"),
    "zoo show dcgan": (ZOO, "show", "dcgan"),
    "zoo plugin list": (ZOO, "plugin", "list"),
    "zoo weights list": (ZOO, "weights", "list"),
    'python -c "import zoo_core"': (sys.executable, "-c", "import zoo_core"),
    'python -c "pass"': (sys.executable, "-c", "pass"),
}
LIMITS = {"zoo --help": 0.06, "zoo list": 0.09}  # share of importing torch


def main() -> None:
    parser = argparse.ArgumentParser(description="Startup times relative to importing torch.")
    parser.add_argument("-n", type=int, default=15, help="measured rounds [default: 15]")
    rounds = parser.parse_args().n
    with tempfile.TemporaryDirectory() as bytecode:
        times = measure(rounds, environment(bytecode))
    report(times)


def environment(bytecode: str) -> dict[str, str]:
    """Return this environment with every installed plugin and a separate bytecode folder."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "ZOO_PLUGINS", "ZOO_STRICT")
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    return {**kept, "PYTHONPYCACHEPREFIX": bytecode}


def measure(rounds: int, env: Mapping[str, str]) -> dict[str, list[float]]:
    """Return the seconds of every command, once per round, after one warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            seconds = run(command, env)
            if number:
                times[name].append(seconds)
    return times


def run(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Return the wall time of one process; a failure stops the benchmark."""
    started = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def report(times: Mapping[str, Sequence[float]]) -> None:
    """Print the table, then the comparison with the limits."""
    title = f"milliseconds, {len(times[TORCH])} rounds"
    print(f"{title:30}{'median':>8}{'min':>8}{'max':>8}{'of torch':>10}")
    for name, seconds in times.items():
        numbers = (statistics.median(seconds), min(seconds), max(seconds))
        row = "".join(f"{1000 * number:8.0f}" for number in numbers)
        print(f"{name:30}{row}{share(times, name):10.1%}")
    print()
    for name, limit in LIMITS.items():
        verdict = "within" if share(times, name) <= limit else "NOT within"
        print(f"{name}: {share(times, name):.1%} of importing torch, {verdict} {limit:.0%}")


def share(times: Mapping[str, Sequence[float]], name: str) -> float:
    """Return a command's share of importing torch in the same round, median over rounds."""
    pairs = zip(times[name], times[TORCH], strict=True)
    return statistics.median(seconds / whole for seconds, whole in pairs)


if __name__ == "__main__":
    main()
