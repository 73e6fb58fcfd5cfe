"""`zoo sample`: pictures by their seeds, or made from other pictures; a grid or a file each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import typer

from zoo_core.cli.drawing import (
    DEVICE,
    LABEL,
    TRUNCATION,
    WEIGHTS,
    check_grid,
    default_target,
    file_names,
    label_of,
    parse_seeds,
    stem,
    writing,
)
from zoo_core.cli.output import loaded_plugins, settings_of_run, warn
from zoo_core.data.decoding import Fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from zoo_core.interfaces import Generator
    from zoo_core.pictures import PictureDataset
    from zoo_core.plugins.loading import Plugins

    Pictures: TypeAlias = NDArray[np.uint8]  # [N, C, H, W]

CHUNK = 256  # pictures at once, which bounds the memory that --each needs


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
    pairs: bool = typer.Option(
        None,
        "--pairs/--no-pairs",
        help="Sources are pairs, of which a side is translated [default: if in A/ and B/].",
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
    """Draw pictures. The noise of a seed is the same whatever else is drawn with it."""
    numbers = None if seeds is None else parse_seeds(seeds)
    if not each:
        check_grid(out, hint="--each for a folder of files")
    plugins = loaded_plugins()

    import numpy as np

    from zoo_core.data.saving import save_grid, save_png
    from zoo_core.weights.loading import load

    generator = load(name, device=device, plugins=plugins)
    number = label_of(label, generator)
    opened = _open(source, pairs, reverse_pairs, generator, plugins)
    starts = opened and _Sources(opened, generator, *_as_in_the_run(name, fit, reverse_pairs))
    numbers = _seeds(numbers, opened)
    names = starts.names(pairs) if starts else [f"{seed:06d}" for seed in numbers]
    what = _asked_for(source, seeds, fit, pairs, reverse_pairs)
    target = out or default_target(name, what, "" if each else ".png", label, truncation)
    files = [target / f"{file}.png" for file in file_names(names)] if each else [target]
    _check_apart(files, source)
    drawn = _drawn(generator, numbers, number, truncation, starts)
    with writing(target, folder=each):
        if each:
            made = (picture for _, pictures in drawn for picture in pictures)
            for file, picture in zip(files, made, strict=True):
                save_png(file, picture.transpose(1, 2, 0))
        else:
            sheet = np.concatenate([_side_by_side(*both) for both in drawn])
            save_grid(target, sheet, columns or max(1, round(len(sheet) ** 0.5)))
    typer.echo(target)


def _asked_for(
    source: str | None,
    seeds: str | None,
    fit: Fit | None,
    pairs: bool | None,
    reverse_pairs: bool | None,
) -> str:
    """What the pictures are of, and whatever else was said of them, for the name of a file."""
    sides = [] if pairs is None else ["pairs" if pairs else "no-pairs"]
    sides += ["reversed"] if reverse_pairs else []
    given = [stem(each) for each in (source, seeds, fit) if each]
    return "-".join([*given, *sides]) or "0-15"


class _Sources:
    """What a translator starts from, as it takes it."""

    def __init__(
        self, source: PictureDataset, generator: Generator, mode: Fit, reverse_pairs: bool
    ):
        self.source, self.reading = source, (generator, mode, reverse_pairs)

    def names(self, pairs: bool | None) -> list[str]:
        """Of all pictures. Each is read, so that nothing was written when one cannot be used: then
        InputError is raised.
        """
        from zoo_core.data.preparation import source_images
        from zoo_core.errors import InputError, PictureError, first_few
        from zoo_core.pictures import BadPicture, read_every

        names, unusable, wide = [], [], 0
        for picture in read_every(self.source):
            try:
                if isinstance(picture, BadPicture):
                    raise PictureError(picture.name, picture.reason)
                source_images([picture], *self.reading)
                wide += picture.pixels.shape[1] == 2 * picture.pixels.shape[0]
            except PictureError as error:
                unusable.append(str(error))
            names.append(picture.name)
        if unusable:
            raise InputError(
                f"{len(unusable)} of {len(names)} pictures cannot be translated",
                given=first_few(unusable, "; "),
                hint="zoo data check FOLDER" + " --pairs" * self.source.paired,
            )
        if wide == len(names) and pairs is None and not self.source.paired:
            warn("all of them are twice as wide as high; --pairs, if they are pairs side by side")
        return names

    def images(self, first: int, count: int) -> Tensor:
        """float32 [count, C, H, W] in [-1, 1], from number `first` on."""
        from zoo_core.data.preparation import source_images

        return source_images((self.source[first + row] for row in range(count)), *self.reading)


def _drawn(
    generator: Generator,
    seeds: Sequence[int],
    label: int | None,
    truncation: float,
    starts: _Sources | None,
) -> Iterator[tuple[Pictures | None, Pictures]]:
    """A chunk of pictures after the other, with what they were made of, if of pictures."""
    from zoo_core.data.batches import to_uint8

    for first in range(0, len(seeds), CHUNK):
        some = seeds[first : first + CHUNK]
        labels = None if label is None else [label] * len(some)
        begin = starts and starts.images(first, len(some))
        made = generator.sample(some, labels=labels, source=begin, truncation=truncation)
        yield None if begin is None else to_uint8(begin), to_uint8(made)


def _check_apart(files: Iterable[Path], source: str | None) -> None:
    """Raise InputError for a file that would lie among the sources, or be one of them."""
    from zoo_core.errors import InputError
    from zoo_core.filesystem import typed_path

    sources = typed_path(source).resolve() if source else None
    for file in files:
        if sources and typed_path(str(file)).resolve().is_relative_to(sources):
            raise InputError(f"{file} lies among what is translated", hint="--out ELSEWHERE")


def _as_in_the_run(name: str, fit: Fit | None, reverse_pairs: bool | None) -> tuple[Fit, bool]:
    """How sources are read: as the run read them, where nothing was said."""
    settings = settings_of_run(name)
    if reverse_pairs is None:
        reverse_pairs = settings.get("reverse_pairs", False)
    return fit or settings.get("fit", "crop"), reverse_pairs


def _open(
    text: str | None,
    pairs: bool | None,
    reverse_pairs: bool | None,
    generator: Generator,
    plugins: Plugins,
) -> PictureDataset | None:
    """What a translator starts from; None for a latent model."""
    from zoo_core.data.datasets import open_dataset
    from zoo_core.data.files import PictureFiles
    from zoo_core.data.pairs import lie_in_two_folders
    from zoo_core.errors import DataError, InputError

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
    if reverse_pairs and pairs is False:
        raise InputError("--reverse-pairs and --no-pairs contradict each other")
    where = (text, generator.source_shape[1], "test", plugins)
    paired = bool(pairs or reverse_pairs)
    source = open_dataset(*where, paired).dataset
    if pairs is None and isinstance(source, PictureFiles) and lie_in_two_folders(source):
        try:
            return open_dataset(*where, paired=True).dataset
        except DataError as error:
            raise InputError(str(error), hint=f"--source {text}/A, or --no-pairs") from None
    if paired and not source.paired:
        raise InputError(f"{text} holds no pairs", hint="leave --pairs and --reverse-pairs out")
    return source


def _seeds(given: list[int] | None, starts: PictureDataset | None) -> list[int]:
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


def _side_by_side(left: Pictures | None, right: Pictures) -> Pictures:
    """Pictures [N, C, H, W] as [N, C, H, 2 W], if there are any to the left; grey ones become RGB
    beside RGB.
    """
    import numpy as np

    if left is None:
        return right
    planes = max(left.shape[1], right.shape[1])
    both = [np.repeat(p, planes // p.shape[1], axis=1) for p in (left, right)]
    return np.concatenate(both, axis=3)
