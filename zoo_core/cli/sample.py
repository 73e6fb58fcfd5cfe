"""`zoo sample`: images from seeds or from source images, as a grid or as one file per image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import typer

from zoo_core.cli.drawing import (
    DEVICE,
    TRUNCATION,
    WEIGHTS,
    check_grid,
    default_target,
    file_names,
    file_stem,
    parse_seeds,
    writing,
)
from zoo_core.cli.labels import LABEL_OR_ALL, class_numbers, means_all
from zoo_core.cli.latents import LATENTS, SAVE_LATENTS, FromFile, read_latents, save_latents
from zoo_core.cli.loading import load_generator
from zoo_core.cli.output import loaded_plugins
from zoo_core.cli.sources import (
    FIT,
    PAIRS,
    REVERSE_PAIRS,
    SOURCE,
    Sources,
    check_output_outside_source,
    open_sources,
)
from zoo_core.data.decoding import Fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo_core.generators import Generator

    Pictures: TypeAlias = NDArray[np.uint8]  # [N, C, H, W]
    Drawn: TypeAlias = Iterator[tuple[Pictures | None, Pictures]]  # sources, images

SEEDS, SEEDS_PER_CLASS = "0-15", "0-7"  # by default


def sample(
    name: str = WEIGHTS,
    seeds: str = typer.Option(
        None,
        "--seeds",
        help=f"Such as 7, 0-63 or 1,5,20-30 [default: {SEEDS}, {SEEDS_PER_CLASS} in each "
        "class, or one per source].",
    ),
    source: str = SOURCE,
    fit: Fit = FIT,
    pairs: bool = PAIRS,
    reverse_pairs: bool = REVERSE_PAIRS,
    out: Path = typer.Option(None, "--out", "-o", help="PNG of the grid, or folder for --each."),
    each: bool = typer.Option(False, "--each", help="Write one file per image instead of a grid."),
    latents: str = LATENTS,
    save: Path = SAVE_LATENTS,
    columns: int = typer.Option(
        None, "--columns", min=1, help="Images per row [default: a square, or a row per class]."
    ),
    label: str = LABEL_OR_ALL,
    truncation: float = TRUNCATION,
    device: str = DEVICE,
) -> None:
    """Generate images from seeds or from source images.

    A seed always draws the same noise, whatever other seeds are given. A class-conditional model
    draws every seed in every class, a class per row, or the class that --label says.
    """
    given = None if seeds is None else parse_seeds(seeds)
    if not each:
        check_grid(out, hint="--each to write one file per image")
    plugins = loaded_plugins()
    generator = load_generator(name, device, plugins)
    read = read_latents(latents, generator, seeds, label, truncation)
    classes = None if read and read.in_w else class_numbers(label, generator)
    sources = open_sources(source, generator, plugins, name, fit, pairs, reverse_pairs)
    in_rows = classes is not None and (label is None or means_all(label))
    default = SEEDS_PER_CLASS if in_rows else SEEDS
    chosen = _seeds(given, default, sources, read)
    wanted = _Wanted(chosen, classes, in_rows, sources, read)
    names = wanted.names(generator, pairs)
    what = _describe_request(latents or source, seeds, fit, pairs, reverse_pairs) or default
    what += "-classes" * (in_rows and label is None)
    target = out or default_target(name, what, "" if each else ".png", label, truncation)
    files = [target / f"{file}.png" for file in file_names(names)] if each else [target]
    check_output_outside_source(files, source)
    columns = columns if each else wanted.columns(columns)
    if not each:
        wanted.check_grid(generator, columns)
    drawn = wanted.draw(generator, truncation)
    save_latents(save, generator, chosen, name, latents)
    with writing(target, folder=each):
        if each:
            _save_each(drawn, files)
        else:
            _save_grid(drawn, target, columns)
    typer.echo(target)


class _Wanted(NamedTuple):
    """What to draw: all seeds in the first class, then in the next."""

    seeds: list[int]  # one per source, if there are sources; rows of `latents`, if there are any
    classes: list[int] | None  # None for a model without
    in_rows: bool  # whether each class is a row of the grid
    sources: Sources | None  # None for a latent model
    latents: FromFile | None  # None to draw seeds

    def names(self, generator: Generator, pairs: bool | None) -> list[str]:
        """The names of all images."""
        seeds = [f"{seed:06d}" for seed in self.seeds]
        names = self.sources.names(pairs) if self.sources else seeds
        if self.classes is None or not self.in_rows:
            return names
        digits = len(str(generator.num_classes - 1))
        called = generator.classes or [f"{n:0{digits}d}" for n in range(generator.num_classes)]
        return [f"{called[number]}-{name}" for number in self.classes for name in names]

    def columns(self, given: int | None) -> int | None:
        """The columns of the grid, None for a square; InputError if rows have another length."""
        from zoo_core.errors import InputError

        if self.in_rows and given not in (None, len(self.seeds)):
            raise InputError(
                "every class fills one row",
                given=f"--columns {given}",
                allowed=str(len(self.seeds)),
                hint="omit --columns, or --label CLASS for one class",
            )
        return len(self.seeds) if self.in_rows else given

    @property
    def total(self) -> int:
        """The number of images."""
        return len(self.seeds) * (1 if self.classes is None else len(self.classes))

    def check_grid(self, generator: Generator, columns: int | None) -> None:
        """Raise InputError for a grid that does not fit into memory, before images are made."""
        from zoo_core.data.saving import check_grid_memory

        channels, height, width = generator.image_shape
        shape = (3, height, 2 * width) if self.sources else (channels, height, width)
        columns = min(columns or max(1, round(self.total**0.5)), self.total)
        check_grid_memory(self.total, columns, shape, hint="--each to write one file per image")

    def draw(self, generator: Generator, truncation: float) -> Drawn:
        """Yield chunks of (sources, generated images); sources are None for a latent model."""
        from zoo_core.data.batches import to_uint8
        from zoo_core.generators import sample_batch

        length, total, chunk = len(self.seeds), self.total, sample_batch(generator.image_shape)
        for first in range(0, total, chunk):
            places = [divmod(n, length) for n in range(first, min(first + chunk, total))]
            seeds = [self.seeds[column] for _, column in places]
            labels = None if self.classes is None else [self.classes[row] for row, _ in places]
            begin = self.sources and self.sources.images(column for _, column in places)
            if self.latents:
                made = self.latents.draw(generator, seeds, labels, truncation)
            else:
                made = generator.sample(seeds, labels=labels, source=begin, truncation=truncation)
            yield None if begin is None else to_uint8(begin), to_uint8(made)


def _seeds(
    given: list[int] | None, default: str, starts: Sources | None, latents: FromFile | None
) -> list[int]:
    """Return one seed, or row of latents, per image to generate, or to generate of each class."""
    from zoo_core.errors import InputError

    if latents is not None:
        return list(range(len(latents.rows)))
    if starts is None:
        return parse_seeds(default) if given is None else given
    if given is None:
        return list(range(len(starts)))
    if len(given) not in (1, len(starts)):
        allowed = f"1 or {len(starts)}, one per source image"
        raise InputError(
            "the number of seeds does not match --source", given=len(given), allowed=allowed
        )
    return given * (len(starts) // len(given))


def _save_each(drawn: Drawn, files: Iterable[Path]) -> None:
    from zoo_core.data.saving import save_png

    made = (picture for _, pictures in drawn for picture in pictures)
    for file, picture in zip(files, made, strict=True):
        save_png(file, picture.transpose(1, 2, 0))


def _save_grid(drawn: Drawn, target: Path, columns: int | None) -> None:
    import numpy as np

    from zoo_core.data.saving import save_grid

    sheet = np.concatenate([_side_by_side(*both) for both in drawn])
    columns = columns or max(1, round(len(sheet) ** 0.5))
    save_grid(target, sheet, min(columns, len(sheet)))  # all in one row, where more are asked for


def _describe_request(
    source: str | None,
    seeds: str | None,
    fit: Fit | None,
    pairs: bool | None,
    reverse_pairs: bool | None,
) -> str:
    """Describe the source, seeds and options for the default file name; empty if none is given."""
    sides = [] if pairs is None else ["pairs" if pairs else "no-pairs"]
    sides += ["reversed"] if reverse_pairs else []
    given = [file_stem(each) for each in (source, seeds, fit) if each]
    return "-".join([*given, *sides])


def _side_by_side(left: Pictures | None, right: Pictures) -> Pictures:
    """Join images [N, C, H, W] into [N, C, H, 2 W]; without `left`, return `right`.

    Grayscale becomes RGB next to RGB.
    """
    import numpy as np

    if left is None:
        return right
    planes = max(left.shape[1], right.shape[1])
    both = [np.repeat(p, planes // p.shape[1], axis=1) for p in (left, right)]
    return np.concatenate(both, axis=3)
