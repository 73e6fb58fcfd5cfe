"""TIFF of every depth and order is read as its owner means; pages are counted."""

from io import BytesIO
from itertools import product

import numpy as np
import pytest
from format_files import COLORS, GRAY, PILLOW, tiff, tiff12
from picture_files import encoded
from PIL import Image

from zoo_core.data import tiff as tiff_files
from zoo_core.data.decoding import decode
from zoo_core.data.levels import Levels
from zoo_core.errors import PictureError

DEEP = GRAY.astype(np.uint16) * 257  # 0..61680
DEEP_COLORS = COLORS.astype(np.uint16) * 256 + COLORS[::-1, :, ::-1]  # different low bytes
LAYOUTS = list(product("<>", (None, "zlib")))
by_layout = pytest.mark.parametrize(("order", "compression"), LAYOUTS)


def reason(data, levels=None):
    with pytest.raises(PictureError) as caught:
        decode(data, "x.tif", levels)
    return caught.value.reason


def layout(order, compression):
    return {"byteorder": order, "compression": compression}


# Depths


@by_layout
def test_8_bit_gray_and_color_keep_their_pixels(order, compression):
    for pixels in (GRAY, COLORS):
        assert np.array_equal(decode(tiff(pixels, **layout(order, compression)), "x"), pixels)


@by_layout
def test_16_bit_gray_keeps_its_gradient(order, compression):
    assert np.array_equal(decode(tiff(DEEP, **layout(order, compression)), "x"), GRAY)


@by_layout
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_of_16_bit_color_the_high_byte_is_read(order, compression, planes):
    data = tiff(DEEP_COLORS, planarconfig=planes, **layout(order, compression))
    assert np.array_equal(decode(data, "x"), COLORS)


@by_layout
def test_signed_16_bit_gray_is_white_at_32767(order, compression):
    values = np.linspace(0, 32767, 256).round().astype(np.int16).reshape(16, 16)
    data = tiff(values, **layout(order, compression))
    assert np.array_equal(decode(data, "x"), np.arange(256).reshape(16, 16))


def test_12_bit_gray_is_white_at_4095():
    values = np.linspace(0, 4095, 256).round().astype(np.int64).reshape(16, 16)
    assert np.array_equal(decode(tiff12(values), "x"), np.arange(256).reshape(16, 16))


def test_where_0_is_white_the_image_is_not_a_negative():
    assert np.array_equal(decode(tiff(GRAY, photometric="miniswhite"), "x"), 255 - GRAY)
    assert np.array_equal(decode(tiff(DEEP, photometric="miniswhite"), "x"), 255 - GRAY)
    floats = tiff((GRAY / 255).astype(np.float32), photometric="miniswhite")
    assert np.array_equal(decode(floats, "x", Levels(0, 1)), 255 - GRAY)


def test_pixel_values_below_0_are_refused():
    values = np.full((4, 4), -1000, np.int16)
    values[0, 0] = 2000
    assert reason(tiff(values)) == (
        "pixel values -1000 to 2000 are outside 0..32767 (--set levels=data or LOW-HIGH)"
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [(np.float32, "floating-point"), (np.int32, "32-bit"), (np.uint32, "32-bit")],
)
def test_numbers_without_a_usual_range_are_refused(kind, said):
    hint = "(--set levels=data or LOW-HIGH)"
    assert reason(tiff(GRAY.astype(kind))) == f"{said} pixels have no defined range {hint}"


@by_layout
@pytest.mark.parametrize("kind", [np.float32, np.int32, np.int16])
def test_numbers_without_a_usual_range_are_read_with_levels(kind, order, compression):
    values = GRAY.astype(kind) - 100
    data = tiff(values, **layout(order, compression))
    assert np.array_equal(decode(data, "x", Levels(-100, 155)), GRAY)


def test_unsigned_32_bit_values_are_not_read_as_negative():
    values = GRAY.astype(np.uint32) + 3_000_000_000
    assert np.array_equal(decode(tiff(values), "x", Levels(3e9, 3e9 + 255)), GRAY)


def test_floating_point_pixels_that_are_no_numbers_are_refused():
    values = GRAY.astype(np.float32)
    for value in (np.nan, np.inf):
        values[3, 3] = value
        said = "floating-point pixels that are infinite or no numbers (NaN)"
        assert reason(tiff(values), Levels(0, 255)) == said


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.int16])
def test_gray_in_a_plane_of_its_own_is_gray(order, kind):
    values = GRAY.astype(kind)
    data = bytearray(tiff(values, byteorder=order))
    number = {"<": b"\x31\x01", ">": b"\x01\x31"}[order]  # tag 305, Software, becomes 284
    at = data.index(number + {"<": b"\2\0", ">": b"\0\2"}[order])
    planar = {"<": b"\x1c\x01\3\0\1\0\0\0\2\0\0\0", ">": b"\x01\x1c\0\3\0\0\0\1\0\2\0\0"}[order]
    data[at : at + 12] = planar
    with Image.open(BytesIO(bytes(data))) as image:
        assert image.tag_v2[284] == 2
    assert np.array_equal(decode(bytes(data), "x", Levels(0, 255)), GRAY)


# Colors and alpha


def test_alpha_is_laid_on_white_at_8_and_16_bits():
    clear = np.dstack([COLORS, np.zeros_like(GRAY)])
    for values in (clear, clear.astype(np.uint16) * 256):
        for how in ("unassalpha", "assocalpha"):
            assert decode(tiff(values, extrasamples=[how]), "x").min() == 255


@pytest.mark.skipif(PILLOW < (12, 0), reason="Pillow 11 does not read it")
def test_gray_with_premultiplied_alpha_is_laid_on_white():
    values = np.array([[[0, 0], [100, 255]]], np.uint8)
    data = tiff(
        values, photometric="minisblack", planarconfig="contig", extrasamples=["assocalpha"]
    )
    assert decode(data, "x").tolist() == [[[255] * 3, [100] * 3]]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_image_is_turned_upright_once(compression, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(COLORS), "TIFF", exif=exif, compression=compression)
    turns = {1: 0, 3: 2, 6: -1, 8: 1}
    assert np.array_equal(decode(data, "x"), np.rot90(COLORS, turns[orientation]))


# What is not the image


def test_a_raw_photo_is_refused_because_its_preview_comes_first():
    said = "starts with a small preview, as raw photos do; develop it to a full image first"
    assert reason(tiff(COLORS, subfiletype=1)) == said
    assert reason(tiff(COLORS, extratags=[(50706, "B", 4, (1, 4, 0, 0), True)])) == said
    assert reason(tiff12(np.zeros((4, 4), int), head=b"CR\2\0\0\0\0\0")) == said
    decode(tiff12(np.zeros((4, 4), int), head=b"\0" * 8), "x")


# Pages


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_pages_are_counted_and_the_first_is_read(order, big, count):
    pages = np.stack([np.full((6, 4), 10 * number, np.uint8) for number in range(count)])
    data = tiff(pages, byteorder=order, bigtiff=big, photometric="minisblack", metadata=None)
    assert tiff_files.num_pages(data) == count
    if not (big and order == ">"):  # which Pillow does not read
        assert decode(data, "x").max() == 0


def test_pages_that_point_at_each_other_are_counted_once():
    data = bytearray(tiff(np.zeros((2, 6, 4), np.uint8), photometric="minisblack", metadata=None))
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    second = int.from_bytes(data[end : end + 4], "little")
    end = second + 2 + 12 * int.from_bytes(data[second : second + 2], "little")
    data[end : end + 4] = first.to_bytes(4, "little")
    assert tiff_files.num_pages(bytes(data)) == 2


@pytest.mark.parametrize(
    "data", [b"", b"II", b"II*\0", b"II*\0\x08\0", b"II*\0\xff\xff\xff\xff", b"MM\0+\0\x08"]
)
def test_of_a_damaged_file_no_pages_are_counted(data):
    assert tiff_files.num_pages(data) == 0
