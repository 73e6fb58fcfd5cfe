"""Images as people give them: tensors, arrays, pictures of Pillow, paths, lists of these."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import toys
from picture_files import noise, png
from PIL import Image
from torch import nn

import zoo_core as zoo
from zoo_core.data.given import Reader
from zoo_core.errors import InputError, PictureError

LEVELS = noise(8, 8)
EXPECTED = torch.from_numpy(LEVELS.transpose(2, 0, 1).copy())[None]  # uint8 [1, 3, 8, 8]
FLOATS = EXPECTED / 127.5 - 1


class Translator(zoo.Generator):
    """Draws its source."""

    image_shape = source_shape = (3, 8, 8)
    reader = Reader()

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, source, labels=None, truncation=1.0):
        return source * self.one


def drawn(source, **options):
    translator = Translator()
    translator.reader = Reader(**options)
    return translator.sample([0], source=source)


@pytest.fixture
def extractor():
    found = toys.FEATURES.build(16)
    found.reader = Reader()
    return found


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "0.png"
    file.write_bytes(png(LEVELS))
    return file


def each_way(path):
    return {
        "floats": FLOATS,
        "one image": FLOATS[0],
        "doubles": FLOATS.double(),
        "bytes": EXPECTED,
        "an array of floats": FLOATS.numpy(),
        "an array, channels last": LEVELS,
        "an array, channels first": EXPECTED.numpy(),
        "Pillow's": Image.fromarray(LEVELS),
        "opened by Pillow": Image.open(path),
        "a path": path,
        "text": str(path),
        "a folder": path.parent,
        "a list": [Image.fromarray(LEVELS)],
    }


def test_a_source_is_the_same_in_each_way_that_it_is_given(path):
    for way, given in each_way(path).items():
        torch.testing.assert_close(drawn(given), FLOATS, msg=way)


def test_features_are_the_same_in_each_way_that_images_are_given(path, extractor):
    expected = extractor(FLOATS)
    for way, given in each_way(path).items():
        torch.testing.assert_close(extractor(given), expected, msg=way)
    for mine, same in zip(
        extractor.feature_maps(Image.fromarray(LEVELS)), extractor.feature_maps(FLOATS), strict=True
    ):
        torch.testing.assert_close(mine, same)


def test_pictures_of_several_sizes_have_the_features_that_each_has_alone(extractor):
    pictures = [Image.fromarray(noise(9, 5)), Image.fromarray(LEVELS), Image.new("L", (3, 4), 50)]
    alone = torch.cat([extractor(each) for each in pictures])
    torch.testing.assert_close(extractor(pictures), alone)


def test_a_picture_of_pillow_is_read_as_its_file_would_be(tmp_path):
    clear = Image.new("RGBA", (8, 8), (9, 9, 9, 0))  # on white
    turned = Image.fromarray(noise(8, 4))
    exif = turned.getexif()
    exif[0x0112] = 6
    for name, image in (
        ("clear.png", clear),
        ("turned.png", turned),
        ("cmyk.jpg", turned.convert("CMYK")),
        ("palette.png", turned.convert("P")),
    ):
        image.save(tmp_path / name, exif=exif)
        with Image.open(tmp_path / name) as opened:
            assert torch.equal(zoo.read_pictures(opened), zoo.read_pictures(tmp_path / name))
    assert zoo.read_pictures(turned).shape == (1, 3, 4, 8)
    assert torch.equal(zoo.read_pictures(clear), torch.ones(1, 3, 8, 8))


def test_sixteen_bits_are_left_to_files():
    with pytest.raises(PictureError, match="more than 8 bits"):
        zoo.read_pictures(Image.new("I;16", (8, 8)))


@pytest.mark.parametrize("mode", ["crop", "stretch", "pad"])
def test_a_source_is_fitted_as_in_the_run(mode):
    wide = Image.fromarray(noise(6, 12))
    expected = zoo.read_pictures(wide, resolution=8, fit=mode)
    assert torch.equal(drawn(wide, fit=mode), expected)


def test_a_picture_for_a_classifier_is_fitted_as_in_its_run(extractor):
    wide = Image.fromarray(noise(6, 12))
    extractor.reader = Reader("pad", side=8)
    expected = extractor(zoo.read_pictures(wide, resolution=8, fit="pad"))
    torch.testing.assert_close(extractor(wide), expected)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (torch.linspace(0, 255, 192).view(1, 3, 8, 8), "images / 127.5 - 1"),
        (torch.linspace(0, 1, 192).view(1, 3, 8, 8), "images * 2 - 1"),
        (EXPECTED / 255, "images * 2 - 1"),
        (EXPECTED.float(), "images / 127.5 - 1"),
        ((EXPECTED / 255).numpy(), "images * 2 - 1"),
    ],
)
def test_floats_that_are_clearly_of_another_range_are_refused_alike(given, hint, extractor):
    for take in (drawn, extractor, extractor.feature_maps, extractor.logits):
        with pytest.raises(InputError, match="in \\[0") as refused:
            take(given)
        assert refused.value.hint == hint


@pytest.mark.parametrize(
    "images",
    [
        torch.ones(1, 3, 8, 8),
        torch.zeros(1, 3, 8, 8),
        torch.linspace(0, 0.2, 192).view(1, 3, 8, 8),
        (128 + EXPECTED // 2) / 127.5 - 1,  # nothing below middle gray, in levels of 8 bits
        FLOATS,
    ],
)
def test_floats_that_may_be_in_minus_1_to_1_are_taken(images, extractor):
    assert torch.equal(drawn(images), images)
    extractor(images)


def test_what_training_shows_an_extractor_is_not_looked_at(extractor):
    drawn = (EXPECTED / 255).requires_grad_()
    extractor(drawn).sum().backward()
    assert drawn.grad.any()
    extractor.reader = None
    extractor(EXPECTED / 255)


@pytest.mark.parametrize(
    "given", [7, None, [None], np.zeros((2, 2, 2, 2), np.uint8), FLOATS.long(), FLOATS[:, :2], []]
)
def test_what_is_no_image_is_one_line(given, extractor):
    for take in (drawn, extractor):
        with pytest.raises(InputError) as refused:
            take(given)
        assert "\n" not in str(refused.value)


def test_a_tensor_of_another_size_is_not_resized():
    with pytest.raises(InputError, match="or pictures of any size"):
        drawn(torch.zeros(1, 3, 4, 4))


def test_pictures_go_to_pillow_and_back():
    images = zoo.read_pictures(Image.fromarray(LEVELS), Image.fromarray(LEVELS[::-1].copy()))
    pictures = zoo.to_pil(images)
    assert [each.size for each in pictures] == [(8, 8), (8, 8)]
    assert np.array_equal(np.asarray(pictures[0]), LEVELS)
    assert torch.equal(zoo.read_pictures(pictures), images)
    (gray,) = zoo.to_pil(images[0, :1])
    assert gray.mode == "L"
