"""The options of `zoo sample` that read latents from a file and write them to one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from zoo_core.cli.drawing import writing

if TYPE_CHECKING:
    from torch import Tensor

    from zoo_core.generators import Generator

LATENTS = typer.Option(
    None, "--latents", help="File of latents, in z or w, to draw instead of those of seeds."
)
SAVE_LATENTS = typer.Option(
    None, "--save-latents", help="Also write the latents of the seeds, to a .safetensors file."
)


class FromFile(NamedTuple):
    """The latents of a file."""

    rows: Tensor
    in_w: bool

    def draw(
        self, generator: Generator, rows: list[int], labels: list[int] | None, truncation: float
    ) -> Tensor:
        """Draw some of the rows."""
        if self.in_w:
            return generator.draw_ws(self.rows[rows])  # type: ignore[attr-defined]
        return generator.draw_latents(self.rows[rows], labels=labels, truncation=truncation)


def read_latents(
    path: str | None,
    generator: Generator,
    seeds: str | None,
    label: str | None,
    truncation: float,
) -> FromFile | None:
    """Read the latents of a file, None if there is no path.

    Raises InputError if they do not fit the generator or the other options, and what `load_latents`
    raises.
    """
    from zoo_core.errors import InputError
    from zoo_core.sampling.files import load_latents

    if path is None:
        return None
    if seeds is not None:
        given, hint = f"--seeds {seeds}", "omit --seeds"
        raise InputError("latents take the place of seeds", given=given, hint=hint)
    _check_latent(generator, hint="--source FOLDER in place of --latents")
    latents, space, _ = load_latents(path)
    if space == "z":
        return FromFile(generator.checked_latents(latents), in_w=False)
    if label is not None or truncation != 1:
        option = "--label" if label is not None else "--truncation"
        what = f"{path} holds ws, whose class and truncation are decided"
        raise InputError(what, given=option, hint=f"omit {option}")
    return FromFile(_checked_ws(latents, generator), in_w=True)


def save_latents(
    path: Path | None, generator: Generator, seeds: list[int], name: str, drawn: str | None
) -> None:
    """Write the latents of the seeds, unless there is no path.

    Raises InputError for a model without latents, and if latents are `drawn` from a file.
    """
    from zoo_core.errors import InputError
    from zoo_core.sampling.files import save_latents
    from zoo_core.weights.header import MAX_NAME

    if path is None:
        return
    if drawn is not None:
        hint = "omit --save-latents"
        raise InputError("these latents are in a file already", given=drawn, hint=hint)
    _check_latent(generator, hint="omit --save-latents")
    if path.suffix != ".safetensors":
        given = path.suffix or "no suffix"
        raise InputError(f"cannot write latents to {path}", given=given, allowed=".safetensors")
    with writing(path):
        save_latents(path, generator.latents(seeds), model=f"{Path(name).name:.{MAX_NAME}}")


def _check_latent(generator: Generator, hint: str) -> None:
    from zoo_core.errors import InputError

    if generator.source_shape is not None:
        what = f"{type(generator).__name__} is an image-to-image model and has no latents"
        raise InputError(what, hint=hint)


def _checked_ws(ws: Tensor, generator: Generator) -> Tensor:
    from zoo_core.errors import InputError
    from zoo_core.generators import StyleGenerator

    if not isinstance(generator, StyleGenerator):
        raise InputError(f"{type(generator).__name__} has no ws, only latents z", given="ws")
    return generator.checked_ws(ws)
