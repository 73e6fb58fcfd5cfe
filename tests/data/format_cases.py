"""One image file a format and mode: which color is read, what is said, or why it is not read.

`docs/layouts.py` draws their table in docs/layouts.md, and test_format_cases.py holds them.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from format_files import HAS_AVIF, png16, psd, qoi, tiff
from picture_files import encoded
from PIL import Image

COLOR, GRAY, WHITE = (200, 100, 50), (120, 120, 120), (255, 255, 255)
HALF = (227, 177, 152)  # COLOR of half opacity on white
FIRST = (0, 0, 255)  # the first pixel of the files of format_files.py
FLAT = Image.new("RGB", (8, 8), COLOR)
DARK = np.full((8, 8, 1), 4095, np.uint16)  # 12 bits of 16
DARK[0, 0] = 1024


@dataclass(frozen=True)
class Format:
    """A file, how it is read, and the color of its first pixel."""

    name: str
    file: str
    data: bytes | None  # None: this version of Pillow cannot make it
    color: tuple[int, int, int] | None = None  # to 3 levels where the format loses some
    options: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""
    bad: str = ""  # a part of the reason why it cannot be used
    ignored: str = ""  # a suffix that is not read


def flat(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    return encoded(FLAT.convert(mode), kind, **options)


def gray(kind: str, mode: str = "L", **options: Any) -> bytes:
    return encoded(Image.new("L", (8, 8), 120).convert(mode), kind, **options)


def see_through(kind: str, **options: Any) -> bytes:
    return encoded(Image.new("RGBA", (8, 8), (*COLOR, 128)), kind, **options)


def palette(transparent: bool = False) -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *COLOR])
    return encoded(image, "PNG", **({"transparency": 1} if transparent else {}))


def two_frames(kind: str, **options: Any) -> bytes:
    other = Image.new("RGB", (8, 8), (9, 9, 9))
    return encoded(FLAT, kind, save_all=True, append_images=[other], **options)


def turned() -> bytes:
    """A JPEG 16 x 8, of the color on the left, that EXIF turns upright by 180 degrees."""
    image = Image.new("RGB", (16, 8), (9, 9, 9))
    image.paste(COLOR, (8, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3
    return encoded(image, "JPEG", quality=95, exif=exif)


def short_exif() -> bytes:
    """A PNG whose EXIF block ends after its signature."""
    data, body = flat("PNG"), b"eXIfII*\0"
    chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    start = data.index(b"IDAT") - 4
    return data[:start] + chunk + data[start:]


def pgm(white: int, value: int) -> bytes:
    return b"P5 1 1 %d\n" % white + value.to_bytes(2 if white > 255 else 1, "big")


def pages() -> bytes:
    buffer = io.BytesIO()
    FLAT.save(buffer, "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    return buffer.getvalue()


LOW = "16-bit images that use less than a sixteenth of the range (--set levels=data)"
ANIMATED = "animations, first frame used"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 8
GIF = encoded(FLAT.quantize(2), "GIF")
JXL = bytes.fromhex("ff0a034124080001008c014b")

FORMATS = (
    Format("PNG, color", "x.png", flat("PNG"), COLOR),
    Format("PNG, color and alpha", "x.png", see_through("PNG"), HALF),
    Format("PNG, gray", "x.png", gray("PNG"), GRAY),
    Format("PNG, gray and alpha", "x.png", encoded(Image.new("LA", (8, 8), (0, 0)), "PNG"), WHITE),
    Format("PNG, black and white", "x.png", encoded(Image.new("1", (8, 8), 1), "PNG"), WHITE),
    Format("PNG, palette", "x.png", palette(), COLOR),
    Format("PNG, palette with a transparent color", "x.png", palette(True), WHITE),
    Format("PNG without suffix", "x", flat("PNG"), COLOR),
    Format("PNG, animated", "x.png", two_frames("PNG"), COLOR, remark=ANIMATED),
    Format("PNG, 16 bits, gray", "x.png", png16(DARK * 16), (64, 64, 64)),
    Format("PNG, 12 of 16 bits", "x.png", png16(DARK // 4), (1, 1, 1), remark=LOW),
    Format(
        "PNG, 12 of 16 bits", "x.png", png16(DARK), (64, 64, 64), options={"levels": "0-4095"}
    ),
    Format("PNG, 12 of 16 bits", "x.png", png16(DARK), (0, 0, 0), options={"levels": "data"}),
    Format("PNG, 16 bits, color", "x.png", png16(np.full((8, 8, 3), 30000, np.uint16)), (117,) * 3),
    Format("PNG with a cut EXIF block", "x.png", short_exif(), bad="damaged"),
    Format("PNG, cut off", "x.png", flat("PNG")[:50], bad="damaged"),
    Format("JPEG, color", "x.jpg", flat("JPEG", quality=95), COLOR),
    Format("JPEG, gray", "x.jpeg", gray("JPEG"), GRAY),
    Format("JPEG, CMYK", "x.jpg", flat("JPEG", "CMYK", quality=95), COLOR),
    Format("JPEG, turned by EXIF", "x.jpg", turned(), COLOR),
    Format("JPEG called .jfif", "x.jfif", flat("JPEG", quality=95), COLOR),
    Format("JPEG called .jpe", "x.jpe", flat("JPEG", quality=95), COLOR),
    Format("JPEG in capitals", "X.JPG", flat("JPEG", quality=95), COLOR),
    Format("JPEG called .png", "x.png", flat("JPEG", quality=95), COLOR),
    Format("JPEG without suffix", "x", flat("JPEG", quality=95), COLOR),
    Format("JPEG with a depth map or gain map (MPO)", "x.jpg", two_frames("MPO"), COLOR),
    Format("JPEG 2000", "x.jp2", flat("JPEG2000"), COLOR),
    Format("WebP", "x.webp", flat("WEBP", lossless=True), COLOR),
    Format("WebP, alpha", "x.webp", see_through("WEBP", lossless=True), HALF),
    Format(
        "WebP, animated", "x.webp", two_frames("WEBP", lossless=True), COLOR, remark=ANIMATED
    ),
    Format("AVIF", "x.avif", flat("AVIF", quality=100) if HAS_AVIF else None, COLOR),
    Format("HEIC without pillow-heif", "x.heic", HEIC, bad="pip install pillow-heif"),
    Format("JPEG XL without pillow-jxl-plugin", "x.jxl", JXL, bad="pip install pillow-jxl-plugin"),
    Format("GIF", "x.gif", GIF, COLOR),
    Format("GIF, animated", "x.gif", two_frames("GIF"), COLOR, remark=ANIMATED),
    Format("GIF called .jpg", "x.jpg", GIF, COLOR),
    Format("BMP", "x.bmp", flat("BMP"), COLOR),
    Format("PPM", "x.ppm", flat("PPM"), COLOR),
    Format("PGM", "x.pgm", pgm(255, 120), GRAY),
    Format("PGM whose white is 4095", "x.pgm", pgm(4095, 2048), (128,) * 3),
    Format("PBM", "x.pbm", b"P4 1 1\n\0", WHITE),
    Format("TIFF", "x.tif", flat("TIFF"), COLOR),
    Format("TIFF, 16 bits", "x.tiff", tiff(DARK[:, :, 0] * 16), (64, 64, 64)),
    Format(
        "TIFF, several pages", "x.tif", pages(), COLOR, remark="files of several pages, first page"
    ),
    Format("TIFF, CMYK", "x.tif", flat("TIFF", "CMYK"), COLOR),
    Format(
        "TIFF, floating-point", "x.tif", tiff(np.eye(8, dtype=np.float32)), bad="--set levels=data"
    ),
    Format(
        "TIFF, floating-point",
        "x.tif",
        tiff(np.eye(8, dtype=np.float32)),
        WHITE,
        options={"levels": "0-1"},
    ),
    Format("TGA", "x.tga", flat("TGA"), COLOR),
    Format("ICO", "x.ico", flat("ICO", sizes=[(8, 8)]), COLOR),
    Format("PCX", "x.pcx", flat("PCX"), COLOR),
    Format("DDS", "x.dds", flat("DDS"), COLOR),
    Format("SGI", "x.sgi", flat("SGI"), COLOR),
    Format("QOI", "x.qoi", qoi(), FIRST),
    Format("Photoshop", "x.psd", psd(), FIRST),
    Format("an empty file", "x.png", b"", bad="an empty file"),
    Format("a web page", "x.jpg", b"<!DOCTYPE html><html>", bad="a web page"),
    Format("an SVG drawing", "x.png", b"<svg xmlns='x'/>", bad="an SVG or XML file"),
    Format("a pointer of Git LFS", "x.png", b"version https://git-lfs.github.com/spec/v1\n",
           bad="git lfs pull"),
    Format("a PDF document", "x.jpg", b"%PDF-1.7", bad="a PDF document"),
    Format("a NumPy array", "x.png", b"\x93NUMPY", bad="a NumPy array"),
    Format("a drawing", "x.svg", b"<svg xmlns='x'/>", ignored=".svg"),
    Format("a raw photo", "x.cr2", b"II*\0", ignored=".cr2"),
    Format("a video", "x.mp4", b"x", ignored=".mp4"),
    Format("a medical image", "x.dcm", b"x", ignored=".dcm"),
)  # fmt: skip
