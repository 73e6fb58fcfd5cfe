"""Interpolation and style mixing, on generators whose pixels reveal their latents."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo_core.errors import InputError
from zoo_core.generators import Generator, StyleGenerator
from zoo_core.noise import SeededNoise
from zoo_core.sampling.latents import interpolate, mix_styles


class Plain(Generator):
    """Pixels are the tanh of the latents."""

    def __init__(self, source_shape=None):
        super().__init__()
        self.image_shape, self.source_shape = (1, 2, 2), source_shape
        self.weight = nn.Parameter(torch.ones(()))

    def generate(self, noise, *, labels=None, source=None, truncation=1.0):
        return torch.tanh(self.weight * truncation * noise.normal("latents", (1, 2, 2)))


class Styled(StyleGenerator):
    """Pixel i is the style of layer i; styles differ in training mode."""

    image_shape, num_ws, style_size = (1, 2, 2), 4, 1

    def __init__(self, num_classes: int = 0):
        super().__init__()
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.ones(()))

    def sample_ws(self, noise, *, labels=None, truncation=1.0):
        w = truncation * noise.uniform("latents", (1,)) - (5.0 if self.training else 0.0)
        if labels is not None:
            w = w * labels[:, None]
        return w[:, None].expand(-1, 4, -1)

    def synthesize(self, ws):
        return self.weight * ws.reshape(-1, 1, 2, 2)


class Mapped(StyleGenerator):
    """Pixel i is the style of layer i: the latent."""

    image_shape, latent_shape, num_ws, style_size = (1, 2, 2), (1,), 4, 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def ws(self, latents, labels=None, truncation=1.0):
        return (latents * truncation)[:, None].expand(-1, 4, -1)

    def synthesize(self, ws):
        return self.weight * ws.reshape(-1, 1, 2, 2)


def walk(generator: Generator, seeds: list[int], frames: int, **options) -> torch.Tensor:
    return torch.stack(list(interpolate(generator, seeds, frames, **options)))


@pytest.mark.parametrize("generator", [Plain(), Styled()], ids=["latents", "styles"])
def test_a_walk_passes_through_the_picture_of_every_seed(generator: Generator):
    pictures = walk(generator, [3, 9, 5], frames=4)
    assert len(pictures) == 9
    torch.testing.assert_close(pictures[[0, 4, 8]], generator.sample([3, 9, 5]))


def test_a_loop_ends_one_frame_before_its_beginning():
    pictures = walk(Styled(), [3, 9], frames=4, loop=True)
    assert len(pictures) == 8
    first, middle = Styled().sample([3, 9])
    torch.testing.assert_close(pictures[[0, 4]], torch.stack([first, middle]))
    torch.testing.assert_close(pictures[7], middle.lerp(first, 0.75))


def test_a_walk_with_styles_is_a_straight_line():
    first, last = Styled().sample([3, 9])
    torch.testing.assert_close(walk(Styled(), [3, 9], frames=4)[1], first.lerp(last, 0.25))


def test_a_long_walk_is_one_walk():
    pictures = walk(Styled(), [1, 2], frames=200)
    steps = (pictures[1:] - pictures[:-1])[:, 0, 0, 0]
    torch.testing.assert_close(steps, steps[:1].expand(200))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_network_in_another_dtype_walks_and_mixes(dtype: torch.dtype):
    cast = Mapped().to(dtype)
    found, expected = (walk(generator, [3, 9], frames=4) for generator in (cast, Mapped()))
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
    found, expected = (mix_styles(generator, [3], [9], [1]) for generator in (cast, Mapped()))
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_one_seed_is_no_walk():
    with pytest.raises(InputError, match="two seeds"):
        walk(Plain(), [1], frames=2)


def test_a_translator_has_no_latents_to_walk_through():
    with pytest.raises(InputError, match="Plain is an image-to-image model and has no latents"):
        walk(Plain(source_shape=(1, 2, 2)), [1, 2], frames=2)


def test_chosen_layers_take_the_style_of_the_other_seed():
    mixed = mix_styles(Styled(), [1, 2], [7, 8, 9], layers=[2, 3])
    assert mixed.shape == (2, 3, 1, 2, 2)
    own, other = Styled().sample([1, 2]), Styled().sample([7, 8, 9])
    assert torch.equal(mixed[1, 2, 0, 0], own[1, 0, 0])
    assert torch.equal(mixed[1, 2, 0, 1], other[2, 0, 1])


def test_styles_are_those_of_evaluation_whatever_the_mode():
    generator = Styled().train()
    assert torch.equal(mix_styles(generator, [1], [1], [0])[0], generator.sample([1]))
    assert generator.training


def test_a_class_is_needed_exactly_by_a_model_with_classes():
    generator = Styled(num_classes=3)
    labels = [2, 2]
    mixed = mix_styles(generator, [1, 2], [1], [0], label=2)
    assert torch.equal(mixed[0, 0], generator.sample([1, 2], labels=labels)[0])
    with pytest.raises(InputError):
        mix_styles(generator, [1], [2], [0])
    with pytest.raises(InputError):
        walk(Plain(), [1, 2], frames=2, label=0)


@pytest.mark.parametrize(
    ("layers", "given"),
    [
        ([], "none"),
        ([4], "4"),
        ([-1, 2], "-1"),
        (range(100), "4, 5, 6 and 93 more"),
        ([0, 0.5], "0.5"),
    ],
)
def test_layers_that_do_not_exist_are_refused_and_only_they_are_named(layers, given: str):
    with pytest.raises(InputError, match=f"no such layers; given: {given}; allowed: 0 to 3"):
        mix_styles(Styled(), [1], [2], layers)


@pytest.mark.parametrize("generator", [Plain(), Styled()], ids=["latents", "styles"])
def test_seeds_out_of_range_are_refused(generator: Generator):
    with pytest.raises(InputError, match=f"invalid seed; given: {2**64}"):
        walk(generator, [1, 2**64], frames=2)
    for seeds, others in (([-1], [1]), ([1], [-1])):
        with pytest.raises(InputError, match="invalid seed; given: -1"):
            mix_styles(Styled(), seeds, others, [0])


def test_a_class_can_be_given_by_name():
    generator = Styled(num_classes=3)
    generator.classes = ("cat", "owl", "dog")
    for draw in (
        lambda label: mix_styles(generator, [1], [2], [0], label=label),
        lambda label: walk(generator, [1, 2], frames=2, label=label),
    ):
        assert torch.equal(draw("dog"), draw(2))


def test_a_generator_without_styles_has_none_to_mix():
    with pytest.raises(InputError, match="no styles"):
        mix_styles(Plain(), [1], [2], [0])


def test_noise_between_seeds_is_that_of_either_at_the_ends():
    a, b = SeededNoise([1, 1, 1]), SeededNoise([2, 2, 2])
    shares = torch.tensor([0.0, 0.5, 1.0])
    for draw in (
        lambda noise: noise.normal("x", (50,)),
        lambda noise: noise.uniform("x", (50,)),
        lambda noise: noise.integers("x", 9, (50,)),
    ):
        between = draw(a.interpolate(b, shares))
        torch.testing.assert_close(between[0], draw(a)[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(between[2], draw(b)[2], rtol=0, atol=1e-6)


def test_noise_between_seeds_is_distributed_as_ever():
    rows = 20_000
    between = SeededNoise(range(rows)).interpolate(
        SeededNoise(range(rows, 2 * rows)), torch.full((rows,), 0.3)
    )
    normal, uniform = between.normal("x", (1,)), between.uniform("x", (1,))
    assert float(normal.std()) == pytest.approx(1, abs=0.02)
    assert 0 <= float(uniform.min()) < float(uniform.max()) < 1
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(uniform.std()) == pytest.approx(12**-0.5, abs=0.005)


def test_noise_on_the_way_to_itself_stays_as_it_is():
    noise, shares = SeededNoise([7, 8]), torch.tensor([0.5, 0.5])
    between, other = noise.interpolate(SeededNoise([7, 9]), shares), SeededNoise([9])
    assert torch.equal(between.normal("x", (50,))[0], noise.normal("x", (50,))[0])
    turned = (noise.normal("x", (50,))[1] + other.normal("x", (50,))[0]) / 2**0.5
    torch.testing.assert_close(between.normal("x", (50,))[1], turned)


@pytest.mark.parametrize("noise", [SeededNoise(range(5)), SeededNoise(3, range(5))])
def test_some_rows_of_noise_are_those_rows(noise: SeededNoise):
    assert torch.equal(noise[1:3].normal("x", (2,)), noise.normal("x", (2,))[1:3])
    goal, shares = SeededNoise(9, range(5)), torch.linspace(0, 1, 5)
    walking = noise.interpolate(goal, shares)
    assert torch.equal(walking[1:3].normal("x", (2,)), walking.normal("x", (2,))[1:3])
