"""`zoo sample`: images from seeds or from source images, as a grid or as one file per image."""

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
    class_number,
    default_target,
    file_names,
    file_stem,
    parse_seeds,
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
    Drawn: TypeAlias = Iterator[tuple[Pictures | None, Pictures]]  # sources, images

CHUNK = 256  # images per call; bounds the memory of --each


def sample(
    name: str = WEIGHTS,
    seeds: str = typer.Option(
        None, "--seeds", help="Such as 7, 0-63 or 1,5,20-30 [default: 0-15, or one per source]."
    ),
    source: str = typer.Option(
        None,
        "--source",
        help="Input of an image-to-image model: an image, a folder, a zip file or a data set.",
    ),
    fit: Fit = typer.Option(
        None, "--fit", help="How to make sources square [default: as in the run, or crop]."
    ),
    pairs: bool = typer.Option(
        None,
        "--pairs/--no-pairs",
        help="Treat sources as pairs, with one side as the input [default: if in A/ and B/].",
    ),
    reverse_pairs: bool = typer.Option(
        None, "--reverse-pairs", help="Use side B of each pair as input [default: as in the run]."
    ),
    out: Path = typer.Option(None, "--out", "-o", help="PNG of the grid, or folder for --each."),
    each: bool = typer.Option(False, "--each", help="Write one file per image instead of a grid."),
    columns: int = typer.Option(
        None, "--columns", min=1, help="Images per row [default: as square as possible]."
    ),
    label: str = LABEL,
    truncation: float = TRUNCATION,
    device: str = DEVICE,
) -> None:
    """Generate images from seeds or from source images.

    A seed always draws the same noise, whatever other seeds are given.
    """
    numbers = None if seeds is None else parse_seeds(seeds)
    if not each:
        check_grid(out, hint="--each to write one file per image")
    plugins = loaded_plugins()

    from zoo_core.weights.loading import load

    generator = load(name, device=device, plugins=plugins)
    number = class_number(label, generator)
    opened = _open(source, pairs, reverse_pairs, generator, plugins)
    starts = opened and _Sources(opened, generator, *_fit_and_direction(name, fit, reverse_pairs))
    numbers = _seeds(numbers, opened)
    names = starts.names(pairs) if starts else [f"{seed:06d}" for seed in numbers]
    what = _describe_request(source, seeds, fit, pairs, reverse_pairs)
    target = out or default_target(name, what, "" if each else ".png", label, truncation)
    files = [target / f"{file}.png" for file in file_names(names)] if each else [target]
    _check_output_outside_source(files, source)
    drawn = _drawn(generator, numbers, number, truncation, starts)
    with writing(target, folder=each):
        if each:
            _save_each(drawn, files)
        else:
            _save_grid(drawn, target, columns)
    typer.echo(target)


def _save_each(drawn: Drawn, files: Iterable[Path]) -> None:
    from zoo_core.data.saving import save_png

    made = (picture for _, pictures in drawn for picture in pictures)
    for file, picture in zip(files, made, strict=True):
        save_png(file, picture.transpose(1, 2, 0))


def _save_grid(drawn: Drawn, target: Path, columns: int | None) -> None:
    import numpy as np

    from zoo_core.data.saving import save_grid

    sheet = np.concatenate([_side_by_side(*both) for both in drawn])
    save_grid(target, sheet, columns or max(1, round(len(sheet) ** 0.5)))


def _describe_request(
    source: str | None,
    seeds: str | None,
    fit: Fit | None,
    pairs: bool | None,
    reverse_pairs: bool | None,
) -> str:
    """Describe the source, seeds and options that were given, for the default file name."""
    sides = [] if pairs is None else ["pairs" if pairs else "no-pairs"]
    sides += ["reversed"] if reverse_pairs else []
    given = [file_stem(each) for each in (source, seeds, fit) if each]
    return "-".join([*given, *sides]) or "0-15"


class _Sources:
    """Source images of an image-to-image model, read in the format that it takes."""

    def __init__(
        self, source: PictureDataset, generator: Generator, mode: Fit, reverse_pairs: bool
    ):
        self.source, self.reading = source, (generator, mode, reverse_pairs)

    def names(self, pairs: bool | None) -> list[str]:
        """The names of all sources; InputError if any cannot be used.

        Every source is read here, before any output is written.
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
                f"{len(unusable)} of {len(names)} source images cannot be used",
                given=first_few(unusable, "; "),
                hint="zoo data check FOLDER" + " --pairs" * self.source.paired,
            )
        if wide == len(names) and pairs is None and not self.source.paired:
            warn(
                "all sources are twice as wide as high; if they are side-by-side pairs, use --pairs"
            )
        return names

    def images(self, first: int, count: int) -> Tensor:
        """Sources from number `first` on: float32 [count, C, H, W] in [-1, 1]."""
        from zoo_core.data.preparation import source_images

        return source_images((self.source[first + row] for row in range(count)), *self.reading)


def _drawn(
    generator: Generator,
    seeds: Sequence[int],
    label: int | None,
    truncation: float,
    starts: _Sources | None,
) -> Drawn:
    """Yield chunks of (sources, generated images); sources are None for a latent model."""
    from zoo_core.data.batches import to_uint8

    for first in range(0, len(seeds), CHUNK):
        some = seeds[first : first + CHUNK]
        labels = None if label is None else [label] * len(some)
        begin = starts and starts.images(first, len(some))
        made = generator.sample(some, labels=labels, source=begin, truncation=truncation)
        yield None if begin is None else to_uint8(begin), to_uint8(made)


def _check_output_outside_source(files: Iterable[Path], source: str | None) -> None:
    """Raise InputError if an output file is a source or lies in the source folder."""
    from zoo_core.errors import InputError
    from zoo_core.filesystem import typed_path

    sources = typed_path(source).resolve() if source else None
    for file in files:
        if sources and typed_path(str(file)).resolve().is_relative_to(sources):
            raise InputError(f"the output {file} is inside --source", hint="--out OTHER_PATH")


def _fit_and_direction(name: str, fit: Fit | None, reverse_pairs: bool | None) -> tuple[Fit, bool]:
    """Return fit and reverse_pairs, by default as in the run."""
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
    """Open the sources of an image-to-image model; None for a latent model."""
    from zoo_core.data.datasets import open_dataset
    from zoo_core.data.files import PictureFiles
    from zoo_core.data.pairs import has_pair_folders
    from zoo_core.errors import DataError, InputError

    if generator.source_shape is None:
        if text is not None:
            raise InputError(
                f"{type(generator).__name__} starts from seeds, not from source images",
                given=f"--source {text}",
                hint="--seeds 0-63",
            )
        return None
    if text is None:
        raise InputError(
            f"{type(generator).__name__} is an image-to-image model and needs source images",
            hint="--source FOLDER",
        )
    if reverse_pairs and pairs is False:
        raise InputError("--reverse-pairs and --no-pairs contradict each other")
    where = (text, generator.source_shape[1], "test", plugins)
    paired = bool(pairs or reverse_pairs)
    source = open_dataset(*where, paired).dataset
    if pairs is None and isinstance(source, PictureFiles) and has_pair_folders(source):
        try:
            return open_dataset(*where, paired=True).dataset
        except DataError as error:
            raise InputError(str(error), hint=f"--source {text}/A, or --no-pairs") from None
    if paired and not source.paired:
        raise InputError(f"{text} contains no pairs", hint="omit --pairs and --reverse-pairs")
    return source


def _seeds(given: list[int] | None, starts: PictureDataset | None) -> list[int]:
    """Return one seed per image to generate."""
    from zoo_core.errors import InputError

    if starts is None:
        return list(range(16)) if given is None else given
    if given is None:
        return list(range(len(starts)))
    if len(given) not in (1, len(starts)):
        allowed = f"1 or {len(starts)}, one per source image"
        raise InputError(
            "the number of seeds does not match --source", given=len(given), allowed=allowed
        )
    return given * (len(starts) // len(given))


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
