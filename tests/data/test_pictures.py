import gc
import io
import os
import struct
import sys
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo_core.data import decoding, files
from zoo_core.data.decoding import decode, fit
from zoo_core.data.files import PictureFiles
from zoo_core.data.saving import save_grid, save_png
from zoo_core.errors import DataError
from zoo_core.pictures import BadPicture, Picture, read_every

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def noise(height=6, width=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(pixels):
    return encoded(Image.fromarray(np.asarray(pixels, dtype=np.uint8)))


def png_header(width, height):
    """A PNG whose header promises that many pixels; the data holds none of them."""

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
        (encoded(Image.new("RGB", (4, 4)), "GIF"), "an unknown kind of file"),
        (b"\0" * 100, "an unknown kind of file"),
    ],
)
def test_what_is_no_picture_is_refused_and_named_for_what_it_is(data, said):
    assert reason(data) == f"x.png: {said}, not a PNG, JPEG or WebP picture"


# Policy: size and damage


@pytest.mark.parametrize("size", [(10_001, 10_000), (13_000, 13_000), (20_000, 20_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size):
    assert "pixels" in reason(png_header(*size))


def test_the_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 24)
    assert decode(png(noise(6, 4)), "x").shape == (6, 4, 3)
    assert "5 x 5 pixels, more than 24 allowed" in reason(png(noise(5, 5)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(kind, share):
    data = encoded(Image.fromarray(noise(64, 64)), kind)
    decode(data, "x")
    reason(data[: int(len(data) * share)])


@pytest.mark.parametrize("at", [30, 60])
def test_a_png_with_a_wrong_checksum_is_refused(at):
    data = bytearray(png(noise()))
    data[at] ^= 1  # 30 is in the checksum of the header, 60 in the pixels
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
    pixels[:, :16] = 255  # white on the left, so on top once it is turned
    upright = decode(encoded(Image.fromarray(pixels), "JPEG", exif=exif), "x")
    assert upright.shape == (32, 16, 3)
    assert upright[:14].min() > 240
    assert upright[18:].max() < 15


def test_a_tag_of_the_wrong_type_does_not_matter():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    whole = encoded(Image.fromarray(noise()), "JPEG", exif=exif)
    tag = b"\x01\x1a\x00\x05"  # XResolution, a fraction
    assert whole.count(tag) == 1
    odd = whole.replace(tag, b"\x01\x1a\x00\x02")  # now a text
    assert np.array_equal(decode(odd, "x"), decode(whole, "x"))


def corrupt_exif():
    exif = Image.Exif()
    exif[0x010E] = "a description that goes on"
    data = encoded(Image.fromarray(noise()), "JPEG", exif=exif)
    at = data.index(b"\x01\x0e\x00\x02")  # the tag, then its type and a length
    broken = data[: at + 4] + b"\x7f\xff\xff\xff" + data[at + 8 :]
    with pytest.warns(UserWarning, match="Skip|Truncat"), Image.open(io.BytesIO(broken)) as image:
        dict(image.getexif())
    return broken


def test_a_picture_that_pillow_warns_about_is_read():
    assert decode(corrupt_exif(), "x").shape == (6, 4, 3)


def test_only_pillows_warnings_are_muted_while_a_picture_is_read(monkeypatch):
    plain = Image.open

    def warning_open(*args, **kwargs):
        with pytest.raises(UserWarning):  # as in another thread at that moment
            warnings.warn("not about pictures", UserWarning, stacklevel=1)
        return plain(*args, **kwargs)

    monkeypatch.setattr(Image, "open", warning_open)
    assert decode(png(noise()), "x").shape == (6, 4, 3)


def test_reading_pictures_does_not_repeat_what_python_warned_of_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(4):  # the first read adds the filter, which makes old warnings new
            decode(png(noise()), "x")
            warnings.warn("said once a place", UserWarning, stacklevel=1)
    assert len(caught) == 1


# Policy: 16 bits, CMYK, alpha, grey


def test_16_bit_grey_keeps_its_gradient():
    values = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    pixels = decode(encoded(Image.fromarray(values)), "x")
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.arange(256).reshape(16, 16))


def test_16_bit_grey_is_rounded_to_the_nearest():
    values = np.array([[0, 128, 129, 65406, 65407, 65535]], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(values)), "x").tolist() == [[0, 0, 1, 254, 255, 255]]


def test_cmyk_is_converted_by_the_plain_formula():
    ink = np.array([51, 102, 204, 51])  # 0.2, 0.4, 0.8 and 0.2 black
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
    with pytest.raises(DataError, match=r"^cat: is 30 x 10, has to be 10 x 10$"):
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
    assert planes.tolist() == [[[76, 150], [29, 255]]]  # 0.299, 0.587, 0.114


@pytest.mark.parametrize("channels", [1, 3])
def test_a_fitted_picture_may_be_written_to(channels):
    pixels = noise(8, 8)
    pixels.flags.writeable = False
    planes = fit(pixels[:, :, 0] if channels == 1 else pixels, 8, channels, "exact")
    assert planes.flags.writeable
    assert planes.flags.c_contiguous


# Sources

FILES = {
    "a.png": png(noise(seed=1)),
    "cats/1.png": png(noise(seed=2)),
    "cats/deep/2.webp": encoded(Image.fromarray(noise(seed=3)), "WEBP", lossless=True),
    "dogs/3.JPG": encoded(Image.fromarray(noise(seed=4)), "JPEG"),
}


def folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def archive(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, data in files.items():
            target.writestr(name, data)
    return path


@pytest.fixture(params=["folder", "zip"])
def source_of(request, tmp_path):
    def make(files):
        if request.param == "folder":
            return PictureFiles(folder(tmp_path / "pictures", files))
        return PictureFiles(archive(tmp_path / "pictures.zip", files))

    return make


def names(source):
    return [name for name, _, _ in source.files]


def test_a_zip_file_equals_the_folder_it_was_made_from(tmp_path):
    unpacked = PictureFiles(folder(tmp_path / "pictures", FILES))
    packed = PictureFiles(archive(tmp_path / "pictures.ZIP", FILES))
    assert names(packed) == names(unpacked) == list(FILES)
    for left, right in zip(packed, unpacked, strict=True):
        assert (left.name, left.label) == (right.name, right.label)
        assert np.array_equal(left.pixels, right.pixels)


def test_a_picture_carries_its_path_and_pixels(source_of):
    picture = source_of(FILES)[1]
    assert (picture.name, picture.label, picture.source) == ("cats/1.png", None, None)
    assert np.array_equal(picture.pixels, noise(seed=2))


def test_the_order_is_that_of_the_bytes_of_the_paths(source_of):
    data = png(noise())
    given = ["é.png", "b.png", "a/1.png", "a.png", "Z.png", "a10.png", "a9.png"]
    source = source_of(dict.fromkeys(given, data))
    assert names(source) == ["Z.png", "a.png", "a/1.png", "a10.png", "a9.png", "b.png", "é.png"]


def test_what_is_hidden_or_no_picture_is_left_out(source_of):
    data = png(noise())
    other = [".hidden.png", ".git/a.png", "cats/.cache/b.png", "notes.txt", "png", "movie.gif"]
    assert names(source_of(dict.fromkeys(["a.png", *other], data))) == ["a.png"]


def test_pictures_of_other_kinds_are_counted(source_of):
    files = ["a.png", "b.HEIC", "c.heic", "d.gif", "notes.txt", ".e.gif"]
    source = source_of(dict.fromkeys(files, png(noise())))
    assert names(source) == ["a.png"]
    assert source.ignored == {".heic": 2, ".gif": 1}


def test_a_folder_of_other_kinds_only_says_which(source_of):
    with pytest.raises(DataError, match=r"no pictures in .*; given: 2 \.heic"):
        source_of(dict.fromkeys(["a.heic", "b.heic"], b""))


def test_the_macintosh_folder_of_a_zip_file_is_left_out(tmp_path):
    files = dict.fromkeys(["a.png", "__MACOSX/a.png", "__MACOSX/._a.png"], png(noise()))
    assert names(PictureFiles(archive(tmp_path / "a.zip", files))) == ["a.png"]


def test_first_level_folders_are_classes(source_of):
    data = png(noise())
    source = source_of(dict.fromkeys(["dogs/1.png", "cats/2.png", "cats/deep/3.png"], data))
    assert source.classes == ("cats", "dogs")
    assert [(p.name, p.label) for p in source] == [
        ("cats/2.png", 0),
        ("cats/deep/3.png", 0),
        ("dogs/1.png", 1),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names there are Unicode")
def test_the_name_of_a_class_is_text_though_its_folder_s_is_not(tmp_path):
    for name in (b"caf\xe9", b"tea"):
        place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        place.mkdir()
        (place / "1.png").write_bytes(png(noise()))
    source = PictureFiles(tmp_path)
    assert source.classes == (r"caf\xe9", "tea")
    assert [picture.label for picture in source] == [0, 1]


def test_a_folder_around_all_does_not_count(source_of):
    source = source_of(dict.fromkeys(["pets/cats/1.png", "pets/dogs/1.png"], png(noise())))
    assert source.classes == ("cats", "dogs")
    assert [(p.name, p.label) for p in source] == [("pets/cats/1.png", 0), ("pets/dogs/1.png", 1)]


@pytest.mark.parametrize(
    "given",
    [
        ["a.png", "cats/1.png", "dogs/2.png"],
        ["cats/1.png", "cats/2.png"],
        ["pets/a.png", "pets/cats/1.png", "pets/dogs/2.png"],
    ],
)
def test_pictures_at_the_root_or_in_one_folder_only_have_no_labels(source_of, given):
    source = source_of(dict.fromkeys(given, png(noise())))
    assert source.classes == ()
    assert [picture.label for picture in source] == [None] * len(given)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.rename(path.with_name("b.png")),
        lambda path: path.with_name("c.png").write_bytes(path.read_bytes()),
        lambda path: path.unlink(),
    ],
    ids=["grown", "touched", "renamed", "joined", "removed"],
)
def test_the_fingerprint_of_a_folder_changes_with_its_pictures(tmp_path, change):
    before = PictureFiles(folder(tmp_path, FILES)).fingerprint
    assert PictureFiles(tmp_path).fingerprint == before
    change(tmp_path / "a.png")
    assert PictureFiles(tmp_path).fingerprint != before


def test_a_file_that_is_no_picture_leaves_the_fingerprint_alone(tmp_path):
    before = PictureFiles(folder(tmp_path, FILES)).fingerprint
    (tmp_path / "notes.txt").write_text("note")
    assert PictureFiles(tmp_path).fingerprint == before


def test_the_fingerprint_of_a_zip_file_is_that_of_its_bytes(tmp_path):
    contents = {"1": b"abc", "2": b"abc", "3": b"abd"}
    one, same, other = (
        PictureFiles(archive(tmp_path / f"{name}.zip", FILES | {"a.png": data})).fingerprint
        for name, data in contents.items()
    )
    assert one == same != other


@pytest.mark.parametrize("name", ["missing", "notes.txt", "empty", "empty.zip", "text.zip"])
def test_what_holds_no_pictures_is_refused(tmp_path, name):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    archive(tmp_path / "empty.zip", {"notes.txt": b""})
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match=name):
        PictureFiles(tmp_path / name)


def test_one_picture_file_is_a_source_of_one(tmp_path):
    folder(tmp_path, FILES)
    (tmp_path / "a.png").write_bytes(png(noise()))
    source = PictureFiles(tmp_path / "a.png")
    assert [picture.name for picture in source] == ["a.png"]
    assert not source.classes


def test_a_broken_link_is_named_when_it_is_read(tmp_path):
    folder(tmp_path, FILES)
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere.png")
    source = PictureFiles(tmp_path)
    with pytest.raises(DataError, match=r"^b\.png: cannot be read"):
        source[names(source).index("b.png")]


def test_a_linked_picture_is_read_and_a_linked_folder_is_not(tmp_path):
    folder(tmp_path / "elsewhere", FILES)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "here" / "cats").symlink_to(tmp_path / "elsewhere" / "cats")
    [picture] = PictureFiles(tmp_path / "here")
    assert np.array_equal(picture.pixels, noise(seed=1))


def test_a_folder_that_cannot_be_listed_is_an_error_not_a_gap(tmp_path, monkeypatch):
    folder(tmp_path, FILES)
    plain = os.scandir

    def scandir(path):
        if Path(path).name == "dogs":
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cannot list .*dogs: Permission denied"):
        PictureFiles(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    source = PictureFiles(folder(tmp_path, FILES))
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    with pytest.raises(DataError, match=r"^a\.png: \d+ bytes are more than"):
        source[0]


def test_a_zip_file_with_two_members_of_one_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        target.writestr("a.png", png(noise()))
        with pytest.warns(UserWarning, match="Duplicate"):
            target.writestr("a.png", png(noise()))
    with pytest.raises(DataError, match="two files of the same name"):
        PictureFiles(tmp_path / "a.zip")


def test_an_encrypted_member_is_named(tmp_path):
    path = archive(tmp_path / "a.zip", {"a.png": png(noise())})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"^a\.png: cannot be read .*encrypted"):
        PictureFiles(path)[0]


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
)
def test_a_damaged_member_is_named(tmp_path, compression):
    path = archive(tmp_path / "a.zip", {"a.png": png(noise(32, 32))}, compression)
    data = bytearray(path.read_bytes())
    start = data.index(b"a.png") + 5
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"^a\.png: cannot be read"):
        PictureFiles(path)[0]


def test_every_bad_picture_is_found_with_its_reason(source_of):
    files = FILES | {
        "b.png": FILES["a.png"][:60],
        "c.jpg": b"<html>not found",
        "d.png": b"",
        "e.png": b"<svg/>",
    }
    results = list(read_every(source_of(files)))
    assert [result.name for result in results] == sorted(files)
    assert sum(isinstance(result, Picture) for result in results) == len(FILES)
    bad = {result.name: result.reason for result in results if isinstance(result, BadPicture)}
    assert bad.pop("b.png").startswith("damaged (")
    assert bad == {
        "c.jpg": "a web page, not a PNG, JPEG or WebP picture",
        "d.png": "an empty file, not a PNG, JPEG or WebP picture",
        "e.png": "an SVG or XML file, not a PNG, JPEG or WebP picture",
    }


# Several readers at once


@pytest.fixture
def opened(monkeypatch):
    """Every ZipFile that is opened, in order."""
    opened = []

    class Counted(zipfile.ZipFile):
        def __init__(self, *args):
            opened.append(self)
            super().__init__(*args)

    monkeypatch.setattr(files.zipfile, "ZipFile", Counted)
    return opened


@pytest.fixture
def many(tmp_path):
    return archive(tmp_path / "many.zip", {f"{i:03}.png": png(noise(seed=i)) for i in range(100)})


def test_threads_that_read_at_once_get_their_own_pictures(many):
    source = PictureFiles(many)
    order = np.random.default_rng(0).permutation(np.arange(300) % 100)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda index: source[index].pixels, order))
    for index, pixels in zip(order, read, strict=True):
        assert np.array_equal(pixels, noise(seed=index))


def test_a_zip_file_is_opened_once_for_all_reads(many, opened):
    source = PictureFiles(many)
    opened.clear()
    for index in range(10):
        source[index]
    assert len(opened) == 1


def test_another_process_opens_the_zip_file_for_itself(many, opened, monkeypatch):
    source = PictureFiles(many)
    opened.clear()
    source[0]
    monkeypatch.setattr(os, "getpid", lambda: -1)  # what a forked worker sees
    assert np.array_equal(source[1].pixels, noise(seed=1))
    assert len(opened) == 2
    assert opened[0].fp is not opened[1].fp


def test_a_source_in_use_can_be_sent_to_another_process(many):
    source = PictureFiles(many)
    source[0]
    there = ForkingPickler.loads(ForkingPickler.dumps(source))
    assert there.fingerprint == source.fingerprint
    assert np.array_equal(there[1].pixels, noise(seed=1))


def test_a_source_that_is_dropped_leaks_nothing(many):
    source = PictureFiles(many)
    source[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del source
        gc.collect()
    assert caught == []


# Written pictures


def test_a_written_picture_is_read_back(tmp_path):
    for pixels in (noise(), noise()[:, :, 0], noise()[:, :, :1]):
        save_png(tmp_path / "a.png", pixels)
        assert np.array_equal(decode((tmp_path / "a.png").read_bytes(), "a"), pixels.squeeze())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_is_filled_row_by_row_and_its_rest_is_white(tmp_path, channels):
    batch = np.random.default_rng(0).integers(0, 250, (5, channels, 4, 6), dtype=np.uint8)
    save_grid(tmp_path / "grid.png", batch, columns=3)
    sheet = decode((tmp_path / "grid.png").read_bytes(), "grid").reshape(8, 18, channels)
    for index, picture in enumerate(batch):
        top, left = 4 * (index // 3), 6 * (index % 3)
        cell = sheet[top : top + 4, left : left + 6]
        assert np.array_equal(cell.transpose(2, 0, 1), picture)
    assert sheet[4:, 12:].min() == 255
