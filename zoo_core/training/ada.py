"""Adaptive discriminator augmentation: Karras et al. 2020a, "Training generative adversarial
networks with limited data", arXiv:2006.06676.

From appendix B: the operations called "bgc" there (blitting, geometry, color) and cutout, in the
same order, each with probability p. The operations on an image are multiplied into one matrix,
3 x 3 for geometry and 4 x 4 for color, and applied at once. From section 3: p follows how much the
discriminator overfits to its training images.

Departures: image-space filtering and noise are left out; p is clamped at 1 as well as at 0, or
follows a schedule instead of the discriminator; normal numbers are normal quantiles of uniform
ones; nothing is computed for a batch that stays unchanged. See also zoo_core/nn/warp.py.
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

STEPS_PER_CHANGE = 4  # steps between changes of p, section 3


def _ones(side: int, *places: tuple[int, int]) -> Tensor:
    matrix = torch.zeros(side, side, dtype=torch.float64)
    for place in places:
        matrix[place] = 1
    return matrix


# Points (x, y, 1), in pixels from the center of the image, y downward.
X, Y, ORIGIN = _ones(3, (0, 0)), _ones(3, (1, 1)), _ones(3, (2, 2))
XY, TURN = X + Y, _ones(3, (1, 0)) - _ones(3, (0, 1))
X_SHIFT, Y_SHIFT = _ones(3, (0, 2)), _ones(3, (1, 2))

# Colors (r, g, b, 1), and their components along and across the gray axis.
BLACK, LIGHT = _ones(4, (3, 3)), _ones(4, (0, 3), (1, 3), (2, 3))
RGB = _ones(4, (0, 0), (1, 1), (2, 2))
GRAY = pad(torch.full((3, 3), 1 / 3, dtype=torch.float64), (0, 1, 0, 1))
CHROMA = RGB - GRAY
HUE_TURN = (_ones(4, (1, 0), (2, 1), (0, 2)) - _ones(4, (0, 1), (1, 2), (2, 0))) / math.sqrt(3)


def _sum(matrix: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """The matrix plus the other terms, each scaled by its numbers [N]."""
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
    return _sum(BLACK + CHROMA, (1 - 2 * _choice(draws, 2), GRAY))


def _turn_hue(size: int, draws: Tensor) -> Tensor:
    angle = math.pi * (2 * draws - 1)
    return _sum(BLACK + GRAY, (angle.cos(), CHROMA), (angle.sin(), HUE_TURN))


def _saturation(size: int, draws: Tensor) -> Tensor:
    return _sum(BLACK + GRAY, (2 ** _normal(draws, 1.0), CHROMA))


class Operation(NamedTuple):
    """Applied to an image with probability p times the multiplier of its group."""

    name: str
    group: str
    num_draws: int
    matrix: Callable[[int, Tensor], Tensor]  # from size and draws, [N] or [num_draws, N]
    is_half: bool = False  # one of a pair: the probability is that of at least one


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
# Draws per image: for each operation, one that decides whether to apply it, then its parameters.
WIDTHS = {each.name: 1 + each.num_draws for each in (*GEOMETRY, *COLORING)} | {"cutout": 3}
ENDS = accumulate(WIDTHS.values())
COLUMNS = {name: slice(end - WIDTHS[name], end) for name, end in zip(WIDTHS, ENDS, strict=True)}


class ADA(Augment):
    """Random operations with an adaptive probability p; color only for gray and RGB images.

    With a `target`, p starts at `prob`; it rises while the mean sign of the real logits is above
    the target and falls while it is below, fast enough to go from 0 to 1 in `speed_images` images.
    With `target` None, p rises from 0 to `prob` along half a cosine over `rampup` images and stays.
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
        self.catch_up(0)

    @property
    def is_idle(self) -> bool:
        """Whether p is 0 or all its multipliers are 0."""
        return not (float(self.p) and any(self.multipliers.values()))

    def check(self, images: Tensor) -> None:
        """Raise ValueError if color operations are on and the images are neither gray nor RGB."""
        if self.multipliers["color"] and images.shape[1] not in (1, 3):
            raise ValueError(
                "ADA's color operations need images of 1 or 3 channels; "
                f"these have {images.shape[1]}, so the color multiplier must be 0"
            )

    def catch_up(self, images: int) -> None:
        """Set p from the schedule, if it follows one."""
        if self.target is None:
            self.p.fill_(cosine(images, 0.0, self.prob, self.rampup))

    def terms(self) -> dict[str, Tensor]:
        """The probability p."""
        return {"p": self.p.clone()}

    def observe(self, signs: Tensor | None, images: int, batch_size: int) -> None:
        """Set p for the next step from the schedule or, every 4 steps, the sign of r_t - target.

        r_t is the mean of `signs` since the last change (section 3, eq. 1).
        """
        if self.target is None:
            self.catch_up(images)
            return
        if signs is not None:
            self.sign_sum = self.sign_sum.to(signs.device)  # so that adding waits for nothing
            self.sign_sum += signs.detach()
            self.sign_count += 1
        if images // batch_size % STEPS_PER_CHANGE == 0:
            if not self.sign_count:
                raise ConfigError(
                    "adaptive augmentation follows the logits of real images, but no phase of this "
                    "model reports them (real_signs)",
                    hint="--change augment=diffaugment",
                )
            excess = float(self.sign_sum) / int(self.sign_count) - self.target
            change = STEPS_PER_CHANGE * batch_size / self.speed_images
            self.p.add_(change * ((excess > 0) - (excess < 0))).clamp_(0, 1)
            self.sign_sum.zero_()
            self.sign_count.zero_()

    def augment(self, images: Tensor, draws: Tensor) -> Tensor:
        """Apply geometry, color and cutout; return `images` itself if nothing changes."""
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
        """float64 [N, k, k]: the operations on each image as one matrix; None if there are none."""
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
        """Which images an operation is applied to [N], and its parameters [num_draws, N]."""
        prob = float(self.p) * self.multipliers[group]
        prob = 1 - math.sqrt(1 - prob) if is_half else prob
        numbers = draws[:, COLUMNS[name]].T
        return numbers[0] < prob, numbers[1:]


def recolor(images: Tensor, matrices: Tensor) -> Tensor:
    """Multiply colors by float64 matrices [N, 4, 4]; for gray, by the mean row, as published.

    Takes images [N, 1 or 3, S, S] and keeps their dtype; computes in float32, or in float64 if they
    are float64.
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
