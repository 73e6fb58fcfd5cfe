"""Hints about images: how they are read, and where they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hints.places import (
    SORT,
    TRAIN,
    damaged,
    dark,
    deep,
    file,
    mend,
    more_photos,
    pairs,
    pets,
    photos,
    picture,
    run,
)
from hints.scenario import Row, World

OWN = f"{TRAIN} --data ./photos"


def two_kinds(w: World) -> None:
    for number in range(4):
        deep(f"dark/{number}.png", number)
        deep(f"dark/{number + 4}.tiff", number, np.float32)


def floats(w: World) -> None:
    for number in range(4):
        deep(f"dark/{number}.tiff", number, np.float32)


def small_disk(free: int):
    def patch(w: World) -> None:
        w.patch.setattr("zoo_core.data.packing._free", lambda folder: free)

    return patch


def large(w: World) -> None:
    w.patch.setattr("zoo_core.data.packing.LARGE", 10)


def more_pets(w: World) -> None:
    for number in range(40):
        picture(f"pets/{'cat' if number < 20 else 'dog'}/{number}.png", number)


def sorted_photos(w: World) -> str:
    pets(w)
    return f"{SORT} --data ./pets --set num_classes=auto"


def no_cache(w: World) -> None:
    Path("file").write_text("")
    w.patch.setenv("ZOO_CACHE", "file/cache")


def broken_data(w: World) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ValueError("broken on purpose")

    w.patch.setattr("toys.ToyPictures.__init__", fail)


def traceback(w: World) -> str:
    from zoo_core.errors import PluginError

    with pytest.raises(PluginError):
        w.zoo("data", "show", "toys", "--debug")
    return "zoo data list"


def renamed(w: World) -> str:
    Path("./caf\udce9").rename("cafe")
    return f"{TRAIN} --data ./cafe"


def latin(w: World) -> None:
    photos(w)
    try:
        Path("photos").rename("./caf\udce9")
    except (OSError, ValueError):
        pytest.skip("this system takes no such name")


ROWS = (
    Row("cli/data.py check", "zoo data check toys --pairs"),
    Row("cli/data.py check 3", "zoo data check photos", damaged,
        steps=(mend, f"{OWN} --set bad_pictures=skip"),
    ),
    Row("cli/data.py cache", "zoo data cache", steps=("zoo data prune",)),
    Row("training/launch.py _evaluation",
        f"{SORT} --data ./pets --set num_classes=2 --evaluate-every 8", more_pets,
        steps=(
            f"{SORT} --data ./pets --set num_classes=2 --evaluate-every 8 --set holdout=0.1 "
            "--run-dir new",
            f"{SORT} --data ./pets --set num_classes=2 --evaluate-every 8 "
            "--set evaluate_data=pets --run-dir new",
        ),
    ),
    Row("config.py read_value", f"{TRAIN} --data ./caf\udce9", latin, by_hand=renamed),
    Row("data/datasets.py open_dataset", f"{TRAIN} --data nothing"),
    Row("data/datasets.py _opened", "zoo data show toys", broken_data, steps=(traceback,)),
    Row("data/decoding.py ", f"{TRAIN} --data ./dark", dark,
        steps=(f"{TRAIN} --data ./dark --set levels=data --run-dir new",
               f"{TRAIN} --data ./dark --set levels=0-4095 --run-dir new"),
    ),
    Row("data/levels.py _usual_range", f"{TRAIN} --data ./dark", floats,
        steps=(f"{TRAIN} --data ./dark --set levels=data",
               f"{TRAIN} --data ./dark --set levels=0-400",
               "zoo data check dark --set levels=data")),
    Row("data/files.py _hold_out 2", f"{OWN} --set holdout=0.001", more_photos,
        by_hand=(f"{OWN} --set holdout=0.4",)),
    Row("config.py parse_assignments", "zoo data check photos --set levels", photos),
    Row(("data/reading.py read_settings", "cli/data.py _settings"),
        "zoo data show photos --set holdout=none", photos),
    Row("data/levels.py parse_levels", f"{OWN} --set levels=4095", photos),
    Row("data/levels.py joined_levels", f"{TRAIN} --data ./dark --set levels=data", two_kinds,
        by_hand=lambda w: [path.unlink() for path in Path("dark").glob("*.tiff")] and None),
    Row("data/packing.py pack", TRAIN, no_cache,
        by_hand=lambda w: w.patch.setenv("ZOO_CACHE", "cache")),
    Row("data/packing.py is_to_be_written", f"{TRAIN} --set pack=always --set jitter=2",
        small_disk(10), by_hand=small_disk(10**9)),
    Row("data/packing.py is_to_be_written 2", f"{TRAIN} --set jitter=2", small_disk(40_000),
        steps=(f"{TRAIN} --set jitter=2 --set workers=1 --run-dir new",
               f"{TRAIN} --set jitter=2 --set pack=always --run-dir new"),
    ),
    Row("data/packing.py is_to_be_written 3", f"{TRAIN} --set jitter=3", large,
        steps=("zoo data cache", "zoo data prune")),
    Row(("data/packing.py _refusal", "data/packing.py _refusal 2", "data/packing.py _refusal 3"),
        OWN, damaged, then="images cannot be used"),
    Row("data/packing.py _refusal 2", "zoo evaluate run --extractor toy-features --data ./photos",
        (damaged, run),
        then="images cannot be used"),
    Row("data/packing.py _refusal", f"{TRAIN} --set paired=true --data ./pairs",
        (pairs, file("pairs/A/0.png", "<html>")), then="images cannot be used"),
    Row("data/preparation.py check_enough", f"{OWN} --set batch_size=16", photos,
        by_hand=f"{OWN} --set {{hint}}"),
    Row("data/preparation.py check_fits", f"{TRAIN} --set paired=true"),
    Row("data/preparation.py _check_classes", f"{SORT} --data ./photos --set num_classes=auto",
        photos, by_hand=sorted_photos),
    Row("data/preparation.py _check_classes 2", f"{TRAIN} --data ./pets --set num_classes=3", pets),
)  # fmt: skip
