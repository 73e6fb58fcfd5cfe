import pytest
import torch
from torch import log, sigmoid

from zoo_core.training.losses import LOSSES

# The formulas as printed: fine in float64 near 0, but not where sigmoid rounds to 0 or 1.
NAIVE = {
    "minimax": (
        lambda real, fake: -(log(sigmoid(real)).mean() + log(1 - sigmoid(fake)).mean()),
        lambda real, fake: log(1 - sigmoid(fake)).mean(),
    ),
    "non-saturating": (
        lambda real, fake: -(log(sigmoid(real)).mean() + log(1 - sigmoid(fake)).mean()),
        lambda real, fake: -log(sigmoid(fake)).mean(),
    ),
    "least-squares": (
        lambda real, fake: 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean(),
        lambda real, fake: 0.5 * ((fake - 1) ** 2).mean(),
    ),
    "hinge": (
        lambda real, fake: (
            -(
                torch.minimum(torch.zeros_like(real), real - 1).mean()
                + torch.minimum(torch.zeros_like(fake), -fake - 1).mean()
            )
        ),
        lambda real, fake: -fake.mean(),
    ),
    "wasserstein": (
        lambda real, fake: -(real.mean() - fake.mean()),
        lambda real, fake: -fake.mean(),
    ),
    "relativistic": (
        lambda real, fake: -log(sigmoid(real - fake)).mean(),
        lambda real, fake: -log(sigmoid(fake - real)).mean(),
    ),
}
SIDES = ("discriminator", "generator")


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return 2 * torch.randn(2, 6, 5, dtype=torch.float64)


def test_the_names_in_a_configuration_are_the_losses():
    assert set(LOSSES) == set(NAIVE)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_formula_of_its_paper(name, side, logits):
    naive = NAIVE[name][SIDES.index(side)](*logits)
    loss = getattr(LOSSES[name], side)(*logits)
    torch.testing.assert_close(loss, naive, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_finite_at_extreme_logits(name, side):
    corners = torch.tensor([[1e4, 1e4, -1e4, -1e4], [1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    loss = getattr(LOSSES[name], side)(*corners)
    loss.backward()
    assert loss.isfinite()
    assert corners.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_generator_gains_when_its_logits_rise_towards_real(name):
    real, fake = torch.ones(4), torch.linspace(-2, 0.5, 4, requires_grad=True)
    LOSSES[name].generator(real, fake).backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_discriminator_gains_when_real_rises_and_fake_falls(name):
    real = torch.linspace(-1, 0.5, 4, requires_grad=True)
    fake = torch.linspace(0.8, 0.1, 4, requires_grad=True)
    LOSSES[name].discriminator(real, fake).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_paired_says_whether_the_generator_looks_at_real_logits(name, logits):
    real, fake = logits
    differs = LOSSES[name].generator(real, fake) != LOSSES[name].generator(real + 1, fake)
    assert LOSSES[name].paired == bool(differs)


def test_a_relativistic_loss_compares_row_by_row():
    real, fake = torch.tensor([0.0, 5.0]), torch.tensor([0.0, 5.0])
    same = LOSSES["relativistic"].discriminator(real, fake)
    torch.testing.assert_close(same, torch.tensor(2.0).log())
    assert LOSSES["relativistic"].discriminator(real, fake.flip(0)) > same


def test_the_non_saturating_generator_learns_where_minimax_does_not():
    slopes = {}
    for name in ("minimax", "non-saturating"):
        fake = torch.tensor([-20.0], requires_grad=True)
        LOSSES[name].generator(torch.zeros(1), fake).backward()
        slopes[name] = abs(fake.grad.item())
    assert slopes["non-saturating"] > 0.99
    assert slopes["minimax"] < 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_the_signs_of_paired_losses_have_a_name_of_their_own(name):
    real, fake = torch.tensor([3.0, 2.0, -1.0, 4.0]), torch.tensor([1.0, 5.0, 2.0, 9.0])
    terms = LOSSES[name].discriminator_terms(real, fake)
    if LOSSES[name].paired:
        assert terms["pair_signs"] == -0.5  # one of four pairs is in the right order
        assert "real_signs" not in terms
    else:
        assert terms["real_signs"] == 0.5
        assert "pair_signs" not in terms
