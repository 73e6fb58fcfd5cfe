"""A generator as a function of plain tensors, and what is said of one that is none yet."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo_core.errors import InputError, PluginError
from zoo_core.generators import Generator, StyleGenerator
from zoo_core.noise import SeededNoise

SHAPE = (1, 2, 3)


class Latent(Generator):
    """Pixels are the latents, moved by the label."""

    image_shape, latent_shape = SHAPE, SHAPE

    def __init__(self, num_classes: int = 0, distribution: str = "normal"):
        super().__init__()
        self.num_classes, self.latent_distribution = num_classes, distribution
        self.weight = nn.Parameter(torch.tensor(0.25))

    def forward(self, latents, labels=None, truncation=1.0):
        images = self.weight * latents * truncation
        return images if labels is None else images + labels.view(-1, 1, 1, 1)


class Translator(Generator):
    image_shape = source_shape = SHAPE

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, source, labels=None, truncation=1.0):
        return self.weight * source


class Styled(StyleGenerator):
    """Pixel i is the w of layer i, which is the latents for all layers."""

    image_shape, latent_shape, num_ws, style_size = (1, 2, 2), (1,), 4, 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.25))

    def ws(self, latents, labels=None, truncation=1.0):
        return (latents * truncation)[:, None].expand(-1, 4, -1)

    def synthesize(self, ws):
        return self.weight * ws.reshape(-1, 1, 2, 2)


class Old(Generator):
    """A plugin's class from before `forward`."""

    image_shape = SHAPE

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3))

    def generate(self, noise, *, labels=None, source=None, truncation=1.0):
        return noise.normal("latents", SHAPE) @ self.weight


class OldStyled(StyleGenerator):
    image_shape, num_ws, style_size = (1, 2, 2), 4, 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def sample_ws(self, noise, *, labels=None, truncation=1.0):
        return noise.normal("latents", (1, 1)).expand(-1, 4, -1)

    def synthesize(self, ws):
        return self.weight * ws.reshape(-1, 1, 2, 2)


# Latents


def test_latents_are_those_of_the_noise_of_their_seeds():
    noise = SeededNoise([5, 2**63]).normal("latents", SHAPE)
    assert torch.equal(Latent().latents([5, 2**63]), noise)


def test_uniform_latents_fill_minus_one_to_one_evenly():
    latents = Latent(distribution="uniform").latents(range(1000))
    assert -1 <= float(latents.min()) < -0.99
    assert 0.99 < float(latents.max()) <= 1
    assert float(latents.std()) == pytest.approx(3**-0.5, abs=0.01)


def test_latents_on_a_sphere_are_normal_ones_scaled_to_mean_square_one():
    normal, sphere = (Latent(distribution=d).latents(range(50)) for d in ("normal", "sphere"))
    torch.testing.assert_close(sphere.square().mean((1, 2, 3)), torch.ones(50))
    ratio = (sphere / normal).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand(-1, 6))


def test_no_seeds_are_no_latents():
    assert Latent(distribution="sphere").latents([]).shape == (0, *SHAPE)


def test_seeds_that_are_none_have_no_latents():
    with pytest.raises(InputError, match=r"invalid seed; given: -1"):
        Latent().latents([-1])


def test_latents_have_the_dtype_of_the_network():
    assert Latent().latents([1]).dtype == torch.float32
    assert Latent().half().latents([1]).dtype == torch.float16


def test_a_translator_has_no_latents():
    with pytest.raises(
        InputError, match="Translator is an image-to-image model and has no latents"
    ):
        Translator().latents([0])


# Images of latents


@pytest.mark.parametrize("kind", [Latent, Styled])
@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_a_sample_is_the_image_of_its_latents(kind, truncation: float):
    generator = kind()
    images = generator(generator.latents([3, 4]), truncation=truncation)
    assert torch.equal(generator.sample([3, 4], truncation=truncation), images.clamp(-1, 1))


def test_labels_reach_the_network():
    generator = Latent(num_classes=3)
    images = generator(generator.latents([3, 4]), torch.tensor([0, 1]))
    assert torch.equal(generator.sample([3, 4], labels=[0, 1]), images.clamp(-1, 1))


def test_a_translator_is_a_function_of_its_source():
    source = torch.rand(2, *SHAPE) * 2 - 1
    assert torch.equal(Translator().sample([0, 1], source=source), Translator()(source))


def test_images_have_gradients_of_latents_and_weights():
    generator = Latent()
    latents = generator.latents([3]).requires_grad_()
    generator(latents).sum().backward()
    assert torch.equal(latents.grad, torch.full((1, *SHAPE), 0.25))
    assert float(generator.weight.grad) == pytest.approx(float(latents.detach().sum()))


@pytest.mark.parametrize("labels", [None, [0, 1, 2], 1])
def test_latents_are_drawn_as_seeds_are(labels, monkeypatch):
    monkeypatch.setattr("zoo_core.generators.SAMPLE_BATCH", 2)  # in chunks
    generator = Latent(num_classes=0 if labels is None else 3)
    drawn = generator.draw_latents(generator.latents([3, 4, 5]), labels=labels, truncation=0.7)
    assert torch.equal(drawn, generator.sample([3, 4, 5], labels=labels, truncation=0.7))


def test_drawn_latents_may_be_of_another_float_type():
    class Mixed(Latent):
        def forward(self, latents, labels=None, truncation=1.0):
            return latents @ (self.weight * torch.eye(3))  # of one dtype only

    generator = Mixed()
    latents = generator.latents([3])
    assert torch.equal(generator.draw_latents(latents.double()), generator.draw_latents(latents))


@pytest.mark.parametrize(
    ("latents", "given"),
    [
        (torch.zeros(2, 3), r"torch.float32 \(2, 3\)"),
        (torch.zeros(()), r"torch.float32 \(\)"),
        (torch.zeros(2, *SHAPE, dtype=torch.int64), r"torch.int64 \(2, 1, 2, 3\)"),
        ([[0.0]], "list"),
    ],
)
def test_latents_of_another_shape_are_refused(latents, given: str):
    said = rf"latents do not fit the model; given: {given}; allowed: a float tensor \(N, 1, 2, 3\)"
    with pytest.raises(InputError, match=said):
        Latent().draw_latents(latents)


def test_ws_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"ws do not fit the model; .* \(N, 4, 1\)"):
        Styled().draw_ws(torch.zeros(2, 3, 1))


def test_a_translator_has_no_latents_to_draw():
    with pytest.raises(InputError, match="image-to-image model and has no latents"):
        Translator().draw_latents(torch.zeros(1, *SHAPE))


# Other dtypes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_in_another_dtype_samples(dtype: torch.dtype):
    for generator in (Latent(), Styled(), Translator()):
        source = torch.ones(1, *SHAPE) if generator.source_shape else None
        expected = generator.sample([3], source=source)
        images = generator.to(dtype).sample([3], source=source)
        assert images.dtype == torch.float32
        torch.testing.assert_close(images, expected, rtol=1e-2, atol=1e-2)


def test_a_network_that_cannot_compute_in_its_dtype_says_so():
    said = r"Old cannot sample in torch.float16: .*; try: generator.float\(\)"
    with pytest.raises(InputError, match=said):
        Old().half().sample([1])


def test_an_error_in_float32_is_the_network_s_own():
    class Wrong(Latent):
        def forward(self, latents, labels=None, truncation=1.0):
            return latents @ torch.eye(3, dtype=torch.float64)

    with pytest.raises(RuntimeError, match="dtype"):
        Wrong().sample([1])


# Plugins from before


@pytest.mark.parametrize("kind", [Old, OldStyled])
def test_a_class_with_only_its_noise_samples(kind):
    generator = kind()
    assert generator.sample([1, 2]).shape == (2, *generator.image_shape)


@pytest.mark.parametrize("kind", [Old, OldStyled])
def test_what_a_class_lacks_to_be_a_function_of_latents_is_said(kind):
    hint = r"; try: generator.sample\(seeds\), or implement it in the plugin"
    with pytest.raises(PluginError, match=rf"implement latent_shape and latent_distribution{hint}"):
        kind().latents([1])
    lacks = "ws" if kind is OldStyled else "forward"
    with pytest.raises(PluginError, match=rf"{kind.__name__} does not implement {lacks}\(.*{hint}"):
        kind()(torch.zeros(1, *SHAPE))


def test_a_class_with_neither_noise_nor_a_function_is_abstract():
    class Empty(Generator):
        image_shape = SHAPE

    with pytest.raises(TypeError, match="abstract"):
        Empty()


# What torch would refuse deep inside the network


class Classed(Latent):
    def __init__(self):
        super().__init__(num_classes=2)


LATENTS = torch.zeros(2, *SHAPE)
WRONG_INPUTS = {
    "another dtype": (Latent(), (LATENTS.double(),), "given: torch.float64 on cpu; allowed: torch."
                      "float32 on cpu; try: .to('cpu', torch.float32)"),
    "cast weights": (Latent().half(), (LATENTS,), "allowed: torch.float16 on cpu"),
    "another device": (Latent(), (LATENTS.to("meta"),), "given: torch.float32 on meta"),
    "another shape": (Latent(), (LATENTS[:, :, :1],), "latents do not fit the model"),
    "seeds": (Latent(), ([0, 1],), "latents do not fit the model; given: list"),
    "no label": (Classed(), (LATENTS,), "Classed needs a label in 0..1"),
    "an array": (Translator(), (LATENTS.numpy(),), "the network takes a tensor; given: a ndarray"),
    "a source of another dtype": (Translator(), (LATENTS.half(),), "given: torch.float16 on cpu"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_what_a_network_cannot_compute_is_said_before_torch_does(case):
    network, given, what = WRONG_INPUTS[case]
    with pytest.raises(InputError) as caught:
        network(*given)
    assert what in str(caught.value)


def test_a_label_by_name_is_no_missing_label():
    assert Classed()(LATENTS, labels=torch.tensor([0, 1])).shape == (2, *SHAPE)


def test_under_autocast_torch_casts_by_itself():
    with torch.autocast("cpu", torch.bfloat16):
        assert Latent()(LATENTS.bfloat16()).shape == (2, *SHAPE)


@pytest.mark.parametrize("call", ["latents_of", "generate"])
def test_seeds_in_the_place_of_noise_are_said_to_be_none(call):
    with pytest.raises(InputError, match=r"given: a list; try: generator.latents\(seeds\)"):
        getattr(Latent(), call)([0, 1])
