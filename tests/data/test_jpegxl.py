"""The header of a JPEG XL image is read before its package decodes everything.

The files were written by libjxl 0.11, and are cut after what the header needs.
"""

import sys

import pytest
from PIL import Image

from zoo_core.data import opening
from zoo_core.data.decoding import decode
from zoo_core.data.jpegxl import CONTAINER, read_header
from zoo_core.errors import PictureError

STILL = {
    (24, 16): "ff0a034152dc080013880200b400b59f20000015",
    (1, 1): "ff0a0010901437020013880200a800b59f200000",
    (300, 200): "ff0a314152dc0800138802003c81060c00000000",
    (513, 511): "ff0af08f0004488a1b0100138802003cc2090c00",
    (9000, 2): "ff0a08004f460049712300138802006800066000",
    (1920, 1080): "ff0aba2105497123001388020090c05f74000000",
}
ANIMATED = "ff0a03054d0020286e090804010018004b188b15"  # 24 x 16
FILE_TYPE = bytes.fromhex("00000014667479706a786c20000000006a786c20")


def box(kind, body, size=None):
    return (8 + len(body) if size is None else size).to_bytes(4, "big") + kind + body


@pytest.fixture
def no_package(monkeypatch):
    """Without the package, only what is checked before it is imported can be an error."""
    Image.init()
    known = {kind: value for kind, value in Image.OPEN.items() if kind != "JXL"}
    monkeypatch.setattr(Image, "OPEN", known)
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)


@pytest.mark.parametrize("size", STILL)
def test_the_size_is_read(size):
    assert read_header(bytes.fromhex(STILL[size])) == (*size, False)


def test_an_animation_is_recognized():
    assert read_header(bytes.fromhex(ANIMATED)) == (24, 16, True)


def test_the_header_is_found_in_a_container():
    stream = bytes.fromhex(ANIMATED)
    head = CONTAINER + FILE_TYPE
    wide = (16 + len(stream)).to_bytes(8, "big")
    for body in (
        box(b"jxlc", stream),
        box(b"jxlc", stream, size=0),  # until the end of the file
        box(b"jxlc", wide + stream, size=1),
        box(b"Exif", b"\0" * 99) + box(b"jxlc", stream),
        box(b"jxlp", b"\0\0\0\0" + stream[:5]) + box(b"jxlp", b"\x80\0\0\1" + stream[5:]),
    ):
        assert read_header(head + body) == (24, 16, True)


@pytest.mark.parametrize(
    "data",
    [
        CONTAINER,
        CONTAINER + FILE_TYPE,
        CONTAINER + box(b"ftyp", b"", size=3) * 2,
        CONTAINER + box(b"ftyp", b"\0" * 7 + b"\5", size=1) * 2,  # shorter than its own header
        CONTAINER + box(b"jxlc", b"\0" * 64),
        b"\xff\x0a",
        bytes.fromhex(ANIMATED)[:4],
    ],
)
def test_without_a_header_the_file_is_damaged(data, no_package):
    with pytest.raises(PictureError, match=r"^x: damaged \("):
        decode(data, "x")


def test_too_many_pixels_are_refused_before_the_package_decodes_them(no_package, monkeypatch):
    monkeypatch.setattr(opening, "MAX_PIXELS", 1920 * 1080 - 1)
    with pytest.raises(PictureError, match="1920 x 1080 pixels, more than the 2073599 allowed"):
        decode(bytes.fromhex(STILL[1920, 1080]), "x")


def test_an_animation_is_refused_because_its_last_frame_would_be_read(no_package):
    with pytest.raises(PictureError, match="an animated JPEG XL, of which only the last frame"):
        decode(bytes.fromhex(ANIMATED), "x")


def test_exif_turns_a_repacked_jpeg_only(monkeypatch):
    class Opened:
        """An image of a package: what `upright` uses of it."""

        format, size = "JXL", (2, 1)

        def __init__(self, jpeg):
            self.jpeg = jpeg

        def load(self):
            pass

        def getexif(self):
            return {0x0112: 6}

        def transpose(self, turn):
            return f"turned by {turn}"

    assert opening.upright(Opened(jpeg=True), "x") == "turned by 4"
    assert isinstance(opening.upright(Opened(jpeg=False), "x"), Opened)
