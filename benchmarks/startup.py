"""How long the light commands take, beside the time of importing torch.

    python benchmarks/startup.py [-n 15]

Wall times of whole processes, so the start of the interpreter is in each of them. The commands take
turns, so that a busy machine slows all of them alike; the first round is a warm-up that also writes
bytecode, into a temporary folder, as an installer would have done. Read the column `of torch`: the
median of each command over the median of `import torch` in the same run. Milliseconds are this
machine's and mean nothing on another. The last lines compare with the limits the project set
itself, 80 and 120 ms where importing torch takes 1.4 s.
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
    'python -c "import zoo_core"': (sys.executable, "-c", "import zoo_core"),
    'python -c "pass"': (sys.executable, "-c", "pass"),
}
LIMITS = {"zoo --help": 0.06, "zoo list": 0.09}  # share of importing torch


def main() -> None:
    parser = argparse.ArgumentParser(description="Startup times beside that of importing torch.")
    parser.add_argument("-n", type=int, default=15, help="measured rounds [default: 15]")
    rounds = parser.parse_args().n
    with tempfile.TemporaryDirectory() as bytecode:
        times = measure(rounds, environment(bytecode))
    report(times)


def environment(bytecode: str) -> dict[str, str]:
    """This one, with bytecode kept in a folder of its own, and every installed plugin."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "ZOO_PLUGINS", "ZOO_STRICT")
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    return {**kept, "PYTHONPYCACHEPREFIX": bytecode}


def measure(rounds: int, env: Mapping[str, str]) -> dict[str, list[float]]:
    """Seconds of every command, one of each a round, after a round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            seconds = run(command, env)
            if number:
                times[name].append(seconds)
    return times


def run(command: Sequence[str], env: Mapping[str, str]) -> float:
    """Wall time of one process; one that fails stops the benchmark."""
    started = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def report(times: Mapping[str, Sequence[float]]) -> None:
    whole = statistics.median(times[TORCH])
    count = len(times[TORCH])
    print(
        f"{'milliseconds, ' + str(count) + ' rounds':30}{'median':>9}{'min':>8}{'max':>8}", end=""
    )
    print(f"{'of torch':>11}")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        numbers = "".join(f"{1000 * s:8.0f}" for s in (middle, min(seconds), max(seconds)))
        print(f"{name:31}{numbers}{middle / whole:11.1%}")
    print()
    for name, limit in LIMITS.items():
        share = statistics.median(times[name]) / whole
        verdict = "within" if share <= limit else "NOT within"
        print(f"{name}: {share:.1%} of importing torch, {verdict} {limit:.0%}")


if __name__ == "__main__":
    main()
