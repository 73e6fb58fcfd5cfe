"""Shared by the commands that generate images: seeds and output paths."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from unicodedata import normalize

import typer

from zoo_core.cli.output import complete_weights, finite, note
from zoo_core.filesystem import with_home

MAX_SEEDS = 1_000_000
MAX_DIGITS = 40  # leading zeros included; 2**64 has 20
MAX_STEM = 80  # bytes of a file name; file systems allow 255
DEVICE_NAME = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)  # on Windows

WEIGHTS = typer.Argument(
    help="Registered weights (see `zoo list`), a .safetensors file or a run folder.",
    autocompletion=complete_weights,
)
TRUNCATION = typer.Option(
    1.0, "--truncation", callback=finite, help="1: full variety; toward 0: the average image."
)
DEVICE = typer.Option("cpu", "--device", help="cpu, cuda, mps or auto.")


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """Expand a list such as `"1,5,20-30"` in its order; InputError if it is malformed."""
    from zoo_core.errors import InputError

    numbers: list[int] = []
    given = repr(text if len(text) <= MAX_STEM else f"{text[:MAX_STEM]}...")
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(
                f"{option} takes numbers and ranges", given=given, hint=f"{option} 0-3"
            )
        if max(len(first), len(last)) > MAX_DIGITS:  # int() refuses more than 4,300 of them
            raise InputError(
                f"{option} has a number that is too large", given=given, allowed="0..2**64 - 1"
            )
        start, stop = int(first), int(last or first)
        if stop < start:
            hint = f"{option} {last}-{first}"
            raise InputError(f"{option} takes ascending ranges", given=given, hint=hint)
        if stop - start + len(numbers) >= MAX_SEEDS:
            raise InputError(
                f"{option} has too many numbers", given=given, allowed=f"at most {MAX_SEEDS:,}"
            )
        numbers.extend(range(start, stop + 1))
    return numbers


def default_target(
    weights: str, what: str, suffix: str, label: str | None = None, truncation: float = 1.0
) -> Path:
    """Return the default output path: `samples/WEIGHTS-WHAT`, plus label and truncation if set.

    For weights of a run it says how many images they have seen, as the next ones are others.
    """
    from zoo_core.weights.header import is_path, located

    path = (located(weights) if is_path(weights) else with_home(weights)).resolve()
    parts = [path.name, what]
    if path.suffix == ".safetensors":
        parts[0] = {"generator": path.parent.name, "best": f"{path.parent.name}-best"}.get(
            path.stem, path.stem
        )  # file names that are the same in every run
    if images := _images_of_run(path):
        parts.insert(1, f"after-{images}")
    parts += [f"label-{file_stem(label)}"] if label is not None else []
    parts += [f"psi{truncation:g}"] if truncation != 1 else []
    return Path("samples", file_stem("-".join(parts)) + suffix)


def _images_of_run(path: Path) -> int:
    """How many images the weights of a run have seen; 0 for others."""
    from zoo_core.errors import InputError
    from zoo_core.weights.header import trained_images, weights_path

    with contextlib.suppress(InputError):
        file = weights_path(path)
        return trained_images(file) if file.with_name("config.json").is_file() else 0
    return 0


def file_stem(text: str) -> str:
    """Turn a path, a name or a list of seeds into a file name without suffix."""
    import hashlib

    from zoo_core.data.formats import readable_suffixes

    path = Path(text)
    short = path.with_suffix("") if path.suffix.lower() in readable_suffixes() else path
    name = re.sub(r"[^\w.-]+", "_", str(short)).strip("_.") or "pictures"
    name = DEVICE_NAME.sub(r"\g<0>_", name)
    if len(name.encode()) > MAX_STEM:
        digest = hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
        name = f"{name.encode()[: MAX_STEM - 9].decode(errors='ignore')}-{digest}"
    return name


def file_names(names: Iterable[str]) -> Iterator[str]:
    """Yield unique file names without suffix: `cat`; if taken, `cat_jpg`; then `cat_2`.

    `Cat` and `cat` are the same name, as they are to macOS and Windows.
    """
    taken: set[str] = set()
    for name in names:
        short = file_stem(name)
        tries = itertools.chain(
            [short, file_stem(name.replace(".", "_"))], (f"{short}_{n}" for n in itertools.count(2))
        )
        free, key = next((each, key) for each in tries if (key := _same(each)) not in taken)
        taken.add(key)
        yield free


def _same(name: str) -> str:
    """What names have in common that are one file to some file system."""
    return normalize("NFC", name).casefold()


def check_grid(out: Path | None, hint: str = "") -> None:
    """Raise InputError unless the grid is written to a .png file."""
    from zoo_core.errors import InputError

    if out is not None and out.suffix.lower() != ".png":
        raise InputError(
            f"cannot write a grid to {out}",
            given=out.suffix or "no suffix",
            allowed=".png",
            hint=hint,
        )


@contextlib.contextmanager
def writing(target: Path, folder: bool = False) -> Iterator[None]:
    """Make the folder of `target`, or `target` itself if `folder` is set.

    The folder is removed again if nothing is written to it. A line says if something else was there
    before, under the same name. An OSError becomes an InputError.
    """
    from zoo_core.errors import InputError
    from zoo_core.filesystem import as_argument, mkdir_with_rollback

    before = _contents(target, folder)
    try:
        with mkdir_with_rollback(target if folder else target.parent):
            if not folder and target.is_dir():
                raise InputError(
                    f"{target} is a folder", hint=f"--out {as_argument(target / 'NAME.png')}"
                )
            yield
            _say_replaced(target, before, _contents(target, folder))
    except OSError as error:
        raise InputError(
            f"cannot write to {target}: {error.strerror or error}", hint="--out PATH"
        ) from None


def _contents(target: Path, folder: bool) -> dict[str, object]:
    """What tells one content from another: of a file its digest, in a folder when each was written.

    Reading all files of a folder could take longer than drawing new ones.
    """
    import hashlib

    with contextlib.suppress(OSError):
        if folder:
            return {each.name: each.stat().st_mtime_ns for each in os.scandir(target)}
        if target.is_file():
            return {target.name: hashlib.blake2b(target.read_bytes()).digest()}
    return {}


def _say_replaced(target: Path, before: dict[str, object], after: dict[str, object]) -> None:
    replaced = [name for name in before if name in after and after[name] != before[name]]
    if replaced:
        what = target if target.name in replaced else f"{len(replaced)} files in {target}"
        note(f"replaced {what}, which held something else; to keep both: --out PATH")
