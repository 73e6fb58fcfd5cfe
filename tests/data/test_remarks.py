"""What was done to images that their owner may not expect is counted, in words."""

import sys
import types
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from format_files import COLORS, HAS_AVIF, dcx, lossless_files, psd, tiff, written
from picture_files import encoded, noise, png
from PIL import Image, ImageFile

from zoo_core.data import decoding
from zoo_core.data.decoding import ANIMATIONS, FURTHER_PAGES, HEIC_IMAGES, PAGES, decode

LOSSLESS = lossless_files()
RED, BLUE = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))


def remarks(data, name="x"):
    said = Counter()
    decode(data, name, None, said)
    return dict(said)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_nothing_is_said_of_a_single_image(kind):
    assert remarks(LOSSLESS[kind][0], "x.tga") == {}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"] + ["AVIF"] * HAS_AVIF)
def test_animations_are_counted_and_their_first_frame_is_read(kind):
    data = encoded(RED, kind, save_all=True, append_images=[BLUE, RED])
    assert remarks(data) == {ANIMATIONS: 1}
    red, _, blue = decode(data, "x")[4, 4].tolist()
    assert red > 250 > 5 > blue


def test_a_gif_of_which_a_later_frame_is_damaged_is_read():
    data = encoded(RED, "GIF", save_all=True, append_images=[BLUE, RED])
    broken = data[: len(data) - 20]
    assert np.array_equal(decode(broken, "x", None, Counter()), decode(data, "x"))


def test_files_of_several_pages_are_counted_with_their_pages():
    pages = tiff(np.zeros((5, 6, 4), np.uint8), photometric="minisblack")
    assert remarks(pages) == {PAGES: 1, FURTHER_PAGES: 4}
    fax = dcx(written("PCX"), written("PCX", 255 - COLORS))
    assert remarks(fax) == {PAGES: 1}
    assert np.array_equal(decode(fax, "x"), COLORS)


def test_a_jpeg_with_a_gain_map_and_layers_of_photoshop_are_nothing_special():
    assert remarks(encoded(RED, "MPO", save_all=True, append_images=[BLUE])) == {}
    assert remarks(psd()) == {}


def test_a_heic_of_several_images_is_counted(monkeypatch):
    class Several(ImageFile.ImageFile):
        format, is_animated = "HEIF", True

        def _open(self):
            self._mode, self._size, self.tile = "L", (2, 1), []
            self.im = Image.core.fill("L", (2, 1), 7)

    Image.init()
    monkeypatch.setattr(Image, "OPEN", Image.OPEN | {"HEIF": (Several, None)})
    monkeypatch.setitem(sys.modules, "pillow_heif", types.ModuleType("pillow_heif"))
    assert remarks(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == {HEIC_IMAGES: 1}


def test_an_image_that_is_refused_is_not_counted():
    said = Counter()
    data = encoded(RED, "WEBP", save_all=True, append_images=[BLUE])
    with pytest.raises(decoding.PictureError):
        decode(data[:100], "x", None, said)
    assert said == {}


def test_what_cannot_be_counted_does_not_make_an_image_bad(monkeypatch):
    def fail(*args):
        raise ValueError

    monkeypatch.setattr(decoding, "_not_shown", fail)
    assert remarks(png(noise())) == {}


def test_counts_add_up_over_images_and_threads():
    data = encoded(RED, "GIF", save_all=True, append_images=[BLUE])
    said = Counter()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: decode(data, "x", None, said), range(400)))
    finally:
        sys.setswitchinterval(interval)
    assert said == {ANIMATIONS: 400}
