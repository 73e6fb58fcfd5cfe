"""Every format that Pillow reads is read by content, or left out on purpose."""

import io
import sys
import types

import numpy as np
import pytest
from format_files import (
    COLORS,
    HAS_AVIF,
    PILLOW,
    icns,
    lossless_files,
    lossy_files,
    psd,
    tiff,
    written,
)
from picture_files import encoded
from PIL import Image, ImageFile

from zoo_core.data import formats, opening
from zoo_core.data.decoding import decode
from zoo_core.data.formats import FORMATS, describe, readable_suffixes
from zoo_core.errors import PictureError

LOSSLESS, LOSSY = lossless_files(), lossy_files()
LEFT_OUT = {
    **dict.fromkeys(("EPS", "WMF", "MPEG", "PDF"), "needs a program, or is no raster image"),
    **dict.fromkeys(("FITS", "HDF5", "GRIB", "BUFR"), "measurements, without a usual range"),
    **dict.fromkeys(("FPX", "MIC"), "need a package, and have layers"),
    **dict.fromkeys(("DIB", "GBR", "IM", "IMT", "IPTC"), "no signature that others could not have"),
    **dict.fromkeys(("MCIDAS", "SPIDER", "XVTHUMB"), "no signature that others could not have"),
    "PCD": "read at a reduced size only",
}
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 8
JXL = bytes.fromhex("ff0a034124080001008c014b")  # 24 x 16


def reason(data, name="x.png"):
    with pytest.raises(PictureError) as caught:
        decode(data, name)
    assert "\n" not in str(caught.value)
    return caught.value.reason


# Formats of Pillow


def test_every_format_of_pillow_is_read_or_left_out_on_purpose():
    Image.init()
    assert not set(FORMATS) & LEFT_OUT.keys()
    assert set(Image.OPEN) - {"HEIF", "JXL", "FAKE"} <= set(FORMATS) | LEFT_OUT.keys()


def test_there_is_a_file_of_every_format():
    assert LOSSLESS.keys() | LOSSY.keys() | {"AVIF"} == set(FORMATS)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_format_keeps_its_pixels_whatever_its_name(kind):
    data, expected = LOSSLESS[kind]
    name = "x.tga" if kind == "TGA" else "x.jpg"
    pixels = decode(data, name)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("kind", LOSSY)
def test_a_lossy_format_keeps_its_pixels_nearly(kind):
    data, expected = LOSSY[kind]
    assert np.abs(decode(data, "x.png").astype(int) - expected).max() <= 4


@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.75])
def test_a_file_that_is_cut_off_is_refused(kind, share):
    if kind in ("DDS", "XPM") and PILLOW < (12, 0):
        pytest.skip("Pillow 11 does not notice")
    data = (LOSSLESS | LOSSY)[kind][0]
    reason(data[: int(len(data) * share)], "x.tga")


@pytest.mark.parametrize("kind", ["EPS", "PDF"])
def test_what_another_program_would_have_to_draw_is_never_opened(kind, monkeypatch):
    data = encoded(Image.fromarray(COLORS), kind)
    Image.init()
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != kind})
    assert "not an image that can be read" in reason(data)


def test_an_image_is_turned_upright_in_every_format_with_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = ["TIFF", "PNG", "JPEG", "WEBP"] + ["AVIF"] * HAS_AVIF
    for kind in kinds:
        options = {"quality": 100} if kind == "AVIF" else {}
        pixels = decode(encoded(Image.fromarray(COLORS), kind, exif=exif, **options), "x")
        assert pixels.shape == (16, 12, 3), kind
        assert np.abs(pixels.astype(int) - np.rot90(COLORS, -1)).mean() < 8, kind


# TGA has no signature


def tga_without_footer():
    data = written("TGA")
    return data.removesuffix(data[-26:]) if data.endswith(formats.TGA_FOOTER) else data


def test_a_tga_without_footer_is_known_by_its_suffix_only():
    assert np.array_equal(decode(tga_without_footer(), "folder/X.TGA"), COLORS)
    assert "an unknown kind of file" in reason(tga_without_footer(), "x.png")


def test_a_png_called_tga_is_a_png():
    assert np.array_equal(decode(written("PNG"), "x.tga"), COLORS)


def test_a_fourth_byte_that_a_tga_does_not_declare_as_alpha_is_ignored():
    clear = np.dstack([COLORS, np.zeros_like(COLORS[:, :, 0])])
    data = bytearray(written("TGA", clear))
    assert decode(bytes(data), "x.tga").min() == 255
    data[17] &= 0xF0
    assert np.array_equal(decode(bytes(data), "x.tga"), COLORS)


# What Pillow would read otherwise than its owner means


def test_a_photoshop_file_of_layers_only_is_refused():
    def resources(has_merged):
        version = b"\0\0\0\1" + bytes([has_merged]) + b"\0" * 11
        return b"8BIM\x04\x21\0\0" + len(version).to_bytes(4, "big") + version

    assert np.array_equal(decode(psd(resources(True)), "x"), COLORS)
    assert reason(psd(resources(False))).startswith("holds layers only; save it with a merged")


def test_a_pcx_without_its_palette_is_refused():
    data = encoded(Image.fromarray(COLORS).quantize(), "PCX")
    decode(data, "x")
    assert "its palette is missing" in reason(data[:-769])


def test_an_icns_that_is_cut_off_after_its_largest_icon_is_refused():
    data = icns(np.zeros((32, 32, 3), np.uint8), np.zeros((16, 16, 3), np.uint8))
    assert decode(data, "x").shape == (32, 32, 3)
    assert reason(data[:-10]) == "damaged (cut off)"


@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_2000_color_of_more_than_8_bits_is_refused(bits):
    data = bytearray(written("JPEG2000"))
    at = data.index(b"\xff\x4f\xff\x51") + 42
    for band in range(3):
        assert data[at + 3 * band] == 7
        data[at + 3 * band] = bits - 1
    assert "color of more than 8 bits in JPEG 2000" in reason(bytes(data))


@pytest.mark.parametrize("kind", ["ICO", "ICNS"])
def test_of_an_icon_the_largest_image_is_read(kind):
    pixels = np.full((64, 64, 3), 7, np.uint8)
    data = written(kind, pixels, sizes=[(16, 16), (64, 64), (32, 32)])
    assert np.array_equal(decode(data, "x")[:64, :64], pixels)


def no_decoding(monkeypatch):
    def fail(*args):
        raise AssertionError("decoded")

    for plugin in ("Png", "Ico", "Icns"):
        monkeypatch.setattr(f"PIL.{plugin}ImagePlugin.{plugin}ImageFile.load", fail)


def test_an_icon_that_holds_more_than_its_header_says_is_refused_undecoded(monkeypatch):
    icon = written("ICO", sizes=[(16, 12)])
    inside = icon[22:]  # after the header of the file and of its only image
    assert inside.startswith(b"\x89PNG")
    large = icon[:22] + written("PNG", np.zeros((16, 99, 3), np.uint8)).ljust(len(inside), b"\0")
    large = large[:14] + (len(large) - 22).to_bytes(4, "little") + large[18:]
    assert decode(large, "x").shape == (16, 99, 3)
    monkeypatch.setattr(opening, "MAX_PIXELS", 300)
    no_decoding(monkeypatch)
    assert "99 x 16 pixels, more than the 300 allowed" in reason(large)


def test_large_images_in_an_icns_are_refused_undecoded(monkeypatch):
    icons = icns(np.zeros((64, 64, 3), np.uint8)).replace(b"icp6", b"icp4")  # "16 x 16"
    monkeypatch.setattr(opening, "MAX_PIXELS", 300)
    no_decoding(monkeypatch)
    assert "64 x 64 pixels, more than the 300 allowed" in reason(icons)


def test_a_heic_that_turns_out_larger_is_limited(registry, monkeypatch):
    class Growing(Fake):
        def load(self):
            self._size = (20, 20)

    registry["HEIF"] = (Growing, None)
    monkeypatch.setattr(opening, "MAX_PIXELS", 300)
    assert "20 x 20 pixels, more than the 300 allowed" in reason(HEIC)


# Suffixes and descriptions


def test_the_readable_suffixes_are_those_of_the_formats():
    said = "png jpg jpeg jfif jpe webp gif tif tiff bmp ppm pgm pbm pnm pfm avif tga ico jp2 mpo"
    packages = "heic heif hif jxl"
    assert {f".{suffix}" for suffix in f"{said} {packages}".split()} <= readable_suffixes()
    assert not readable_suffixes() & {".pdf", ".eps", ".svg", ".mp4", ".h5", ".fits", ".txt", ""}
    assert all(suffix == suffix.lower() for suffix in readable_suffixes())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "an empty file"),
        (b"\xef\xbb\xbf <!doctype HTML>", "a web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "a PostScript file"),
        (b"\xc5\xd0\xd3\xc6\x20\0\0\0", "a PostScript file"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\3\4\x14\0", "a zip file"),
        (b"\x1f\x8b\x08\0", "a gzip file"),
        (b"\x93NUMPY\1\0", "a NumPy array"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"SIMPLE  =   T", "a FITS file"),
        (b"\0" * 128 + b"DICM\2\0", "a DICOM file"),
        (b"\x1a\x45\xdf\xa3\x01", "a video"),
        (b"\0\0\0\x20ftypisom\0\0", "a video"),
        (b"\0\0\0\x20ftypqt  \0\0", "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"\0\0\0\x20ftypcrx \0\0", "a raw photo"),
        (b"FUJIFILMCCD-RAW 0201", "a raw photo"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("file_name,label\nä.png,3\n".encode(), "a text file"),
        (("x" + "ä" * 300).encode(), "a text file"),  # the 512th byte is within a letter
        (b"\x00\x01\x02", "an unknown kind of file"),
    ],
)
def test_a_file_that_is_no_image_is_described(data, said):
    assert describe(data).startswith(said)
    assert reason(data).startswith(said)


def test_a_kind_of_tiff_that_pillow_lacks_is_described_by_its_pixels():
    bands = np.zeros((12, 16, 5), np.uint16)
    data = tiff(bands, photometric="minisblack", planarconfig="contig")
    assert reason(data) == ("damaged, or a kind of TIFF that is not read (5 samples of 16 bits)")
    planes = tiff(bands[:, :, :4], planarconfig="separate", extrasamples=["assocalpha"])
    assert reason(planes) == "a kind of TIFF that is not read (4 samples of 16 bits)"
    floats = tiff(np.zeros((12, 16)), photometric="minisblack")
    assert "(1 floating-point sample of 64 bits)" in reason(floats)


@pytest.mark.skipif(not HAS_AVIF, reason="needs Pillow 11.3")
def test_a_brand_that_heic_and_avif_share_is_decided_by_those_that_follow(registry):
    data = LOSSY["AVIF"][0].replace(b"ftypavif", b"ftypmif1")
    assert np.array_equal(decode(data, "x"), decode(LOSSY["AVIF"][0], "x"))


# Packages


@pytest.fixture
def registry(monkeypatch):
    """Pillow's registry of formats, as it is before any package has added to it."""
    Image.init()
    known = {k: v for k, v in Image.OPEN.items() if k not in ("HEIF", "JXL")}
    monkeypatch.setattr(Image, "OPEN", known)
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return known


class Fake(ImageFile.ImageFile):
    """An image of 2 x 1 pixels, black and white, in every file."""

    format = "FAKE"

    def _open(self):
        self._mode, self._size = "L", (2, 1)
        self.fp = io.BytesIO(b"\0\xff")
        self.tile = [ImageFile._Tile("raw", (0, 0, 2, 1), 0, ("L", 0, 1))]


@pytest.mark.parametrize(
    ("data", "said", "package", "module"),
    [
        (HEIC, "HEIC", "pillow-heif", "pillow_heif"),
        (HEIC.replace(b"ftypheic", b"ftypmif1"), "HEIC", "pillow-heif", "pillow_heif"),
        (JXL, "JPEG XL", "pillow-jxl-plugin", "pillow_jxl"),
    ],
)
def test_without_its_package_a_format_is_refused_with_what_to_install(
    data, said, package, module, registry, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    assert reason(data) == f"is a {said} image; to read it: pip install {package}"


def test_a_package_that_cannot_be_imported_is_not_called_missing(registry, monkeypatch, tmp_path):
    (tmp_path / "pillow_heif.py").write_text("raise OSError('libheif.so is\\nmissing')")
    monkeypatch.syspath_prepend(tmp_path)
    assert reason(HEIC) == (
        "is a HEIC image, and pillow-heif cannot be imported (libheif.so is missing)"
    )
    (tmp_path / "pillow_jxl.py").write_text("import packaging_that_is_not_there")
    assert "and pillow-jxl-plugin cannot be imported (No module named" in reason(JXL)


def test_heic_is_read_when_its_package_is_installed(registry, monkeypatch):
    def register():
        registry["HEIF"] = (Fake, None)

    module = types.SimpleNamespace(register_heif_opener=register)
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    assert decode(HEIC, "x.jpg").tolist() == [[0, 255]]


def test_jpeg_xl_is_read_when_its_package_is_installed(registry, monkeypatch, tmp_path):
    (tmp_path / "pillow_jxl.py").write_text(
        "from PIL import Image\nfrom test_formats import Fake\nImage.OPEN['JXL'] = Fake, None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert decode(JXL, "x.jpg").tolist() == [[0, 255]]


def test_packages_are_not_imported_for_other_formats(registry, monkeypatch):
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    for kind, (data, _) in (LOSSLESS | LOSSY).items():
        decode(data, "x.tga")
        assert Image.OPEN.keys().isdisjoint({"HEIF", "JXL"}), kind


def test_avif_without_support_names_the_version_of_pillow(registry, monkeypatch):
    data = LOSSY["AVIF"][0] if HAS_AVIF else b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 40
    if HAS_AVIF:  # otherwise it is so without further ado
        monkeypatch.setattr("PIL.AvifImagePlugin.SUPPORTED", False)
    assert reason(data) == "is an AVIF image; to read it: pip install --upgrade pillow"
