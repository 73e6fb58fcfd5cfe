"""`decode` follows each line of its policy; `fit` makes any image square."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from picture_files import encoded, noise, png
from PIL import Image

from zoo_core.data import opening
from zoo_core.data.decoding import decode, fit
from zoo_core.errors import DataError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def png_header(width, height):
    """A PNG with this size in its header, but no pixels."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def reason(data):
    with pytest.raises(DataError) as caught:
        decode(data, "x.png")
    assert str(caught.value).startswith("x.png: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Policy: format


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_keep_their_pixels(kind, options):
    assert np.array_equal(decode(encoded(Image.fromarray(noise()), kind, **options), "x"), noise())


def test_jpeg_is_read():
    pixels = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
    data = encoded(Image.fromarray(pixels), "JPEG", quality=95)
    assert np.abs(decode(data, "x").astype(int) - pixels).max() <= 3


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_read(kind):
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 3
    assert np.array_equal(decode(data, "x"), np.full((8, 8, 3), RED))


def test_the_first_picture_of_a_phones_jpeg_is_read():
    frames = [Image.new("RGB", (16, 16), color) for color in (WHITE, RED)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert np.array_equal(decode(data, "x"), np.full((16, 16, 3), 255))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "an empty file"),
        (b"\n <!DOCTYPE html><html>", "a web page"),
        (b"<HTML><body>", "a web page"),
        (b"<svg xmlns='x'/>", "an SVG or XML file"),
        (b"<?xml version='1.0'?><svg/>", "an SVG or XML file"),
        (b"\0" * 100, "an unknown kind of file"),
    ],
)
def test_what_is_no_picture_is_refused_and_named_for_what_it_is(data, said):
    assert reason(data) == f"x.png: {said}, not an image that can be read"


# Policy: size and damage


@pytest.mark.parametrize("size", [(10_001, 10_000), (13_000, 13_000), (20_000, 20_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size):
    assert "pixels" in reason(png_header(*size))


def test_the_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(opening, "MAX_PIXELS", 24)
    assert decode(png(noise(6, 4)), "x").shape == (6, 4, 3)
    assert "5 x 5 pixels, more than the 24 allowed" in reason(png(noise(5, 5)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(kind, share):
    data = encoded(Image.fromarray(noise(64, 64)), kind)
    decode(data, "x")
    reason(data[: int(len(data) * share)])


@pytest.mark.parametrize("at", [30, 60])
def test_a_png_with_a_wrong_checksum_is_refused(at):
    data = bytearray(png(noise()))
    data[at] ^= 1  # byte 30 is in the checksum of the header, byte 60 in the pixels
    assert reason(bytes(data)).startswith("x.png: damaged (")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_ends_in_its_header_is_damaged_not_unknown(kind):
    data = encoded(Image.fromarray(noise()), kind)[:20]
    assert reason(data).startswith("x.png: damaged (")


# Policy: EXIF

UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_picture_is_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(noise()), kind, exif=exif, **options)
    assert np.array_equal(decode(data, "x"), UPRIGHT[orientation](noise()))


def test_a_jpeg_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :16] = 255  # white on the left, so at the top once turned
    upright = decode(encoded(Image.fromarray(pixels), "JPEG", exif=exif), "x")
    assert upright.shape == (32, 16, 3)
    assert upright[:14].min() > 240
    assert upright[18:].max() < 15


def test_a_tag_of_the_wrong_type_does_not_matter():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    whole = encoded(Image.fromarray(noise()), "JPEG", exif=exif)
    tag = b"\x01\x1a\x00\x05"  # XResolution, of type rational
    assert whole.count(tag) == 1
    odd = whole.replace(tag, b"\x01\x1a\x00\x02")  # of type text
    assert np.array_equal(decode(odd, "x"), decode(whole, "x"))


def corrupt_exif():
    exif = Image.Exif()
    exif[0x010E] = "a description that goes on"
    data = encoded(Image.fromarray(noise()), "JPEG", exif=exif)
    at = data.index(b"\x01\x0e\x00\x02")  # the tag and its type; the length follows
    broken = data[: at + 4] + b"\x7f\xff\xff\xff" + data[at + 8 :]
    with pytest.warns(UserWarning, match="Skip|Truncat"), Image.open(io.BytesIO(broken)) as image:
        dict(image.getexif())
    return broken


def test_a_picture_that_pillow_warns_about_is_read():
    assert decode(corrupt_exif(), "x").shape == (6, 4, 3)


def test_only_pillows_warnings_are_muted_while_a_picture_is_read(monkeypatch):
    plain = Image.open

    def warning_open(*args, **kwargs):
        with pytest.raises(UserWarning):  # as if from another thread
            warnings.warn("not about images", UserWarning, stacklevel=1)
        return plain(*args, **kwargs)

    monkeypatch.setattr(Image, "open", warning_open)
    assert decode(png(noise()), "x").shape == (6, 4, 3)


def test_reading_pictures_does_not_repeat_what_python_warned_of_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(4):  # adding the filter, at the first read, resets the warnings seen
            decode(png(noise()), "x")
            warnings.warn("said once a place", UserWarning, stacklevel=1)
    assert len(caught) == 1


# Policy: 16-bit, CMYK, alpha, gray


def test_16_bit_grey_keeps_its_gradient():
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    pixels = decode(encoded(Image.fromarray(values)), "x")
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.arange(256).reshape(16, 16))


def test_16_bit_grey_is_rounded_to_the_nearest():
    values = np.array([[0, 128, 129, 65406, 65407, 65535]], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(values)), "x").tolist() == [[0, 0, 1, 254, 255, 255]]


def test_cmyk_is_converted_by_the_plain_formula():
    ink = np.array([51, 102, 204, 51])  # 0.2, 0.4, 0.8, and 0.2 of black
    data = encoded(Image.new("CMYK", (16, 16), tuple(ink)), "JPEG", quality=95)
    expected = 255 * (1 - ink[:3] / 255) * (1 - ink[3] / 255)
    assert np.abs(decode(data, "x") - expected).max() <= 3


def test_a_palette_becomes_its_colors():
    image = Image.fromarray(np.array([[0, 1], [2, 0]], dtype=np.uint8), mode="P")
    image.putpalette([*RED, *GREEN, *BLUE])
    assert decode(encoded(image), "x").tolist() == [
        [list(RED), list(GREEN)],
        [list(BLUE), list(RED)],
    ]


@pytest.mark.parametrize(
    ("transparency", "first"),
    [(0, WHITE), (b"\x00\xff\xff", WHITE), (b"\x80\xff", (255, 127, 127))],
)
def test_a_transparent_palette_is_laid_on_white(transparency, first):
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="P")
    image.putpalette([*RED, *GREEN, *BLUE])
    pixels = decode(encoded(image, transparency=transparency), "x")
    assert pixels.tolist() == [[list(first), list(GREEN), list(BLUE)]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_laid_on_white(kind):
    rgba = np.array([[[*RED, 255], [*RED, 0], [0, 0, 0, 128]]], dtype=np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode(encoded(Image.fromarray(rgba), kind, **options), "x")
    assert pixels.tolist() == [[list(RED), list(WHITE), [127] * 3]]


def test_grey_with_alpha_is_laid_on_white():
    image = Image.fromarray(np.array([[[100, 255], [100, 0], [0, 128]]], dtype=np.uint8), "LA")
    assert decode(encoded(image), "x").tolist() == [[[100] * 3, [255] * 3, [127] * 3]]


@pytest.mark.parametrize(("mode", "color"), [("RGB", RED), ("L", 7)])
def test_a_transparent_color_is_laid_on_white(mode, color):
    image = Image.new(mode, (2, 1), color)
    image.putpixel((1, 0), 0 if mode == "L" else BLUE)
    pixels = decode(encoded(image, transparency=color), "x")
    assert pixels[0, 0].tolist() == list(WHITE)
    assert pixels[0, 1].tolist() == ([0] * 3 if mode == "L" else list(BLUE))


def test_one_bit_is_black_and_white():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    pixels = decode(encoded(image), "x")
    assert (pixels.tolist(), pixels.dtype) == ([[0, 255]], np.uint8)


def test_grey_stays_grey():
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(decode(png(values), "x"), values)


# Fitting

BANDS = np.repeat(np.array([[RED, GREEN, BLUE]], dtype=np.uint8), 10, axis=1).repeat(10, axis=0)


def at(planes, row, column):
    return tuple(planes[:, row, column].tolist())


def test_crop_cuts_out_the_middle():
    assert np.array_equal(fit(BANDS, 10, 3, "crop"), BANDS[:, 10:20].transpose(2, 0, 1))


def test_crop_cuts_a_tall_picture_as_well():
    tall = BANDS.swapaxes(0, 1)
    assert np.array_equal(fit(tall, 10, 3, "crop"), tall[10:20].transpose(2, 0, 1))


def test_pad_keeps_everything_between_white():
    planes = fit(BANDS, 30, 3, "pad")
    assert np.array_equal(planes[:, 10:20], BANDS.transpose(2, 0, 1))
    assert planes[:, :10].min() == planes[:, 20:].min() == 255


def test_padding_leaves_something_of_a_line():
    assert (fit(np.zeros((1, 300), dtype=np.uint8), 16, 1, "pad") == 0).sum() == 16


def test_pad_is_white_for_grey_too():
    planes = fit(np.zeros((10, 30), dtype=np.uint8), 30, 1, "pad")
    assert (planes[:, :10].min(), planes[:, 10:20].max()) == (255, 0)


def test_stretch_uses_the_whole_picture_and_the_whole_square():
    planes = fit(BANDS, 30, 3, "stretch")
    for row in (0, 29):
        assert [at(planes, row, column) for column in (5, 15, 25)] == [RED, GREEN, BLUE]


def test_exact_keeps_the_pixels():
    assert np.array_equal(fit(noise(8, 8), 8, 3, "exact"), noise(8, 8).transpose(2, 0, 1))


def test_exact_refuses_another_size_by_name():
    with pytest.raises(DataError, match=r"^cat: is 30 x 10, must be 10 x 10$"):
        fit(BANDS, 10, 3, "exact", "cat")


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1, 3), (200, 100, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_picture_becomes_a_square(how, shape, channels):
    planes = fit(np.zeros(shape, dtype=np.uint8), 16, channels, how)
    assert (planes.shape, planes.dtype) == ((channels, 16, 16), np.uint8)


def test_scaling_down_averages():
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(fit(checkers, 8, 1, "stretch").astype(int) - 127).max() < 20


def test_grey_becomes_three_equal_channels():
    grey = noise(8, 8)[:, :, 0]
    assert np.array_equal(fit(grey, 8, 3, "crop"), np.stack([grey] * 3))


def test_colors_become_luma():
    planes = fit(np.array([[RED, GREEN], [BLUE, WHITE]], dtype=np.uint8), 2, 1, "exact")
    assert planes.tolist() == [[[76, 150], [29, 255]]]  # weights 0.299, 0.587, 0.114


@pytest.mark.parametrize("channels", [1, 3])
def test_a_fitted_picture_may_be_written_to(channels):
    pixels = noise(8, 8)
    pixels.flags.writeable = False
    planes = fit(pixels[:, :, 0] if channels == 1 else pixels, 8, channels, "exact")
    assert planes.flags.writeable
    assert planes.flags.c_contiguous
