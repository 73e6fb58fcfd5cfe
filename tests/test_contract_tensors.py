"""The checks on networks as functions of tensors fail where such a function is broken."""

from __future__ import annotations

import multiprocessing
import threading
import time

import pytest
import torch
import toys
from msgspec.structs import replace

from zoo_core import testing_tensors as checks
from zoo_core.errors import PluginError
from zoo_core.generators import Generator
from zoo_core.testing import Case


class Unlike(toys.ToyGenerator):
    """`sample` brightens the images of `forward`."""

    def generate(self, noise, **options):
        return super().generate(noise, **options) + 0.01


class Random(toys.ToyGenerator):
    def forward(self, start, labels=None, truncation=1.0):
        return super().forward(start, labels, truncation) * torch.rand(())


class Flat(toys.ToyGenerator):
    def forward(self, start, labels=None, truncation=1.0):
        return super().forward(start.detach(), labels, truncation) + 0 * start.sum()


class Counted(toys.ToyGenerator):
    """Images depend on how many there are, in a way that no graph can hold."""

    def forward(self, start, labels=None, truncation=1.0):
        return super().forward(start, labels, truncation) / (1.0 if len(start) == 3 else 2.0)


class Branching(toys.ToyGenerator):
    def forward(self, start, labels=None, truncation=1.0):
        sign = 1 if start.sum() > 0 else -1
        return sign * super().forward(start, labels, truncation)


class Unsaved(toys.ToyGenerator):
    """Part of the network is in no state dict."""

    def __init__(self, config):
        super().__init__(config)
        self.shift = torch.rand(())

    def forward(self, start, labels=None, truncation=1.0):
        return super().forward(start, labels, truncation) + self.shift


class Uncopied(toys.ToyGenerator):
    def __deepcopy__(self, memory):
        return toys.ToyGenerator(toys.ToyConfig()).eval()


class Overflowing(toys.ToyGenerator):
    def forward(self, start, labels=None, truncation=1.0):
        return super().forward(start * 1e6 / 1e6, labels, truncation)


class Remembering(toys.ToyGenerator):
    """What a call is given is kept in the network, where another thread may replace it."""

    def forward(self, start, labels=None, truncation=1.0):
        self.kept = start
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.02)
        return super().forward(self.kept, labels, truncation)


class Unsendable(toys.ToyGenerator):
    def __init__(self, config):
        super().__init__(config)
        self.twice = lambda values: 2 * values


class Homesick(toys.ToyGenerator):
    """Works in the process where it was made only."""

    def forward(self, start, labels=None, truncation=1.0):
        assert multiprocessing.parent_process() is None
        return super().forward(start, labels, truncation)


class Leaning(toys.ToyGenerator):
    """Latents depend on the other latents of their batch."""

    def latents_of(self, noise, purpose="latents"):
        latents = super().latents_of(noise, purpose)
        return latents - latents.mean(0)


class Noisy(Generator):
    """A class from before `forward`."""

    def __init__(self, config):
        super().__init__()
        self.image_shape = (3, 16, 16)
        self.toy = toys.ToyGenerator(config)

    def generate(self, noise, **options):
        return self.toy.generate(noise, **options)


def case_of(network, folder, **spec) -> Case:
    spec = replace(toys.TOY, build_generator=network, **spec)
    return Case("toys", spec, toys.resolved(), folder)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_a_function_of_tensors_passes(check, tmp_path):
    check(case_of(toys.ToyGenerator, tmp_path))


@pytest.mark.parametrize(
    ("check", "network", "said"),
    [
        (checks.check_latents, Leaning, "they depend on other seeds"),
        (checks.check_forward, Unlike, "`forward` and `sample` differ"),
        (checks.check_forward, Random, "the second call gives something else"),
        (checks.check_forward, Flat, "no gradient of the input"),
        (checks.check_trace, Counted, "5 images differ by"),
        (checks.check_copies, Unsaved, "a state dict gives another output"),
        (checks.check_copies, Uncopied, "a deep copy gives another output"),
        (checks.check_dtypes, Overflowing, "torch.float16 gives values that are not finite"),
        (checks.check_worker_process, Unsendable, "it cannot be sent to a process: .*lambda"),
        (checks.check_worker_process, Homesick, "the process failed"),
    ],
)
def test_a_broken_function_fails(check, network, said: str, tmp_path):
    with pytest.raises(AssertionError, match=said):
        check(case_of(network, tmp_path))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_that_share_what_they_are_given_fail(tmp_path):
    with pytest.raises(AssertionError, match=r"a thread failed|outputs differ"):
        checks.check_threads(case_of(Remembering, tmp_path))


@pytest.mark.parametrize("network", [Branching, Counted])
def test_a_function_that_no_graph_can_hold_fails(network, tmp_path):
    with pytest.raises((AssertionError, RuntimeError, ValueError)):
        checks.check_export(case_of(network, tmp_path))


def test_another_distribution_than_the_stated_one_fails(tmp_path):
    with pytest.raises(AssertionError, match="stated sphere, built normal"):
        checks.check_latents(case_of(toys.ToyGenerator, tmp_path, latents="sphere"))


def test_a_class_from_before_is_told_what_it_lacks(tmp_path):
    with pytest.raises(PluginError, match="Noisy does not implement latent_shape"):
        checks.check_latents(case_of(Noisy, tmp_path))
