"""A small file of each format that is read, written byte by byte where Pillow cannot write it."""

import io
import struct
import zlib

import numpy as np
import tifffile
from picture_files import encoded
from PIL import Image, features

HEIGHT, WIDTH = 12, 16
ROWS, COLUMNS = np.indices((HEIGHT, WIDTH))
COLORS = np.stack([COLUMNS * 16, ROWS * 20, 255 - COLUMNS * 8], axis=2).astype(np.uint8)
GRAY = COLORS[:, :, 0].copy()
BITS = ((ROWS + COLUMNS // 8) % 2 * 255).astype(np.uint8)  # black and white
PILLOW = tuple(map(int, features.version("pil").split(".")[:2]))
HAS_AVIF = "avif" in features.modules and features.check("avif")


def tiff(values, **options):
    """A TIFF as tifffile writes it, to be read by Pillow."""
    buffer = io.BytesIO()
    values = np.asarray(values)
    if options.get("planarconfig") == "separate":
        values = values.transpose(2, 0, 1)
    kind = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(buffer, values, **{"photometric": kind, **options})
    return buffer.getvalue()


def tiff12(values, head=b""):
    """A TIFF of 12-bit gray [H, W], of which two values take three bytes; `head` comes first."""
    height, width = values.shape
    first, second = values.reshape(-1, 2).T
    body = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    body = body.astype(np.uint8).tobytes()
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 0, 277: 1, 278: height}
    start = 8 + len(head)
    tags |= {273: start + 2 + 12 * 9 + 4, 279: len(body)}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", start) + head + b"\x09\0" + table + b"\0" * 4 + body


def png16(values):
    """A 16-bit PNG of [H, W, C]: gray, gray with alpha, RGB or RGBA."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def psd(extra=b""):
    """A Photoshop file without layers; `extra` is its section of resources."""
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, HEIGHT, WIDTH, 8, 3)
    sections = struct.pack(">I", 0) + struct.pack(">I", len(extra)) + extra + struct.pack(">I", 0)
    return head + sections + struct.pack(">H", 0) + COLORS.transpose(2, 0, 1).tobytes()


def fli():
    chunk = struct.pack("<IH", 6 + GRAY.size, 16) + GRAY.tobytes()  # an uncompressed frame
    frame = struct.pack("<IHH8x", 16 + len(chunk), 0xF1FA, 1) + chunk
    head = struct.pack("<IHHHHHH", 128 + len(frame), 0xAF12, 1, WIDTH, HEIGHT, 8, 0)
    return head.ljust(128, b"\0") + frame


def cursor():
    icon = bytearray(encoded(Image.fromarray(COLORS), "ICO", bitmap_format="bmp", sizes=[(16, 12)]))
    icon[2] = 2
    return bytes(icon)


def xpm():
    names = {value: chr(ord("a") + number) for number, value in enumerate(np.unique(GRAY))}
    lines = [f"{WIDTH} {HEIGHT} {len(names)} 1"]
    lines += [f"{name} c #{value:02x}{value:02x}{value:02x}" for value, name in names.items()]
    lines += ["".join(names[value] for value in row) for row in GRAY]
    quoted = ",\n".join(f'"{line}"' for line in lines)
    return f"/* XPM */\nstatic char * x[] = {{\n{quoted}\n}};\n".encode()


def written(kind, pixels=COLORS, **options):
    return encoded(Image.fromarray(pixels), kind, **options)


def qoi():
    pixels = b"".join(b"\xfe" + color.tobytes() for color in COLORS.reshape(-1, 3))
    return b"qoif" + struct.pack(">IIBB", WIDTH, HEIGHT, 3, 0) + pixels + b"\0" * 7 + b"\1"


def dcx(*pages):
    """A fax: its magic number, the offsets of its pages, 0, and the pages as PCX."""
    starts = np.cumsum([4 * (len(pages) + 2), *map(len, pages)])[:-1]
    return struct.pack(f"<{len(pages) + 2}I", 0x3ADE68B1, *starts, 0) + b"".join(pages)


def icns(*icons):
    """Icons of 16, 32 or 64 pixels a side, in this order."""
    body = b""
    for pixels in icons:
        png = written("PNG", pixels)
        body += {16: b"icp4", 32: b"icp5", 64: b"icp6"}[len(pixels)]
        body += struct.pack(">I", 8 + len(png)) + png
    return b"icns" + struct.pack(">I", 8 + len(body)) + body


def sun():
    head = struct.pack(">8I", 0x59A66A95, WIDTH, HEIGHT, 24, COLORS.size, 3, 0, 0)
    return head + COLORS.tobytes()


def ftex():
    head = b"FTEX" + struct.pack("<7i", 0, WIDTH, HEIGHT, 1, 1, 1, 32)
    return head + struct.pack("<i", COLORS.size) + COLORS.tobytes()


def pixar():
    head = b"\x80\xe8\0\0".ljust(416, b"\0") + struct.pack("<HH4xHH", HEIGHT, WIDTH, 14, 2)
    return head.ljust(1024, b"\0") + COLORS.tobytes()


def lossless_files():
    """Format -> (file, the pixels that it decodes to)."""
    square = np.zeros((16, 16, 3), np.uint8)
    square[:HEIGHT] = COLORS
    bits = Image.fromarray(BITS).convert("1")
    grays = GRAY[:, :, None].repeat(3, axis=2)
    by_pillow = ("PNG", "TIFF", "BMP", "PPM", "TGA", "PCX", "SGI", "DDS", "JPEG2000")
    return {
        **{kind: (written(kind), COLORS) for kind in by_pillow},
        "WEBP": (written("WEBP", lossless=True), COLORS),
        "GIF": (written("GIF", GRAY), grays),
        "MSP": (encoded(bits, "MSP"), BITS),
        "XBM": (encoded(bits, "XBM"), BITS),
        "BLP": (encoded(Image.fromarray(GRAY).convert("P"), "BLP"), grays),
        "ICO": (written("ICO", sizes=[(WIDTH, HEIGHT)]), COLORS),
        "CUR": (cursor(), COLORS),
        "ICNS": (icns(square), square),
        "DCX": (dcx(written("PCX")), COLORS),
        "SUN": (sun(), COLORS),
        "QOI": (qoi(), COLORS),
        "PSD": (psd(), COLORS),
        "XPM": (xpm(), grays),
        "FLI": (fli(), grays),
        "FTEX": (ftex(), COLORS),
        "PIXAR": (pixar(), COLORS),
    }


def lossy_files():
    """Format -> (file, the pixels that it nearly decodes to)."""
    flat = np.full((HEIGHT, WIDTH, 3), (200, 100, 50), np.uint8)
    files = {"JPEG": (written("JPEG", flat, quality=95), flat)}
    return files | ({"AVIF": (written("AVIF", flat, quality=95), flat)} if HAS_AVIF else {})
