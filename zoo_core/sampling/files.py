"""Latents and ws as files: safetensors with one tensor, and a record of what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

import msgspec
from torch import Tensor

from zoo_core.errors import InputError, WeightsError
from zoo_core.filesystem import typed_path
from zoo_core.weights.header import MAX_NAME, Header, parse_header, read_file
from zoo_core.weights.tensors import read_tensors, write_tensors

Space: TypeAlias = Literal["z", "w"]
KEY = "latents"  # of the tensor, and of the record in the header
RANKS = {"z": "(N, ...)", "w": "(N, num_ws, style_size)"}


class SavedLatents(NamedTuple):
    """What a file of latents holds."""

    latents: Tensor  # float32 [N, *latent_shape], or ws [N, num_ws, style_size]
    space: Space
    model: str  # as given when they were saved


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record in the header."""

    space: Space
    model: Annotated[str, msgspec.Meta(max_length=MAX_NAME)] = ""
    format: Literal[1] = 1


def save_latents(
    path: str | Path,
    latents: Tensor,  # float [N, *latent_shape], or ws [N, num_ws, style_size]
    *,
    space: Space = "z",
    model: str = "",  # whose latents they are, such as stylegan2.critters32
) -> None:
    """Write latents or ws to a safetensors file, as float32, replacing it.

    Raises InputError for what `load_latents` would not read back.
    """
    allowed = f"finite floats {RANKS.get(space, '')}"
    if space not in RANKS:
        raise InputError("no such latent space", given=space, allowed=", ".join(RANKS))
    if not latents.is_floating_point() or not _fits(space, latents.shape):
        given = f"{latents.dtype} {tuple(latents.shape)}"
        raise InputError(f"these are no latents in {space}", given=given, allowed=allowed)
    if not bool(latents.isfinite().all()):
        raise InputError(f"these are no latents in {space}", given="inf or nan", allowed=allowed)
    if len(model) > MAX_NAME:
        given = f"{len(model)} characters"
        raise InputError("the name is too long", given=given, allowed=f"at most {MAX_NAME}")
    record = msgspec.json.encode(_Record(space=space, model=model)).decode()
    write_tensors(Path(path), {KEY: latents.float()}, {KEY: record})


def load_latents(path: str | Path) -> SavedLatents:
    """Read what `save_latents` has written: the latents on the CPU, their space and their model.

    Raises InputError if there is no such file, and WeightsError for one that is damaged or holds
    something else; no code in it is run.
    """
    name, file = str(path), typed_path(str(path))
    if not file.exists():
        raise InputError(f"there is no file {name}", hint="zoo sample NAME --save-latents FILE")
    data = read_file(file)
    header = parse_header(data, len(data), name)
    record = _checked(header, name)
    latents = read_tensors(data, name)[KEY]
    if not bool(latents.isfinite().all()):
        raise WeightsError(f"{name} holds latents that are not finite")
    return SavedLatents(latents, record.space, record.model)


def _checked(header: Header, name: str) -> _Record:
    """The record of a file of latents, if its tensor is what the record says."""
    if KEY not in header.metadata:
        raise WeightsError(f"{name} holds no latents that the zoo has saved")
    try:
        record = msgspec.json.decode(header.metadata[KEY].encode(), type=_Record)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise WeightsError(f"{name} has invalid metadata: {str(error)[:200]}") from None
    found = {key: f"{info.dtype} {list(info.shape)}" for key, info in header.tensors.items()}
    infos = list(header.tensors.values())
    if [*found] != [KEY] or infos[0].dtype != "F32" or not _fits(record.space, infos[0].shape):
        given = ", ".join(f"{key} {text}" for key, text in found.items())[:200]
        allowed = f"{KEY} F32 {RANKS[record.space]}"
        raise WeightsError(
            f"{name} holds something else than latents", given=given, allowed=allowed
        )
    return record


def _fits(space: Space, shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 if space == "w" else len(shape) >= 2
