"""Interpolation between seeds, and style mixing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zoo_core.arguments import checked_seeds, count_of, integer, summarize
from zoo_core.errors import InputError
from zoo_core.generators import Generator, StyleGenerator, evaluating, sample_batch
from zoo_core.memory import check_memory
from zoo_core.noise import SeededNoise

MAX_FRAMES = 1_000_000


def interpolate(
    generator: Generator,
    seeds: Sequence[int],  # at least two
    frames: int,  # images from one seed to the next
    *,
    loop: bool = False,  # return to the first seed, to repeat without a jump
    label: int | str | None = None,  # class of all images, for a class-conditional generator
    truncation: float = 1.0,
) -> Iterator[Tensor]:
    """Yield the frames of a walk through the images of `seeds`: float32 [C, H, W] in [-1, 1].

    A StyleGenerator walks along straight lines in W. Otherwise all noise is rotated from one seed's
    to the next one's (`SeededNoise.interpolate`), which keeps the norm of latents as in training.
    The walk contains the image of every seed. Raises InputError for fewer than two seeds or one
    frame, for seeds and labels that `sample` rejects, and for an image-to-image model.
    """
    _check_latent(generator)
    seeds = checked_seeds(seeds)
    if len(seeds) < 2 or frames < 1:
        raise InputError(
            "interpolation needs at least two seeds and one frame",
            given=f"{len(seeds)} seeds, {frames} frames",
        )
    stops = [*seeds, seeds[0]] if loop else seeds
    steps = frames * (len(stops) - 1) + (not loop)
    if steps > MAX_FRAMES:
        raise InputError(
            "the interpolation has too many frames",
            given=f"{frames} from one of {len(seeds)} seeds to the next",
            allowed=f"at most {MAX_FRAMES:,} in all",
        )
    chunk = sample_batch(generator.image_shape)
    for start in range(0, steps, chunk):
        rows = torch.arange(start, min(start + chunk, steps))
        legs = (rows // frames).clamp_(max=len(stops) - 2)
        before, after = ([stops[leg + end] for leg in legs] for end in (0, 1))
        yield from _interpolate(generator, before, after, rows / frames - legs, label, truncation)


def mix_styles(
    generator: Generator,
    seeds: Sequence[int],
    others: Sequence[int],
    layers: Sequence[int],  # layers to take from the other seed; 0 is the coarsest
    *,
    label: int | str | None = None,
    truncation: float = 1.0,
) -> Tensor:
    """Mix each of `seeds` with each of `others`: float32 [seeds, others, C, H, W] in [-1, 1].

    Karras et al. 2019, section 3.1 and figure 3. Raises InputError for a generator without styles,
    for layers that it does not have, and for seeds and labels that `sample` rejects.
    """
    if not isinstance(generator, StyleGenerator):
        raise InputError(
            f"{type(generator).__name__} has no styles to mix", hint="zoo interpolate NAME"
        )
    layers = list(layers)
    wrong = summarize(layer for layer in layers if integer(layer, generator.num_ws) < 0)
    if wrong or not layers:
        raise InputError(
            "no such layers", given=wrong or "none", allowed=f"0 to {generator.num_ws - 1}"
        )
    ws = count_of(seeds) * count_of(others) * generator.num_ws * generator.style_size
    check_memory(8 * ws, "so many mixed images", hint="fewer seeds")  # float32, twice
    seeds, others = checked_seeds(seeds), checked_seeds(others)
    own, other = (_ws(generator, some, label, truncation) for some in (seeds, others))
    mixed = own[:, None].repeat(1, len(others), 1, 1)
    mixed[:, :, layers] = other[None, :, layers]
    return generator.draw_ws(mixed.flatten(0, 1)).unflatten(0, (len(seeds), len(others)))


def _interpolate(
    generator: Generator,
    before: list[int],
    after: list[int],
    shares: Tensor,
    label: int | str | None,
    truncation: float,
) -> Tensor:
    if isinstance(generator, StyleGenerator):
        first, last = (_ws(generator, s, label, truncation) for s in (before, after))
        return generator.draw_ws(first.lerp(last, shares[:, None, None].to(first)))
    noise = SeededNoise(before).interpolate(SeededNoise(after), shares)
    labels = generator.checked_labels(label, len(before))
    return generator.draw(noise, labels=labels, truncation=truncation)


@torch.no_grad()
def _ws(
    generator: StyleGenerator, seeds: list[int], label: int | str | None, truncation: float
) -> Tensor:
    """Sample w in evaluation mode, without random style mixing."""
    labels = generator.checked_labels(label, len(seeds))
    if labels is not None:
        labels = labels.to(next(generator.parameters()).device)
    with evaluating(generator):
        return generator.sample_ws(SeededNoise(seeds), labels=labels, truncation=truncation)


def _check_latent(generator: Generator) -> None:
    if generator.source_shape is not None:
        raise InputError(
            f"{type(generator).__name__} is an image-to-image model and has no latents",
            hint="zoo sample NAME --source FOLDER",
        )
