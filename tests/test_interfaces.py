import numpy as np
import pytest
import torch
from torch import nn

from zoo_core.errors import InputError
from zoo_core.generators import SAMPLE_BATCH, Generator, sample_batch
from zoo_core.interfaces import Batch, Discriminator, FeatureExtractor, Networks

SHAPE = (3, 4, 4)
SOURCE = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
UNIT = (SOURCE + 1) / 2  # the same in 0..1


class Latent(Generator):
    """Images that show all their inputs, with values far outside -1..1."""

    image_shape = SHAPE

    def __init__(self, num_classes=0, dtype=torch.float32):
        super().__init__()
        self.num_classes = num_classes
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=dtype))
        self.drop = nn.Dropout(0.5)
        self.calls = []

    def generate(self, noise, *, labels=None, source=None, truncation=1.0):
        self.calls.append((len(noise), self.training, torch.is_grad_enabled()))
        pictures = noise.normal("latent", SHAPE).to(self.scale.dtype) * self.scale * truncation
        if labels is not None:
            pictures = pictures + labels.view(-1, 1, 1, 1)
        return self.drop(pictures)


class Translator(Generator):
    image_shape = SHAPE
    source_shape = (1, 4, 4)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def generate(self, noise, *, labels=None, source=None, truncation=1.0):
        return source.expand(-1, 3, -1, -1) * self.scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_samples_have_the_promised_shape_type_and_range(dtype):
    pictures = Latent(dtype=dtype).sample(range(5))
    assert (pictures.shape, pictures.dtype) == ((5, *SHAPE), torch.float32)
    assert (pictures.min(), pictures.max()) == (-1, 1)  # scaled by 2, so clamped


def test_samples_carry_no_gradient():
    generator = Latent()
    assert not generator.sample([1]).requires_grad
    assert [grad for _, _, grad in generator.calls] == [False]


def test_sampling_happens_in_evaluation_mode():
    generator = Latent().train()
    generator.sample([1])
    assert [training for _, training, _ in generator.calls] == [False]


@pytest.mark.parametrize("training", [True, False])
def test_sampling_restores_the_mode(training):
    generator = Latent().train(training)
    generator.sample([1])
    assert (generator.training, generator.drop.training) == (training, training)


def test_a_failure_while_sampling_restores_the_mode(monkeypatch):
    generator = Latent().train()
    monkeypatch.setattr(Latent, "generate", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generator.sample([1])
    assert generator.training


def test_a_seed_is_the_same_picture_alone_and_in_a_batch():
    generator = Latent()
    batch = generator.sample([3, 2**63, 17])
    assert torch.equal(batch[2:], generator.sample([17]))
    assert torch.equal(batch[1:2], generator.sample([2**63]))


def test_many_pictures_are_made_in_bounded_chunks():
    generator = Latent()
    generator.sample(range(2 * SAMPLE_BATCH + 1))
    assert [rows for rows, *_ in generator.calls] == [SAMPLE_BATCH, SAMPLE_BATCH, 1]


def test_large_pictures_are_made_in_smaller_chunks():
    sizes = [sample_batch((3, side, side)) for side in (32, 128, 256, 512, 4096)]
    assert sizes == [64, 64, 16, 4, 1]


def test_chunks_do_not_change_the_pictures(monkeypatch):
    seeds, labels = list(range(7)), [0, 1, 2, 0, 1, 2, 0]
    whole = Latent(num_classes=3).sample(seeds, labels=labels)
    monkeypatch.setattr("zoo_core.generators.SAMPLE_BATCH", 3)
    assert torch.equal(Latent(num_classes=3).sample(seeds, labels=labels), whole)


def test_chunks_take_their_own_source_pictures(monkeypatch):
    monkeypatch.setattr("zoo_core.generators.SAMPLE_BATCH", 2)
    source = torch.linspace(-1, 1, 5).view(-1, 1, 1, 1).expand(5, 1, 4, 4)
    pictures = Translator().sample(range(5), source=source)
    assert torch.equal(pictures, source.expand(5, *SHAPE) / 2)


def test_no_seeds_are_no_pictures():
    assert Latent().sample([]).shape == (0, *SHAPE)
    assert Translator().sample([], source=SOURCE[:0]).shape == (0, *SHAPE)


def test_truncation_reaches_the_network():
    assert Latent().sample([1], truncation=0.0).abs().max() == 0


def test_labels_reach_the_network_as_list_or_tensor():
    generator = Latent(num_classes=3)
    base = generator.sample([1, 1], labels=[0, 0], truncation=0.0)
    assert base.abs().max() == 0
    for labels in ([0, 1], torch.tensor([0, 1])):
        pictures = generator.sample([1, 1], labels=labels, truncation=0.0)
        assert pictures[0].max() == 0
        assert pictures[1].min() == 1


@pytest.mark.parametrize(
    ("num_classes", "labels", "said"),
    [
        (3, None, "needs a label in 0..2 for every seed; given: none"),
        (0, [0, 1], "takes no labels; given: 0, 1; try: leave them out"),
        (0, "cat", "takes no labels; given: 'cat'; try: leave them out"),
        (3, [0], "2 seeds need 2 labels, or one for all of them; given: 1 labels; allowed: 0..2"),
        (3, [0, 1, 2], "2 seeds need 2 labels"),
        (3, [0, 3], "no such class; given: 3; allowed: integers in 0..2"),
        (3, [-1, 0], "no such class; given: -1; allowed: integers in 0..2"),
        (3, [[0], [1]], "no such class; given: [0], [1]"),
        (3, [0, 0.9], "no such class; given: 0.9"),
        (3, torch.tensor([0.0, 1.0]), "no such class; given: 0.0, 1.0"),
        (3, 3, "no such class; given: 3"),
        (3, ["cat", "dog"], "no such class; given: 'cat', 'dog'; allowed: integers in 0..2"),
        (3, "2", "given: '2'; allowed: integers in 0..2; try: 2 instead of '2', for a number"),
    ],
)
def test_labels_that_do_not_fit_are_refused(num_classes, labels, said):
    generator = Latent(num_classes)
    with pytest.raises(InputError) as caught:
        generator.sample([1, 2], labels=labels)
    assert said in str(caught.value)
    assert generator.calls == []


@pytest.mark.parametrize("labels", [1, "owl", torch.tensor(1), np.int64(1)])
def test_one_label_serves_all_seeds(labels):
    generator = Latent(num_classes=3)
    generator.classes = ("cat", "owl", "dog")
    expected = generator.sample([1, 2], labels=[1, 1])
    assert torch.equal(generator.sample([1, 2], labels=labels), expected)


def test_a_number_is_a_number_and_a_text_is_a_name():
    generator = Latent(num_classes=4)
    generator.classes = ("0", "1", "10", "2")
    assert generator.checked_labels([2, "2", "10"], 3).tolist() == [2, 3, 2]


def test_an_accent_in_the_name_of_a_class_may_be_spelled_apart():
    generator = Latent(num_classes=2)
    generator.classes = ("cat", "d\u00f6g")
    assert generator.checked_labels(["do\u0308g", "d\u00f6g"], 2).tolist() == [1, 1]


def test_classes_can_be_given_by_name():
    generator = Latent(num_classes=3)
    generator.classes = ("cat", "owl", "dog")
    assert generator.checked_labels(["dog", 1, "cat"], 3).tolist() == [2, 1, 0]
    with pytest.raises(InputError, match=r"given: 'cow'; .* 0..2, or names such as cat, owl, dog"):
        generator.sample([1, 2], labels=["cat", "cow"])


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([0, -1], "invalid seed; given: -1; allowed: integers in 0..2**64 - 1"),
        ([2**64, 2**64 - 1], f"invalid seed; given: {2**64}; "),
        ([1.5], "invalid seed; given: 1.5; "),
        (["7"], "invalid seed; given: '7'; "),
        (range(-100, 9), "invalid seed; given: -100, -99, -98 and 97 more; "),
        (7, "seeds must be a list, one per image; given: 7"),
        (torch.tensor(7), "seeds must be a list, one per image; given: 7"),
    ],
)
def test_seeds_that_are_none_are_refused(seeds, said):
    generator = Latent()
    with pytest.raises(InputError) as caught:
        generator.sample(seeds)
    assert said in str(caught.value)
    assert generator.calls == []


@pytest.mark.parametrize("seeds", [torch.tensor([3, 5]), np.array([3, 5], np.uint64), iter([3, 5])])
def test_seeds_may_be_any_integers(seeds):
    assert torch.equal(Latent().sample(seeds), Latent().sample([3, 5]))


def test_a_translator_has_nothing_to_truncate():
    with pytest.raises(InputError, match="Translator has no latents to truncate; given: 0"):
        Translator().sample([0], source=torch.zeros(1, 1, 4, 4), truncation=0.5)


@pytest.mark.parametrize(
    ("generator", "source", "said"),
    [
        (Translator, None, "given: none; allowed: a float32 tensor (2, 1, 4, 4) in [-1, 1]"),
        (Translator, torch.zeros(2, 3, 4, 4), "given: (2, 3, 4, 4); allowed: "),
        (Translator, torch.zeros(1, 1, 4, 4), "given: (1, 1, 4, 4); allowed: "),
        (Translator, SOURCE.numpy(), "given: ndarray; allowed: "),
        (Translator, SOURCE.numpy(), "; try: torch.as_tensor(source)"),
        (Translator, SOURCE.long(), "given: torch.int64; allowed: "),
        (Translator, SOURCE.long(), "in [-1, 1]; try: source / 127.5 - 1"),
        (Translator, 255 * UNIT, "given: values in [0, 255]; allowed: "),
        (Translator, 255 * UNIT, "in [-1, 1]; try: images / 127.5 - 1"),
        (Translator, UNIT, "in [-1, 1]; try: images * 2 - 1"),
        (Translator, 1.1 * UNIT, "given: values in [0, 1.1]; allowed: "),
        (Translator, 1.1 * SOURCE, "given: values in [-1.1, 1.1]; allowed: "),
        (Translator, UNIT / UNIT, "given: values in [nan, nan]; allowed: "),
        (Translator, 1 / UNIT, "given: values in [1, inf]; allowed: "),
        (Latent, torch.zeros(2, 1, 4, 4), "takes no source images; given: Tensor; try: leave"),
    ],
)
def test_source_pictures_that_do_not_fit_are_refused(generator, source, said):
    with pytest.raises(InputError) as caught:
        generator().sample([1, 2], source=source)
    assert said in str(caught.value)


@pytest.mark.parametrize("source", [1.1 * UNIT, UNIT / UNIT, 1 / UNIT, 255 * SOURCE])
def test_only_pictures_in_0_to_255_are_said_to_be_scaled(source):
    with pytest.raises(InputError, match=r"allowed: [^;]*$"):
        Translator().sample([1, 2], source=source)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_source_pictures_of_other_float_types_become_float32(dtype):
    checked = Translator().checked_source(SOURCE.to(dtype), 2)
    assert checked.dtype == torch.float32
    assert torch.equal(checked, SOURCE)


def test_source_pictures_of_bytes_are_in_0_to_255():
    checked = Translator().checked_source((UNIT * 255).byte(), 2)
    assert torch.equal(checked, SOURCE)


def test_source_pictures_may_be_out_of_range_by_rounding():
    Translator().sample([1, 2], source=SOURCE * (1 + 1e-4))


@pytest.mark.parametrize("kind", [Generator, Discriminator, FeatureExtractor])
def test_the_interfaces_themselves_are_never_instances(kind):
    with pytest.raises(TypeError, match="abstract"):
        kind()


class Extractor(FeatureExtractor):
    width = 2
    fingerprint = "test"

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        return self.feature_maps(images)[0].mean((2, 3))

    def feature_maps(self, images):
        return [self.norm(images)]


@pytest.fixture
def parent():
    parent = nn.Module()
    parent.extractor = Extractor()
    parent.other = nn.Linear(1, 1)
    return parent.train()


def test_a_feature_extractor_stays_in_evaluation_mode_under_a_training_parent(parent):
    assert parent.other.training
    assert not parent.extractor.training
    assert not parent.extractor.norm.training


def test_a_feature_extractor_stays_frozen_under_a_training_parent(parent):
    assert not any(weight.requires_grad for weight in parent.extractor.parameters())
    assert parent.other.weight.requires_grad


def test_a_feature_extractor_under_a_training_parent_keeps_its_statistics(parent):
    before = parent.extractor.norm.running_mean.clone()
    parent.extractor(torch.randn(4, 3, 2, 2) + 5)
    assert torch.equal(parent.extractor.norm.running_mean, before)


def test_images_get_gradients_through_a_frozen_extractor(parent):
    images = torch.randn(4, 3, 2, 2, requires_grad=True)
    parent.extractor(images).sum().backward()
    assert images.grad.abs().min() > 0


def test_networks_are_named_by_their_role_and_missing_ones_left_out():
    generator, judge = Latent(), nn.Linear(1, 1)
    assert dict(Networks(generator).named()) == {"generator": generator}
    assert list(Networks(generator, judge).named()) == [
        ("generator", generator),
        ("discriminator", judge),
    ]


def test_the_length_of_a_batch_is_its_number_of_images():
    assert len(Batch(torch.zeros(5, *SHAPE), None, None, torch.arange(5))) == 5
