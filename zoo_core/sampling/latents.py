"""Between pictures: walks from seed to seed, and styles of one seed in the picture of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zoo_core.errors import InputError
from zoo_core.interfaces import (
    Generator,
    StyleGenerator,
    checked_seeds,
    evaluating,
    integer,
    sample_batch,
    summarize,
)
from zoo_core.noise import SeededNoise


def interpolate(
    generator: Generator,
    seeds: Sequence[int],  # at least two
    frames: int,  # pictures from one seed to the next
    *,
    loop: bool = False,  # go back to the first seed, so that it can be repeated without a jump
    label: int | str | None = None,  # class of all pictures, for a class-conditional generator
    truncation: float = 1.0,
) -> Iterator[Tensor]:
    """A walk through the pictures of `seeds`: float32 [C, H, W] in [-1, 1], one after the other.

    Along straight lines in W for a generator with styles; else all noise is turned from one seed's
    to the next one's (`SeededNoise.toward`), which keeps latents as long as they are in training.
    The picture of every seed is part of the walk. Raises InputError for less than two seeds or one
    frame, for seeds and labels that `sample` refuses, and for a generator that starts from other
    pictures.
    """
    _check_latent(generator)
    seeds = checked_seeds(seeds)
    if len(seeds) < 2 or frames < 1:
        raise InputError(
            "a walk needs two seeds and a frame", given=f"{len(seeds)} seeds, {frames} frames"
        )
    stops = [*seeds, seeds[0]] if loop else seeds
    steps = frames * (len(stops) - 1) + (not loop)
    chunk = sample_batch(generator.image_shape)
    for start in range(0, steps, chunk):
        rows = torch.arange(start, min(start + chunk, steps))
        legs = (rows // frames).clamp_(max=len(stops) - 2)
        before, after = ([stops[leg + end] for leg in legs] for end in (0, 1))
        yield from _between(generator, before, after, rows / frames - legs, label, truncation)


def mix_styles(
    generator: Generator,
    seeds: Sequence[int],
    others: Sequence[int],
    layers: Sequence[int],  # numbers of the layers, 0 the coarsest, that take the other's style
    *,
    label: int | str | None = None,
    truncation: float = 1.0,
) -> Tensor:
    """Every seed in some of the styles of every other: float32 [seeds, others, C, H, W] in [-1, 1].

    Karras et al. 2019, section 3.1 and figure 3. Raises InputError for a generator without styles,
    for layers that it does not have, and for seeds and labels that `sample` refuses.
    """
    if not isinstance(generator, StyleGenerator):
        raise InputError(f"{type(generator).__name__} has no styles to mix", hint="zoo interpolate")
    layers = list(layers)
    wrong = summarize(layer for layer in layers if integer(layer, generator.num_ws) < 0)
    if wrong or not layers:
        raise InputError(
            "no such layers", given=wrong or "none", allowed=f"0 to {generator.num_ws - 1}"
        )
    seeds, others = checked_seeds(seeds), checked_seeds(others)
    own, other = (_ws(generator, some, label, truncation) for some in (seeds, others))
    mixed = own[:, None].repeat(1, len(others), 1, 1)
    mixed[:, :, layers] = other[None, :, layers]
    return generator.draw_ws(mixed.flatten(0, 1)).unflatten(0, (len(seeds), len(others)))


def _between(
    generator: Generator,
    before: list[int],
    after: list[int],
    shares: Tensor,
    label: int | str | None,
    truncation: float,
) -> Tensor:
    if isinstance(generator, StyleGenerator):
        first, last = (_ws(generator, s, label, truncation) for s in (before, after))
        return generator.draw_ws(first.lerp(last, shares[:, None, None].to(first.device)))
    noise = SeededNoise(before).interpolate(SeededNoise(after), shares)
    labels = generator.checked_labels(label, len(before))
    return generator.draw(noise, labels=labels, truncation=truncation)


@torch.no_grad()
def _ws(
    generator: StyleGenerator, seeds: list[int], label: int | str | None, truncation: float
) -> Tensor:
    """In evaluation mode, where no styles are mixed by chance."""
    labels = generator.checked_labels(label, len(seeds))
    if labels is not None:
        labels = labels.to(next(generator.parameters()).device)
    with evaluating(generator):
        return generator.sample_ws(SeededNoise(seeds), labels=labels, truncation=truncation)


def _check_latent(generator: Generator) -> None:
    if generator.source_shape is not None:
        raise InputError(
            f"{type(generator).__name__} starts from other pictures, not from latents",
            hint="zoo sample NAME --source FOLDER",
        )
