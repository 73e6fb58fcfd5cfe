"""Import other people's checkpoints: read, recognize, convert, prove, write.

inert.py        the file as a tree in which nothing runs
finding.py      the networks in that tree
recognizing.py  which of them is imported, by the importer of which plugin
converting.py   its tensors as the weights of our network
trial.py        a forward pass, and images to look at
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from zoo_core.data.saving import save_grid
from zoo_core.errors import InputError, WeightsError
from zoo_core.filesystem import as_argument, mkdir_with_rollback, typed_path, write_synced
from zoo_core.plugins.loading import Plugins, load_plugins
from zoo_core.weights.converting import Checkpoint, Converter
from zoo_core.weights.finding import Network, find_networks
from zoo_core.weights.header import parse_header
from zoo_core.weights.inert import read_inert
from zoo_core.weights.recognizing import choose
from zoo_core.weights.tensors import read_tensors
from zoo_core.weights.torchfile import reading
from zoo_core.weights.trial import Sheet, attempt

SUFFIX = ".safetensors"
MAX_TEXT = 1000  # characters of a source or a licence


class Imported(NamedTuple):
    """What was imported, and where it is."""

    path: Path  # the folder or file that `load` takes
    grid: Path  # images that it draws
    recognized: str  # what the file was taken for, in a line
    notes: list[str]  # what was not imported, and why


def import_weights(
    path: str | Path,  # a file of torch.save, a pickle, or safetensors
    out: str | Path,  # a new folder, or a new .safetensors file for the main network alone
    *,
    licence: str,  # of the weights: an SPDX identifier, or "unknown"
    model: str | None = None,  # only importers of this model; None: of all
    part: str | None = None,  # the network at this place in the file; None: the only one, averaged
    source: str = "",  # where the file comes from, such as a URL
    settings: Mapping[str, Any] | None = None,  # of the model, that the file does not tell
    plugins: Plugins | None = None,  # None: all that are installed
) -> Imported:
    """Import somebody's checkpoint as weights that `load` takes. Nothing in the file is ever run.

    The network is built from what the file's names and shapes imply, must take every tensor, and
    must draw images. The weights record the licence, and the file's name and sha256.

    Raises InputError for arguments that cannot be used or leave a choice, ConfigError for a
    setting, and WeightsError for a file that is damaged, of no known family, or of one with an
    option that our network does not have. Nothing is written then.
    """
    _check_text("licence", licence, "an SPDX identifier such as CC-BY-4.0, or unknown")
    if source:
        _check_text("source", source, "a URL")
    target = _free(out)
    checkpoint, networks = _read(typed_path(str(path)))
    choice = choose(networks, checkpoint.label, model, part, plugins or load_plugins())
    del networks  # and the memory of those that are not imported
    converter = Converter(checkpoint, choice, settings or {}, licence, source)
    data, network = converter.main()
    sheet = attempt(network, checkpoint.label)
    files = {choice.spec.role: data}
    if target.suffix != SUFFIX:
        files |= converter.discriminator(sheet)
    grid = _write(target, files, sheet)
    return Imported(target, grid, str(choice.main), choice.notes)


def _check_text(what: str, text: str, allowed: str) -> None:
    if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
        raise InputError(f"the {what} must be a line of text", given=text[:80], allowed=allowed)


def _free(out: str | Path) -> Path:
    """The path to write to. Raises InputError if something is there."""
    target = typed_path(str(out))
    taken = [target]
    if target.suffix == SUFFIX:
        taken.append(target.with_suffix(".png"))  # of the grid
    for path in taken:
        if path.exists():
            raise InputError(f"{path} exists already", hint="--out OTHER_PATH")
    return target


def _read(path: Path) -> tuple[Checkpoint, list[Network]]:
    """The networks in a file, and what is recorded about it."""
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}", allowed="a checkpoint")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    networks = _networks(data, str(path))
    return Checkpoint(path, len(data), hashlib.sha256(data).hexdigest()), networks


def _networks(data: bytes, label: str) -> list[Network]:
    if not _is_safetensors(data, label):
        tree = read_inert(data, label)
        with reading(label):
            return find_networks(tree)
    if "zoo" in parse_header(data, len(data), label).metadata:
        raise InputError(f"{label} was written by the zoo", hint=f"zoo show {as_argument(label)}")
    return find_networks(read_tensors(data, label))


def _is_safetensors(data: bytes, label: str) -> bool:
    """Whether there is a header. One whose length ends in 0x80 or "PK" begins like other files."""
    if data[8:9] != b"{" or not data.startswith((b"PK", b"\x80")):
        return data[8:9] == b"{"
    try:
        parse_header(data, len(data), label)
    except WeightsError:
        return False
    return True


def _write(target: Path, files: Mapping[str, bytes], sheet: Sheet) -> Path:
    """Write a folder, or a file with its grid beside it: all of it, or nothing."""
    is_file = target.suffix == SUFFIX
    with _written(target.parent) as parent, _temporary(parent / f".{target.name}.tmp") as folder:
        save_grid(folder / "grid.png", sheet.pixels, sheet.columns)
        for role, data in files.items():
            write_synced(folder / f"{role}{SUFFIX}", data)
        grid = target.with_suffix(".png") if is_file else target / "grid.png"
        if is_file:
            (folder / "grid.png").replace(grid)
            next(folder.glob(f"*{SUFFIX}")).replace(target)
        else:
            folder.rename(target)
    return grid


@contextmanager
def _written(parent: Path) -> Iterator[Path]:
    try:
        with mkdir_with_rollback(parent):
            yield parent
    except OSError as error:
        what = f"cannot write to {parent}: {error.strerror}"
        raise InputError(what, hint="--out OTHER_PATH") from None


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A new folder, removed at the end if it is still there."""
    shutil.rmtree(folder, ignore_errors=True)  # of an import that was killed
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
