"""Images in a folder, a zip file or tar files, as a data set."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, compress
from pathlib import Path

from zoo_core.data.archives import ARCHIVES, PACKED, open_tree
from zoo_core.data.decoding import decode
from zoo_core.data.formats import readable_suffixes
from zoo_core.data.layouts import Layout, by_split, find_layout
from zoo_core.data.levels import Levels, ValueRange, joined_levels, value_range
from zoo_core.data.pairs import find_pairs, has_two_sides
from zoo_core.data.room import ROOM
from zoo_core.data.sidecars import Labels, read_labels
from zoo_core.data.trees import SingleFile, Tree, suffix_of
from zoo_core.errors import DataError, PictureError
from zoo_core.pictures import Picture, PictureDataset, Pixels

MAX_FILE_BYTES = 1 << 30
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
MAGIC_BYTES = max(map(len, MAGIC))


class PictureFiles(PictureDataset):
    """The images of one split, ordered by path; `layouts.py` says what folders mean.

    Every file is read or counted by its suffix in `ignored`; what was done to images that their
    owner may not expect is counted in `remarks`. Threads and processes, forked or spawned, may read
    at once. Raises DataError if there are no images, if they can be read in two ways, or if there
    is no such split.
    """

    def __init__(
        self,
        path: Path,
        *,
        paired: bool = False,
        split: str = "train",
        layout: str = "auto",  # what folders mean: auto, plain, classes or splits
        label_column: str = "label",  # of metadata files
        holdout: float = 0.0,  # share of the images that become a test split, if there is none
        levels: Levels | None = None,  # range of 16-bit images; None: all of it
    ):
        self.path, self.paired, self.levels = path, paired, levels
        self.remarks: Counter[str] = Counter()
        self._tree = open_tree(path)
        images = _images(self._tree)
        names = [self._tree.layout_name(number) for number in images]
        found = find_pairs(names, where=path) if paired else find_layout(names, layout, where=path)
        told = None if paired or layout != "auto" else read_labels(self._tree, images, label_column)
        if told is not None:
            found = _with_told(found, told, path)
        self.ignored = _ignored(self._tree, images, told.used if told else ())
        self._images = images
        self.layout = self._hold_out(found, holdout)
        self.split = self._choose(split)
        self.classes = () if paired or not self._has_labels() else self.layout.classes
        self.fingerprint = self._fingerprint(holdout)
        self.summary = self._summarize()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are; none where the images are not split."""
        return tuple(split for split in self.layout.splits if split != "all")

    def _summarize(self) -> str:
        """What was recognized, in a line: `classes (3); train 400, test 106; reading train`."""
        kind = self.layout.kind + (f" ({len(self.classes)})" if self.classes else "")
        if self.split == "all":
            noun = "pair" if self.paired else "image"
            return f"{len(self)} {noun}{'s' * (len(self) != 1)}, {kind}"
        if not self.paired:
            kind = "splits" if kind == "plain" else f"splits of {kind}"
        sizes = ", ".join(f"{split} {len(n)}" for split, n in self.layout.splits.items())
        return f"{kind}; {sizes}; reading {self.split}"

    def __len__(self) -> int:
        return len(self.layout.splits[self.split])

    def __getitem__(self, index: int) -> Picture:
        position = self.layout.splits[self.split][index]
        name, pixels = self._decoded(position)
        if not self.paired:
            label = self.layout.labels[position] if self.classes and self.layout.labels else None
            return Picture(name, pixels, label)
        if self.layout.sources is None:
            return _halves(name, pixels)
        source_name, source = self._decoded(self.layout.sources[position])
        if not _same_aspect(source, pixels):
            raise PictureError(
                name, f"is {_size(pixels)}, its source {source_name} is {_size(source)}"
            )
        return Picture(name, pixels, source=source)

    def measure_levels(self) -> None:
        """Read every image once for the range of its values, if levels are those of the data."""
        if self.levels is None or self.levels.are_known:
            return
        with ThreadPoolExecutor() as pool:
            self.levels = joined_levels(pool.map(self._range, range(len(self._images))))

    def _range(self, position: int) -> ValueRange | None:
        number = self._images[position]
        try:
            with ROOM.borrowed():
                return value_range(self._read(number), self._tree.names[number])
        except Exception:  # it is named where it is decoded
            return None

    def _decoded(self, position: int) -> tuple[str, Pixels]:
        number = self._images[position]
        name = self._tree.names[number]
        with ROOM.borrowed():
            return name, decode(self._read(number), name, self.levels, self.remarks)

    def _read(self, number: int) -> bytes:
        """The bytes of a file, for which it waits for room. Raises PictureError."""
        name, size = self._tree.names[number], self._tree.sizes[number]
        if size > MAX_FILE_BYTES:
            raise PictureError(name, f"{size} bytes is too large for an image file")
        ROOM.take(size)
        try:
            return self._tree.read(number)
        except Exception as error:  # zipfile passes on errors of its codecs, such as zlib.error
            raise PictureError(name, f"cannot be read ({error})") from None

    def _choose(self, split: str) -> str:
        splits = self.layout.splits
        if "all" in splits:
            return "all"
        if split not in splits:
            first = next(iter(splits))
            raise DataError(
                f"{self.path} has no split {split!r}",
                allowed=", ".join(splits),
                hint="--set holdout=0.1 to hold images out"
                if split == "test"
                else f"--set split={first} with zoo train, --split {first} elsewhere",
            )
        return split

    def _has_labels(self) -> bool:
        labels = self.layout.labels
        numbers = self.layout.splits[self.split]
        return labels is not None and all(labels[number] >= 0 for number in numbers)

    def _hold_out(self, found: Layout, share: float) -> Layout:
        """Make a test split of that share of the images, chosen by their bytes: neither their names
        nor their order matter, and copies of an image are on the same side.
        """
        if not share:
            return found
        if "test" in found.splits:
            raise DataError(f"{self.path} has a test split already", hint="--set holdout=0")
        from_split = "all" if "all" in found.splits else "train"
        if from_split not in found.splits:
            raise DataError(f"{self.path} has no train split to hold images out of")
        parts: dict[str, list[int]] = {"train": [], "test": []}
        for position in found.splits[from_split]:
            parts["test" if self._drawn(position) < share else "train"].append(position)
        kept = {name: numbers for name, numbers in found.splits.items() if name == "val"}
        if not (parts["train"] and parts["test"]):
            raise DataError(
                f"holdout={share} of {len(found.splits[from_split])} images leaves a split empty",
                hint="another share, or more images",
            )
        return found._replace(splits={"train": parts["train"], **kept, "test": parts["test"]})

    def _drawn(self, position: int) -> float:
        """A number in [0, 1) that the bytes of an image decide."""
        number = self._images[position]
        try:
            with ROOM.borrowed():
                data = self._read(number)
        except PictureError:  # it is named where it is decoded
            data = os.fsencode(self._tree.names[number])
        return int.from_bytes(hashlib.blake2b(data, digest_size=6).digest(), "big") / (1 << 48)

    def _fingerprint(self, holdout: float) -> str:
        """Changes with the files of the split, their order, labels and sides."""
        digest, tree = hashlib.sha256(), self._tree
        positions = self.layout.splits[self.split]
        if self.split == "all" and not self.paired:  # in the order of their names
            positions = range(len(self._images))
        for position in positions:
            for place in (position, (self.layout.sources or {}).get(position)):
                if place is not None:
                    number = self._images[place]
                    stat = f"{tree.names[number]}\0{tree.sizes[number]}\0{tree.stamps[number]}\n"
                    digest.update(os.fsencode(stat))
        digest.update(f"{self.layout.kind}\0{self.split}\0{holdout}".encode())
        if self.layout.labels is not None:
            labels = [self.layout.labels[position] for position in positions]
            digest.update(repr((self.layout.classes, labels)).encode())
        if self.levels is not None:
            digest.update(str(self.levels).encode())
        return digest.hexdigest()


def _with_told(found: Layout, told: Labels, path: Path) -> Layout:
    """A layout with the labels and splits that files tell. Raises DataError if folders disagree."""
    if told.splits is not None:
        splits = by_split(told.splits)
        if "all" not in found.splits and found.splits != splits:
            raise DataError(
                f"{told.where} and the folders of {path} tell different splits",
                hint="--set layout=splits for those of the folders",
            )
        found = found._replace(splits=splits)
    if told.labels is None:
        return found
    kind = f"classes in {told.where}"
    return found._replace(kind=kind, classes=told.classes, labels=told.labels)


def has_pair_folders(path: Path) -> bool:
    """Whether images there lie in folders that are called like the two sides of pairs."""
    tree = open_tree(path)
    return has_two_sides([tree.layout_name(number) for number in _images(tree)])


def _images(tree: Tree) -> Sequence[int]:
    """The numbers of the files that are images, by suffix or, without one, by their first bytes."""
    readable = readable_suffixes()
    images = array("l")
    for number, name in enumerate(tree.names):
        suffix = suffix_of(name)
        if suffix in readable or (not suffix and _starts_like_an_image(tree, number)):
            images.append(number)
    if not images:
        given = ", ".join(f"{n} {what}" for what, n in _ignored(tree).items())
        raise DataError(
            f"{tree.path / tree.names[0]} is not an image" if isinstance(tree, SingleFile)
            else f"no images in {tree.path}",
            given=given or None,
            allowed="folders, .zip and .tar files, images",
            hint=_how_to_read(tree),
        )  # fmt: skip
    return images


def _how_to_read(tree: Tree) -> str:
    """What to do about files that may hold images."""
    for name in () if isinstance(tree, SingleFile) else tree.names:
        if name.lower().endswith((*ARCHIVES, *PACKED)):
            return f"unpack the archives, such as {name}, and pass the folder"
        if name.lower().endswith((".npy", ".npz")):
            return f"pass one of the arrays, such as {tree.path / name}"
    return "zoo data list"


def _starts_like_an_image(tree: Tree, number: int) -> bool:
    try:
        return tree.start(number, MAGIC_BYTES).startswith(MAGIC)
    except Exception:
        return False


def _ignored(tree: Tree, *used: Iterable[int]) -> Mapping[str, int]:
    """How many files were not `used`, by suffix."""
    left = bytearray(b"\1") * len(tree)
    for number in chain.from_iterable(used):
        left[number] = 0
    names = compress(tree.names, left)
    counts: Counter[str] = Counter(suffix_of(name) or "without suffix" for name in names)
    return dict((counts + tree.unreadable).most_common())


def _halves(name: str, pixels: Pixels) -> Picture:
    height, width = pixels.shape[:2]
    if width != 2 * height:
        raise PictureError(
            name,
            f"is {_size(pixels)}; a side-by-side pair must be twice as wide as high, "
            "and pairs in two files go into A/ and B/",
        )
    return Picture(name, pixels[:, height:], source=pixels[:, :height])


def _same_aspect(one: Pixels, other: Pixels) -> bool:
    """Whether two sizes differ by a factor only, to a pixel."""
    (h, w), (height, width) = one.shape[:2], other.shape[:2]
    return bool(abs(h * width - height * w) <= max(h, w, height, width))


def _size(pixels: Pixels) -> str:
    height, width = pixels.shape[:2]
    return f"{width} x {height}"
