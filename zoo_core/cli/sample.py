"""`zoo sample`: pictures by their seeds, or made from other pictures; a grid or a file each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from unicodedata import normalize

import typer

from zoo_core.cli.output import complete_weights, finite, loaded_plugins, settings_of_run
from zoo_core.pictures import SUFFIXES, Fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo_core.interfaces import Generator
    from zoo_core.pictures import PictureSource
    from zoo_core.plugins import Plugins

    Pictures: TypeAlias = NDArray[np.uint8]  # [N, C, H, W]

MAX_SEEDS = 1_000_000
CHUNK = 256  # pictures at once, which bounds the memory that --each needs

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


def sample(
    name: str = WEIGHTS,
    seeds: str = typer.Option(
        None, "--seeds", help="Such as 7, 0-63 or 1,5,20-30 [default: 0-15, or one a source]."
    ),
    source: str = typer.Option(
        None, "--source", help="What to translate: a picture, a folder, a zip or a data set."
    ),
    fit: Fit = typer.Option(
        None, "--fit", help="How a source becomes square [default: as in the run, or crop]."
    ),
    reverse_pairs: bool = typer.Option(
        None, "--reverse-pairs", help="Of pairs, translate the picture [default: as in the run]."
    ),
    out: Path = typer.Option(None, "--out", "-o", help="File of the grid, or folder for --each."),
    each: bool = typer.Option(False, "--each", help="One file a picture instead of one grid."),
    columns: int = typer.Option(
        None, "--columns", min=1, help="Pictures in a row [default: a square]."
    ),
    label: str = LABEL,
    truncation: float = TRUNCATION,
    device: str = DEVICE,
) -> None:
    """Draw pictures. The picture of a seed is the same whatever else is drawn with it."""
    numbers = None if seeds is None else parse_seeds(seeds)
    _check_suffix(out, each)
    plugins = loaded_plugins()

    import numpy as np

    from zoo_core.data import begin_with, to_uint8
    from zoo_core.pictures import save_grid, save_png
    from zoo_core.pretrained import load

    generator = load(name, device=device, plugins=plugins)
    starts = _open(source, generator, plugins)
    number = label_of(label, generator)
    reading = _as_in_the_run(name, fit, reverse_pairs)
    numbers = _seeds(numbers, starts)
    target = out or default_target(name, stem(source or seeds or "0-15"), "" if each else ".png")
    (target if each else target.parent).mkdir(parents=True, exist_ok=True)
    sheet: list[Pictures] = []
    taken: set[str] = set()
    for first in range(0, len(numbers), CHUNK):
        some = numbers[first : first + CHUNK]
        labels = None if number is None else [number] * len(some)
        begun = [] if starts is None else [starts[first + row] for row in range(len(some))]
        begin = begin_with(begun, generator, *reading) if begun else None
        names = [picture.name for picture in begun] or [f"{seed:06d}" for seed in some]
        made = to_uint8(generator.sample(some, labels=labels, source=begin, truncation=truncation))
        if each:
            for file, picture in zip(file_names(names, taken), made, strict=True):
                save_png(target / f"{file}.png", picture.transpose(1, 2, 0))
        else:
            sheet.append(made if begin is None else _side_by_side(to_uint8(begin), made))
    if not each:
        pictures = np.concatenate(sheet)
        save_grid(target, pictures, columns or max(1, round(len(pictures) ** 0.5)))
    typer.echo(target)


def _check_suffix(out: Path | None, each: bool) -> None:
    """Raise InputError for a grid that would be no PNG."""
    from zoo_core.errors import InputError

    if out is not None and not each and out.suffix.lower() != ".png":
        raise InputError(
            f"cannot write a grid to {out}",
            given=out.suffix or "no suffix",
            allowed=".png",
            hint="--each for a folder of files",
        )


def label_of(name: str | None, generator: Generator) -> int | None:
    """The number of a class, which was given by its name or by that; InputError if there is none
    such.
    """
    from zoo_core.errors import InputError, nearest

    if not generator.num_classes:
        return None if name is None else 0  # refused by `sample`, which says that it takes none
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


def _as_in_the_run(name: str, fit: Fit | None, reverse_pairs: bool | None) -> tuple[Fit, bool]:
    """How sources are read: as the run read them, where nothing was said."""
    settings = settings_of_run(name)
    if reverse_pairs is None:
        reverse_pairs = settings.get("reverse_pairs", False)
    return fit or settings.get("fit", "crop"), reverse_pairs


def _open(text: str | None, generator: Generator, plugins: Plugins) -> PictureSource | None:
    """What a translator starts from; None for a latent model."""
    from zoo_core.data import open_source
    from zoo_core.errors import InputError

    if generator.source_shape is None:
        if text is not None:
            raise InputError(
                f"{type(generator).__name__} starts from seeds, not from pictures",
                given=f"--source {text}",
                hint="--seeds 0-63",
            )
        return None
    if text is None:
        raise InputError(
            f"{type(generator).__name__} translates pictures and was given none",
            hint="--source FOLDER",
        )
    return open_source(text, generator.source_shape[1], "test", plugins).source


def _seeds(given: list[int] | None, starts: PictureSource | None) -> list[int]:
    """One for every picture to be made."""
    from zoo_core.errors import InputError

    if starts is None:
        return list(range(16)) if given is None else given
    if given is None:
        return list(range(len(starts)))
    if len(given) not in (1, len(starts)):
        allowed = f"1 or {len(starts)}, as many as pictures to translate"
        raise InputError("--seeds and --source do not fit", given=len(given), allowed=allowed)
    return given * (len(starts) // len(given))


def _side_by_side(left: Pictures, right: Pictures) -> Pictures:
    """Pictures [N, C, H, W] as [N, C, H, 2 W]; grey ones become RGB beside RGB."""
    import numpy as np

    planes = max(left.shape[1], right.shape[1])
    both = [np.repeat(p, planes // p.shape[1], axis=1) for p in (left, right)]
    return np.concatenate(both, axis=3)


def default_target(name: str, what: str, suffix: str) -> Path:
    """`samples/WEIGHTS-WHAT`: where drawn pictures go if nothing else was said."""
    weights = Path(name).stem if name.endswith(".safetensors") else Path(name).name
    return Path("samples", f"{weights}-{what}{suffix}")


def stem(text: str) -> str:
    """A path, a name or a list of seeds as the name of a file, without its suffix."""
    path = Path(text)
    short = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    return re.sub(r"[^\w.-]+", "_", str(short)).strip("_.") or "pictures"


def file_names(names: Iterable[str], taken: set[str]) -> Iterator[str]:
    """What files of pictures are called, without suffix: `cat`, or `cat_jpg` if that is taken."""
    for name in names:
        short = stem(name)
        if short in taken:
            short = stem(name.replace(".", "_"))
        taken.add(short)
        yield short


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
