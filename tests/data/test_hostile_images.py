"""Whatever a decoder does with damaged bytes is the fault of that image, by name."""

import random
import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from format_files import COLORS, GRAY, lossless_files, lossy_files, png16, tiff, tiff12, written
from picture_files import encoded, noise, png
from PIL import Image
from PIL.ImageFile import ImageFile

from zoo_core.data import opening
from zoo_core.data.decoding import decode
from zoo_core.data.levels import Levels, value_range
from zoo_core.errors import Interrupted, PictureError

MUTATIONS = 4000
DEEP = (np.arange(12 * 16 * 4) * 85).reshape(12, 16, 4).astype(np.uint16)


def with_chunk(kind, body):
    """A PNG with one more chunk."""
    data = png(noise())
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]  # after the header


def exif(kind):
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "a description that goes on"
    return encoded(Image.fromarray(COLORS), kind, exif=tags)


def animated(kind, **options):
    frames = [Image.fromarray(COLORS), Image.fromarray(255 - COLORS)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def files():
    """Small files of every format and depth, to be damaged."""
    found = {kind: data for kind, (data, _) in (lossless_files() | lossy_files()).items()}
    found |= {f"{kind} with EXIF": exif(kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF")}
    found |= {f"animated {kind}": animated(kind) for kind in ("PNG", "GIF", "WEBP", "MPO")}
    for channels in (1, 2, 3, 4):
        found[f"16-bit PNG, {channels}"] = png16(DEEP[:, :, :channels])
    return found | {
        "16-bit TIFF": tiff(DEEP[:, :, 0]),
        "12-bit TIFF": tiff12(DEEP[:, :, 0] % 4096),
        "BigTIFF": tiff(DEEP[:, :, :3], bigtiff=True),
        "planes": tiff(DEEP[:, :, :3], planarconfig="separate", byteorder=">"),
        "pages": tiff(DEEP[:3], photometric="minisblack"),
        "floats": tiff(DEEP[:, :, 0].astype(np.float32), byteorder=">"),
        "CMYK": encoded(Image.fromarray(COLORS).convert("CMYK"), "TIFF"),
        "16-bit PGM": written("PPM", DEEP[:, :, 0]),
        "PPM to 4095": b"P6 16 12 4095\n" + (DEEP[:, :, :3] % 4096).astype(">u2").tobytes(),
        "plain PPM": b"P3 4 2 300\n" + b"100 200 300 " * 8,
        "16-bit JPEG 2000": written("JPEG2000", DEEP[:, :, 0]),
        "palette": encoded(Image.fromarray(GRAY).convert("P"), transparency=b"\x80\xff"),
    }


def damaged(data, dice):
    """A few bytes of the file, most of them in its header, are other ones, more, or fewer."""
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(min(len(data), dice.choice((16, 64, 200, 10**6))))
        how = dice.randrange(5)
        if how == 0:
            data[at] = dice.randrange(256)
        elif how == 1:
            data[at] ^= 1 << dice.randrange(8)
        elif how == 2:
            data[at] = dice.choice((0, 127, 128, 255))
        elif how == 3:
            data[at:at] = dice.randbytes(dice.randrange(1, 9))
        else:
            del data[at : at + dice.randrange(1, 9)]
        data = data or bytearray(b"\0")
    return bytes(data)


def outcome(data, name, levels=None):
    """The pixels, or the reason of the refusal."""
    try:
        return decode(data, name, levels, Counter())
    except PictureError as error:
        return error


def test_damaged_files_of_every_format_are_read_or_refused_by_name(monkeypatch):
    monkeypatch.setattr(opening, "MAX_PIXELS", 100_000)  # bounds the time
    dice, originals = random.Random(20261127), files()
    names, read = sorted(originals), 0
    for number in range(MUTATIONS):
        name = names[number % len(names)]
        levels = dice.choice((None, Levels(0, 4095)))
        found = outcome(damaged(originals[name], dice), f"{name}.tga", levels)
        if isinstance(found, PictureError):
            assert str(found).startswith(f"{name}.tga: ")
            assert "\n" not in str(found)
        else:
            read += 1
            assert found.dtype == np.uint8
            assert found.ndim == 2 or found.shape[2:] == (3,)
    assert MUTATIONS // 10 < read < MUTATIONS * 9 // 10  # damage was done, but not only that


def test_damaged_files_can_be_measured(monkeypatch):
    monkeypatch.setattr(opening, "MAX_PIXELS", 100_000)
    dice, originals = random.Random(7), files()
    names = sorted(name for name in originals if "16-bit" in name or name == "floats")
    for number in range(MUTATIONS // 8):
        name = names[number % len(names)]
        value_range(damaged(originals[name], dice), name)


@pytest.mark.parametrize("body", [b"II*\0", b"II", b"", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\x08\0"])
def test_a_short_exif_chunk_is_the_fault_of_its_image(body):
    found = outcome(with_chunk(b"eXIf", body), "x.png")
    if isinstance(found, PictureError):
        assert found.reason.startswith("damaged (")
    else:  # later versions of Pillow may ignore it
        assert np.array_equal(found, noise())


def test_the_short_exif_chunk_that_ended_a_command_is_refused():
    with pytest.raises(PictureError, match=r"^x\.png: damaged \(error: unpack requires a buffer"):
        decode(with_chunk(b"eXIf", b"II*\0"), "x.png")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (struct.error("too short"), "damaged (error: too short)"),
        (KeyError(50002), "damaged (KeyError: 50002)"),
        (AssertionError(), "damaged (AssertionError)"),
        (RecursionError("too\ndeep"), "damaged (RecursionError: too deep)"),
        (IndexError("out of range"), "damaged (IndexError: out of range)"),
        (OverflowError("too large"), "damaged (OverflowError: too large)"),
        (RuntimeError("codec"), "damaged (RuntimeError: codec)"),
        (OSError("broken\tdata"), "damaged (broken data)"),
        (NotImplementedError("DXT9"), "a kind of image that is not read (DXT9)"),
        (MemoryError(), "needs more memory than there is"),
    ],
)
@pytest.mark.parametrize("where", ["open", "load"])
def test_whatever_a_decoder_raises_is_the_fault_of_its_image(error, said, where, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    data = png(noise())
    monkeypatch.setattr(*{"open": (Image, "open"), "load": (ImageFile, "load")}[where], fail)
    with pytest.raises(PictureError) as caught:
        decode(data, "x.png")
    assert (caught.value.name, caught.value.reason) == ("x.png", said)


@pytest.mark.parametrize("error", [Interrupted("stop"), KeyboardInterrupt(), SystemExit(3)])
def test_a_request_to_stop_is_no_fault_of_an_image(error, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(type(error)) as caught:
        decode(png(noise()), "x.png")
    assert caught.value is error
