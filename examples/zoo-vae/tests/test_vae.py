"""The contract that every model must meet, and tests of this model's own features."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from zoo_core import Batch, Progress, SeededNoise
from zoo_core.testing import CHECKS, Case

from zoo_vae.training import divergence


@pytest.fixture
def training(tmp_path):
    return Case.of("vae", tmp_path).training()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path):
    check(Case.of("vae", tmp_path))


def test_sampling_never_runs_the_encoder(training):
    generator = training.networks.generator
    before = generator.sample([0, 1])
    with torch.no_grad():
        for parameter in generator.encoder.parameters():
            parameter.fill_(torch.nan)
    assert torch.equal(generator.sample([0, 1]), before)


def test_the_loss_depends_on_the_position_in_the_run_and_on_no_hidden_state(training):
    (phase,) = training.phases
    images = SeededNoise(range(4)).uniform("pictures", (3, 16, 16)) * 2 - 1
    batch = Batch(images, None, None, torch.arange(4))

    def loss(position):
        noise = SeededNoise(0, range(position, position + 4))
        return float(phase.loss(batch, Progress(position, noise))["loss"].detach())

    first = loss(0)
    assert loss(4) != first
    assert loss(0) == first


def test_the_divergence_is_that_of_two_normal_distributions():
    mean, log_variance = SeededNoise(range(5)).normal("moments", (2, 7)).unbind(1)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), expected)
