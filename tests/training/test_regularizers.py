import pytest
import torch
from torch import nn

from zoo_core.training.regularizers import gradient_penalty, r1_penalty

ROWS, SHAPE = 5, (3, 4, 4)


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.randn(2, ROWS, *SHAPE, dtype=torch.float64)


def linear(weight):
    return lambda images: (images * weight).flatten(1).sum(1)


def quadratic(images):
    return images.square().flatten(1).sum(1)  # its gradient is 2x


def test_the_squared_gradient_of_a_linear_judge_is_that_of_its_weight(images):
    weight = torch.randn(SHAPE, dtype=torch.float64)
    penalty = r1_penalty(linear(weight), images[0])
    torch.testing.assert_close(penalty, weight.square().sum().float())


def test_the_squared_gradient_is_summed_over_pixels_and_averaged_over_images(images):
    penalty = r1_penalty(quadratic, images[0])
    expected = (2 * images[0]).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(penalty, expected.float())


def test_every_logit_of_a_patch_judge_counts(images):
    penalty = r1_penalty(lambda x: torch.stack([x, 2 * x], 1), images[0])
    torch.testing.assert_close(penalty.item(), 9.0 * torch.Size(SHAPE).numel())


@pytest.mark.parametrize("target", [0.0, 1.0, 2.0])
def test_the_penalty_is_the_squared_distance_of_the_slope_from_its_target(images, target):
    weight = torch.randn(SHAPE, dtype=torch.float64)
    penalty = gradient_penalty(linear(weight), *images, torch.rand(ROWS), target)
    torch.testing.assert_close(penalty, (weight.norm() - target).square().float())


def test_the_penalty_of_a_judge_of_slope_one_is_zero(images):
    weight = torch.randn(SHAPE, dtype=torch.float64)
    penalty = gradient_penalty(linear(weight / weight.norm()), *images, torch.rand(ROWS))
    assert penalty.item() < 1e-10


@pytest.mark.parametrize("mix", [[0.0] * ROWS, [1.0] * ROWS, [0, 0.25, 0.5, 0.75, 1]])
def test_the_penalty_is_taken_at_the_mixture_of_each_row(images, mix):
    real, fake = images
    mix = torch.tensor(mix)
    penalty = gradient_penalty(quadratic, real, fake, mix)
    share = mix.double().view(-1, 1, 1, 1)
    slopes = (2 * (share * real + (1 - share) * fake)).flatten(1).norm(dim=1)
    torch.testing.assert_close(penalty, (slopes - 1).square().mean().float())


def test_a_flat_judge_has_a_finite_gradient():
    weight = torch.zeros(SHAPE, requires_grad=True)
    images = torch.randn(2, ROWS, *SHAPE)
    gradient_penalty(linear(weight), *images, torch.rand(ROWS)).backward()
    assert weight.grad.isfinite().all()


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 4, 3)
        self.outer = nn.Linear(16, 1)

    def forward(self, images):
        return self.outer(self.inner(images).tanh().flatten(1))


@pytest.mark.parametrize(
    "penalty",
    [
        lambda judge, real, fake: r1_penalty(judge, real),
        lambda judge, real, fake: gradient_penalty(judge, real, fake, torch.full([ROWS], 0.3)),
    ],
    ids=["r1_penalty", "gradient_penalty"],
)
def test_the_slope_towards_the_judges_weights_agrees_with_finite_differences(
    penalty, images, monkeypatch
):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # else rounding hides it
    torch.manual_seed(1)
    judge = Judge().double()
    penalty(judge, *images).backward()
    weight = judge.inner.weight
    direction = torch.randn_like(weight)
    values, step = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(sign * step * direction)
        values.append(penalty(judge, *images).item())
        with torch.no_grad():
            weight.sub_(sign * step * direction)
    slope = (weight.grad * direction).sum().item()
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)
    assert abs(slope) > 1e-3  # not both zero


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_penalties_are_float32_whatever_comes_in(dtype):
    images = torch.randn(2, ROWS, *SHAPE, dtype=dtype)
    assert r1_penalty(quadratic, images[0]).dtype == torch.float32
    assert gradient_penalty(quadratic, *images, torch.rand(ROWS)).dtype == torch.float32


def test_the_images_given_get_no_gradient(images):
    real = images[0].requires_grad_()
    r1_penalty(Judge().double(), real).backward()
    assert real.grad is None
