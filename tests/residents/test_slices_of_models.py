"""Every resident model computes a step on slices of its batch, or is refused in words."""

from __future__ import annotations

import pytest
import torch

from zoo_core.errors import ConfigError
from zoo_core.runtime import Runtime
from zoo_core.testing import Case
from zoo_core.training.changes import with_settings
from zoo_core.training.engine import step
from zoo_core.training.estimate import random_batch
from zoo_core.training.state import TrainState, build

RUNTIME = Runtime(torch.device("cpu"), torch.float32, torch.channels_last)
REFUSED = {
    "dcgan": "batch normalization in the generator",
    "pix2pix": "batch normalization in the generator",
    "projected": "batch normalization in the generator",
    "classifier": "batch normalization in the classifier",
    "stylegan2": "the phase 'path_length' keeps a running statistic of the batch",
}
SLICED = {
    "gan": {"input_dropout": 0.0, "hidden_dropout": 0.0},
    "progan": {},
    "stylegan": {},
    "stylegan2": {"path_weight": 0.0},
    "r3gan": {},
}
AUGMENTED = {"augment": "ada", "augment_prob": 0.5}


def trained(case: Case, micro_batch: int, settings: dict) -> TrainState:
    """The state after four steps of 8 images.

    Networks draw no noise from torch's generator, which slices draw anew.
    """
    chosen = {"batch_size": 8, "micro_batch": micro_batch, "precision": "fp32", **settings}
    resolved = with_settings(case.resolved, chosen)
    state = build(case.spec, resolved, RUNTIME)
    torch.manual_seed(1)
    batch = random_batch(state, 8, RUNTIME)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.randn_like", torch.zeros_like)
        patch.setattr("torch.randn", torch.zeros)
        for _ in range(4):
            step(state, batch, resolved.run, RUNTIME)
    return state


@pytest.mark.parametrize("augment", [{}, AUGMENTED], ids=["plain", "ada"])
@pytest.mark.parametrize("model", SLICED)
def test_slices_have_the_losses_of_the_whole_batch(model, augment, tmp_path):
    case, settings = Case.of(model, tmp_path), SLICED[model] | augment
    whole, sliced = (trained(case, micro_batch, settings) for micro_batch in (0, 4))
    assert sliced.slices is not None
    assert sliced.terms.keys() == whole.terms.keys()
    for name, (total, count) in whole.terms.items():
        assert sliced.terms[name][1] == count
        torch.testing.assert_close(sliced.terms[name][0], total, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("model", REFUSED)
def test_a_model_whose_images_affect_each_other_is_refused_in_words(model, tmp_path):
    with pytest.raises(ConfigError, match=REFUSED[model]):
        trained(Case.of(model, tmp_path), 4, {})
