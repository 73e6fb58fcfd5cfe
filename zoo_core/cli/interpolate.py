"""`zoo interpolate`: interpolate between seeds, as an animated file or a folder of frames."""

from __future__ import annotations

from pathlib import Path

import typer

from zoo_core.cli.drawing import (
    DEVICE,
    TRUNCATION,
    WEIGHTS,
    default_target,
    file_stem,
    parse_seeds,
    writing,
)
from zoo_core.cli.labels import LABEL, class_number
from zoo_core.cli.loading import load_generator
from zoo_core.cli.output import finite, loaded_plugins


def interpolate(
    name: str = WEIGHTS,
    seeds: str = typer.Option("0-7", "--seeds", help="Seeds to pass through."),
    frames: int = typer.Option(24, "--frames", min=1, help="Frames from one seed to the next."),
    loop: bool = typer.Option(True, "--loop/--no-loop", help="Return to the first seed."),
    fps: float = typer.Option(
        24, "--fps", min=0.1, max=1000, callback=finite, help="Frames per second."
    ),
    out: Path = typer.Option(
        None, "--out", "-o", help="A .gif, .webp or .png file, or a folder for the frames."
    ),
    label: str = LABEL,
    truncation: float = TRUNCATION,
    device: str = DEVICE,
) -> None:
    """Animate the interpolation between seeds.

    Models with styles are interpolated in W, others from latent to latent.
    """
    numbers = parse_seeds(seeds)
    plugins = loaded_plugins()

    from zoo_core.data.batches import to_uint8
    from zoo_core.data.saving import save_animation, save_png
    from zoo_core.errors import InputError
    from zoo_core.memory import check_memory
    from zoo_core.sampling.latents import interpolate

    generator = load_generator(name, device, plugins)
    target = out or default_target(name, f"walk-{file_stem(seeds)}", ".webp", label, truncation)
    walk = interpolate(
        generator,
        numbers,
        frames,
        loop=loop,
        label=class_number(label, generator),
        truncation=truncation,
    )
    pictures = (to_uint8(picture[None])[0].transpose(1, 2, 0) for picture in walk)
    folder = target.is_dir() or not target.suffix
    if not folder and target.suffix.lower() != ".webp":  # whose frames are written one by one
        count, (_, height, width) = frames * len(numbers), generator.image_shape
        check_memory(
            count * height * width * 4,
            "the frames of this animation",
            hint="--out FILE.webp, or --out FOLDER",
        )
    with writing(target, folder):
        if not folder:
            save_animation(target, pictures, fps)
        elif any(target.glob("*.png")):
            raise InputError(f"{target} already contains PNG files", hint="--out NEW_FOLDER")
        else:
            for number, picture in enumerate(pictures):
                save_png(target / f"{number:06d}.png", picture)
    typer.echo(target)
