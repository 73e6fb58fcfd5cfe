"""What the commands that draw have in common: seeds, classes, and where pictures go."""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

import typer

from zoo_core.cli.output import complete_weights, finite

if TYPE_CHECKING:
    from zoo_core.interfaces import Generator

MAX_SEEDS = 1_000_000
MAX_STEM = 80  # bytes of a file's name; file systems take 255

WEIGHTS = typer.Argument(
    help="Registered weights, a .safetensors file or a run folder.",
    autocompletion=complete_weights,
)
LABEL = typer.Option(
    None, "--label", help="Name or number of a class, for a class-conditional model."
)
TRUNCATION = typer.Option(
    1.0, "--truncation", callback=finite, help="1: all variety; towards 0: the average."
)
DEVICE = typer.Option("cpu", "--device", help="cpu, cuda, mps or auto.")


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """`"1,5,20-30"` to the numbers it names, in that order."""
    from zoo_core.errors import InputError

    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(
                f"{option} takes numbers and ranges", given=repr(text), hint=f"{option} 0-3"
            )
        stop = int(last) if dash else int(first)
        if stop < int(first):
            hint = f"{option} {last}-{first}"
            raise InputError(f"{option} takes rising ranges", given=repr(text), hint=hint)
        if stop - int(first) + len(numbers) >= MAX_SEEDS:
            raise InputError(
                f"{option} takes fewer seeds",
                given=repr(text),
                allowed=f"{MAX_SEEDS:,} seeds at most",
            )
        numbers.extend(range(int(first), stop + 1))
    return numbers


def label_of(name: str | None, generator: Generator) -> int | None:
    """The number of a class, which was given by its name or by that; InputError if there is none
    such.
    """
    from zoo_core.errors import InputError, nearest

    if not generator.num_classes:
        if name is None:
            return None
        raise InputError(
            f"{type(generator).__name__} takes no labels",
            given=f"--label {shlex.quote(name)}",
            hint="leave --label out",
        )
    if name is None:
        raise InputError(
            f"{type(generator).__name__} draws pictures of a class",
            allowed=f"0..{generator.num_classes - 1}",
            hint=f"--label {shlex.quote(generator.classes[0]) if generator.classes else 0}",
        )
    name = normalize("NFC", name)  # as the names of folders are read
    if name in generator.classes:
        return generator.classes.index(name)
    if name.isdecimal() and len(name) < 10 and int(name) < generator.num_classes:
        return int(name)
    allowed = f"0..{generator.num_classes - 1}"
    if generator.classes:
        near = nearest(name, generator.classes) or generator.classes[:3]
        allowed += f", or a name such as {', '.join(near)}"
    raise InputError("no such class", given=name, allowed=allowed)


def default_target(
    weights: str, what: str, suffix: str, label: str | None = None, truncation: float = 1.0
) -> Path:
    """`samples/WEIGHTS-WHAT`, and what else was asked for: where pictures go by default."""
    path = Path(weights).expanduser().resolve()
    parts = [path.name, what]
    if path.suffix == ".safetensors":
        parts[0] = {"generator": path.parent.name, "best": f"{path.parent.name}-best"}.get(
            path.stem, path.stem
        )  # what every run calls its own
    parts += [f"label-{stem(label)}"] if label is not None else []
    parts += [f"psi{truncation:g}"] if truncation != 1 else []
    return Path("samples", stem("-".join(parts)) + suffix)


def stem(text: str) -> str:
    """A path, a name or a list of seeds as the name of a file, without its suffix."""
    import hashlib

    from zoo_core.data.files import SUFFIXES

    path = Path(text)
    short = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    name = re.sub(r"[^\w.-]+", "_", str(short)).strip("_.") or "pictures"
    if len(name.encode()) > MAX_STEM:
        digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        name = f"{name.encode()[: MAX_STEM - 9].decode(errors='ignore')}-{digest}"
    return name


def file_names(names: Iterable[str]) -> Iterator[str]:
    """What files of pictures are called, without suffix: `cat`; else `cat_jpg`; else `cat_2`."""
    taken: set[str] = set()
    for name in names:
        short = stem(name)
        tries = itertools.chain(
            [short, stem(name.replace(".", "_"))], (f"{short}_{n}" for n in itertools.count(2))
        )
        free = next(each for each in tries if each not in taken)
        taken.add(free)
        yield free


def check_grid(out: Path | None, hint: str = "") -> None:
    """Raise InputError for a grid that would be no PNG."""
    from zoo_core.errors import InputError

    if out is not None and out.suffix.lower() != ".png":
        raise InputError(
            f"cannot write a grid to {out}",
            given=out.suffix or "no suffix",
            allowed=".png",
            hint=hint,
        )


@contextlib.contextmanager
def writing(target: Path, folder: bool = False) -> Iterator[None]:
    """Make the folder of `target`, or `target` itself if it is one; it goes again if nothing is
    written. What the system says against it becomes an InputError.
    """
    from zoo_core.errors import InputError
    from zoo_core.filesystem import mkdir_with_rollback

    try:
        with mkdir_with_rollback(target if folder else target.parent):
            if not folder and target.is_dir():
                raise InputError(f"{target} is a folder", hint=f"--out {target}/NAME.png")
            yield
    except OSError as error:
        raise InputError(
            f"cannot write to {target}: {error.strerror or error}", hint="--out PATH"
        ) from None
