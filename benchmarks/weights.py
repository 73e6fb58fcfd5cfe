"""Measure `zoo list` with many registered weights, `zoo weights verify`, and `zoo.load`.

    python benchmarks/weights.py [-n 15] [--weights 300]

A plugin in a temporary folder registers as many weights: copies of the zoo's own entries under
other names. Times are processor times of whole processes, since wall times on a busy machine say
little. Runs with and without that plugin take turns; the ratio is the median over rounds.
`zoo.load` is compared with reading the file and building the module, in turns in one process, with
torch imported and the registry read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from zoo_core.weights.registry import builtin_registry, read_registry

ZOO = (sys.executable, "-m", "zoo_core.cli")
PLUGIN = """
from pathlib import Path
from zoo_core import hookimpl

ZOO_API = 1


@hookimpl
def zoo_registries():
    return [Path(__file__).with_name("many.json")]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Listing and verifying registered weights.")
    parser.add_argument("-n", type=int, default=15, help="measured rounds [default: 15]")
    parser.add_argument("--weights", type=int, default=300, help="how many [default: 300]")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), given.weights)
        without = {**os.environ, "ZOO_CACHE": folder}
        path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        pairs = [
            (cpu("list", env=without), cpu("list", env={**without, "PYTHONPATH": path}))
            for _ in range(given.n + 1)
        ][1:]  # the first round reads the registries
    own = len(read_registry(builtin_registry()))
    before, after = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(many / few for few, many in pairs)
    print(f"zoo list, {own} weights: {before:.0f} ms of processor time")
    print(f"zoo list, {own + given.weights} weights: {after:.0f} ms, {ratio:.2f} times as long")
    started = time.perf_counter()
    cpu("weights", "verify", env=dict(os.environ))
    print(f"zoo weights verify: {time.perf_counter() - started:.2f} s")
    for name, least, whole in loads(given.n):
        print(f"zoo.load {name:24} {1000 * whole:6.1f} ms, {whole / least:.2f} times as long")


def loads(rounds: int) -> Iterator[tuple[str, float, float]]:
    """Yield (name, least, whole) of each packaged generator: processor seconds, each the shortest.

    `least` is for reading the file and building the module with random weights, `whole` for
    `zoo.load`.
    """
    import zoo_core as zoo
    from zoo_core.config import read_config

    plugins = zoo.load_plugins()
    for entry in read_registry(builtin_registry()):
        spec = plugins.models.get(entry.model)
        config, path = read_config(spec.config, entry.config, ""), zoo.fetch(entry.name)[spec.role]
        least, whole = [], []
        for _ in range(rounds + 1):
            started = time.process_time()
            path.read_bytes()
            spec.build_main(config)
            least.append(time.process_time() - started)
            started = time.process_time()
            zoo.load(entry.name, plugins=plugins)
            whole.append(time.process_time() - started)
        yield entry.name, min(least), min(whole)


def install(folder: Path, count: int) -> None:
    """Make a plugin that registers `count` weights."""
    own = msgspec.to_builtins(read_registry(builtin_registry()))
    entries = []
    for number in range(count):
        entry = own[number % len(own)]
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        files = {"generator": {"urls": ["https://example.org/a"], "sha256": sha256, "size": 1}}
        entries.append({**entry, "name": f"{entry['model']}.copy{number}", "files": files})
    (folder / "many.json").write_text(json.dumps({"schema": 1, "weights": entries}))
    (folder / "zoo_many.py").write_text(PLUGIN)
    metadata = folder / "zoo_many-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-many\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[zoo]\nmany = zoo_many\n")


def cpu(*arguments: str, env: dict[str, str]) -> float:
    """Return the processor seconds of a command; a failure stops the benchmark."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*ZOO, *arguments], env=env, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
