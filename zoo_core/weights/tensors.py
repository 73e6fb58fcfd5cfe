"""Write a network's weights to a safetensors file, and load them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import safetensors.torch
import torch
from torch import Tensor, nn

from zoo_core.errors import OfflineError, WeightsError
from zoo_core.filesystem import write_file
from zoo_core.weights.building import build_to_fill
from zoo_core.weights.header import Bytes, Header, WeightsMetadata, check_tensors, parse_header

Tensors = dict[str, Tensor]
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_TORCH = {name: dtype for dtype, name in _DTYPES.items()}


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


def load_weights(
    data: Bytes,
    name: str,
    build: Callable[[], nn.Module],
    *,
    header: Header | None = None,
    is_known: bool = False,
) -> nn.Module:
    """Build a network and load the weights from the bytes `data` of a safetensors file.

    The `header` that was parsed, or else is parsed now, is compared with the architecture (names,
    dtypes, shapes), before memory is allocated for either unless an installed registry vouches for
    the file (`is_known`); then all values must be finite. Raises WeightsError that starts with
    `name`.
    """
    header = header or parse_header(data, len(data), name)
    network = build_to_fill(build) if is_known else blueprint(name, build)
    saved = network.state_dict(keep_vars=True)
    check_tensors(header, layout(saved), name)
    tensors = _views(data, header)
    _check_finite(tensors, name)
    if not is_known:
        network = build_to_fill(build)
        saved = network.state_dict(keep_vars=True)
    if torch.get_default_device().type != "meta":  # meta tensors have no values
        _fill(saved, tensors)
    return network


def _views(data: Bytes, header: Header) -> Tensors:
    """The tensors of a file whose header has been checked, in the memory of `data` if it can be."""
    memory = data if isinstance(data, bytearray) else bytearray(data)
    start, tensors = 8 + int.from_bytes(data[:8], "little"), {}
    for key, info in header.tensors.items():
        dtype, count = _TORCH[info.dtype], math.prod(info.shape)
        if count == 0:  # torch makes no views of nothing
            tensors[key] = torch.empty(info.shape, dtype=dtype)
            continue
        offset = start + info.data_offsets[0]
        flat = torch.frombuffer(memory, dtype=dtype, count=count, offset=offset)
        tensors[key] = flat.view(info.shape)
    return tensors


def _fill(saved: Mapping[str, Tensor], tensors: Tensors) -> None:
    """Give copies to parameters and buffers; names and shapes have been checked.

    Kernels are copied in the memory format in which `Runtime.place` would have to copy them again.
    """
    for key, tensor in saved.items():
        order = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
        tensor.data = tensors[key].to(memory_format=order, copy=True)


def _check_finite(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raise WeightsError that names the first tensor with a value that is not finite."""
    sums = [tensor.sum().double() for tensor in tensors.values()]
    if not sums or torch.stack(sums).sum().isfinite():  # a sum is quick, but may overflow
        return
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{name} holds non-finite values in {key!r}")


def blueprint(name: str, build: Callable[[], nn.Module]) -> nn.Module:
    """The network on the meta device, without memory. Raises WeightsError if it cannot be built."""
    try:
        with torch.device("meta"):
            return build_to_fill(build)
    except OfflineError:  # a package that the network needs is not installed
        raise
    except Exception as error:  # plugins and torch raise anything for absurd sizes
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{name} describes a network that cannot be built: {reason}") from error


def layout(tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> (dtype, shape), as `check_tensors` compares them."""
    return {key: (_DTYPES[tensor.dtype], tuple(tensor.shape)) for key, tensor in tensors.items()}


def read_tensors(data: Bytes, name: str) -> Tensors:
    """Read every tensor of a safetensors file whose header has been checked."""
    try:
        return safetensors.torch.load(bytes(data))
    except Exception as error:  # SafetensorError, ValueError or OverflowError
        raise WeightsError(f"{name} cannot be read: {error}") from None


def cpu_copies(tensors: Mapping[str, Tensor]) -> Tensors:
    """Contiguous copies on the CPU that share no memory, as safetensors requires."""
    return {
        key: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for key, tensor in tensors.items()
    }
