"""`zoo mix`: a grid of images that mix the styles of two sets of seeds."""

from __future__ import annotations

from pathlib import Path

import typer

from zoo_core.cli.drawing import (
    DEVICE,
    TRUNCATION,
    WEIGHTS,
    check_grid,
    default_target,
    file_stem,
    parse_seeds,
    writing,
)
from zoo_core.cli.labels import LABEL, class_number
from zoo_core.cli.loading import load_generator
from zoo_core.cli.output import loaded_plugins

FLOAT_COPIES = 4  # of the memory of a grid, for the images before they have 8 bits


def mix(
    name: str = WEIGHTS,
    seeds: str = typer.Option("0-3", "--seeds", help="Seeds to change, one per row."),
    others: str = typer.Option("4-11", "--with", help="Seeds to take styles from, one per column."),
    layers: str = typer.Option(
        ...,
        "--layers",
        help="Layers to take from the --with seeds, such as 0-3: 0 is the coarsest (pose), "
        "higher is finer (color).",
    ),
    out: Path = typer.Option(None, "--out", "-o", help="PNG file of the grid."),
    label: str = LABEL,
    truncation: float = TRUNCATION,
    device: str = DEVICE,
) -> None:
    """Mix the styles of two sets of seeds in a grid.

    The first column and the first row show the images that are mixed.
    """
    rows, columns = parse_seeds(seeds), parse_seeds(others, "--with")
    chosen = parse_seeds(layers, "--layers")
    check_grid(out)
    plugins = loaded_plugins()

    import torch

    from zoo_core.data.batches import to_uint8
    from zoo_core.data.saving import check_grid_memory, save_grid
    from zoo_core.sampling.latents import mix_styles

    generator = load_generator(name, device, plugins)
    number = class_number(label, generator)
    what = f"mix-{file_stem(seeds)}-{file_stem(others)}-layers-{file_stem(layers)}"
    target = out or default_target(name, what, ".png", label, truncation)
    across = len(columns) + 1
    cells = FLOAT_COPIES * (len(rows) + 1) * across
    check_grid_memory(cells, across, generator.image_shape, hint="fewer --seeds, or fewer --with")
    with writing(target):
        mixed = mix_styles(generator, rows, columns, chosen, label=number, truncation=truncation)
        labels = None if number is None else [number] * (len(rows) + len(columns))
        whole = generator.sample([*rows, *columns], labels=labels, truncation=truncation)
        left, top = whole[: len(rows), None], whole[len(rows) :]
        corner = torch.ones_like(top[:1])
        sheet = torch.cat([torch.cat([corner, top])[None], torch.cat([left, mixed], dim=1)])
        save_grid(target, to_uint8(sheet.flatten(0, 1)), across)
    typer.echo(target)
