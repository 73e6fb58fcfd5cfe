"""Write a network's weights to a safetensors file, and load them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import safetensors.torch
import torch
from torch import Tensor, nn

from zoo_core.errors import OfflineError, WeightsError
from zoo_core.filesystem import write_file
from zoo_core.weights.header import WeightsMetadata, check_tensors, parse_header

Tensors = dict[str, Tensor]
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def save_weights(path: Path, network: nn.Module, about: WeightsMetadata) -> None:
    """Write a network's weights and metadata, atomically."""
    write_file(path, packed(network.state_dict(), about))


def packed(tensors: Mapping[str, Tensor], about: WeightsMetadata) -> bytes:
    """The bytes of a weights file."""
    metadata = {"zoo": msgspec.json.encode(about).decode()}
    return safetensors.torch.save(cpu_copies(tensors), metadata)


def write_tensors(path: Path, tensors: Tensors, about: Mapping[str, str]) -> None:
    """Write tensors that belong to no network, with the metadata `about`, atomically."""
    write_file(path, safetensors.torch.save(cpu_copies(tensors), dict(about)))


def load_weights(data: bytes, name: str, build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network and load the weights from the bytes `data` of a safetensors file.

    The header is compared with the architecture (names, dtypes, shapes) before memory is allocated
    for either; then all values must be finite. Raises WeightsError that starts with `name`.
    """
    header = parse_header(data, len(data), name)
    check_tensors(header, layout(blueprint(name, build).state_dict()), name)
    tensors = read_tensors(data, name)
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not _is_finite(tensor):
            raise WeightsError(f"{name} holds non-finite values in {key!r}")
    network = build()
    if torch.get_default_device().type != "meta":  # meta tensors have no values
        network.load_state_dict(tensors)
    return network


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite. Their sum says so in a third of the time, but may overflow."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def blueprint(name: str, build: Callable[[], nn.Module]) -> nn.Module:
    """The network on the meta device, without memory. Raises WeightsError if it cannot be built."""
    try:
        with torch.device("meta"):
            return build()
    except OfflineError:  # a package that the network needs is not installed
        raise
    except Exception as error:  # plugins and torch raise anything for absurd sizes
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{name} describes a network that cannot be built: {reason}") from error


def layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> (dtype, shape), as `check_tensors` compares them."""
    return {key: (_DTYPES[tensor.dtype], tuple(tensor.shape)) for key, tensor in tensors.items()}


def read_tensors(data: bytes, name: str) -> Tensors:
    """Read every tensor of a safetensors file whose header has been checked."""
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # SafetensorError, ValueError or OverflowError
        raise WeightsError(f"{name} cannot be read: {error}") from None


def cpu_copies(tensors: Mapping[str, Tensor]) -> Tensors:
    """Contiguous copies on the CPU that share no memory, as safetensors requires."""
    return {
        key: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
