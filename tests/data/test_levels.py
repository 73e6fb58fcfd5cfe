"""`levels` says which values of an image of more than 8 bits are black and white."""

import io
from collections import Counter

import numpy as np
import pytest
from format_files import COLORS, GRAY, lossless_files, png16, tiff, tiff12, written
from picture_files import encoded, png
from PIL import Image

from zoo_core.data.decoding import CUT_OFF, LOW_VALUES, decode
from zoo_core.data.deep import BLOCK, blockwise
from zoo_core.data.levels import (
    Levels,
    joined_levels,
    measure_levels,
    parse_levels,
    value_range,
)
from zoo_core.errors import ConfigError, DataError, PictureError

LOSSLESS = lossless_files()
GRAY12 = np.arange(192, dtype=np.uint16).reshape(12, 16) * 16 + 15  # 15..3071
COLORS12 = np.stack([GRAY12, GRAY12[::-1], GRAY12 // 2], axis=2)


def bytes_of(values, low=0, high=4095):
    """What values become at these levels."""
    return np.rint((np.clip(values.astype(float), low, high) - low) / (high - low) * 255)


def pgm(values, maxval, magic=b"P5"):
    head = b"%s\n%d %d\n%d\n" % (magic, values.shape[1], values.shape[0], maxval)
    return head + values.astype(">u2").tobytes()


def plain(values, maxval, magic=b"P2"):
    numbers = " ".join(map(str, values.ravel().tolist()))
    size = f"{values.shape[1]} {values.shape[0]}"
    return f"{magic.decode()} {size} {maxval}\n{numbers}\n".encode()


# [[0, 100, 2000, 4095], [1, 2, 3, 4094]] by OpenJPEG, whose header states 12 bits
JPEG2000_12 = bytes.fromhex(
    "0000000c6a5020200d0a870a00000014667479706a703220000000006a7032200000002d6a70326800000016"
    "69686472000000020000000400010b0700000000000f636f6c72010000000000110000008f6a703263ff4fff"
    "5100290000000000040000000200000000000000000000000400000002000000000000000000010b0101ff52"
    "000c00000001000004040001ff5c00044060ff640025000143726561746564206279204f70656e4a50454720"
    "76657273696f6e20322e352e34ff90000a00000000001d0001ff93dfe03007aab30174d1455e1a03710effd9"
)


def signed_jpeg2000(values):
    """A lossless JPEG 2000 of int16: the coded values are those of uint16, less 32768."""
    data = bytearray(encoded(Image.fromarray((values + 32768).astype(np.uint16)), "JPEG2000"))
    for at in (data.index(b"ihdr") + 14, data.index(b"\xff\x4f\xff\x51") + 42):
        assert data[at] == 15
        data[at] |= 128
    return bytes(data)


FILES12 = {
    "PNG": png16(GRAY12[:, :, None]),
    "TIFF": tiff(GRAY12),
    "big-endian TIFF": tiff(GRAY12, byteorder=">", compression="zlib"),
    "12-bit TIFF": tiff12(GRAY12),
    "PGM to 65535": pgm(GRAY12, 65535),
    "PGM to 4095": pgm(GRAY12, 4095),
    "plain PGM": plain(GRAY12, 4095),
    "JPEG 2000": encoded(Image.fromarray(GRAY12), "JPEG2000"),
}
COLORS12_FILES = {
    "PNG": png16(COLORS12),
    "TIFF": tiff(COLORS12),
    "big-endian TIFF": tiff(COLORS12, byteorder=">"),
    "compressed TIFF": tiff(COLORS12, compression="zlib"),
    "big-endian compressed TIFF": tiff(COLORS12, byteorder=">", compression="zlib"),
    "planes": tiff(COLORS12, planarconfig="separate"),
    "big-endian planes": tiff(COLORS12, planarconfig="separate", byteorder=">"),
    "PPM to 65535": pgm(COLORS12, 65535, b"P6"),
    "PPM to 4095": pgm(COLORS12, 4095, b"P6"),
}
DECLARED = ("12-bit TIFF", "PGM to 4095", "plain PGM", "PPM to 4095")


# The setting


def test_full_is_no_levels():
    assert parse_levels("full") is None


def test_data_is_levels_to_be_measured():
    assert not parse_levels("data").are_known
    assert str(parse_levels("data")) == "data"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("0-4095", 0, 4095),
        (" 100 - 200 ", 100, 200),
        ("-1000-400", -1000, 400),
        ("-20--10", -20, -10),
        ("0.5-1.5", 0.5, 1.5),
        (".5-1", 0.5, 1),
        ("1e-3-1E3", 0.001, 1000),
    ],
)
def test_a_range_is_two_numbers(text, low, high):
    levels = parse_levels(text)
    assert levels == Levels(low, high)
    assert levels.are_known


@pytest.mark.parametrize(
    "levels",
    [Levels(0, 4095), Levels(-1000.25, 1234567), Levels(1e-7, 1e30), Levels(0.123456789, 1)],
)
def test_levels_are_written_as_the_setting_that_means_the_same(levels):
    assert parse_levels(str(levels)) == levels


@pytest.mark.parametrize(
    "text",
    [
        *("", "Full", "auto", "4095", "0-", "-4095", "9-9", "9-3", "0-nan", "0-inf", "0-1e999"),
        *("-1e308-1e308", "0-4095-1", "0:4095", "0-" + "9" * 5000, "\u0660-\u0669"),
    ],
)
def test_other_settings_are_refused_with_what_is_allowed(text):
    with pytest.raises(ConfigError) as caught:
        parse_levels(text)
    assert caught.value.given == repr(text)
    assert caught.value.allowed == "full, data, or LOW-HIGH such as 0-4095"


# Full


def test_all_65536_values_are_rounded_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    expected = (values[:, :, 0].astype(np.int64) * 255 + 32767) // 65535
    assert np.array_equal(decode(png16(values), "x"), expected)


def test_values_are_converted_in_blocks_of_bounded_size():
    sizes = []
    blockwise(
        np.zeros((5000, 1000), np.uint16), "uint8", lambda block: sizes.append(block.size) or block
    )
    assert max(sizes) <= BLOCK
    assert sum(sizes) == 5_000_000


def test_a_large_image_is_the_same_as_its_rows():
    rows = np.random.default_rng(0).integers(0, 65536, (1500, 1000, 1)).astype(np.uint16)
    whole = decode(png16(rows), "x")  # more than one block
    for top in (0, 1000, 1048, 1049, 1499):
        assert np.array_equal(whole[top : top + 1], decode(png16(rows[top : top + 1]), "x"))


@pytest.mark.parametrize("kind", DECLARED)
def test_a_narrower_range_that_the_file_declares_is_its_full_range(kind):
    if kind.startswith("PPM"):
        pixels, expected = decode(COLORS12_FILES[kind], "x"), bytes_of(COLORS12)
    else:
        pixels, expected = decode(FILES12[kind], "x"), bytes_of(GRAY12)
    assert np.abs(pixels - expected).max() <= (1 if kind.startswith("PPM") else 0)


def test_of_16_bit_color_the_high_byte_is_read():
    for kind in set(COLORS12_FILES) - set(DECLARED) - {"PPM to 65535"}:
        assert np.array_equal(decode(COLORS12_FILES[kind], "x"), COLORS12 >> 8), kind


# Low-high


@pytest.mark.parametrize("kind", FILES12)
@pytest.mark.parametrize("limits", [(0, 4095), (100, 2000), (-500, 10_000), (14.5, 15.5)])
def test_gray_is_scaled_from_the_values_of_the_file(kind, limits):
    pixels = decode(FILES12[kind], "x", Levels(*limits))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, bytes_of(GRAY12, *limits))


@pytest.mark.parametrize("kind", COLORS12_FILES)
@pytest.mark.parametrize("limits", [(0, 4095), (100, 2000)])
def test_color_is_scaled_from_the_values_of_the_file(kind, limits):
    pixels = decode(COLORS12_FILES[kind], "x", Levels(*limits))
    assert np.array_equal(pixels, bytes_of(COLORS12, *limits))


def test_alpha_is_no_value_to_be_scaled():
    levels, white = Levels(0, 4095), np.full_like(GRAY12, 65535)
    for alpha, expected in ((white, bytes_of(COLORS12)), (white * 0, np.full_like(COLORS, 255))):
        for write in (png16, lambda values: tiff(values, extrasamples=["unassalpha"])):
            data = write(np.dstack([COLORS12, alpha]))
            assert np.array_equal(decode(data, "x", levels), expected)
    opaque, clear = (png16(np.dstack([GRAY12, alpha])) for alpha in (white, white * 0))
    assert np.array_equal(decode(opaque, "x", levels)[:, :, 1], bytes_of(GRAY12))
    assert decode(clear, "x", levels).min() == 255


def test_levels_apply_before_an_image_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(GRAY12), "PNG", exif=exif)
    assert np.array_equal(decode(data, "x", Levels(0, 4095)), np.rot90(bytes_of(GRAY12), -1))


def test_the_full_range_as_levels_is_full():
    assert np.array_equal(
        decode(FILES12["PNG"], "x", Levels(0, 65535)), decode(FILES12["PNG"], "x")
    )


def test_jpeg_2000_is_white_at_the_largest_value_of_its_bits():
    assert decode(JPEG2000_12, "x").tolist() == [[0, 6, 125, 255], [0, 0, 0, 255]]
    assert decode(JPEG2000_12, "x", Levels(0, 4)).tolist()[1] == [64, 128, 191, 255]
    assert value_range(JPEG2000_12, "x") == (0, 4095, True)


def test_signed_jpeg_2000_is_refused_without_levels():
    data = signed_jpeg2000(GRAY12.astype(int) - 1000)
    assert value_range(data, "x") == (-985, 2071, True)
    assert np.array_equal(decode(data, "x", Levels(-1000, 3095)), bytes_of(GRAY12))
    with pytest.raises(PictureError, match=r"pixel values -985 to 2071 are outside 0\.\.32767"):
        decode(data, "x")


@pytest.mark.parametrize("kind", [kind for kind in LOSSLESS if kind != "TGA"])
def test_8_bit_images_are_never_rescaled(kind):
    data, expected = LOSSLESS[kind]
    assert np.array_equal(decode(data, "x", Levels(0, 10)), expected)
    assert value_range(data, "x") is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tiff(np.dstack([COLORS12, GRAY12]), extrasamples=["assocalpha"]), "premultiplied alpha"),
        (tiff(COLORS12, planarconfig="separate", compression="zlib"), "compressed planes"),
        (plain(COLORS12, 4095, b"P3"), "16-bit PPM"),
        (b"\x01\xda\0\2\0\3\0\x10\0\x0c\0\3".ljust(512, b"\0") + b"\0" * 1152, "16-bit SGI"),
        (written("ICO", GRAY12, sizes=[(16, 12)]), "ICO of more than 8 bits"),
    ],
    ids=["premultiplied", "planes", "plain PPM", "SGI", "ICO"],
)
def test_where_values_are_not_known_levels_are_refused(data, said):
    assert decode(data, "x").dtype == np.uint8
    with pytest.raises(PictureError, match=f"{said}, to which levels cannot be applied"):
        decode(data, "x", Levels(0, 4095))
    assert value_range(data, "x") is None


# Data


def test_levels_are_measured_over_all_images_of_more_than_8_bits():
    images = [
        ("a", png16(np.full((2, 2, 1), 70))),
        ("b", png(COLORS)),
        ("c", b"damaged"),
        ("d", tiff(np.array([[900, 50], [60, 80]], np.uint16))),
        ("e", png16(np.full((2, 2, 3), 1234))),
    ]
    assert measure_levels(images) == Levels(50, 1234)


def test_alpha_is_not_measured():
    values = np.dstack([np.full((2, 2, 3), 500), np.full((2, 2), 65535)])
    assert value_range(png16(values), "x") == (500, 500, True)
    assert value_range(png16(values[:, :, 2:]), "x") == (500, 500, True)


@pytest.mark.parametrize("kind", FILES12 | COLORS12_FILES)
def test_values_are_measured_as_the_file_holds_them(kind):
    for files, values in ((FILES12, GRAY12), (COLORS12_FILES, COLORS12)):
        if kind in files:
            expected = (values.min(), values.max(), True)
            assert value_range(files[kind], "x") == expected


def test_floating_point_images_are_measured():
    image = tiff(np.array([[-0.5, 2.25]], np.float32))
    levels = measure_levels([("x", image)])
    assert levels == Levels(-0.5, 2.25)
    assert decode(image, "x", levels).tolist() == [[0, 255]]


def test_without_two_values_there_is_nothing_to_measure():
    assert measure_levels([]) is None
    assert measure_levels([("x", png(COLORS))]) is None
    assert measure_levels([("x", png16(np.full((2, 2, 1), 9)))]) is None


def test_integers_and_floating_point_numbers_are_not_measured_together():
    images = [("a", tiff(GRAY12)), ("b", tiff(GRAY.astype(np.float32)))]
    with pytest.raises(DataError, match="integers and floating-point numbers together"):
        measure_levels(images)


def test_ranges_of_threads_are_joined():
    ranges = [value_range(FILES12[kind], kind) for kind in FILES12]
    assert joined_levels([*ranges, None]) == Levels(15, 3071)


def test_8_bit_images_are_measured_without_being_decoded():
    data = png(COLORS)
    assert value_range(data[:60], "x") is None
    with Image.open(io.BytesIO(data[:60])) as image:
        assert image.mode == "RGB"


def test_levels_that_were_not_measured_do_not_decode():
    with pytest.raises(AssertionError, match="levels that were not measured"):
        decode(FILES12["PNG"], "x", Levels())


# Remarks


def remarks(data, levels=None):
    said = Counter()
    decode(data, "x", levels, said)
    return dict(said)


@pytest.mark.parametrize("kind", FILES12 | COLORS12_FILES)
def test_images_that_use_a_small_part_of_the_range_are_counted(kind):
    data = (COLORS12_FILES | FILES12)[kind]
    assert remarks(data) == ({} if kind in DECLARED else {LOW_VALUES: 1})
    assert remarks(data, Levels(0, 4095)) == {}


@pytest.mark.parametrize(("value", "is_small"), [(0, True), (4095, True), (4096, False)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_small_is_below_a_sixteenth_of_the_range(value, is_small, channels):
    values = np.full((2, 2, channels), value)
    if channels in (2, 4):
        values[:, :, -1] = 65535
    assert remarks(png16(values)) == ({LOW_VALUES: 1} if is_small else {})


def test_values_outside_of_levels_are_counted():
    for low, high in ((16, 4095), (0, 3070)):
        for data in (FILES12["PNG"], COLORS12_FILES["TIFF"]):
            assert remarks(data, Levels(low, high)) == {CUT_OFF: 1}
