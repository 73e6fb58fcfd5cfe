"""Feature extractors: preprocessing, precision, fingerprints, no weights in a parent's state."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from zoo_core.errors import InputError
from zoo_core.interfaces import Classifier
from zoo_core.nn.features import (
    _MATRICES,
    MAX_MATRICES,
    RESIZES,
    Backbone,
    BackboneExtractor,
    ClassifierFeatures,
    as_rgb,
    digest,
    exact_float32,
)
from zoo_core.spec import Metric

MEAN, STD = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
BICUBIC = RESIZES["bicubic-antialias"]


class Small(Backbone):
    """Two convolutions with batch norm, maps at strides 2 and 4, five classes."""

    strides, num_classes = (2, 4), 5

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6, 5)
        self.dtypes = []

    def forward(self, pixels):
        return self.feature_maps(pixels)[-1].mean((2, 3))

    def feature_maps(self, pixels):
        first = self.norm(self.one(pixels))
        maps = [first, self.two(first.relu())]
        self.dtypes.append(maps[-1].dtype)
        return maps

    def logits(self, pixels):
        return self.head(self(pixels))


class Bare(Backbone):
    """Only features: the pixels themselves."""

    def forward(self, pixels):
        return pixels.flatten(1)


def extractor(backbone=None, size=8, **changes):
    given = {"name": "test/small", "weights": "abc", "mean": MEAN, "std": STD, **changes}
    return BackboneExtractor(backbone or Small(), input_size=size, **given)


@pytest.fixture
def parent():
    """A trainable network that contains an extractor, as a discriminator does."""
    parent = nn.Module()
    parent.extractor = extractor()
    parent.head = nn.Linear(6, 1)
    return parent.train()


# Preprocessing.


def test_bytes_and_floats_of_the_same_picture_are_the_same_pixels():
    levels = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8)
    floats = levels.float() / 127.5 - 1
    assert torch.allclose(as_rgb(levels), as_rgb(floats), atol=1e-6)
    assert (as_rgb(levels).min(), as_rgb(levels).max()) == (levels.min() / 255, levels.max() / 255)


def test_a_grey_picture_has_three_equal_channels():
    pixels = as_rgb(torch.rand(2, 1, 4, 4) * 2 - 1)
    assert pixels.shape == (2, 3, 4, 4)
    assert torch.equal(pixels[:, 0], pixels[:, 2])


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(2, 2, 8, 8),
        torch.zeros(2, 4, 8, 8),
        torch.zeros(2, 3, 8, 8, dtype=torch.int64),
        torch.zeros(2, 3, 8, 8, dtype=torch.bool),
    ],
    ids=lambda images: f"{images.dtype}{list(images.shape)}",
)
def test_what_is_no_picture_is_refused(images):
    with pytest.raises(InputError, match="a feature extractor cannot take these images"):
        extractor()(images)


@pytest.mark.parametrize(("source", "target"), [((9, 9), (16, 16)), ((40, 21), (8, 8))])
def test_the_resize_is_torchs_bicubic_with_antialiasing(source, target):
    images = torch.rand(2, 3, *source)
    expected = interpolate(images, size=target, mode="bicubic", antialias=True)
    assert torch.allclose(BICUBIC(images, target), expected, atol=1e-6)


def test_the_resize_neither_rounds_nor_clamps():
    edge = torch.zeros(1, 1, 4, 4)
    edge[..., 2:] = 1
    pixels = BICUBIC(edge, (32, 32))
    assert pixels.max() > 1.01
    assert pixels.unique().numel() > 20


def test_a_graph_recorded_after_a_call_holds_the_numbers_of_the_resize():
    class Resize(nn.Module):
        def forward(self, images):
            return BICUBIC(images, (9, 9))

    images = torch.rand(2, 3, 21, 22)  # sizes of no other test
    expected = BICUBIC(images, (9, 9))
    graph = torch.export.export(Resize(), (images,))
    assert "upsample" not in str(graph.graph)
    assert torch.equal(graph.module()(images), expected)


def test_few_matrices_are_kept():
    for side in range(30, 60):
        BICUBIC(torch.rand(1, 3, side, side), (8, 8))
    assert len(_MATRICES) <= MAX_MATRICES


def test_a_picture_of_the_right_size_is_left_as_it_is():
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(BICUBIC(images, (8, 8)), images, atol=1e-7)


def test_pixels_are_normalized_by_mean_and_deviation():
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.allclose(extractor().prepare(white)[0, :, 0, 0], expected)


# Outputs.


def test_shapes_are_measured():
    net = extractor()
    assert (net.width, net.channels, net.strides, net.num_classes) == (6, (4, 6), (2, 4), 5)
    images = torch.zeros(3, 1, 20, 12)
    assert net(images).shape == (3, 6)
    assert [tuple(m.shape) for m in net.feature_maps(images)] == [(3, 4, 4, 4), (3, 6, 2, 2)]
    assert net.logits(images).shape == (3, 5)


def test_a_backbone_without_maps_or_head_says_so():
    net = extractor(Bare(), size=2)
    assert (net.width, net.channels, net.num_classes) == (12, (), 0)
    images = torch.zeros(1, 3, 2, 2)
    with pytest.raises(InputError, match="test/small offers no feature maps"):
        net.feature_maps(images)
    with pytest.raises(InputError, match="test/small is not a classifier"):
        net.logits(images)


@pytest.mark.parametrize(
    ("stated", "size", "true"),
    [((2, 4), 8, (2, 4)), ((2, 4), 9, (2, 4)), ((1, 2), 8, (2, 4)), ((2, 16), 8, (2, 4))],
)
def test_strides_that_are_far_off_are_corrected(stated, size, true):
    backbone = Small()
    backbone.strides = stated
    assert extractor(backbone, size).strides == true


def test_a_size_that_the_backbone_cannot_take_is_an_input_error():
    class Fixed(Bare):
        def forward(self, pixels):
            assert pixels.shape[-1] == 8, "wrong size"
            return super().forward(pixels)

    with pytest.raises(InputError, match="cannot take images of this size: wrong size; given: 9"):
        extractor(Fixed(), size=9)


def test_numbers_are_the_same_under_autocast_where_maps_follow_it():
    net, images = extractor(), torch.rand(4, 3, 8, 8) * 2 - 1
    features, logits = net(images), net.logits(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(images), features)
        assert torch.equal(net.logits(images), logits)
        net.backbone.dtypes.clear()
        net.feature_maps(images)
    assert net.backbone.dtypes == [torch.bfloat16]


def test_pixels_are_exact_under_autocast():
    net, images = extractor(), torch.rand(4, 3, 20, 20)
    pixels = net.prepare(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net.prepare(images), pixels)


def switched_on_as_before():
    torch.set_float32_matmul_precision("high")


def switched_on_as_now():
    torch.backends.cuda.matmul.fp32_precision = "tf32"


@pytest.mark.filterwarnings("ignore:Please use the new API settings")  # torch 2.9 of the former
@pytest.mark.parametrize("switch_on", [switched_on_as_before, switched_on_as_now])
def test_the_precision_is_given_back(switch_on):
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    switch_on()
    try:
        with exact_float32(torch.device("cpu")):
            assert products.fp32_precision == "ieee"
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert products.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
        products.fp32_precision = before


def test_images_get_gradients_through_every_output():
    net = extractor()
    for output in (net, net.logits, lambda images: net.feature_maps(images)[0]):
        images = torch.rand(2, 3, 6, 6, requires_grad=True)
        output(images).square().sum().backward()
        assert images.grad.abs().min() > 0


def test_features_made_in_inference_mode_do_not_break_later_gradients():
    net = extractor()
    with torch.inference_mode():
        net(torch.zeros(1, 3, 6, 6))
    images = torch.zeros(1, 3, 6, 6, requires_grad=True)
    net(images).sum().backward()
    assert images.grad is not None


# Inside another network.


def test_a_parent_has_none_of_its_weights_in_its_state(parent):
    assert set(parent.state_dict()) == {"head.weight", "head.bias"}
    assert parent.extractor.state_dict() == {}


def test_a_parent_loads_its_own_state_strictly_and_leaves_the_extractor_alone(parent):
    before = copy.deepcopy(parent.extractor)
    other = {key: tensor + 1 for key, tensor in parent.state_dict().items()}
    parent.load_state_dict(other)
    assert torch.equal(parent.head.weight, other["head.weight"])
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(parent.extractor(images), before(images))


def test_a_state_with_other_keys_is_still_refused(parent):
    state = parent.state_dict()
    for extra in ("more", "extractor.more", "extractor.backbone.more"):
        with pytest.raises(RuntimeError, match="Unexpected key"):
            parent.load_state_dict({**state, extra: torch.zeros(1)})
    with pytest.raises(RuntimeError, match="Missing key"):
        parent.load_state_dict({"head.bias": state["head.bias"]})


def test_a_file_cannot_change_the_extractor(parent):
    key = "extractor.backbone.one.weight"
    parent.load_state_dict({**parent.state_dict(), key: torch.zeros(4, 3, 3, 3)})
    assert parent.extractor.backbone.one.weight.abs().sum() > 0


def test_it_moves_with_its_parent(parent):
    parent.to("meta")
    assert all(tensor.is_meta for tensor in [*parent.parameters(), *parent.buffers()])


def test_it_has_nothing_to_train(parent):
    trained = [name for name, weight in parent.named_parameters() if weight.requires_grad]
    assert trained == ["head.weight", "head.bias"]
    assert not any(module.training for module in parent.extractor.modules())


def test_it_can_be_built_without_memory():
    with torch.device("meta"):
        net = extractor()
    assert (net.width, net.channels) == (6, (4, 6))
    assert all(tensor.is_meta for tensor in [*net.parameters(), *net.buffers()])
    assert net(torch.zeros(2, 3, 8, 8, device="meta")).shape == (2, 6)


# Fingerprints.


def test_a_fingerprint_names_all_that_a_number_depends_on():
    net = extractor(weights="0123456789ab")
    assert net.fingerprint == (
        "test/small sha256:0123456789ab 8px bicubic-antialias "
        "mean:0.5,0.4,0.3 std:0.1,0.2,0.3 float32"
    )


@pytest.mark.parametrize("other", [{"mean": (0.5, 0.4, 0.31)}, {"std": (0.1, 0.2, 0.31)}])
def test_another_normalization_is_another_fingerprint(other):
    assert extractor(**other).fingerprint != extractor().fingerprint


def test_a_normalization_that_is_the_same_for_all_channels_is_named_once():
    net = extractor(mean=(128 / 255,) * 3, std=(0.5,) * 3)
    assert " mean:0.501961 std:0.5 float32" in net.fingerprint


def test_numbers_of_another_normalization_cannot_be_compared():
    one, other = (
        Metric(name="fd", value=1, protocol={"extractor": net.fingerprint}, command="zoo")
        for net in (extractor(), extractor(std=STD[::-1]))
    )
    with pytest.raises(InputError, match=r"std:0\.1,0\.2,0\.3 .* std:0\.3,0\.2,0\.1"):
        one.difference(other)


def test_a_digest_depends_on_values_and_shapes_only():
    tensors = {"a": torch.rand(4, 6), "b": torch.tensor(3)}
    same = {"x": tensors["a"].t().contiguous().t(), "y": torch.tensor(3)}
    assert digest(tensors) == digest(same)
    assert len({digest(t) for t in (
        tensors,
        {**tensors, "a": tensors["a"] + 1e-6},
        {**tensors, "a": tensors["a"].reshape(6, 4)},
        {**tensors, "b": torch.tensor(3, dtype=torch.int32)},
        {"b": tensors["b"], "a": tensors["a"]},
    )}) == 5  # fmt: skip


def test_weights_without_values_have_no_digest():
    assert digest({"a": torch.zeros(3, device="meta")}) == "unloaded"


# Classifiers as extractors.


class Sorter(Classifier):
    num_classes, width, channels, strides = 3, 4, (4,), (2,)

    def __init__(self, image_shape):
        super().__init__()
        self.image_shape = image_shape
        self.conv = nn.Conv2d(image_shape[0], 4, 3, stride=2, padding=1)
        self.head = nn.Linear(4, 3)
        self.seen = None

    def forward(self, images):
        return self.head(self.features(images))

    def features(self, images):
        return self.feature_maps(images)[0].mean((2, 3))

    def feature_maps(self, images):
        self.seen = images
        return [self.conv(images)]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_classifier_is_an_extractor_of_its_own_size(channels):
    net = ClassifierFeatures(Sorter((channels, 8, 8)), name="sorter.bars")
    images = torch.randint(0, 256, (2, 3, 20, 20), dtype=torch.uint8)
    assert net(images).shape == (2, 4)
    assert net.logits(images).shape == (2, 3)
    assert [tuple(m.shape) for m in net.feature_maps(images)] == [(2, 4, 4, 4)]
    assert net.fingerprint.startswith("sorter.bars sha256:")
    assert net.fingerprint.endswith(" 8px bicubic-antialias mean:0.5 std:0.5 float32")


def test_a_classifier_sees_pictures_of_its_size_as_they_are():
    net = ClassifierFeatures(Sorter((3, 8, 8)), name="sorter.bars")
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    net(images)
    assert torch.allclose(net.classifier.seen, images, atol=1e-6)


def test_a_grey_classifier_sees_grey_as_it_is_and_colors_by_their_brightness():
    net = ClassifierFeatures(Sorter((1, 8, 8)), name="sorter.bars")
    grey = torch.rand(2, 1, 8, 8) * 2 - 1
    net(grey)
    assert torch.allclose(net.classifier.seen, grey, atol=1e-6)
    green = torch.tensor([-1.0, 1.0, -1.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    net(green)
    assert torch.allclose(net.classifier.seen, torch.tensor(2 * 0.587 - 1), atol=1e-6)


def test_a_classifier_that_was_training_is_frozen():
    net = ClassifierFeatures(Sorter((3, 8, 8)).train(), name="sorter.bars").train()
    assert not any(module.training for module in net.modules())
    assert not any(weight.requires_grad for weight in net.parameters())
