"""The header of a safetensors file, read without torch or safetensors, and checked strictly.

The safetensors parser accepts duplicate tensor names (the last wins), extra fields and any name. A
file that two parsers read differently can be an attack, so the header is parsed here first, before
any tensor is allocated.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from zoo_core.errors import AmbiguousNameError, InputError, WeightsError
from zoo_core.filesystem import as_argument, can_only_be_path, exists, with_home

WEIGHTS_FILES = ("generator.safetensors", "classifier.safetensors")  # a run writes one of them
RUNS = Path("runs")  # where `zoo train` puts a run unless told otherwise
FORMAT = 1  # version of the record under the metadata key "zoo"
MAX_HEADER_BYTES = 10 << 20
MAX_NAME = 128  # characters; messages repeat these names
MAX_CLASS = 1024  # characters; a folder name has 255 bytes, each at worst written \xff
DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
Bytes = bytes | bytearray  # a bytearray for tensors that share its memory
Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_TENSOR_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/]{0,255}")


class TensorInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tensor's entry; `data_offsets` count from the end of the header."""

    dtype: str
    shape: Annotated[tuple[Size, ...], msgspec.Meta(max_length=16)]
    data_offsets: tuple[Size, Size]


class Header(msgspec.Struct, frozen=True):
    """The checked header of a safetensors file."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


class StartedFrom(msgspec.Struct, frozen=True, kw_only=True):
    """The weights that a training started from."""

    name: str  # as it was given
    sha256: str  # of the main network's file, or of the networks in a run's checkpoint
    images: int  # that they had seen
    licence: str  # of theirs, SPDX identifier
    networks: tuple[str, ...]  # that they have


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where imported weights come from, as far as it is known."""

    family: str  # name of the importer
    file: str  # its name, without folders
    sha256: str  # of that file
    part: str  # the network in it, such as "G_ema"; empty for all of it
    source: str  # where the file comes from, as told
    licence: str  # of the weights, as told


class WeightsMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a weights file written by the zoo records about itself."""

    model: Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
    role: Annotated[str, msgspec.Meta(max_length=MAX_NAME)]  # generator, discriminator, ...
    config: Mapping[str, Any]
    images: int  # images seen in training
    licence: str  # SPDX identifier
    trained_on: str
    zoo_version: str
    classes: tuple[Annotated[str, msgspec.Meta(max_length=MAX_CLASS)], ...] = ()  # by label
    format: int = FORMAT
    # settings that changed during training, and after how many images; left out if none did
    changes: tuple[Mapping[str, Any], ...] | msgspec.UnsetType = msgspec.UNSET
    started_from: StartedFrom | msgspec.UnsetType = msgspec.UNSET  # left out in a run from scratch
    origin: Origin | msgspec.UnsetType = msgspec.UNSET  # left out unless imported


class _Format(msgspec.Struct, frozen=True):
    format: int = FORMAT


def is_repository(name: str | Path) -> bool:
    """Whether `name` is spelled as a repository of the Hugging Face hub."""
    return isinstance(name, str) and name.startswith("hf://")


def is_path(name: str | Path) -> bool:
    """Whether `name` is a path, whatever is registered under that name.

    It is one if it can be nothing else, if it has a slash and exists, or if it is a run, here or in
    runs/.
    """
    if is_repository(name):
        return False
    if isinstance(name, Path) or can_only_be_path(name, ".safetensors"):
        return True
    return exists(name) if "/" in name else is_run(Path(name)) or is_run(RUNS / name)


def located(name: str | Path) -> Path:
    """The path that a name means: itself, or the run called so in runs/.

    Raises AmbiguousNameError if there is something of that name here as well, RuntimeError for the
    home of an unknown user.
    """
    path = with_home(name)
    if is_spelled_as_path(name) or not is_run(RUNS / path):
        return path
    if exists(path):
        raise AmbiguousNameError(
            f"{name!r} is both here and in {RUNS}/",
            allowed=f"{as_argument(path)} or {as_argument(RUNS / path)}",
        )
    return RUNS / path


def run_names() -> list[str]:
    """The names of the runs in runs/."""
    try:
        return sorted(folder.name for folder in RUNS.iterdir() if is_run(folder))
    except OSError:
        return []


def is_spelled_as_path(name: str | Path) -> bool:
    """Whether a path is more than the bare name of something here, which may be registered, too."""
    return isinstance(name, Path) or "/" in name or can_only_be_path(name, ".safetensors")


def is_run(folder: Path) -> bool:
    """Whether there are weights in the folder of a run, or will be."""
    return any(exists(folder / file) for file in (*WEIGHTS_FILES, "config.json"))


def weights_path(name: str | Path) -> Path:
    """The weights file at a path or in a run folder. Raises InputError if there is none."""
    try:
        path = located(name)
        inside = [path / name for name in WEIGHTS_FILES]
        file = next(filter(Path.exists, inside), inside[0]) if path.is_dir() else path
        usable, taken = file.is_file(), file.exists()
    except (OSError, RuntimeError) as error:  # name too long, no permission, unknown ~user
        raise InputError(f"cannot read {str(name)[:255]}: {_reason(error)}") from None
    if taken and not usable:
        raise InputError(f"{file} is not a regular file")
    if not usable:
        if file == path:
            raise InputError(f"there is no file {path}", hint="zoo list")
        found = {file.parent for name in WEIGHTS_FILES for file in path.glob(f"*/{name}")}
        raise InputError(
            f"no {' or '.join(WEIGHTS_FILES)} in the folder {path}",
            hint=" or ".join(map(as_argument, sorted(found)[:3])) or "zoo list",
        )
    return file


def read_header(path: Path) -> Header:
    """Read and check the header of the file at `path`. Raises WeightsError, one line naming it."""
    return _read(path, whole=False)[0]


def trained_images(path: Path) -> int:
    """The number of training images that a weights file records; 0 if it cannot be read."""
    record = _recorded(path)
    return record.images if record else 0


def trained_classes(path: Path) -> tuple[str, ...]:
    """The names of the classes that a weights file records; none if it cannot be read."""
    record = _recorded(path)
    return record.classes if record else ()


def _recorded(path: Path) -> WeightsMetadata | None:
    try:
        return parse_metadata(read_header(path), "")
    except WeightsError:
        return None


def read_file(path: Path) -> bytearray:
    """Read all bytes of a weights file, once, and only after its header has been checked."""
    return _read(path, whole=True)[1]


def _read(path: Path, whole: bool) -> tuple[Header, bytearray]:
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise WeightsError(f"cannot read {path}: not a regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = bytearray(file.read(8))
            length = int.from_bytes(data, "little")
            data += file.read(length) if length <= min(MAX_HEADER_BYTES, size - 8) else b""
            header = parse_header(data, size, str(path))
            if whole:
                data += file.read()
            return header, data
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from None


def parse_header(data: Bytes, size: int, name: str) -> Header:
    """Parse and check the header in `data`, the beginning of a file `name` of `size` bytes."""
    length = int.from_bytes(data[:8], "little")
    fits = size >= 8 and 2 <= length <= min(MAX_HEADER_BYTES, size - 8)
    # These bytes alone prove nothing: one in 32 header lengths has 0x80 as its low byte.
    if not fits and data.startswith((b"PK\x03\x04", b"\x80")):
        raise WeightsError(
            f"{name} is a pickle (torch.save), which can run code when it is loaded",
            allowed="safetensors files",
            hint=f"zoo import {as_argument(name)} --licence ID -o OUT",
        )
    if size < 8 or not 2 <= length <= size - 8:
        raise WeightsError(f"{name} is not a safetensors file: its header would end after the file")
    if length > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{name} has a header of {length} bytes", allowed=f"at most {MAX_HEADER_BYTES} bytes"
        )
    entries = _parse_json(data[8 : 8 + length], name)
    metadata = entries.pop("__metadata__", {})
    try:
        header = Header(
            tensors=msgspec.convert(entries, dict[str, TensorInfo]),
            metadata=msgspec.convert(metadata, dict[str, str]),
        )
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise WeightsError(f"{name} has a malformed header: {_shown(error)}") from None
    _check_layout(header, size - 8 - length, name)
    return header


def parse_metadata(header: Header, name: str) -> WeightsMetadata:
    """The zoo's own record in a header. Raises WeightsError if it is missing, invalid or newer."""
    text = header.metadata.get("zoo")
    if text is None:
        raise WeightsError(f"{name} is a safetensors file, but was not written by the zoo")
    try:
        written = msgspec.json.decode(text.encode(), type=_Format).format
        if written > FORMAT:  # checked first: a newer format may have other fields
            raise WeightsError(
                f"{name} has format {written}, this zoo reads {FORMAT}", hint="upgrade zoo-core"
            )
        return msgspec.json.decode(text.encode(), type=WeightsMetadata)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise WeightsError(f"{name} has invalid metadata: {_shown(error)}") from None


def check_tensors(
    header: Header,
    expected: Mapping[str, tuple[str, tuple[int, ...]]],  # name -> (dtype as in DTYPE_BYTES, shape)
    name: str,
) -> None:
    """Raise WeightsError unless the header holds exactly the `expected` tensors."""
    missing = sorted(expected.keys() - header.tensors.keys())
    extra = sorted(header.tensors.keys() - expected.keys())
    if missing or extra:
        first = f"{missing[0]!r} is missing" if missing else f"{extra[0]!r} is unexpected"
        raise WeightsError(
            f"{name} does not fit the architecture: {first} "
            f"({len(missing)} tensors missing, {len(extra)} unexpected)"
        )
    for key, (dtype, shape) in expected.items():
        found = header.tensors[key]
        if (found.dtype, found.shape) != (dtype, shape):
            raise WeightsError(
                f"{name} does not fit the architecture at {key!r}",
                given=f"{found.dtype} {list(found.shape)}",
                allowed=f"{dtype} {list(shape)}",
            )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _shown(value: object) -> str:
    """Text from a file, short enough for a message."""
    return str(value)[:200]


def _parse_json(text: Bytes, name: str) -> dict[str, Any]:
    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"{key[:60]!r} appears twice")
            seen.add(key)
        return dict(pairs)

    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{name} has a malformed header: {error}") from None
    if not isinstance(entries, dict):
        raise WeightsError(f"{name} has a malformed header: not a JSON object")
    return entries


def _check_layout(header: Header, data_bytes: int, name: str) -> None:
    """Check that tensors have valid names, known dtypes and exact extents, and fill the file."""
    end = 0
    for key, info in sorted(header.tensors.items(), key=lambda item: item[1].data_offsets):
        if not _TENSOR_NAME.fullmatch(key):
            raise WeightsError(f"{name} holds a tensor with an invalid name: {key[:60]!r}")
        if info.dtype not in DTYPE_BYTES:
            raise WeightsError(f"{name} holds {key!r} with an unknown dtype: {_shown(info.dtype)}")
        start, stop = info.data_offsets
        if start != end or stop - start != math.prod(info.shape) * DTYPE_BYTES[info.dtype]:
            raise WeightsError(
                f"{name} is damaged: the bytes of {key!r} are not where they should be"
            )
        end = stop
    if end != data_bytes:
        raise WeightsError(
            f"{name} is damaged or truncated",
            given=f"{data_bytes} bytes of tensors",
            allowed=f"{end} bytes",
        )
