"""Which image formats are read, and what a file that is no such image looks like.

A file is read as what its first bytes say, whatever it is called; only TGA, which has no signature,
also needs its suffix or its footer. HEIC and JPEG XL are read if the package that reads them is
installed; it is imported when the first such file is met.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

from zoo_core.data import tiff
from zoo_core.errors import PictureError

# Pillow's formats, in the order in which they are tried. Left out on purpose (a test holds the
# list): EPS, WMF, PDF and MPEG need another program or are no raster image; FITS, HDF5, GRIB and
# BUFR are measurements; PCD is read by Pillow at a reduced size only; the rest (GBR, IM, IMT, ...)
# have no signature that other files could not have.
FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000"),
    *("TGA", "ICO", "CUR", "ICNS", "PCX", "DCX", "DDS", "SGI", "SUN", "QOI", "PSD"),
    *("MSP", "XBM", "XPM", "BLP", "FTEX", "FLI", "PIXAR"),
)
UNKNOWN = "an unknown kind of file"
TGA_SUFFIXES = (".tga", ".icb", ".vda", ".vst")
TGA_FOOTER = b"TRUEVISION-XFILE.\0"


class Package(NamedTuple):
    """A package that adds a format to Pillow."""

    kind: str  # Pillow's name of the format
    said: str  # everyone's name of it
    module: str
    register: str  # function to call after the import; empty: the import is enough
    install: str  # what to pip install
    suffixes: tuple[str, ...]


HEIF = Package(
    *("HEIF", "HEIC", "pillow_heif", "register_heif_opener", "pillow-heif"),
    suffixes=(".heic", ".heif", ".hif"),
)
JXL = Package("JXL", "JPEG XL", "pillow_jxl", "", "pillow-jxl-plugin", (".jxl",))

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
SHARED_BRANDS = (b"mif1", b"msf1")  # of HEIC, AVIF and others; the brands that follow decide
AVIF_BRANDS = (b"avif", b"avis")
JXL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")

# What begins like this is no image that can be read, in lower case and without leading white space.
STARTS = {
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<head": "a web page",
    b"<svg": "an SVG or XML file",
    b"<?xml": "an SVG or XML file",
    b"%!ps": "a PostScript file",
    b"\xc5\xd0\xd3\xc6": "a PostScript file",
    b"%pdf": "a PDF document",
    b"pk\x03\x04": "a zip file",
    b"\x1f\x8b": "a gzip file",
    b"\x93numpy": "a NumPy array",
    b"\x89hdf": "an HDF5 file",
    b"simple  =": "a FITS file",
    b"\x1ae\xdf\xa3": "a video",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull brings the file)",
    b"fujifilmccd-raw": "a raw photo",
    b"iiro": "a raw photo",
    b"iirs": "a raw photo",
    b"iiu\0": "a raw photo",
}


@lru_cache(maxsize=1)
def readable_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the formats that are read; AVIF, HEIC and JPEG XL also where the
    package that reads them is missing, so that their error names it.
    """
    from PIL import Image

    kinds = {*FORMATS, "MPO"}  # a JPEG of several images
    ours = {suffix for suffix, kind in Image.registered_extensions().items() if kind in kinds}
    return frozenset(ours).union((".avif", ".avifs"), HEIF.suffixes, JXL.suffixes)


def candidates(data: bytes, name: str) -> tuple[str, ...]:
    """Names of the formats to try, for `Image.open`.

    Raises PictureError if the file needs a package that is not installed.
    """
    for package, matches in ((HEIF, _is_heif), (JXL, is_jxl)):
        if matches(data):
            _register(package, name)
            return (package.kind,)
    if PurePosixPath(name).suffix.lower() in TGA_SUFFIXES or data.endswith(TGA_FOOTER):
        return _installed()
    return tuple(kind for kind in _installed() if kind != "TGA")


def describe(data: bytes) -> str:
    """What a file that is no image looks like: `a web page`, `a text file`; else UNKNOWN."""
    if not data:
        return "an empty file"
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for signature, said in STARTS.items():
        if start.startswith(signature):
            return said
    if data[128:132] == b"DICM":
        return "a DICOM file"
    if data[4:8] == b"ftyp" and data[8:12] not in AVIF_BRANDS + HEIF_BRANDS + SHARED_BRANDS:
        return "a raw photo" if data[8:12] == b"crx " else "a video"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "a video"
    return "a text file" if _is_text(data[:512]) else UNKNOWN


def why_unreadable(data: bytes, name: str) -> str:
    """Why none of the formats accepts the file: it is something else, damaged, or too special."""
    from PIL import Image

    if data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")) or data[8:12] == b"WEBP":
        return "damaged (its header cannot be read)"  # Pillow reads every kind of these
    said = describe(data)
    if said == UNKNOWN:
        if _is_avif(data) and not _reads_avif():
            return "is an AVIF image; to read it: pip install --upgrade pillow"
        for kind in candidates(data, name):
            factory, accepts = Image.OPEN[kind]
            if kind != "CUR" and _begins_as(accepts, data):  # most TGA begin like a CUR
                reason = tiff.samples(data) if kind == "TIFF" else ""
                reason = reason or _reason(factory, data)
                return f"damaged, or a kind of {kind} that is not read ({reason})"
    return f"{said}, not an image that can be read"


def is_jxl(data: bytes) -> bool:
    """Whether this is a JPEG XL image."""
    return data.startswith(JXL_STARTS)


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and (
        data[8:12] in HEIF_BRANDS or (data[8:12] in SHARED_BRANDS and not _is_avif(data))
    )


def _is_avif(data: bytes) -> bool:
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[at : at + 4] for at in range(8, size, 4)]
    return data[4:8] == b"ftyp" and not set(AVIF_BRANDS).isdisjoint(brands)


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # otherwise the cut went through a character
            return False
        text = start[: error.start].decode()
    return all(character.isprintable() or character.isspace() for character in text)


def _reads_avif() -> bool:
    try:
        from PIL import AvifImagePlugin
    except ImportError:  # before Pillow 11.3
        return False
    return bool(AvifImagePlugin.SUPPORTED)


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """The formats that this version of Pillow knows; `Image.open` fails on a name that it lacks."""
    from PIL import Image

    Image.init()
    return tuple(kind for kind in FORMATS if kind in Image.OPEN)


def _register(package: Package, name: str) -> None:
    from PIL import Image

    if package.kind in Image.OPEN:
        return
    try:
        module = importlib.import_module(package.module)
        if package.register:
            getattr(module, package.register)()
    except ModuleNotFoundError as error:
        if error.name != package.module:
            raise _broken(package, name, error) from None
        reason = f"is a {package.said} image; to read it: pip install {package.install}"
        raise PictureError(name, reason) from None
    except Exception as error:
        raise _broken(package, name, error) from None


def _broken(package: Package, name: str, error: Exception) -> PictureError:
    reason = f"is a {package.said} image, and {package.install} cannot be imported ({error})"
    return PictureError(name, " ".join(reason.split()))


def _begins_as(accepts: Callable[[bytes], object] | None, data: bytes) -> bool:
    try:
        return accepts is not None and bool(accepts(data[:16]))
    except Exception:  # less than 16 bytes
        return False


def _reason(factory: Callable[[io.BytesIO, str], object], data: bytes) -> str:
    """Why this format does not accept a file that begins like it."""
    try:
        factory(io.BytesIO(data), "")
    except Exception as error:
        return " ".join(str(error).split()) or type(error).__name__
    return "nothing in it can be shown"
