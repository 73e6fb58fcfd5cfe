"""How long it takes to open a folder of very many images, and how much memory.

    python benchmarks/folders.py [-n 1000000] [--folder PATH]

Makes a folder of so many tiny PNG files in a hundred classes (or takes the one that is there), and
opens it in a process of its own, twice: the second time the system has its entries in memory. Peak
memory is that of the process, less that of one that opens a folder of one image.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PROBE = """
import resource, sys, time
from pathlib import Path
from zoo_core.data.files import PictureFiles
started = time.perf_counter()
dataset = PictureFiles(Path(sys.argv[1]))
seconds = time.perf_counter() - started
print(len(dataset), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Opening a folder of very many images.")
    parser.add_argument("-n", type=int, default=1_000_000, help="images [default: 1000000]")
    parser.add_argument("--folder", type=Path, help="where they are, or are made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary, "images")
        if not folder.exists():
            make(folder, arguments.n)
        make(Path(temporary, "one"), 1)
        _, _, base = opened(Path(temporary, "one"))
        for name in ("first", "again"):
            count, seconds, peak = opened(folder)
            print(f"{name:6} {count:,.0f} images: {seconds:.1f} s, {peak - base:.0f} MB")


def make(folder: Path, count: int) -> None:
    """So many copies of a PNG of one pixel, in a hundred folders."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    for number in range(100):
        (folder / f"class-{number:02d}").mkdir(parents=True)
    for number in range(count):
        place = folder / f"class-{number % 100:02d}" / f"{number:07d}.png"
        place.write_bytes(buffer.getvalue())


def opened(folder: Path) -> tuple[float, float, float]:
    """Images, seconds and peak memory in MB of a process that opens a folder."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(folder)], check=True, capture_output=True, text=True
    )
    count, seconds, peak = map(float, done.stdout.split())
    return count, seconds, peak


if __name__ == "__main__":
    main()
