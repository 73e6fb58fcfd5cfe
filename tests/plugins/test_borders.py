"""What plugins build is checked where it enters, and a mistake is named with its plugin."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from toys import FEATURES, TOY, TOYS, ToyBackbone, ToyGenerator, ToyPictures, packed, resolved

from zoo_core.data.datasets import open_dataset
from zoo_core.data.packing import pack
from zoo_core.errors import PluginError
from zoo_core.interfaces import Phase
from zoo_core.nn.features import BackboneExtractor
from zoo_core.pictures import Picture, read_every
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.training.engine import train
from zoo_core.training.run_folder import RunFolder


def hello(spec, hook="zoo_models"):
    """The record as the plugin `hello` contributes it."""
    plugins = Plugins()
    plugins.register("hello", type("Hello", (), {hook: hookimpl(lambda self: [spec])})())
    assert not plugins.problems
    return plugins


def trained(tmp_path, **functions):
    """A run of the toy, with other functions."""
    spec = hello(replace(TOY, **functions)).models.get("toy")
    run = RunFolder(tmp_path / "run")
    return train(spec, resolved(), packed(tmp_path), run, licence="CC0-1.0", trained_on="bars")


def phases(**changes):
    """The phases of the toy, the last with changes."""

    def build(networks, config):
        *others, last = TOY.build_phases(networks, config)
        values = {name: getattr(last, name) for name in Phase.__dataclass_fields__}
        return [*others, Phase(**values | changes)]

    return build


def returning(answer):
    return phases(name="moments", loss=lambda batch, progress: answer)


NUMBER = torch.zeros((), requires_grad=True)
TERMS = "has to return {'loss': ...}, named tensors of one number each; gave "
WRONG_PHASES = {
    "a tensor": (returning(NUMBER), f"phase 'moments' of plugin hello {TERMS}a Tensor"),
    "nothing": (returning(None), f"{TERMS}a NoneType"),
    "no loss": (returning({"r1": NUMBER}), f"{TERMS}only 'r1'"),
    "a number": (returning({"loss": 1.0}), f"{TERMS}a float for 'loss'"),
    "rows": (returning({"loss": NUMBER.expand(4)}), f"{TERMS}a tensor (4,) for 'loss'"),
    "a constant": (returning({"loss": NUMBER.detach()}), f"{TERMS}a loss without a gradient"),
    "a wrong term": (returning({"loss": NUMBER, "r1": 0}), f"{TERMS}a int for 'r1'"),
    "no list": (lambda networks, config: None, "build_phases of plugin hello has to return a list "
                "of Phase; gave a NoneType"),
    "an empty list": (lambda networks, config: [], "a list of Phase; gave an empty one"),
    "other things": (lambda networks, config: [1], "a list of Phase; gave one with a int"),
    "twice": (lambda n, c: TOY.build_phases(n, c) * 2, "phases with different names; gave disc"),
    "no module": (phases(module=None), "phase 'generator' of plugin hello needs module, of type "
                  "Module; given: a NoneType"),
    "no optimizer": (phases(optimizer="adam"), "needs optimizer, of type Optimizer; given: a str"),
    "never": (phases(every=0), "phase 'generator' of plugin hello needs every >= 1"),
    "no function": (phases(loss=1), "needs a loss, which is a function"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_PHASES)
def test_a_wrong_phase_is_named_with_its_plugin(tmp_path, case):
    build, what = WRONG_PHASES[case]
    with pytest.raises(PluginError) as caught:
        trained(tmp_path, build_phases=build)
    assert what in str(caught.value)


class Tuples(ToyGenerator):
    def forward(self, start, labels=None, truncation=1.0):
        return super().forward(start, labels, truncation), None


class Gray(ToyGenerator):
    def forward(self, start, labels=None, truncation=1.0):
        return super().forward(start, labels, truncation)[:, :1]


class Shapeless(ToyGenerator):
    def __init__(self, config):
        super().__init__(config)
        self.image_shape = 16


def tuples(config):
    """A discriminator that returns more than logits."""
    judge = TOY.build_discriminator(config)
    forward = judge.forward
    judge.forward = lambda *images, **others: (forward(*images, **others),)
    return judge


WRONG_NETWORKS = {
    "no generator": ({"build_generator": lambda config: None},
                     "build_generator of plugin hello has to return a Generator; gave a NoneType"),
    "no shape": ({"build_generator": Shapeless}, "(channels, height, width); gave one with 16"),
    "no discriminator": ({"build_discriminator": lambda config: torch.nn.Linear(1, 1)},
                         "build_discriminator of plugin hello has to return a Discriminator; gave "
                         "a Linear"),
    "no logits": ({"build_discriminator": tuples},
                  "ToyDiscriminator has to return logits, a tensor [4] or [4, ...]; gave a tuple"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_NETWORKS)
def test_a_wrong_network_is_named_with_its_plugin(tmp_path, case):
    functions, what = WRONG_NETWORKS[case]
    with pytest.raises(PluginError) as caught:
        trained(tmp_path, **functions)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "gave"), [(Tuples, "a tuple"), (Gray, r"a tensor \(2, 1, 16, 16\)")]
)
def test_a_generator_that_makes_no_images_is_named(kind, gave):
    generator = kind(resolved().config)
    with pytest.raises(PluginError, match=rf"{kind.__name__} .* \(2, 3, 16, 16\); gave {gave}"):
        generator.sample([1, 2])


def test_a_wrong_extractor_is_named_with_its_plugin():
    spec = replace(FEATURES, build=lambda size: ToyBackbone())
    plugins = hello(spec, "zoo_feature_extractors")
    with pytest.raises(PluginError, match="build of plugin hello has to return a FeatureExtractor"):
        plugins.find_feature_extractor("toy-features").build(16)


def test_a_good_extractor_passes():
    plugins = hello(FEATURES, "zoo_feature_extractors")
    assert isinstance(plugins.find_feature_extractor("toy-features").build(16), BackboneExtractor)


def test_a_data_set_that_is_none_is_named_with_its_plugin():
    plugins = hello(replace(TOYS, open=lambda resolution, split: [1]), "zoo_datasets")
    with pytest.raises(PluginError, match="data set 'toys' of plugin hello cannot be opened"):
        open_dataset("toys", 16, "train", plugins)


GRAY = np.zeros((16, 16), np.uint8)
WRONG_PICTURES = {
    "an array": (GRAY, "a Picture; gave a ndarray"),
    "no array": (Picture("x", [[0]]), "pixels of type uint8 [H, W] or [H, W, 3]; gave a list"),
    "floats": (Picture("x", GRAY / 2), "gave float64 (16, 16)"),
    "channels first": (Picture("x", np.zeros((3, 16, 16), np.uint8)), "gave uint8 (3, 16, 16)"),
    "no such class": (Picture("x", GRAY, 7), "a label in 0..1; gave 7"),
    "a class name": (Picture("x", GRAY, "cat"), "a label in 0..1; gave 'cat'"),
    "no class": (Picture("x", GRAY), "a label in 0..1; gave None"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_PICTURES)
def test_a_wrong_picture_is_named_with_its_data_set(tmp_path, case):
    picture, what = WRONG_PICTURES[case]

    class Odd(ToyPictures):
        def __getitem__(self, index):
            return picture

    for read in (lambda data: pack(data, 16, 3, cache=tmp_path), lambda data: [*read_every(data)]):
        with pytest.raises(PluginError) as caught:
            read(Odd(4, classes=2))
        assert what in str(caught.value)
        assert "data set Odd" in str(caught.value)


def test_an_observer_that_was_never_run_is_named():
    def observer(self):
        yield

    plugins = Plugins()
    plugins.register("hello", type("Hello", (), {"zoo_run_started": hookimpl(observer)})())
    for _ in range(2):
        plugins.notify("zoo_run_started", run=None, images=0)
    [problem] = plugins.problems
    assert "returned a generator, where nothing is expected" in str(problem)
