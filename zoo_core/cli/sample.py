"""`zoo sample`: pictures by their seeds, as one grid or a file each."""

from __future__ import annotations

from pathlib import Path

import typer

from zoo_core.cli.output import complete_weights, loaded_plugins

MAX_SEEDS = 1_000_000


def sample(
    name: str = typer.Argument(
        help="Registered weights, a .safetensors file or a run folder.",
        autocompletion=complete_weights,
    ),
    seeds: str = typer.Option("0-15", "--seeds", help="Such as 7, 0-63 or 1,5,20-30."),
    out: Path = typer.Option(None, "--out", "-o", help="File of the grid, or folder for --each."),
    each: bool = typer.Option(False, "--each", help="One file a seed instead of one grid."),
    columns: int = typer.Option(
        None, "--columns", min=1, help="Pictures in a row [default: a square]."
    ),
    label: int = typer.Option(None, "--label", help="Class, for a class-conditional model."),
    truncation: float = typer.Option(
        1.0, "--truncation", help="1: all variety; towards 0: the average."
    ),
    device: str = typer.Option("cpu", "--device", help="cpu, cuda, mps or auto."),
) -> None:
    """Draw pictures. The picture of a seed is the same whatever else is drawn with it."""
    numbers = parse_seeds(seeds)
    plugins = loaded_plugins()

    from zoo_core.data import to_uint8
    from zoo_core.pictures import save_grid, save_png
    from zoo_core.pretrained import load

    generator = load(name, device=device, plugins=plugins)
    stem = Path(name).stem if name.endswith(".safetensors") else Path(name).name
    target = out or Path("samples", f"{stem}-{seeds.replace(',', '_')}" + ("" if each else ".png"))
    (target if each else target.parent).mkdir(parents=True, exist_ok=True)
    grid = []
    for start in range(0, len(numbers), 256):  # bounds the memory that --each needs
        some = numbers[start : start + 256]
        labels = None if label is None else [label] * len(some)
        pictures = to_uint8(generator.sample(some, labels=labels, truncation=truncation))
        if each:
            for seed, picture in zip(some, pictures, strict=True):
                save_png(target / f"{seed:06d}.png", picture.transpose(1, 2, 0))
        else:
            grid.append(pictures)
    if not each:
        import numpy as np

        save_grid(target, np.concatenate(grid), columns or max(1, round(len(numbers) ** 0.5)))
    typer.echo(target)


def parse_seeds(text: str) -> list[int]:
    """`"1,5,20-30"` to the numbers it names, in that order."""
    from zoo_core.errors import InputError

    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(
                "--seeds takes numbers and ranges", given=repr(text), hint="--seeds 0-63"
            )
        stop = int(last) if dash else int(first)
        if stop < int(first) or stop - int(first) + len(numbers) >= MAX_SEEDS:
            raise InputError(
                "--seeds takes rising ranges",
                given=repr(text),
                allowed=f"{MAX_SEEDS:,} seeds at most",
            )
        numbers.extend(range(int(first), stop + 1))
    return numbers
