"""A step on slices of its batch equals a step on all of it, or is refused in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
import toys
from torch import Tensor, nn

from zoo_core.errors import ConfigError
from zoo_core.generators import Generator
from zoo_core.interfaces import Batch, Discriminator, Networks, Phase, Progress
from zoo_core.nn.layers import minibatch_stddev
from zoo_core.noise import SeededNoise
from zoo_core.runtime import Runtime
from zoo_core.testing import Case, check_groups
from zoo_core.training.engine import step, train
from zoo_core.training.estimate import random_batch
from zoo_core.training.losses import LOSSES
from zoo_core.training.regularizers import gradient_penalty, r1_penalty
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.slices import rows_of_slices
from zoo_core.training.state import TrainState, build

RUNTIME = Runtime(torch.device("cpu"), torch.float32, torch.channels_last)
SIZE = 16  # images per step
TO_ROUNDING = {"rtol": 1e-5, "atol": 1e-6}  # some of the core computes in float32


class Painter(Generator):
    """Latents to images in float64, with an average of its features and no noise."""

    def __init__(self, config: toys.ToyConfig):
        super().__init__()
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.num_classes = config.num_classes
        self.source_shape = self.image_shape if config.paired else None
        self.embed = nn.Embedding(max(1, config.num_classes), 8).double()
        self.paint = nn.ConvTranspose2d(8, config.channels, config.resolution).double()
        self.register_buffer("average", torch.zeros(8, dtype=torch.float64))
        self.register_buffer("calls", torch.tensor(0))

    def generate(self, noise, *, labels=None, source=None, truncation=1.0) -> Tensor:
        latents = noise.normal("latents", (8,)).double()
        latents = latents + self.embed(torch.zeros(len(latents), dtype=int) if labels is None
                                       else labels)  # fmt: skip
        if self.training:
            self.average.lerp_(latents.detach().mean(0), 0.1)
            self.calls += 1
        images = torch.tanh(self.paint(latents[:, :, None, None]))
        return images if source is None else images + 0.1 * source


class Judge(Discriminator):
    """Images to logits in float64; the last features depend on the group if `group` is above 1."""

    def __init__(self, config: toys.ToyConfig, group: int = 1):
        super().__init__()
        self.group = self.stddev_group = group
        self.look = nn.Conv2d(config.channels, 4, 4, 4).double()
        self.judge = nn.Conv2d(5, 1, 1).double()

    def forward(self, images, *, labels=None, source=None) -> Tensor:
        images = images if source is None else images - source
        features = self.look(images.double()).square()
        with_spread = minibatch_stddev(features, self.group).double()
        return self.judge(with_spread).mean((1, 2, 3))


class Losses:
    """Fake images are handed from phase to phase; the loss is a mean over images."""

    def __init__(self, networks: Networks):
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self._fake: Tensor | None = None

    def judge(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        self._fake = self.generator.generate(
            progress.noise, labels=batch.labels, source=batch.source
        )
        real = self.discriminator(batch.images, source=batch.source)
        fake = self.discriminator(self._fake.detach(), source=batch.source)
        return LOSSES["relativistic"].discriminator_terms(real, fake)

    def penalty(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        mix = progress.noise.uniform("mix")
        plain = self.discriminator
        penalty = gradient_penalty(plain, batch.images.double(), self._fake, mix.double())
        r1 = r1_penalty(plain, self._fake)
        return {"loss": penalty + r1, "r1": r1}

    def paint(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        fake, self._fake = self._fake, None
        logits = self.discriminator(fake, source=batch.source)
        return {"loss": -logits.mean(), "step": torch.tensor(float(progress.step))}


def build_phases(networks: Networks, config: toys.ToyConfig) -> list[Phase]:
    def sgd(network: nn.Module) -> torch.optim.SGD:
        return torch.optim.SGD(network.parameters(), 0.1, momentum=0.5)

    losses, judging = Losses(networks), sgd(networks.discriminator)
    return [
        Phase("judge", networks.discriminator, judging, losses.judge),
        Phase("penalty", networks.discriminator, judging, losses.penalty, every=2),
        Phase("paint", networks.generator, sgd(networks.generator), losses.paint),
    ]


def spec_of(group: int = 1) -> msgspec.Struct:
    return msgspec.structs.replace(
        toys.TOY,
        build_generator=Painter,
        build_discriminator=lambda config: Judge(config, group),
        build_phases=build_phases,
    )


def trained(micro_batch: int, group: int = 1, steps: int = 3, **settings) -> TrainState:
    resolved = toys.resolved(batch_size=SIZE, micro_batch=micro_batch, **settings)
    state = build(spec_of(group), resolved, RUNTIME)
    torch.manual_seed(1)
    batch = random_batch(state, SIZE, RUNTIME)
    for _ in range(steps):
        step(state, batch, resolved.run, RUNTIME)
    return state


def assert_equal(one: TrainState, other: TrainState) -> None:
    found, expected = one.tensors(), other.tensors()
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, **TO_ROUNDING, msg=key)
    assert one.terms.keys() == other.terms.keys()
    for name, (total, count) in other.terms.items():
        torch.testing.assert_close(one.terms[name][0], total, **TO_ROUNDING, msg=name)
        assert one.terms[name][1] == count


SETTINGS = {
    "plain": {},
    "classes": {"num_classes": 3},
    "pairs": {"paired": True},
    "DiffAugment": {"augment": "diffaugment"},
    "ADA": {"augment": "ada", "augment_prob": 0.5, "ada_images": 64},
    "fixed": {"augment": "fixed", "augment_prob": 0.9, "augment_cutout": 0.5},
}


@pytest.mark.parametrize("micro_batch", [1, 2, 8])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_steps_on_slices_equal_steps_on_the_whole_batch(settings, micro_batch):
    assert_equal(trained(micro_batch, **settings), trained(0, **settings))


@pytest.mark.parametrize(("group", "micro_batch"), [(2, 2), (2, 8), (4, 4), (4, 8), (8, 8)])
def test_groups_of_a_minibatch_standard_deviation_stay_together(group, micro_batch):
    assert_equal(trained(micro_batch, group), trained(0, group))


def test_the_groups_matter():
    one, other = trained(0, group=4), trained(0, group=8)
    weights = (each.networks.discriminator.judge.weight for each in (one, other))
    assert not torch.equal(*weights)


def test_every_image_is_in_one_slice():
    for size, micro_batch, group in [(16, 4, 1), (16, 4, 2), (16, 8, 4), (12, 6, 3), (8, 8, 8)]:
        slices = rows_of_slices(size, micro_batch, group)
        rows = [[row for part in parts for row in range(size)[part]] for parts in slices]
        assert {len(each) for each in rows} == {micro_batch}
        assert sorted(row for each in rows for row in each) == list(range(size))


def test_a_slice_has_the_noise_of_its_images():
    seen = []
    resolved = toys.resolved(batch_size=SIZE, micro_batch=4, seed=3)
    state = build(spec_of(group=2), resolved, RUNTIME)

    def noting(phase: Phase) -> Phase:
        def loss(batch: Batch, progress: Progress):
            assert len(progress.noise) == len(batch) == 4
            seen.append((batch.ids, progress.noise.normal("latents", (2,))))
            return phase.loss(batch, progress)

        return replace(phase, loss=loss)

    state.slices.phases[:] = [[noting(ph) for ph in phases] for phases in state.slices.phases]
    batch = random_batch(state, SIZE, RUNTIME)
    step(state, replace(batch, ids=torch.arange(SIZE)), resolved.run, RUNTIME)
    whole = SeededNoise(3, range(SIZE)).normal("latents", (2,))
    assert len(seen) == 3 * 4
    for ids, noise in seen:
        assert torch.equal(noise, whole[ids])


def test_a_slice_knows_the_number_of_the_step():
    """Not the images seen by the size of the slice, which a loss could take for it."""
    assert trained(4, steps=4).terms["paint/step"][0] == 0 + 1 + 2 + 3


def test_a_loss_sees_no_more_than_a_slice():
    resolved = toys.resolved(batch_size=SIZE, micro_batch=2)
    state = build(spec_of(), resolved, RUNTIME)
    sizes = []
    state.networks.discriminator.register_forward_pre_hook(
        lambda _, inputs: sizes.append(len(inputs[0]))
    )
    step(state, random_batch(state, SIZE, RUNTIME), resolved.run, RUNTIME)
    assert set(sizes) == {2}


def test_one_slice_is_the_whole_batch():
    """Even where images affect each other."""
    resolved = toys.resolved(batch_size=4, micro_batch=4)
    assert build(toys.TOY, resolved, RUNTIME).slices is None


def refusal(spec, **settings) -> str:
    with pytest.raises(ConfigError) as error:
        build(spec, toys.resolved(**settings), RUNTIME)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_batch_normalization_is_refused_in_words():
    said = refusal(toys.TOY, micro_batch=2)
    assert "batch normalization in the generator" in said
    assert "try: micro_batch=0" in said


def test_a_frozen_batch_normalization_mixes_nothing():
    def frozen(config):
        judge = Judge(config)
        judge.norm = nn.BatchNorm2d(4)
        judge.norm.train = lambda mode=True: judge.norm  # as a feature extractor stays
        judge.norm.training = False
        return judge

    spec = msgspec.structs.replace(spec_of(), build_discriminator=frozen)
    assert build(spec, toys.resolved(micro_batch=2), RUNTIME).slices is not None


def test_a_phase_with_a_running_statistic_is_refused_in_words():
    def with_state(networks, config):
        *others, last = build_phases(networks, config)
        return [*others, replace(last, state=toys.RunningMean())]

    spec = msgspec.structs.replace(spec_of(), build_phases=with_state)
    assert "the phase 'paint' keeps a running statistic" in refusal(spec, micro_batch=2)


@pytest.mark.parametrize(
    ("group", "batch_size", "micro_batch", "allowed"),
    [(4, 16, 2, "0, or a multiple of 4 that divides 16"), (8, 12, 4, "0, or a multiple of 12")],
)
def test_a_slice_that_would_split_a_group_is_refused(group, batch_size, micro_batch, allowed):
    said = refusal(spec_of(group), batch_size=batch_size, micro_batch=micro_batch)
    assert "minibatch standard deviation" in said
    assert allowed in said


def test_the_contract_finds_a_group_that_is_not_stated(tmp_path):
    def undeclared(config):
        judge = Judge(config, group=2)
        judge.stddev_group = 1
        return judge

    case = Case("toys", spec_of(group=2), toys.resolved(), tmp_path)
    check_groups(case)
    spec = msgspec.structs.replace(case.spec, build_discriminator=undeclared)
    with pytest.raises(AssertionError, match="stddev_group"):
        check_groups(replace(case, spec=spec))


def test_a_batch_must_consist_of_whole_slices():
    with pytest.raises(ConfigError, match="batch_size 4 must be divisible by micro_batch 3"):
        toys.resolved(micro_batch=3)
    with pytest.raises(ConfigError, match="batch_size 4 must be divisible by micro_batch 8"):
        toys.resolved(micro_batch=8)


def run(place: Path, name: str, **settings) -> RunFolder:
    folder = RunFolder(place / name)
    origin = {"licence": "CC0-1.0", "trained_on": "toys"}
    train(spec_of(2), toys.resolved(**settings), toys.packed(place), folder, **origin)
    return folder


def test_a_sliced_run_resumes_exactly(tmp_path):
    settings = {"batch_size": 8, "micro_batch": 4, "augment": "diffaugment"}
    whole = run(tmp_path, "whole", images=32, **settings)
    run(tmp_path, "parts", images=16, **settings)
    parts = run(tmp_path, "parts", images=32, **settings)
    last = f"{32:012d}/weights.safetensors"
    assert (whole.checkpoints / last).read_bytes() == (parts.checkpoints / last).read_bytes()


def test_a_refused_run_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError, match="split a group"):
        run(tmp_path, "run", micro_batch=1)
    assert not (tmp_path / "run").exists()
