"""Device, precision, memory format, rank and world size; no other module decides them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError, printable
from zoo_core.noise import stream_key

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Runtime:
    """How this process computes. Parameters, optimizer states and averages are always float32."""

    device: torch.device
    dtype: torch.dtype  # of matrix products and convolutions: float32 or bfloat16
    memory_format: torch.memory_format
    rank: int = 0
    world: int = 1

    @classmethod
    def detect(cls, device: str = "auto", precision: str = "auto") -> Runtime:
        """The best available, or what was requested. Raises InputError if it is not available."""
        chosen = _device(device)
        half = precision == "bf16" or (precision == "auto" and has_bfloat16_units(chosen))
        # oneDNN and tensor cores compute in channels last, so convolutions need no copies.
        layout = torch.contiguous_format if chosen.type == "mps" else torch.channels_last
        return cls(chosen, torch.bfloat16 if half else torch.float32, layout)

    @property
    def device_name(self) -> str:
        """The device in words: `NVIDIA H100 80GB HBM3`, or `cpu (AMD EPYC 9B14), 2 threads`."""
        if self.device.type == "cuda":
            return str(torch.cuda.get_device_name(self.device))
        if self.device.type != "cpu":
            return self.device.type
        threads = torch.get_num_threads()
        name = f" ({processor()})" if processor() else ""
        return f"cpu{name}, {threads} thread{'s' if threads > 1 else ''}"

    def place(self, module: Module) -> Module:
        """Move a network to the device, and its convolution weights to the memory format."""
        return module.to(device=self.device, memory_format=self.memory_format)

    def place_images(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] in 0..255 to float32 in [-1, 1] on the device."""
        images = images.to(self.device, non_blocking=True)
        return images.to(torch.float32, memory_format=self.memory_format).div_(127.5).sub_(1)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Autocast to `dtype`; a null context for float32."""
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def all_finite(self, tensors: Sequence[Tensor]) -> bool:
        """Whether all elements are finite: an infinity or NaN makes every sum and norm non-finite.

        On a CPU a sum takes less than half the time of a norm (docs/log.md); elsewhere torch
        computes one norm of all tensors at once.
        """
        if self.device.type == "cpu":
            total = torch.stack([tensor.sum().double() for tensor in tensors]).sum()
        else:
            total = torch.nn.utils.get_total_norm(tensors)
        return bool(torch.isfinite(total))

    def choose_repeatable_kernels(self) -> None:
        """Make every process use the same kernels; exact resume depends on it."""
        if self.device.type == "cuda":
            torch.backends.cudnn.deterministic = True
            torch.backends.cudnn.benchmark = False

    def keep_freed_memory(self) -> None:
        """Stop glibc from returning the memory of freed CPU tensors to the system.

        By default it returns every block of more than 32 MB at once, and fresh pages cost more than
        the convolution that fills them: at 64 pixels and 128 feature maps, single operations were 2
        to 5 times as fast with this (docs/log.md).
        """
        if self.device.type != "cpu" or not sys.platform.startswith("linux"):
            return
        with contextlib.suppress(AttributeError, OSError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)

    def seed(self, seed: int, images: int) -> None:
        """Reseed torch's generators, the source of in-network noise, for the step at `images`."""
        key = stream_key(seed, "network", images, self.rank) >> 1  # torch takes an int64
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(key)  # 100 times as fast as the line below
        else:
            torch.manual_seed(key)

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """The precision in use, with `auto` resolved."""
        return "bf16" if self.dtype is torch.bfloat16 else "fp32"

    def __str__(self) -> str:
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{self.device}, {self.precision}{threads}"


def has_bfloat16_units(device: torch.device) -> bool:
    """Whether bfloat16 is fast: compute capability 8.0 and up, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # since torch 2.11
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        else:
            name = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # fails for `meta`, which stores no values
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot use the device {name!r} ({reason})",
            hint="--set device=cpu with zoo train, --device cpu elsewhere",
        ) from None
    return device


@cache
def processor() -> str:
    """The name of the processor, as its maker gives it; empty if it is not known."""
    found = ""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        found = next((line for line in text.splitlines() if line.startswith("model name")), "")
    name = found.partition(":")[2] or platform.processor()
    return " ".join(printable(name).split())
