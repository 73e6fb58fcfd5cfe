"""Measure the engine's speed, overhead and memory, relative to a plain loop on the same networks.

    python benchmarks/train.py dcgan [--quick] [--set batch_size=32]

`plain` is the loop in `plain/MODEL.py`: float32, contiguous. `engine` is the zoo's complete
`train`, with data, noise, checks and log, in the precision that `auto` chooses on this machine; if
that is bf16, also in fp32. Each side is a separate process on all CPU cores. They take turns of a
few steps, so that a busy machine slows all of them alike; the first turn is a warm-up. Read the
ratios: plain's seconds divided by the engine's in the same round, as median, minimum and maximum
over rounds. Images per second are not comparable across machines.

Overhead is the share of a step that is not spent on the networks (forward, loss, backward and
optimizer), by parts: `data` reads the batch, `noise` draws latents, `check` looks for non-finite
losses and gradients, `average` updates the EMA, `log` writes the log, `rest` is everything else.
Sample grids and checkpoints are rare and timed separately. Memory is the peak of the process,
including libraries, up to the last step; the final checkpoint comes later.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the parent must not import torch: workers would inherit its memory
    from zoo_core.config import Resolved
    from zoo_core.data.packing import PackedData
    from zoo_core.spec import ModelSpec

MODELS = sorted(p.stem for p in Path(__file__).with_name("plain").glob("[!_]*.py"))
SPEED = 1.2  # required speedup over plain in fp32; for bf16 see BF16_SPEED in plain/
OVERHEAD, MEMORY = 0.03, 1.3  # limits: share of a step; peak memory relative to plain


def main() -> None:
    arguments = parse()
    if arguments.side:
        work(arguments)
        return
    workers = [Worker("plain", "fp32"), Worker("engine", "auto")]
    if workers[1].hello["precision"] == "bf16":
        workers.append(Worker("engine", "fp32"))
    times = take_turns(workers, arguments.rounds, arguments.steps)
    reports = [worker.report() for worker in workers]
    for report, seconds in zip(reports, times, strict=True):
        report["seconds"] = sum(seconds)
        report["speeds"] = [a / b for a, b in zip(times[0], seconds, strict=True)]
    plain, *engines = reports
    title(arguments, workers[0].hello)
    for report in reports:
        row(report, plain)
    for report in engines:
        details(report)
    least = import_module(f"plain.{arguments.model}").BF16_SPEED
    for report in engines:
        verdicts(report, plain, least)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the engine with a plain training loop.")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--rounds", type=int, default=4, help="measured turns per side [4]")
    parser.add_argument("--steps", type=int, default=2, help="training steps per turn [2]")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, for both sides")
    parser.add_argument("--quick", action="store_true", help="two turns of one step")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.steps = 2, 1
    return arguments


class Worker:
    """One side in a separate process, which trains only on request."""

    def __init__(self, side: str, precision: str):
        self.process = subprocess.Popen(
            [sys.executable, *sys.argv, "--side", side, precision],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.hello = self._answer()

    def turn(self, steps: int) -> float:
        """Return the seconds that the next steps take."""
        self._say(steps)
        return float(self._answer())

    def report(self) -> dict[str, Any]:
        """Stop training and return the final report."""
        self._say(0)
        report = self._answer()
        self.process.wait()
        return report

    def _say(self, steps: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a worker failed; see above")
        return json.loads(line)


def take_turns(workers: Sequence[Worker], rounds: int, steps: int) -> list[list[float]]:
    """Return the seconds of every turn of each worker, after one warm-up round."""
    table = [[worker.turn(steps) for worker in workers] for _ in range(rounds + 1)]
    return [list(column) for column in zip(*table[1:], strict=True)]


# Worker


def work(arguments: argparse.Namespace) -> None:
    """Train one side turn by turn, and report."""
    import torch

    from zoo_core.config import parse_assignments, resolve
    from zoo_core.plugins.loading import load_plugins
    from zoo_core.testing import Case

    side, precision = arguments.side
    torch.set_num_threads(os.cpu_count() or 1)
    plain = import_module(f"plain.{arguments.model}")
    spec = load_plugins().models.get(arguments.model)
    steps = 2 + arguments.steps * (arguments.rounds + 1)  # one before the first turn, one after
    settings = {**plain.SETTINGS, **parse_assignments(arguments.set)}
    settings |= {
        "images": steps * int(settings["batch_size"]),
        "device": "cpu",
        "precision": precision,
        "sample_every": 1 << 60,
        "checkpoint_every": 1 << 60,
    }
    layers = (("defaults", spec.run), (plain.PRESET, spec.presets[plain.PRESET]))
    resolved = resolve(spec.name, spec.config, *layers, ("benchmark", settings))
    with tempfile.TemporaryDirectory() as folder:
        data = Case("", spec, resolved, Path(folder)).data()
        if side == "plain":
            run_plain(plain.steps, spec, resolved, data)
        else:
            run_engine(spec, resolved, data, Path(folder, "run"))


def run_plain(
    steps: Callable[..., Iterator[None]], spec: ModelSpec, resolved: Resolved, data: PackedData
) -> None:
    import numpy as np
    import torch

    assert spec.build_generator is not None
    assert spec.build_discriminator is not None
    generator = spec.build_generator(resolved.config)
    discriminator = spec.build_discriminator(resolved.config)
    sides = [data.images] if data.source is None else [data.source, data.images]
    pictures = torch.from_numpy(np.concatenate(sides, axis=3)).permute(0, 3, 1, 2).contiguous()
    turns = Turns(data, resolved.run.batch_size, "plain", "fp32", Stopwatch())
    for _ in steps(generator, discriminator, pictures, resolved.run.batch_size, resolved.config):
        turns.step_done()
        if turns.report:
            answer(turns.report)
            return


def run_engine(spec: ModelSpec, resolved: Resolved, data: PackedData, folder: Path) -> None:
    """Run the complete engine; it pauses after a step, in the progress hook."""
    import torch

    from zoo_core.runtime import Runtime
    from zoo_core.training import engine
    from zoo_core.training.run_folder import RunFolder

    watch = Stopwatch()
    watch.attach()
    dtype = Runtime.detect(resolved.run.device, resolved.run.precision).dtype
    precision = {torch.bfloat16: "bf16", torch.float32: "fp32"}[dtype]
    turns = Turns(data, resolved.run.batch_size, "engine", precision, watch)

    def notify(hook: str, **arguments: Any) -> None:
        if hook == "zoo_progress" and not turns.report:
            turns.step_done()

    licence = {"licence": "CC0-1.0", "trained_on": "drawn pictures"}
    engine.train(spec, resolved, data, RunFolder(folder), notify=notify, **licence)
    upkeep = {part: watch.upkeep[part] / 2 for part in ("sample", "checkpoint")}  # first and last
    answer({**turns.report, "upkeep": upkeep, "memory_with_upkeep": peak_memory()})


class Turns:
    """Called after every step; reports the time of a turn, then waits for the next request."""

    def __init__(self, data: PackedData, size: int, side: str, precision: str, watch: Stopwatch):
        self.shape, self.size, self.watch = data.images.shape[1:3], size, watch
        self.name = {"side": side, "precision": precision}
        self.report: dict[str, Any] = {}
        self.turns, self.left, self.images = 0, 0, 0
        self.seconds, self.started = 0.0, 0.0

    def step_done(self) -> None:
        self.seconds += time.perf_counter() - self.started
        self.left -= 1
        self.images += self.size
        if self.left <= 0:
            answer(self.seconds if self.turns else self._hello())
            self._wait()
        self.started = time.perf_counter()

    def _wait(self) -> None:
        self.turns += 1
        self.left, self.seconds = int(sys.stdin.readline() or 0), 0.0
        if self.turns <= 2:  # before the first turn that counts
            self.watch.seconds.clear()
            self.images = 0
        if not self.left:
            measured = {"images": self.images, "parts": dict(self.watch.seconds)}
            self.report = {**self.name, **measured, "memory": peak_memory()}

    def _hello(self) -> dict[str, Any]:
        import torch

        return {
            **self.name,
            "batch_size": self.size,
            "pixels": " x ".join(map(str, self.shape)),
            "threads": torch.get_num_threads(),
        }


class Stopwatch:
    """Seconds spent in each part of the engine, excluding nested parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.upkeep: dict[str, float] = {}
        self._inside = 0.0

    def attach(self) -> None:
        """Patch the parts of a step with timers, which take a few microseconds per step."""
        from zoo_core.noise import SeededNoise
        from zoo_core.runtime import Runtime
        from zoo_core.training import engine
        from zoo_core.training.ema import EMA

        for part, place, name in (
            ("networks", engine, "run_phase"),
            ("check", Runtime, "all_finite"),
            ("noise", SeededNoise, "normal"),
            ("noise", SeededNoise, "uniform"),
            ("noise", SeededNoise, "integers"),
            ("noise", Runtime, "seed"),
            ("average", EMA, "update"),
            ("log", engine, "log"),
            ("sample", engine, "draw_samples"),
            ("checkpoint", engine, "save"),
        ):
            setattr(place, name, self._timed(part, getattr(place, name)))
        batches = engine.batches

        def timed_batches(*arguments: Any) -> Iterator[Any]:
            advance = self._timed("data", batches(*arguments).__next__)
            while True:
                yield advance()

        engine.batches = timed_batches

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        seconds = self.upkeep if part in ("sample", "checkpoint") else self.seconds

        def timed(*arguments: Any, **keywords: Any) -> Any:
            outside, self._inside = self._inside, 0.0
            started = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                whole = time.perf_counter() - started
                seconds[part] = seconds.get(part, 0.0) + whole - self._inside
                self._inside = outside + whole

        return timed


def peak_memory() -> float:
    """Return the peak memory of this process in MB (Linux reports kilobytes, macOS bytes)."""
    import resource  # Windows lacks it

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


# Report


def title(arguments: argparse.Namespace, hello: dict[str, Any]) -> None:
    print(
        f"{arguments.model}, {hello['pixels']}, batch {hello['batch_size']}, "
        f"{hello['threads']} threads; {arguments.rounds} turns of {arguments.steps} steps per side"
    )
    print(f"{'':14}{'img/s':>10}{'times plain':>24}{'peak MB':>11}{'times plain':>13}")


def row(report: dict[str, Any], plain: dict[str, Any]) -> None:
    speeds = report["speeds"]
    speed = f"{statistics.median(speeds):.2f} ({min(speeds):.2f} .. {max(speeds):.2f})"
    images = report["images"] / report["seconds"]
    memory = f"{report['memory']:11.0f}{report['memory'] / plain['memory']:13.2f}"
    print(f"{report['side']:7}{report['precision']:7}{images:10.1f}{speed:>24}{memory}")


def details(report: dict[str, Any]) -> None:
    """Print the parts of the overhead, and the cost of sample grids and checkpoints."""
    parts, whole = report["parts"], report["seconds"]
    names = ("data", "noise", "check", "average", "log")
    shares = {name: parts.get(name, 0.0) / whole for name in names}
    shares["rest"] = overhead(report) - sum(shares.values())
    text = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
    print(f"\nengine {report['precision']}: overhead {overhead(report):.2%} of a step: {text}")
    upkeep = ", ".join(f"a {name} {seconds:.2f} s" for name, seconds in report["upkeep"].items())
    print(f"occasionally: {upkeep}; peak with them {report['memory_with_upkeep']:.0f} MB")


def overhead(report: dict[str, Any]) -> float:
    return 1 - report["parts"]["networks"] / report["seconds"]


def verdicts(report: dict[str, Any], plain: dict[str, Any], bf16: float) -> None:
    precision = report["precision"]
    speed, memory = statistics.median(report["speeds"]), report["memory"] / plain["memory"]
    share, least = overhead(report), SPEED if precision == "fp32" else bf16
    for what, value, limit, good in (
        ("speed", f"{speed:.2f} x plain", f"at least {least} x", speed >= least),
        ("overhead", f"{share:.2%} of a step", f"under {OVERHEAD:.0%}", share < OVERHEAD),
        ("memory", f"{memory:.2f} x plain", f"at most {MEMORY} x", memory <= MEMORY),
    ):
        print(f"engine {precision}, {what}: {value}, {'ok' if good else 'NOT ok'} ({limit})")


if __name__ == "__main__":
    main()
