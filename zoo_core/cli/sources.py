"""The sources of an image-to-image model that `zoo sample` translates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zoo_core.cli.output import warn
from zoo_core.data.decoding import Fit
from zoo_core.filesystem import as_argument, exists, quoted

if TYPE_CHECKING:
    from torch import Tensor

    from zoo_core.generators import Generator
    from zoo_core.pictures import PictureDataset
    from zoo_core.plugins.loading import Plugins

SOURCE = typer.Option(
    None,
    "--source",
    help="Input of an image-to-image model: an image, a folder, a zip file or a data set.",
)
FIT = typer.Option(
    None, "--fit", help="How to make sources square [default: as in the run, or crop]."
)
PAIRS = typer.Option(
    None,
    "--pairs/--no-pairs",
    help="Treat sources as pairs, with one side as the input [default: if in A/ and B/].",
)
REVERSE_PAIRS = typer.Option(
    None, "--reverse-pairs", help="Use side B of each pair as input [default: as in the run]."
)


class Sources:
    """Source images of an image-to-image model, read in the format that it takes."""

    def __init__(
        self,
        source: PictureDataset,
        spelled: str,  # the name or path that was given for it
        generator: Generator,
        mode: Fit,
        reverse_pairs: bool,
    ):
        self.source, self.spelled = source, spelled
        self.reading = (generator, mode, reverse_pairs)

    def __len__(self) -> int:
        return len(self.source)

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
                hint=f"zoo data check {_argument(self.spelled)}" + " --pairs" * self.source.paired,
            )
        if wide == len(names) and pairs is None and not self.source.paired:
            warn(
                "all sources are twice as wide as high; if they are side-by-side pairs, use --pairs"
            )
        return names

    def images(self, numbers: Iterable[int]) -> Tensor:
        """The sources with these numbers: float32 [N, C, H, W] in [-1, 1]."""
        from zoo_core.data.preparation import source_images

        return source_images((self.source[number] for number in numbers), *self.reading)


def check_output_outside_source(files: Iterable[Path], source: str | None) -> None:
    """Raise InputError if an output file is a source or lies in the source folder."""
    from zoo_core.errors import InputError
    from zoo_core.filesystem import typed_path

    sources = typed_path(source).resolve() if source else None
    for file in files:
        if sources and typed_path(str(file)).resolve().is_relative_to(sources):
            raise InputError(f"the output {file} is inside --source", hint="--out OTHER_PATH")


def open_sources(
    text: str | None,
    generator: Generator,
    plugins: Plugins,
    weights: str,  # of the generator; the settings of their run are the defaults
    fit: Fit | None,
    pairs: bool | None,
    reverse_pairs: bool | None,
) -> Sources | None:
    """Open the sources of an image-to-image model; None for a latent model."""
    from zoo_core.errors import InputError
    from zoo_core.weights.run_settings import settings_of_run

    if generator.source_shape is None:
        if text is not None:
            raise InputError(
                f"{type(generator).__name__} starts from seeds, not from source images",
                given=f"--source {_argument(text)}",
                hint="--seeds 0-63 in place of --source",
            )
        return None
    if text is None:
        raise InputError(
            f"{type(generator).__name__} is an image-to-image model and needs source images",
            hint="--source FOLDER",
        )
    opened = _open(text, pairs, reverse_pairs, generator.source_shape[1], plugins)
    settings = settings_of_run(weights, plugins)
    if reverse_pairs is None:
        reverse_pairs = settings.get("reverse_pairs", False)
    return Sources(opened, text, generator, fit or settings.get("fit", "crop"), reverse_pairs)


def _open(
    text: str, pairs: bool | None, reverse_pairs: bool | None, resolution: int, plugins: Plugins
) -> PictureDataset:
    from zoo_core.config import RunConfig
    from zoo_core.data.datasets import open_dataset
    from zoo_core.errors import DataError, InputError

    if reverse_pairs and pairs is False:
        raise InputError("--reverse-pairs and --no-pairs contradict each other")
    where = (text, resolution, "test", plugins)
    paired = bool(pairs or reverse_pairs)
    if pairs is None and not paired and _holds_pairs(text, plugins):
        try:
            return open_dataset(*where, paired=True).dataset
        except DataError as error:
            side = Path(text, "A")
            one = f"--source {_argument(str(side))}, or " if side.is_dir() else ""
            raise InputError(str(error), hint=f"{one}--no-pairs") from None
    source = open_dataset(*where, paired, RunConfig(layout="plain")).dataset
    if paired and not source.paired:
        raise InputError(f"{text} contains no pairs", hint="omit --pairs and --reverse-pairs")
    return source


def _holds_pairs(text: str, plugins: Plugins) -> bool:
    from zoo_core.data.files import has_pair_folders
    from zoo_core.filesystem import typed_path

    path = typed_path(text)
    return path.exists() and not plugins.datasets.matches(text) and has_pair_folders(path)


def _argument(text: str) -> str:
    """The name or path of images, as it is typed in a command."""
    return as_argument(text) if exists(text) else quoted(text)
