"""Folders and archives damaged at random are read, or refused in one line; never a traceback."""

from __future__ import annotations

import io
import json
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from layout_cases import encoded

from zoo_core.data.files import PictureFiles
from zoo_core.data.packing import pack
from zoo_core.errors import PictureError, ZooError
from zoo_core.pictures import BadPicture, read_every

FOLDERS = ["", "", "train", "val", "test", "A", "B", "trainA", "trainB", "cat", "dog", "0",
           "10", "00000", "__MACOSX", ".git", "a b", "é", "input", "target",
           "con", "x" * 200]  # fmt: skip
NAMES = ["1.png", "2.png", "3.jpg", "img00000000.png", "x.PNG", "x.jpeg", "a.gif", "b.tiff",
         "c.heic", "no-suffix", "movie.mp4", "-r.png", "~.png", "Thumbs.db", "1.cls", "2.cls",
         "dataset.json", "metadata.csv", "metadata.jsonl", "readme.txt", "á.png",
         "new\nline.png", "tab\t.png", "100%.png"]  # fmt: skip


def content(chance: random.Random, name: str) -> bytes:
    """What a file of that name may hold: usually the right thing, often something else."""
    if name.endswith((".json", ".csv", ".jsonl", ".cls")) and chance.random() < 0.8:
        rows = [[chance.choice(NAMES), chance.choice([0, 3, -1, None, [1, 2], "cat", 2.5])]
                for _ in range(chance.randrange(4))]  # fmt: skip
        lines = "".join(f"{row[0]},{row[1]}\n" for row in rows)
        return {
            "json": json.dumps({"labels": chance.choice([rows, None, {}, 7])}),
            "csv": f"file_name,label\n{lines}",
            "jsonl": "".join(json.dumps({"file_name": r[0], "label": r[1]}) + "\n" for r in rows),
            "cls": str(chance.choice([0, 5, "x", ""])),
        }[name.rpartition(".")[2]].encode()
    data = encoded(chance.randrange(12), "x.png" if chance.random() < 0.7 else "x.jpg",
                   chance.choice([(8, 8), (16, 8), (1, 1), (9, 5)]))  # fmt: skip
    damage = chance.random()
    if damage < 0.1:
        return b""
    if damage < 0.2:
        return data[: chance.randrange(len(data))]
    if damage < 0.3:
        return chance.randbytes(chance.randrange(200))
    if damage < 0.4:
        place = chance.randrange(len(data))
        return data[:place] + chance.randbytes(3) + data[place + 3 :]
    return data


def damaged(chance: random.Random, folder: Path) -> Path:
    """A folder, a zip or a tar file of up to a dozen files, itself damaged at times."""
    names = set()
    for _ in range(chance.randrange(13)):
        folders = [chance.choice(FOLDERS) if chance.random() < 0.3 else "" for _ in range(2)]
        parts = (*folders, chance.choice(NAMES))
        names.add("/".join(filter(None, parts)))
    files = {name: content(chance, name) for name in sorted(names)}
    kind = chance.choice(["folder", "folder", "zip", "tar"])
    if kind == "folder":
        for name, data in files.items():
            path = folder / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / "data").mkdir(exist_ok=True)
        return folder / "data"
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", chance.choice([0, 8])) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    data = bytearray(buffer.getvalue())
    if chance.random() < 0.5:
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    (folder / f"data.{kind}").write_bytes(data)
    return folder / f"data.{kind}"


def options(chance: random.Random) -> dict:
    return {
        "paired": chance.random() < 0.3,
        "split": chance.choice(["train", "train", "val", "test"]),
        "layout": chance.choice(["auto", "auto", "auto", "plain", "classes", "splits"]),
        "holdout": chance.choice([0.0, 0.0, 0.3]),
        "label_column": chance.choice(["label", "label", "species"]),
    }


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_folder_is_read_or_refused_in_one_line(seed, tmp_path):
    chance = random.Random(seed)
    path = damaged(chance, tmp_path)
    refusal = None
    try:
        dataset = PictureFiles(path, **options(chance))
        found = list(read_every(dataset))
        packed = pack(dataset, 8, 3, "crop", skip_bad=True, cache=tmp_path / "cache")
    except ZooError as error:
        refusal = error
    if refusal is not None:
        assert "\n" not in str(refusal)
        assert not isinstance(refusal, PictureError)
        return
    good = [item for item in found if not isinstance(item, BadPicture)]
    assert len(packed) == len(good) > 0
    assert len(packed.skipped) == len(found) - len(good)
    assert all("\n" not in bad.reason for bad in found if isinstance(bad, BadPicture))
    assert packed.images.shape == (len(good), 8, 8, 3)
    assert np.array_equal(packed.images[:], np.asarray(packed.images))


def test_many_of_them_are_read_and_many_are_refused(tmp_path):
    """Else the test above would prove nothing."""
    read = 0
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        chance = random.Random(seed)
        try:
            PictureFiles(damaged(chance, folder), **options(chance))
            read += 1
        except ZooError:
            continue
    assert 10 < read < 50
