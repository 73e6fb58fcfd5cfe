"""Adaptive discriminator augmentation: Karras et al. 2020a, "Training generative adversarial
networks with limited data", arXiv:2006.06676.

Appendix B in code: the operations called "bgc" there (blitting, geometry, color) and cutout, in its
order, each with probability p. What happens to a picture is multiplied into one matrix, 3 x 3 for
geometry and 4 x 4 for color, and carried out at once. Section 3 in code: p follows how well the
discriminator knows its training pictures by heart.

Departures: filtering and noise of the picture are left out; p is held below 1 as well as above 0,
or follows a schedule instead of the discriminator; a normal number is the normal quantile of a
uniform one; where nothing happens to a batch nothing is computed. See also zoo_core/nn/warp.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from zoo_core.errors import ConfigError
from zoo_core.nn.warp import linear, warp
from zoo_core.training.augment import Augment, cut_out
from zoo_core.training.schedules import cosine

STEPS_A_CHANGE = 4  # steps between two changes of p, section 3


def _ones(side: int, *places: tuple[int, int]) -> Tensor:
    matrix = torch.zeros(side, side, dtype=torch.float64)
    for place in places:
        matrix[place] = 1
    return matrix


# Points (x, y, 1), in pixels from the middle of the picture, y downward.
X, Y, ORIGIN = _ones(3, (0, 0)), _ones(3, (1, 1)), _ones(3, (2, 2))
XY, TURN = X + Y, _ones(3, (1, 0)) - _ones(3, (0, 1))
X_SHIFT, Y_SHIFT = _ones(3, (0, 2)), _ones(3, (1, 2))

# Colors (r, g, b, 1), and their parts along the axis of greys and across it.
BLACK, LIGHT = _ones(4, (3, 3)), _ones(4, (0, 3), (1, 3), (2, 3))
RGB = _ones(4, (0, 0), (1, 1), (2, 2))
GREY = pad(torch.full((3, 3), 1 / 3, dtype=torch.float64), (0, 1, 0, 1))
CHROMA = RGB - GREY
HUE_TURN = (_ones(4, (1, 0), (2, 1), (0, 2)) - _ones(4, (0, 1), (1, 2), (2, 0))) / math.sqrt(3)


def _sum(matrix: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """The matrix and others, each of them times numbers [N]."""
    for numbers, other in terms:
        matrix = matrix + numbers[:, None, None] * other
    return matrix


def _choice(draws: Tensor, high: int) -> Tensor:
    return (draws * high).floor()


def _normal(draws: Tensor, std: float) -> Tensor:
    return std * math.sqrt(2) * torch.erfinv(2 * draws - 1)


def _rotate(angle: Tensor) -> Tensor:
    return _sum(ORIGIN, (angle.cos(), XY), (angle.sin(), TURN))


def _translate(pixels: Tensor) -> Tensor:
    return _sum(ORIGIN + XY, (pixels[0], X_SHIFT), (pixels[1], Y_SHIFT))


def _flip_x(size: int, draws: Tensor) -> Tensor:
    return _sum(ORIGIN + Y, (1 - 2 * _choice(draws, 2), X))


def _rotate_by_quarters(size: int, draws: Tensor) -> Tensor:
    return _rotate(-math.pi / 2 * _choice(draws, 4))


def _translate_by_pixels(size: int, draws: Tensor) -> Tensor:
    return _translate((0.125 * size * (2 * draws - 1)).round())


def _scale(size: int, draws: Tensor) -> Tensor:
    return _sum(ORIGIN, (2 ** _normal(draws, 0.2), XY))


def _rotate_freely(size: int, draws: Tensor) -> Tensor:
    return _rotate(-math.pi * (2 * draws - 1))


def _stretch(size: int, draws: Tensor) -> Tensor:
    factor = 2 ** _normal(draws, 0.2)
    return _sum(ORIGIN, (factor, X), (1 / factor, Y))


def _translate_freely(size: int, draws: Tensor) -> Tensor:
    return _translate(size * _normal(draws, 0.125))


def _brightness(size: int, draws: Tensor) -> Tensor:
    return _sum(BLACK + RGB, (_normal(draws, 0.2), LIGHT))


def _contrast(size: int, draws: Tensor) -> Tensor:
    return _sum(BLACK, (2 ** _normal(draws, 0.5), RGB))


def _flip_luma(size: int, draws: Tensor) -> Tensor:
    return _sum(BLACK + CHROMA, (1 - 2 * _choice(draws, 2), GREY))


def _turn_hue(size: int, draws: Tensor) -> Tensor:
    angle = math.pi * (2 * draws - 1)
    return _sum(BLACK + GREY, (angle.cos(), CHROMA), (angle.sin(), HUE_TURN))


def _saturation(size: int, draws: Tensor) -> Tensor:
    return _sum(BLACK + GREY, (2 ** _normal(draws, 1.0), CHROMA))


class Operation(NamedTuple):
    """What happens to a picture with probability p, times the multiplier of its group."""

    name: str
    group: str
    num_draws: int
    matrix: Callable[[int, Tensor], Tensor]  # of the size and draws [N] or [num_draws, N]
    is_half: bool = False  # one of two, of which at least one happens with that probability


GEOMETRY = (
    Operation("xflip", "blit", 1, _flip_x),
    Operation("rotate90", "blit", 1, _rotate_by_quarters),
    Operation("xint", "blit", 2, _translate_by_pixels),
    Operation("scale", "geom", 1, _scale),
    Operation("rotate", "geom", 1, _rotate_freely, is_half=True),
    Operation("aniso", "geom", 1, _stretch),
    Operation("rotate_after", "geom", 1, _rotate_freely, is_half=True),
    Operation("xfrac", "geom", 2, _translate_freely),
)
COLORING = (
    Operation("brightness", "color", 1, _brightness),
    Operation("contrast", "color", 1, _contrast),
    Operation("lumaflip", "color", 1, _flip_luma),
    Operation("hue", "color", 1, _turn_hue),
    Operation("saturation", "color", 1, _saturation),
)
# Of the draws of a picture: for each operation one that decides whether, then those that say how.
WIDTHS = {each.name: 1 + each.num_draws for each in (*GEOMETRY, *COLORING)} | {"cutout": 3}
ENDS = accumulate(WIDTHS.values())
COLUMNS = {name: slice(end - WIDTHS[name], end) for name, end in zip(WIDTHS, ENDS, strict=True)}


class ADA(Augment):
    """Random operations with a probability p that adapts, for grey and RGB pictures; for others
    without color.

    With a `target`, p begins at `prob`; it rises while the mean sign of the logits of real pictures
    is above the target, falls while it is below, and could go from 0 to 1 in `speed_images`. With
    `target` None, p rises from 0 to `prob` along half a cosine over `rampup` images and stays.
    """

    num_draws = sum(WIDTHS.values())

    def __init__(
        self,
        prob: float = 0.0,
        *,
        target: float | None = 0.6,
        speed_images: int = 500_000,
        rampup: int = 0,
        blit: float = 1.0,  # multipliers of p, 0..1
        geom: float = 1.0,
        color: float = 1.0,
        cutout: float = 0.0,
    ):
        super().__init__()
        self.prob, self.target = prob, target
        self.speed_images, self.rampup = speed_images, rampup
        self.multipliers = {"blit": blit, "geom": geom, "color": color, "cutout": cutout}
        self.register_buffer("p", torch.tensor(float(prob)))
        self.register_buffer("sign_sum", torch.tensor(0.0))
        self.register_buffer("sign_count", torch.tensor(0))
        if target is None:
            self.observe(None, images=0, batch_size=1)

    @property
    def is_idle(self) -> bool:
        """Whether p is 0, or all its multipliers are."""
        return not (float(self.p) and any(self.multipliers.values()))

    def check(self, images: Tensor) -> None:
        """Raise ValueError when the color of images that are neither grey nor RGB is to change."""
        if self.multipliers["color"] and images.shape[1] not in (1, 3):
            raise ValueError(
                "ADA can change the color of pictures of 1 or 3 channels; "
                f"these have {images.shape[1]}, so its multiplier has to be 0"
            )

    def terms(self) -> dict[str, Tensor]:
        """The probability."""
        return {"p": self.p.clone()}

    def observe(self, signs: Tensor | None, images: int, batch_size: int) -> None:
        """Set p for the next step: by the schedule, or every 4 steps by the sign of r_t - target,
        where r_t is the mean of `signs` since the last change (section 3, eq. 1).
        """
        if self.target is None:
            self.p.fill_(cosine(images, 0.0, self.prob, self.rampup))
            return
        if signs is not None:
            self.sign_sum = self.sign_sum.to(signs.device)  # adding there waits for nothing
            self.sign_sum += signs.detach()
            self.sign_count += 1
        if images // batch_size % STEPS_A_CHANGE == 0:
            if not self.sign_count:
                raise ConfigError(
                    "adaptive augmentation follows the logits of real pictures, and no phase of "
                    "this model tells them (real_signs)",
                    hint="--set augment=diffaugment",
                )
            excess = float(self.sign_sum) / int(self.sign_count) - self.target
            change = STEPS_A_CHANGE * batch_size / self.speed_images
            self.p.add_(change * ((excess > 0) - (excess < 0))).clamp_(0, 1)
            self.sign_sum.zero_()
            self.sign_count.zero_()

    def augment(self, images: Tensor, draws: Tensor) -> Tensor:
        """Geometry, color, cutout; the images themselves when nothing happens to any of them."""
        size = images.shape[-1]
        geometry = self._product(GEOMETRY, size, draws)
        if geometry is not None:
            images = warp(images, geometry)
        color = self._product(COLORING, size, draws)
        if color is not None:
            images = recolor(images, color)
        happens, centers = self._decide("cutout", "cutout", draws)
        if happens.any():
            images = cut_out(images, centers.T.where(happens[:, None], torch.inf))
        return images

    def _product(self, operations: Sequence[Operation], size: int, draws: Tensor) -> Tensor | None:
        """float64 [N, k, k]: all that happens to each image, or None where nothing does."""
        product = None
        for name, group, _, matrix, is_half in operations:
            happens, numbers = self._decide(name, group, draws, is_half)
            if happens.any():
                matrices = matrix(size, numbers.squeeze(0))
                unchanged = torch.eye(matrices.shape[-1], dtype=torch.float64)
                matrices = matrices.where(happens[:, None, None], unchanged)
                product = matrices if product is None else matrices @ product
        return product

    def _decide(
        self, name: str, group: str, draws: Tensor, is_half: bool = False
    ) -> tuple[Tensor, Tensor]:
        """To which images an operation happens [N], and its numbers [num_draws, N]."""
        prob = float(self.p) * self.multipliers[group]
        prob = 1 - math.sqrt(1 - prob) if is_half else prob
        numbers = draws[:, COLUMNS[name]].T
        return numbers[0] < prob, numbers[1:]


def recolor(images: Tensor, matrices: Tensor) -> Tensor:
    """Colors times float64 matrices [N, 4, 4]; grey pictures by the mean of the rows, as published.

    Images [N, 1 or 3, S, S], computed in float32, or in float64 if they are; the same dtype.
    """
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    factors, offsets = matrices[:, :3, :3], matrices[:, :3, 3:]
    if images.shape[1] == 1:
        factors = factors.sum(2, keepdim=True).mean(1, keepdim=True)
        offsets = offsets.mean(1, keepdim=True)
    factors, offsets = [
        each.to(wide.dtype).to(wide.device, non_blocking=True) for each in (factors, offsets)
    ]
    colored = linear(wide.flatten(2), factors.matmul, factors.mT.matmul) + offsets
    return colored.reshape(images.shape).to(images.dtype)
