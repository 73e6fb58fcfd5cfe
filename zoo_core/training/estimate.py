"""The cost of a run on this machine, measured over a few steps on random images."""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Any

import torch
from msgspec.structs import replace
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from zoo_core.config import Resolved
from zoo_core.interfaces import Batch
from zoo_core.noise import SeededNoise
from zoo_core.runtime import Runtime
from zoo_core.spec import ModelSpec
from zoo_core.training.engine import step, translate_torch_errors
from zoo_core.training.state import TrainState, blueprint, build

POINTS = 4  # points of the run to measure: a growing network is slower at its end
STEPS = 2  # timed at each point
ADA_PROB = 0.5  # assumed for a run that starts with 0


@translate_torch_errors()
def estimate(spec: ModelSpec, resolved: Resolved) -> dict[str, Any]:
    """Parameters, operations per generated image, speed, hours and memory of the run."""
    runtime = Runtime.detect(resolved.run.device, resolved.run.precision)
    resolved = _with_typical_augmentation(resolved)
    state = build(spec, resolved, runtime)
    batch = random_batch(state, resolved.run.batch_size, runtime)
    seconds = 0.0
    for point in range(POINTS):
        state.images_seen = resolved.run.images * (2 * point + 1) // (2 * POINTS)
        step(state, batch, resolved.run, runtime)
        started = time.perf_counter()
        for _ in range(STEPS):
            step(state, batch, resolved.run, runtime)
        float(next(state.networks.main.parameters()).detach().sum())  # wait for the device
        seconds += time.perf_counter() - started
    rate = POINTS * STEPS * len(batch) / seconds
    return {
        "runtime": str(runtime),
        "parameters": {role: parameter_count(n) for role, n in state.networks.named()},
        f"{spec.role}_flops_per_image": flops(spec, resolved),
        "images_per_second": round(rate, 1),
        "hours": round(resolved.run.images / rate / 3600, 2),
        "peak_memory_bytes": peak_memory(runtime),
        **({"augment_prob": resolved.run.augment_prob} if resolved.run.augment == "ada" else {}),
    }


def _with_typical_augmentation(resolved: Resolved) -> Resolved:
    """The same run with a p that ADA may reach: at 0, where it starts, ADA costs no time."""
    run = resolved.run
    if run.augment != "ada" or run.augment_prob:
        return resolved
    return replace(resolved, run=replace(run, augment_prob=ADA_PROB))


def random_batch(state: TrainState, size: int, runtime: Runtime) -> Batch:
    """A batch of random data in the shapes that the model expects."""
    network = state.networks.main

    def pictures(shape: tuple[int, int, int]) -> torch.Tensor:
        return runtime.place_images(torch.randint(0, 256, (size, *shape), dtype=torch.uint8))

    source, classes = network.source_shape, network.num_classes
    return Batch(
        images=pictures(network.image_shape),
        labels=torch.randint(classes, (size,), device=runtime.device) if classes else None,
        source=None if source is None else pictures(source),
        ids=torch.arange(size),
    )


def flops(spec: ModelSpec, resolved: Resolved) -> int:
    """Operations per image, counted on the meta device; a multiply-add counts as two."""
    network = blueprint(spec, resolved.config).eval()
    shape = network.source_shape
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        if spec.role == "classifier":
            network(torch.zeros(1, *network.image_shape))
        else:
            network.generate(
                SeededNoise([0]),
                labels=torch.zeros(1, dtype=torch.int64) if network.num_classes else None,
                source=None if shape is None else torch.zeros(1, *shape),
            )
    return counter.get_total_flops()


def peak_memory(runtime: Runtime) -> int | None:
    """Peak memory in bytes: of the device if it reports that, else of this process."""
    if runtime.device.type == "cuda":
        return torch.cuda.max_memory_allocated(runtime.device)
    if runtime.device.type == "mps":
        return torch.mps.driver_allocated_memory()  # its pool keeps what it has ever needed
    return peak_resident_memory()


def peak_resident_memory() -> int | None:
    """The most memory that this process has used so far, in bytes; None if the system won't say."""
    if sys.platform == "win32":
        return _peak_working_set()
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts bytes, others KiB


class _MemoryCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of psapi.h."""

    _fields_ = (
        ("cb", ctypes.c_uint32),
        ("PageFaultCount", ctypes.c_uint32),
        ("PeakWorkingSetSize", ctypes.c_size_t),
        ("others", ctypes.c_size_t * 7),
    )


def _peak_working_set() -> int | None:
    """What Windows calls peak resident memory; the standard library does not report it."""
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p  # a handle is as long as a pointer
    kernel.K32GetProcessMemoryInfo.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    counters = _MemoryCounters()
    counters.cb = ctypes.sizeof(counters)
    process, into = kernel.GetCurrentProcess(), ctypes.byref(counters)
    succeeded = kernel.K32GetProcessMemoryInfo(process, into, counters.cb)
    return counters.PeakWorkingSetSize if succeeded else None


def parameter_count(network: nn.Module) -> int:
    """The number of trainable parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
