"""Which pictures, and in which order: names and paths to sources, packed pictures to batches."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo_core.catalogue import Owned
from zoo_core.config import Resolved, RunConfig
from zoo_core.errors import AmbiguousNameError, DataError, PluginError, UnknownNameError, ZooError
from zoo_core.interfaces import Batch, Classifier, Generator
from zoo_core.loaders import loaded
from zoo_core.noise import SeededNoise, permutation
from zoo_core.packing import PackedData, pack
from zoo_core.pairs import PairedFileSource
from zoo_core.pictures import FileSource, Fit, Picture, PictureSource, fit, given_path
from zoo_core.plugins import Plugins
from zoo_core.runtime import Runtime
from zoo_core.spec import DatasetSpec


@dataclass(frozen=True)
class OpenedSource:
    """Pictures by name or path, and what weights trained on them have to say."""

    name: str  # as it stands in a tag
    source: PictureSource
    licence: str
    description: str
    split: str  # "all" of own pictures


def open_source(
    name: str, resolution: int, split: str, plugins: Plugins, paired: bool = False
) -> OpenedSource:
    """The data set called `name`, or the pictures in the folder or zip file at that path, read as
    pairs if `paired`.

    A path has a slash, a leading dot or a suffix of .zip, or is the name of no data set. Raises
    UnknownNameError, AmbiguousNameError (a data set and a folder of that name), DataError (no
    pictures there).
    """
    path = given_path(name)
    if _is_data_set(name, plugins):
        if path.exists():
            raise AmbiguousNameError(
                f"{name!r} is a data set and also a folder here",
                allowed=f"./{name} for the folder; remove or rename the folder for the data set",
            )
        owned = plugins.datasets.find(name)
        spec = owned.spec
        if split not in spec.splits:
            raise DataError(
                f"data set {name!r} has no split {split!r}", allowed=", ".join(spec.splits)
            )
        described = f"{spec.name}, {split} split: {spec.source}"
        source = _opened(owned, resolution, split)
        return OpenedSource(spec.name, source, spec.licence, described, split)
    if not _looks_like_path(name) and "/" not in name and not path.exists():
        known = plugins.datasets.names()
        raise UnknownNameError("data set or folder", name, known, hint="zoo data list")
    own = PairedFileSource(path) if paired else FileSource(path)
    slug = re.sub(r"[^a-z0-9]+", "-", path.resolve().stem.lower()).strip("-") or "pictures"
    return OpenedSource(slug, own, "LicenseRef-own-pictures", f"{len(own)} own pictures", "all")


def from_anywhere(resolved: Resolved, plugins: Plugins) -> Resolved:
    """The settings, with paths of pictures that lead to the same ones from any folder."""
    run = resolved.run
    paths = {key: _absolute(getattr(run, key), plugins) for key in ("data", "evaluate_data")}
    return msgspec.structs.replace(resolved, run=msgspec.structs.replace(run, **paths))


def _absolute(name: str, plugins: Plugins) -> str:
    """The path of something that is there made absolute; whatever else `name` is, it stays."""
    if name and not _is_data_set(name, plugins):
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # not there, or not in UTF-8
            return Path(name).expanduser().resolve(strict=True).as_posix().encode().decode()
    return name


def _is_data_set(name: str, plugins: Plugins) -> bool:
    return bool(plugins.datasets.claimants(name)) and not _looks_like_path(name)


def _looks_like_path(name: str) -> bool:
    return name.startswith(("~", ".", "/")) or "\\" in name or name.endswith(".zip")


def _opened(owned: Owned[DatasetSpec], resolution: int, split: str) -> PictureSource:
    """What a plugin opens as its data set. Raises PluginError when it cannot, or opens no source
    of pictures.
    """
    whose = f"data set {owned.spec.name!r} of the plugin {owned.plugin}"
    try:
        source = owned.spec.open(resolution, split)
        if not isinstance(source, PictureSource):
            raise TypeError(f"it has to be a PictureSource, not {type(source).__name__}")
        assert isinstance(source.fingerprint, str), "its fingerprint is text"
    except ZooError:
        raise
    except Exception as error:
        what = f"{whose} cannot be opened: {type(error).__name__}: {error}"
        raise PluginError(what, hint="--debug") from error
    return source


def prepare(
    source: PictureSource,
    network: Generator | Classifier,  # that is to learn the pictures
    run: RunConfig,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cache: Path | None = None,
) -> PackedData:
    """The pictures packed as the model and the settings want them: size, channels, direction; with
    labels if it learns classes.

    Raises what `check_enough`, `check_fits` and `pack` raise.
    """
    check_enough(len(source), run.batch_size)
    check_fits(network, source.classes, source.paired)
    channels, resolution, _ = network.image_shape
    source_channels = network.source_shape[0] if network.source_shape else channels
    if run.reverse_pairs:
        channels, source_channels = source_channels, channels
    packed = pack(
        source,
        resolution + run.jitter,
        channels,
        run.fit,
        run.bad_pictures == "skip",
        on_progress,
        cache,
        source_channels,
    )
    if not network.num_classes:
        packed = replace(packed, labels=None)
    if run.reverse_pairs and packed.source is not None:
        name = hashlib.sha256(f"reversed:{packed.fingerprint}".encode()).hexdigest()[:24]
        return replace(packed, images=packed.source, source=packed.images, fingerprint=name)
    return packed


def check_enough(count: int, batch_size: int) -> None:
    """Raise DataError unless there are two pictures, and a full batch of different ones."""
    if count < 2:
        raise DataError("at least two pictures are needed", given=count)
    if count < batch_size:
        raise DataError(
            f"{count} pictures are fewer than one batch of {batch_size}",
            hint=f"--set batch_size={count}",
        )


def check_fits(network: Generator | Classifier, classes: Sequence[str], paired: bool) -> None:
    """Raise DataError unless the network can learn pictures of these classes, or pairs."""
    if network.num_classes and not classes:
        raise DataError(
            "the model learns classes and the pictures have no labels",
            hint="put each class into a sub-folder of its own",
        )
    if network.num_classes and network.num_classes != len(classes):
        raise DataError(
            "the model has another number of classes than the pictures",
            given=network.num_classes,
            allowed=str(len(classes)),
            hint=f"--set num_classes={len(classes)}",
        )
    if network.num_classes and network.classes and network.classes != tuple(classes):
        ours, theirs = _where_different(network.classes, classes)
        raise DataError(
            "the pictures have other classes than the model has learned",
            given=theirs,
            allowed=ours,
        )
    if network.source_shape is not None and not paired:
        raise DataError(
            "the model needs pairs of pictures",
            allowed="image-to-image data sets; folders A/ and B/; files of two pictures",
            hint="zoo data list",
        )


def _where_different(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, str]:
    """The first class that is not the same on both sides, with its number."""
    number = next(n for n, pair in enumerate(zip(ours, theirs, strict=True)) if len(set(pair)) > 1)
    return f"{ours[number]!r} as class {number}", f"{theirs[number]!r}"


def begin_with(
    pictures: Iterable[Picture],  # to translate, or pairs, of which the source is taken
    generator: Generator,
    how: Fit,  # a picture becomes square
    reverse_pairs: bool = False,  # the picture of a pair is taken, not its source
) -> Tensor:
    """What a translator's `sample` takes as `source`: float32 [N, C, H, W] in [-1, 1].

    Raises PictureError for a picture that cannot be used.
    """
    assert generator.source_shape is not None
    channels, resolution, _ = generator.source_shape
    fitted = []
    for picture in pictures:
        whole = reverse_pairs or picture.source is None
        pixels = picture.pixels if whole else picture.source
        fitted.append(fit(pixels, resolution, channels, how, picture.name))
    return torch.from_numpy(np.stack(fitted)).float().div_(127.5).sub_(1)


def batches(data: PackedData, run: RunConfig, runtime: Runtime, images: int) -> Iterator[Batch]:
    """Endless batches from global position `images` on, in the order of `Order`.

    Worker processes change nothing but the speed.
    """
    order = Order(data, run)
    positions = range(images, 1 << 62, run.batch_size)
    raw = (
        loaded(order, positions, run.workers) if run.workers else map(order.__getitem__, positions)
    )
    for pictures, source, labels, ids in raw:
        yield Batch(
            images=runtime.place_images(pictures),
            labels=None if labels is None else labels.to(runtime.device),
            source=None if source is None else runtime.place_images(source),
            ids=ids,
        )


_Raw = tuple[Tensor, Tensor | None, Tensor | None, Tensor]


class Order(torch.utils.data.Dataset[_Raw]):
    """What is shown when: `order[p]` is the batch whose first picture has global position p.

    Each epoch is another shuffle, a function of (seed, epoch); whether a picture is mirrored, of
    (seed, position).
    """

    def __init__(self, data: PackedData, run: RunConfig):
        self.data, self.run = data, run
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def ids(self, start: int) -> NDArray[np.int64]:
        """Positions in the data set of one batch."""
        size = len(self.data)
        positions = np.arange(start, start + self.run.batch_size)
        return np.array([self._epoch(int(p) // size)[int(p) % size] for p in positions])

    def __getitem__(self, start: int) -> _Raw:
        ids = self.ids(start)
        noise = SeededNoise(self.run.seed, range(start, start + len(ids)))
        pictures = self._shown(self.data.images, ids, noise)
        source = None if self.data.source is None else self._shown(self.data.source, ids, noise)
        labels = None if self.data.labels is None else torch.from_numpy(self.data.labels[ids])
        return pictures, source, labels, torch.from_numpy(ids)

    def _shown(
        self, pictures: NDArray[np.uint8], ids: NDArray[np.int64], noise: SeededNoise
    ) -> Tensor:
        """Some packed pictures, cut out and mirrored by chance."""
        jitter = self.run.jitter
        corners = noise.integers("jitter", jitter + 1, (2,)) if jitter else None
        shown = gather(pictures, ids, jitter, corners)
        if self.run.mirror:
            flip = (noise.uniform("mirror") < 0.5).view(-1, 1, 1, 1)
            shown = torch.where(flip, shown.flip(3), shown)
        return shown

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs = {  # a batch is never larger than the data set: it touches two epochs
                e: shuffle for e, shuffle in self._epochs.items() if e >= epoch - 1
            }
            self._epochs[epoch] = permutation(self.run.seed, "order", epoch, len(self.data))
        return self._epochs[epoch]


def gather(
    pictures: NDArray[np.uint8],  # [..., H, W, C]
    ids: NDArray[np.int64],  # [N]
    jitter: int = 0,  # pixels that they are larger than wanted
    corners: Tensor | None = None,  # int64 [N, 2] in 0..jitter, top and left; None: the middle
) -> Tensor:
    """A copy of some packed pictures: uint8 [N, C, H - jitter, W - jitter], channels last in
    memory.
    """
    if not jitter:
        return torch.from_numpy(pictures[ids]).permute(0, 3, 1, 2)
    height, width = (side - jitter for side in pictures.shape[1:3])
    places = [(jitter // 2, jitter // 2)] * len(ids) if corners is None else corners.tolist()
    cut = [
        pictures[i, top : top + height, left : left + width]
        for i, (top, left) in zip(ids, places, strict=True)
    ]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2)


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float [N, C, H, W] in [-1, 1] to uint8 in 0..255 on the CPU, rounded to the nearest."""
    scaled = images.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    return scaled.to("cpu", torch.uint8).contiguous().numpy()
