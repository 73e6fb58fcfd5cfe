"""Hints about what folders, archives and files beside the images mean."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hints.places import TRAIN, file, folder, pairs, photos, picture, splits
from hints.scenario import Row, World

OWN = f"{TRAIN} --data ./photos"
OF_SPLITS = f"{TRAIN} --data ./splits"
PAIRED = f"{TRAIN} --set paired=true --data ./pairs"


def pictures(*folders: str, names: str = "{}.png", count: int = 8) -> Callable[[World], None]:
    """Images of those names in each of the folders."""

    def write(w: World) -> None:
        for place in folders:
            for number in range(count):
                picture(f"{place}/{names.format(number)}", number)

    return write


def unpacked(w: World) -> str:
    """Unpack an archive, in the words of Python 3.12 where they are known."""
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    shutil.unpack_archive("own.tar.gz", "own", **safely)
    return f"{TRAIN} --data ./own"


def wide_pictures(*folders: str) -> Callable[[World], None]:
    """Files that hold both images of a pair, side by side."""

    def write(w: World) -> None:
        for place in folders:
            for number in range(8):
                picture(f"{place}/{number}.png", number, size=(48, 24))

    return write


def renamed(before: str, after: str) -> Callable[[World], None]:
    def rename(w: World) -> None:
        Path(before).rename(after)

    return rename


def sides(w: World) -> None:
    Path("pairs/images").rename("pairs/A")
    Path("pairs/masks").rename("pairs/B")


def removed(name: str) -> Callable[[World], None]:
    return lambda w: shutil.rmtree(name)


def removed_files(pattern: str) -> Callable[[World], None]:
    def remove(w: World) -> None:
        for path in Path().glob(pattern):
            path.unlink()

    return remove


def stray(w: World) -> None:
    pairs(w)
    picture("pairs/stray.png")


def moved(w: World) -> None:
    Path("pairs/stray.png").unlink()


def other_names(w: World) -> None:
    """Each file holds both images, side by side."""
    shutil.rmtree("pairs")
    wide_pictures("pairs/left", "pairs/right")(w)
    picture("pairs/stray.png", size=(48, 24))


def compressed(w: World) -> None:
    photos(w)
    shutil.make_archive("own", "gztar", "photos")


def encrypted(w: World) -> None:
    """A zip whose members say that they are encrypted; the photos are what they were."""
    photos(w)
    with zipfile.ZipFile("own.zip", "w") as archive:
        for path in sorted(Path("photos").iterdir()):
            archive.writestr(path.name, path.read_bytes())
    data = bytearray(Path("own.zip").read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(signature, at + 1)
    Path("own.zip").write_bytes(data)


def arrays(**shapes: tuple[int, ...]) -> Callable[[World], None]:
    """A NumPy file with images of these shapes."""

    def write(w: World) -> None:
        made = {
            name: np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            for name, shape in shapes.items()
        }
        np.savez("own.npz", **made)

    return write


def transposed(w: World) -> None:
    with np.load("own.npz") as found:
        images = found["images"]
    np.savez("own.npz", images=images.transpose(0, 2, 3, 1))


def tested(w: World) -> None:
    splits(w)
    Path("splits/val").rename("splits/test")


def metadata(column: str, value: str) -> Callable[[World], None]:
    """A table that tells the same of each photo."""

    def write(w: World) -> None:
        top = Path("photos")
        names = sorted(path.relative_to(top).as_posix() for path in top.rglob("*.png"))
        rows = [f"{name},{value}" for name in names]
        (top / "metadata.csv").write_text("\n".join([f"file_name,{column}", *rows]))

    return write


def half_told(w: World) -> None:
    Path("photos/metadata.csv").write_text("file_name,label\n0.png,a\n1.png,b\n")


def told_twice(w: World) -> None:
    metadata("label", "a")(w)
    labels = [[f"{number}.png", number % 2] for number in range(8)]
    Path("photos/dataset.json").write_text(json.dumps({"labels": labels}))


def table(w: World) -> None:
    photos(w)
    Path("photos/metadata.csv").write_text("file_name,label\n0.png,a, b\n1.png,c\n")


def with_quotes(w: World) -> None:
    rows = "".join(f'{number}.png,"a, b"\n' for number in range(8))
    Path("photos/metadata.csv").write_text(f"file_name,label\n{rows}")


CLASSES = "--set layout=classes"
COPIES = pictures("photos", "photos/thumbs")
TWINS = (pictures("photos"), pictures("photos", names="{}_mask.png"))

ROWS = (
    Row("data/layouts.py find_layout", f"{OWN} --set layout=splits", photos),
    # doubts
    Row("data/doubts.py refuse_sides", f"{TRAIN} --data ./pairs", pairs,
        by_hand=f"{TRAIN} --data ./pairs/A"),
    Row("data/doubts.py refuse_sides", "zoo data check pairs", pairs,
        by_hand="zoo data check pairs/A"),
    Row("data/doubts.py refuse_sides", OF_SPLITS,
        pictures("splits/train/images", "splits/train/masks", "splits/val/images"),
        by_hand=f"{OF_SPLITS}/train/images"),
    Row("data/doubts.py refuse_sides", "zoo data show pairs", pairs,
        by_hand="zoo data show pairs/A"),
    Row("data/doubts.py refuse_others", OF_SPLITS, (splits, pictures("splits/more")),
        by_hand=removed("splits/more")),
    Row("data/doubts.py refuse_others 2", f"{OF_SPLITS} --set layout=splits",
        (splits, pictures("splits/more")), by_hand=removed("splits/more")),
    Row("data/doubts.py refuse_words_of_splits", OWN,
        pictures("photos/train_station", "photos/test_tube"),
        by_hand=renamed("photos/test_tube", "photos/tube")),
    Row("data/doubts.py refuse_splits_below", OWN,
        pictures("photos/one/train", "photos/one/val", "photos/two"),
        by_hand=f"{OWN}/one"),
    Row(("data/doubts.py refuse_copies", "data/doubts.py "), OWN, COPIES,
        by_hand=(removed("photos/thumbs"), f"{OWN} {CLASSES}")),
    Row(("data/doubts.py refuse_twins", "data/doubts.py "), OWN, TWINS,
        by_hand=(removed_files("photos/*_mask.png"), f"{OWN} {CLASSES}")),
    Row("data/doubts.py refuse_spellings", OWN, pictures("photos/cat", "photos/Cat ", "photos/dog"),
        by_hand=renamed("photos/Cat ", "photos/lynx")),
    Row("data/doubts.py refuse_unsided", PAIRED, wide_pictures("pairs", "pairs/in/A", "pairs/in/B"),
        by_hand=(f"{PAIRED}/in", f"{PAIRED}/in/A")),
    Row("data/doubts.py refuse_unsided 2", PAIRED, wide_pictures("pairs/images", "pairs/masks"),
        by_hand=(f"{PAIRED}/images", sides)),
    Row("data/doubts.py refuse_copies", PAIRED, wide_pictures("pairs/all", "pairs/thumbs"),
        by_hand=(removed("pairs/thumbs"), f"{PAIRED}/all")),
    Row("data/pairs.py find_pairs", PAIRED, stray, by_hand=(moved, other_names)),
    # archives and arrays
    Row("data/archives.py _compressed", f"{TRAIN} --data ./own.tar.gz", compressed,
        by_hand=unpacked),
    Row("data/archives.py _zip_members", f"{TRAIN} --data ./own.zip", encrypted, by_hand=OWN),
    Row("data/arrays.py __init__", f"{TRAIN} --data ./own.npz",
        arrays(test_images=(8, 20, 20, 3), val_images=(8, 20, 20, 3))),
    Row("data/arrays.py __init__", "zoo data show own.npz", arrays(test_images=(8, 20, 20, 3))),
    Row("data/arrays.py _images", f"{TRAIN} --data ./own.npz", arrays(images=(8, 3, 20, 20)),
        by_hand=transposed),
    # splits
    Row("data/files.py _choose", f"{OF_SPLITS} --set split=test --set batch_size=2", splits),
    Row("data/files.py _choose", "zoo data show splits --split test", splits),
    Row("data/files.py _choose 2", f"{TRAIN} --data ./pictures",
        pictures("pictures/val", "pictures/test")),
    Row("data/files.py _choose 2", "zoo data show splits --split dev", splits),
    Row("data/files.py _choose 2", "zoo data check splits --split dev", splits),
    Row("data/files.py _hold_out", f"{OF_SPLITS} --set holdout=0.2", tested),
    Row("data/files.py _hold_out", "zoo data check splits --set holdout=0.2", tested),
    Row("data/files.py _images", f"{TRAIN} --data ./empty", (folder("empty"), file("empty/a.txt"))),
    # files beside the images
    Row("data/files.py _with_told", OWN,
        (pictures("photos/train", "photos/val"), metadata("split", "train"))),
    Row("data/sidecars.py read_labels", OWN, (photos, told_twice),
        by_hand=removed_files("photos/metadata.csv")),
    Row("data/sidecars.py _by_name", OWN, (photos, half_told), by_hand=f"{OWN} {CLASSES}"),
    Row("data/sidecars.py _split", OWN, (photos, metadata("split", "half"))),
    Row("data/sidecars.py _records", f"{OWN} --set num_classes=auto", table, by_hand=with_quotes),
)  # fmt: skip
