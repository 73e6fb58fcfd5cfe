"""`zoo data`: list and show data sets, and check your own images."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_core.cli.drawing import check_grid, writing
from zoo_core.cli.output import (
    JSON_OPTION,
    finite,
    loaded_plugins,
    log_to_stderr,
    note,
    print_json,
    print_table,
    warn,
    warn_problems,
)
from zoo_core.data.reading import OF_FILES

if TYPE_CHECKING:
    from zoo_core.config import RunConfig
    from zoo_core.data.cache import CachedImages
    from zoo_core.pictures import PictureDataset

SET_OPTION = typer.Option(
    [],
    "--set",
    "-s",
    metavar="KEY=VALUE",
    help=f"Read your own images as in training with: {', '.join(OF_FILES)}.",
)

PAIRS = typer.Option(
    False, "--pairs", help="Read pairs: folders A/ and B/, or two images side by side per file."
)

app = typer.Typer(
    help="List and show data sets, and check your own images.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_datasets(as_json: bool = JSON_OPTION) -> None:
    """List data sets, and namespaces of more; --json includes the plugin that provides each."""
    from zoo_core.plugins.loading import load_plugins

    plugins = load_plugins()
    records = [
        {"name": name, **_record(contribution.spec), "plugin": contribution.plugin}
        for name, contribution in zip(plugins.datasets.names(), plugins.datasets, strict=True)
    ]
    spaces = plugins.namespaces("zoo_find_dataset")
    if as_json:
        namespaces = [{"names": each.spec, "plugin": each.plugin} for each in spaces]
        print_json("datasets", records, plugins.problems, namespaces=namespaces)
        return
    warn_problems(plugins)
    print_table(
        ("NAME", "TASK", "LICENCE", "SUMMARY"),
        [(r["name"], r["task"], r["licence"], r["summary"]) for r in records],
    )
    for each in spaces:
        note(f"and {each.spec}")


@app.command("show")
def show(
    name: str = typer.Argument(help="Data set, or path to a folder or zip file of images."),
    resolution: int = typer.Option(
        64, "--resolution", min=1, max=4096, help="Width and height in pixels."
    ),
    split: str = typer.Option("train", "--split", help="Split to open."),
    pairs: bool = PAIRS,
    assignments: list[str] = SET_OPTION,
    out: Path = typer.Option(
        None, "--out", "-o", help="PNG file for a grid of the first 64 images."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Show details of a data set; --out also saves a grid of images."""
    check_grid(out)
    from zoo_core.data.datasets import open_dataset

    plugins = loaded_plugins()
    settings = _settings(assignments, "zoo data show")
    with contextlib.redirect_stdout(sys.stderr):  # a plugin may print
        opened = open_dataset(name, resolution, split, plugins, pairs, settings)
    record = _record(opened.spec) if opened.spec else {"provenance": opened.description}
    record |= {
        "pictures": len(opened.dataset),
        "split": opened.split,
        "classes": list(opened.dataset.classes),
    }
    record |= {"pairs": opened.dataset.paired, "fingerprint": opened.dataset.fingerprint}
    if out is not None:
        with contextlib.redirect_stdout(sys.stderr):
            _draw(opened.dataset, resolution, out)
        record["drawn"] = str(out)
    if as_json:
        print_json("datasets", [{"name": name, **record}])
        return
    for key, value in {"name": name, **record}.items():
        text = ", ".join(map(str, value)) or "-" if isinstance(value, list | tuple) else value
        typer.echo(f"{key:12} {text}")


@app.command("check")
def check(
    path: str = typer.Argument(help="Folder or zip file of images, or a data set."),
    pairs: bool = PAIRS,
    split: str = typer.Option(
        "", "--split", help="Only this split; by default, all of your own images, or train."
    ),
    assignments: list[str] = SET_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Read every image and list the unusable ones with the reason.

    The exit code is 2 if there are any. What was packed of them in the cache is read as well, and
    removed if it is damaged.
    """
    from zoo_core.cli.progress import counting
    from zoo_core.data.cache import check_cached
    from zoo_core.data.reporting import warn_ignored, warn_remarks
    from zoo_core.errors import DataError
    from zoo_core.pictures import BadPicture, read_every

    log_to_stderr()
    with contextlib.redirect_stdout(sys.stderr):  # a plugin may print
        datasets = _splits_to_check(path, pairs, split, _settings(assignments, "zoo data check"))
    summary, total = datasets[0].summary, sum(map(len, datasets))
    if pairs and not datasets[0].paired:
        raise DataError(f"{path} contains no pairs", hint="omit --pairs")
    if summary and not as_json:
        typer.echo(summary)
    warn_ignored(datasets[0])
    bad: list[BadPicture] = []
    sizes: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    with counting(f"reading {path}") as on_progress, contextlib.redirect_stdout(sys.stderr):
        every = ((dataset, item) for dataset in datasets for item in read_every(dataset))
        for done, (dataset, item) in enumerate(every, start=1):
            on_progress(done, total)
            if isinstance(item, BadPicture):
                bad.append(item)
                continue
            height, width = item.pixels.shape[:2]
            sizes[f"{width}x{height}"] += 1
            if item.label is not None:
                classes[dataset.classes[item.label]] += 1
    for dataset in datasets:
        warn_remarks(dataset)
    for damaged in check_cached(datasets[0], counting):
        warn(f"packed images in {damaged} were damaged, and are removed; they are packed again")
    if sizes and not datasets[0].paired and all(map(_is_wide, sizes)):
        warn("all images are twice as wide as high; if they are side-by-side pairs, use --pairs")
    _report_check(path, summary, total, bad, sizes, classes, as_json)
    if bad:
        raise DataError(
            f"{len(bad)} of {total} images cannot be used",
            hint="remove them, or train with --set bad_pictures=skip",
        )


def _is_wide(size: str) -> bool:
    """Whether an image of this size, such as 64x32, may be two squares side by side."""
    width, height = map(int, size.split("x"))
    return width == 2 * height


def _settings(assignments: list[str], command: str) -> RunConfig:
    """How your own images are read."""
    from zoo_core.config import RunConfig
    from zoo_core.data.reading import read_assignments

    return RunConfig(**read_assignments(assignments, f"{command} --help", OF_FILES))


def _splits_to_check(
    path: str, pairs: bool, split: str, settings: RunConfig
) -> list[PictureDataset]:
    """The data set once for each split of your own images; of a plugin's, train or the first."""
    from zoo_core.data.datasets import open_dataset
    from zoo_core.errors import DataError

    plugins = loaded_plugins()

    def opened(split: str) -> PictureDataset:
        return open_dataset(path, 64, split, plugins, pairs, settings).dataset

    try:
        first = opened(split or "train")
    except DataError as error:
        if split or "has no split" not in error.what:
            raise
        first = opened(error.allowed.split(", ")[0])
    others = () if split else getattr(first, "splits", ())
    return [first, *(opened(other) for other in others if other != getattr(first, "split", ""))]


@app.command("cache")
def cache(as_json: bool = JSON_OPTION) -> None:
    """List packed images, what they take on the disk, and when they were last used."""
    from zoo_core.data.cache import cached_images
    from zoo_core.filesystem import cache_folder

    found = cached_images()
    if as_json:
        print_json("cache", [each._asdict() for each in found])
        return
    _print_cached(found)
    total = sum(each.size for each in found)
    typer.echo(f"{total / 1e6:,.1f} MB in {cache_folder() / 'data'}; zoo data prune removes some")


@app.command("prune")
def prune(
    days: float = typer.Option(
        30, "--days", min=0, callback=finite, help="Not used for so many days; 0: all."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only show what would be removed."),
) -> None:
    """Remove packed images that have not been used lately; they are packed again when needed."""
    from zoo_core.data.cache import prune

    removed = prune(days, dry_run=dry_run)
    _print_cached(removed)
    freed = sum(each.size for each in removed)
    typer.echo(f"{'would free' if dry_run else 'freed'} {freed / 1e6:,.1f} MB")


def _print_cached(found: Sequence[CachedImages]) -> None:
    import time

    print_table(
        ("MB", "IMAGES", "PIXELS", "LAST USED", "FROM"),
        [
            (
                f"{each.size / 1e6:,.1f}",
                each.images,
                each.resolution,
                time.strftime("%Y-%m-%d", time.localtime(each.used)),
                each.made_from,
            )
            for each in found
        ],
    )


def _report_check(
    path: str,
    summary: str,
    count: int,
    bad: list[Any],
    sizes: Counter[str],
    classes: Counter[str],
    as_json: bool,
) -> None:
    if as_json:
        record = {
            "path": path,
            "layout": summary,
            "pictures": count,
            "bad": [{"name": name, "reason": reason} for name, reason in bad],
            "sizes": dict(sizes.most_common()),
            "classes": dict(classes),
        }
        print_json("checks", [record])
        return
    from zoo_core.errors import printable
    from zoo_core.pictures import natural_key

    for name, reason in bad:
        typer.echo(printable(f"{name}: {reason}"))
    common = ", ".join(f"{size} ({n})" for size, n in sizes.most_common(3))
    more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
    typer.echo(f"{count - len(bad)} of {count} images are usable; sizes: {common or 'none'}{more}")
    if classes:
        names = sorted(classes, key=natural_key)
        counts = ", ".join(f"{name} ({classes[name]})" for name in names)
        typer.echo(printable(f"classes: {counts}"))


def _record(spec: Any) -> dict[str, Any]:
    return {
        "summary": spec.summary,
        "task": spec.task,
        "licence": spec.licence,
        "provenance": spec.provenance,
        "splits": list(spec.splits),
        "resolutions": list(spec.resolutions) or ["any"],
    }


def _draw(dataset: Any, resolution: int, out: Path) -> None:
    """Save a grid of the first 64 images; for pairs, each with its source on the left."""
    import numpy as np

    from zoo_core.data.decoding import fit
    from zoo_core.data.saving import check_grid_memory, save_grid

    count, columns = min(64, len(dataset)), 16 if dataset.paired else 8
    shape = (3, resolution, resolution)
    check_grid_memory(count * (1 + dataset.paired), columns, shape, hint="--resolution 64")
    pictures = []
    for index in range(count):
        picture = dataset[index]
        if picture.source is not None:
            pictures.append(fit(picture.source, resolution, 3, "crop"))
        pictures.append(fit(picture.pixels, resolution, 3, "crop"))
    with writing(out):
        save_grid(out, np.stack(pictures), columns)
