"""Pictures as they come: one interface for every source, one policy for every kind of image file.

Policy for a file, in this order (tests/test_pictures.py shows each line):
    format      PNG, JPEG and WebP; of an animation the first frame
    size        more than MAX_PIXELS pixels is refused before anything is decoded
    damage      a truncated or corrupt file is refused, and one that is no image, whatever its name
    EXIF        the picture is turned upright
    16-bit      grey is scaled from 0..65535 to 0..255 (Pillow's own convert clips it to white)
    CMYK        converted by the plain formula, without color profiles
    alpha       LA, RGBA and transparent palettes are laid on white
    grey        becomes RGB for 3-channel models; RGB becomes luma (ITU-R 601) for 1-channel models
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from unicodedata import normalize

from zoo_core.errors import DataError, InputError, PictureError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels: TypeAlias = NDArray[np.uint8]  # [H, W] grey, [H, W, 3] RGB

Fit = Literal["crop", "pad", "stretch", "exact"]
ORIENTATION = 0x0112  # of EXIF, and what of Pillow's Transpose turns a picture upright by it
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
OTHERS = (".heic", ".heif", ".avif", ".gif", ".tif", ".tiff", ".bmp", ".jxl", ".jp2")  # not read
KNOWN = SUFFIXES.union(OTHERS)
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 1 << 30
_PILLOW = re.compile(r"PIL\.")


class Picture(NamedTuple):
    """One picture of a data set; `name` is what a message calls it (a path, a seed)."""

    name: str
    pixels: Pixels
    label: int | None = None
    source: Pixels | None = None  # what an image-to-image model starts from


class BadPicture(NamedTuple):
    """A picture that cannot be used, and why."""

    name: str
    reason: str


class PictureSource(ABC):
    """Pictures in a fixed order. `source[i]` reads or draws picture i, or raises PictureError.

    A subclass sets `fingerprint` (changes whenever a picture or the order would), `classes` (names
    of the labels, empty without labels) and `paired` (every picture comes with a source picture).
    """

    fingerprint: str
    classes: tuple[str, ...] = ()
    paired: bool = False
    ignored: Mapping[str, int] = MappingProxyType({})  # files of other kinds of picture, by suffix

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Picture: ...


def given_path(name: str) -> Path:
    """A path as it was typed. Raises DataError for one that cannot be asked for: too long a name, a
    forbidden folder, the home of nobody.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name} is no usable path: {reason}") from None
    return path


class FileSource(PictureSource):
    """Pictures in a folder or a zip file, ordered by path, or one picture file; first-level
    sub-folders are classes. A folder around all of them, as zip files often have, does not count.

    A file counts by its suffix (png, jpg, jpeg, webp); hidden files and folders, and folders that
    are only linked, do not. Labels exist only when every picture lies in a sub-folder and there are
    at least two of them. Threads and other processes, forked or spawned, may read it at once.
    """

    def __init__(self, path: Path):
        self.path = path
        self._archives: dict[int, zipfile.ZipFile] = {}  # by process
        if path.is_dir():
            found = _walk(path)
        elif path.is_file() and path.suffix.lower() == ".zip":
            found = _zip_members(path)
        elif path.is_file() and path.suffix.lower() in SUFFIXES:
            found, self.path = [_file(path, path.parent)], path.parent
        else:
            raise DataError(
                f"{path} is no folder, zip file or picture",
                allowed="png, jpg, jpeg and webp files",
            )
        suffixes = Counter(PurePosixPath(name).suffix.lower() for name, _, _ in found)
        self.ignored = {suffix: suffixes[suffix] for suffix in OTHERS if suffixes[suffix]}
        found = [item for item in found if PurePosixPath(item[0]).suffix.lower() in SUFFIXES]
        self.files = sorted(found, key=lambda item: os.fsencode(item[0]))
        if not self.files:
            raise DataError(
                f"no pictures in {path}",
                given=", ".join(f"{n} {suffix}" for suffix, n in self.ignored.items()) or None,
                allowed="png, jpg, jpeg and webp files",
                hint="zoo data list",
            )
        digest = hashlib.sha256()
        for name, size, stamp in self.files:
            digest.update(os.fsencode(f"{name}\0{size}\0{stamp}\n"))
        self.fingerprint = digest.hexdigest()
        self.inside = _inside([name for name, _, _ in self.files])
        folders = [name.split("/")[0] if "/" in name else "" for name in self.inside]
        different = sorted(set(folders))
        sorted_in = "" not in different and len(different) > 1
        self.classes = tuple(map(_as_text, different)) if sorted_in else ()
        self._labels = [different.index(folder) for folder in folders] if sorted_in else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Picture:
        name, size, _ = self.files[index]
        label = None if self._labels is None else self._labels[index]
        if size > MAX_FILE_BYTES:
            raise PictureError(name, f"{size} bytes are more than a picture may have")
        try:
            data = self._read(name)
        except Exception as error:  # zipfile lets through what its codecs raise, such as zlib.error
            raise PictureError(name, f"cannot be read ({error})") from None
        return Picture(name, decode(data, name), label)

    def _read(self, name: str) -> bytes:
        if self.path.is_dir():
            return (self.path / name).read_bytes()
        # Opened once a process: threads may share a ZipFile (it locks), but a forked worker would
        # move its parent's position in the file.
        process = os.getpid()
        if process not in self._archives:
            self._archives.setdefault(process, zipfile.ZipFile(self.path))
        return self._archives[process].read(name)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_archives": {}}


def decode(data: bytes, name: str) -> Pixels:
    """The pixels of an encoded picture, by the policy at the top: uint8 [H, W] or [H, W, 3].

    Raises PictureError with the reason, one line that starts with `name`.
    """
    from PIL import Image, UnidentifiedImageError

    _mute_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height} pixels"
                raise PictureError(name, f"{size}, more than {MAX_PIXELS} allowed")
            image.load()
            turn = TURNS.get(image.getexif().get(ORIENTATION))
            return _to_uint8(image if turn is None else image.transpose(turn), name)
    except UnidentifiedImageError:
        if data.startswith((b"\x89PNG", b"\xff\xd8\xff")) or data[8:12] == b"WEBP":
            raise PictureError(name, "damaged (its header cannot be read)") from None
        raise PictureError(name, f"{_looks_like(data)}, not a PNG, JPEG or WebP picture") from None
    except Image.DecompressionBombError as error:
        raise PictureError(name, f"{error}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's, for damaged files
        raise PictureError(name, f"damaged ({' '.join(str(error).split())})") from None


def fit(
    pixels: Pixels,
    resolution: int,  # pixels a side of the result
    channels: int,  # 1 or 3
    how: Fit,
    name: str = "picture",
) -> Pixels:
    """A square picture uint8 [channels, resolution, resolution], scaled by Lanczos if need be.

    Raises PictureError when `how` is "exact" and the picture has another size.
    """
    import numpy as np
    from PIL import Image

    size = (resolution, resolution)
    if how == "exact" and pixels.shape[:2] != size:
        height, width = pixels.shape[:2]
        raise PictureError(name, f"is {width} x {height}, has to be {resolution} x {resolution}")
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    if image.size != size:
        image = _resized(image, resolution, how)
    planes = np.asarray(image).reshape(*size, channels).transpose(2, 0, 1)
    return planes.copy()  # torch warns about an array that may not be written to


def save_grid(path: Path, pictures: NDArray[np.uint8], columns: int) -> None:
    """Pictures [N, C, H, W] as one PNG, row by row from the top left, written atomically."""
    import numpy as np

    count, channels, height, width = pictures.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, channels, height, width), 255, dtype=np.uint8)
    sheet[:count] = pictures
    sheet = sheet.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    save_png(path, sheet.reshape(rows * height, columns * width, channels))


def save_animation(path: Path, frames: Iterator[Pixels], fps: float) -> None:
    """Pictures [H, W, C], one after the other for ever, as a GIF, WebP or PNG by the suffix of
    `path`, written atomically.

    WebP and PNG lose nothing; a GIF has 256 colors a picture. Raises InputError for another suffix.
    """
    from PIL import Image

    formats = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
    kind = formats.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"cannot write {path}", given=path.suffix or "no suffix", allowed=", ".join(formats)
        )
    images = (Image.fromarray(f[:, :, 0] if f.shape[2] == 1 else f) for f in frames)
    with _replacing(path) as temporary:
        next(images).save(
            temporary,
            format=kind,
            save_all=True,
            # Of an iterator Pillow 13 writes no more than the first picture as a PNG.
            append_images=list(images) if kind == "PNG" else images,
            duration=1000 / fps,
            loop=0,
            **({"lossless": True} if kind == "WEBP" else {}),
        )


def save_png(path: Path, pixels: Pixels) -> None:
    """One picture [H, W, C] or [H, W] as a PNG, written atomically."""
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    with _replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write that becomes `path` when it is whole, and is gone when it will not be."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # it has become `path`, or never was
            temporary.unlink()


def check(source: PictureSource) -> Iterator[Picture | BadPicture]:
    """Read every picture once, in order: the picture, or what is wrong with it."""
    for index in range(len(source)):
        try:
            yield source[index]
        except PictureError as error:
            yield BadPicture(error.name, error.reason)


def _mute_pillow() -> None:
    """Ignore Pillow's warnings: the policy decides, and they do not say which file they are about.

    For the whole process, because `catch_warnings` swaps a global: threads would undo each other's.
    """
    if not any(item[3] == _PILLOW for item in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


def _resized(image: Image.Image, resolution: int, how: Fit) -> Image.Image:
    from PIL import Image, ImageOps

    size = (resolution, resolution)
    if how == "crop":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if how == "pad":
        white: Any = 255 if image.mode == "L" else (255, 255, 255)
        return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=white)
    return image.resize(size, Image.Resampling.LANCZOS)


def _to_uint8(image: Image.Image, name: str) -> Pixels:
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise PictureError(name, "integer pixels outside 0..65535")
        return ((values * 255 + 32767) // 65535).astype(np.uint8)
    if image.mode == "F":
        raise PictureError(name, "floating-point pixels have no stated range")
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        image = image.convert("RGB")
    return np.asarray(image)


def _looks_like(data: bytes) -> str:
    start = data[:512].lstrip().lower()
    if not data:
        return "an empty file"
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page"
    if start.startswith((b"<svg", b"<?xml")):
        return "an SVG or XML file"
    return "an unknown kind of file"


def _as_text(name: str) -> str:
    """The name of a folder, whose bytes may be no UTF-8 or, on macOS, spell an accent apart."""
    return normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))


def _inside(names: list[str]) -> list[str]:
    """These paths, inside the folder that is around all of them, if there is one."""
    folders = [name.split("/")[:-1] for name in names]
    around = os.path.commonprefix(folders)  # noqa: RUF071 (of lists it is folder by folder)
    return ["/".join(name.split("/")[len(around) :]) for name in names]


def _walk(folder: Path) -> list[tuple[str, int, int]]:
    """(relative path with forward slashes, bytes, modification time) of every file of a picture."""

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot list {error.filename}: {error.strerror}")

    found = []
    for directory, folders, files in os.walk(folder, onerror=refuse, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(directory, name)
            if path.suffix.lower() in KNOWN and not name.startswith("."):
                found.append(_file(path, folder))
    return found


def _file(path: Path, folder: Path) -> tuple[str, int, int]:
    name = path.relative_to(folder).as_posix()
    try:
        status = path.stat()
    except OSError:  # a broken link: kept, so that reading it names it
        return name, 0, 0
    return name, status.st_size, status.st_mtime_ns


def _zip_members(path: Path) -> list[tuple[str, int, int]]:
    """The same of a zip file's members; the checksum stands in for the modification time."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    names = [member.filename for member in members]
    if len(names) != len(set(names)):
        raise DataError(f"{path} holds two files of the same name")
    return [
        (member.filename, member.file_size, member.CRC)
        for member in members
        if not member.is_dir()
        and Path(member.filename).suffix.lower() in KNOWN
        and not any(part.startswith((".", "__MACOSX")) for part in member.filename.split("/"))
    ]
