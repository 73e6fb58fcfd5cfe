"""Check that the Frechet distance grows as images get worse and falls as a generator learns.

    python benchmarks/distance.py degrade critters openmoji [--count 1000] [--plot FILE]
    python benchmarks/distance.py run RUN [RUN ...] [--plot FILE]

`degrade` compares one half of a data set at 64 px with the other half: unchanged, blurred, with
noise, and with more and more modes (clusters of its features) left out. `run` reads the evaluations
of runs trained with `--evaluate-every`. The output says whether each curve only rises or only
falls. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo_core import load_features
from zoo_core.data.datasets import open_dataset
from zoo_core.data.packing import pack
from zoo_core.metrics.frechet import Statistics, frechet_distance
from zoo_core.plugins.loading import load_plugins
from zoo_core.runtime import Runtime
from zoo_core.training.run_folder import RunFolder

EXTRACTOR = "timm/tf_efficientnet_lite0.in1k"
SIDE = 64
BLUR = (0.0, 0.5, 1.0, 2.0, 4.0)  # standard deviation in pixels
NOISE = (0.0, 4.0, 8.0, 16.0, 32.0)  # standard deviation in levels of 0..255
CLUSTERS = 8
COLORS = ("#355c9a", "#c8553d", "#7f9fd1", "#e6a58f", "#4f7d4a", "#8a6bb1")
DROPPED = (0, 1, 2, 4, 6)  # clusters left out

Curves = dict[str, list[tuple[float, float]]]  # name to (strength or images seen, distance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("degrade", "run"))
    parser.add_argument("names", nargs="+", help="data sets, or run folders")
    parser.add_argument("--count", type=int, default=1000, help="images per side [1000]")
    parser.add_argument("--plot", type=Path, help="plot the curves to this file")
    arguments = parser.parse_args()
    curves: Curves = {}
    for name in arguments.names:
        found = degraded(name, arguments.count) if arguments.what == "degrade" else learned(name)
        for curve, points in found:
            title = f"{Path(name).name}, {curve}"
            curves[title] = points
            show(title, points, rising=arguments.what == "degrade")
    if arguments.plot:
        draw(curves, arguments.plot, arguments.what)


def degraded(name: str, count: int) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Yield curves of the distance between ever worse images and the other half of the data."""
    Runtime.detect("cpu", "fp32").keep_freed_memory()
    extractor = load_features(EXTRACTOR)
    data = pack(open_dataset(name, SIDE, "train", load_plugins()).dataset, SIDE, 3)
    count = min(count, len(data) // 2)
    pictures = torch.from_numpy(np.array(data.images[: 2 * count])).permute(0, 3, 1, 2).float()
    halves = pictures[::2], pictures[1::2]

    def features(images: Tensor) -> Tensor:
        rounded = images.round().clamp(0, 255).byte()
        with torch.no_grad():
            return torch.cat([extractor(part) for part in rounded.split(64)])

    real, other = features(halves[0]), features(halves[1])
    reference = Statistics.of(real)

    def curve(
        strengths: Sequence[float], worse: Callable[[float], Tensor]
    ) -> list[tuple[float, float]]:
        return [(s, frechet_distance(reference, Statistics.of(worse(s)))) for s in strengths]

    yield "blur", curve(BLUR, lambda sigma: features(blurred(halves[1], sigma)))
    noise = torch.randn(halves[1].shape, generator=torch.Generator().manual_seed(0))
    yield "noise", curve(NOISE, lambda std: features(halves[1] + std * noise))
    modes = clusters(other)
    yield "modes left out", curve(DROPPED, lambda dropped: other[modes >= dropped])


def blurred(images: Tensor, sigma: float) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    return (
        images if sigma == 0 else gaussian_blur(images, [2 * int(3 * sigma) + 1] * 2, [sigma] * 2)
    )


def clusters(features: Tensor) -> Tensor:
    """Return the cluster of each row; cluster 0 is the largest."""
    from sklearn.cluster import KMeans

    found = torch.from_numpy(KMeans(CLUSTERS, random_state=0).fit_predict(features.numpy())).long()
    order = found.bincount(minlength=CLUSTERS).argsort(descending=True)
    return order.argsort()[found]


def learned(name: str) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Yield the distances that a run logged."""
    lines = RunFolder(Path(name)).read_log()
    yield (
        "FD",
        [(line["images"], line["evaluation/fd"]) for line in lines if "evaluation/fd" in line],
    )


def show(name: str, points: list[tuple[float, float]], rising: bool) -> None:
    values = [value for _, value in points]
    monotone = all(b > a if rising else b < a for a, b in pairwise(values))
    word = "rises" if rising else "falls"
    print(f"{name:32} {'only ' + word if monotone else 'does NOT only ' + word[:-1]}")
    print("  " + json.dumps([[x, round(y, 3)] for x, y in points]))


def draw(curves: Curves, path: Path, what: str) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    together = what == "run"  # on one axis, to be compared at equal numbers of images
    columns = 1 if together else min(3, len(curves))
    rows = 1 if together else -(-len(curves) // columns)
    size = (5.2, 3.6) if together else (3.2 * columns, 2.6 * rows)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False)
    for number, (name, points) in enumerate(curves.items()):
        axis = axes.flat[0 if together else number]
        color = COLORS[number % len(COLORS) if together else 0]
        axis.plot(*zip(*points, strict=True), marker="o", markersize=4, color=color, label=name)
        axis.set_title("" if together else name, fontsize=9)
    highest = max(distance for points in curves.values() for _, distance in points)
    for axis in axes.flat[: 1 if together else len(curves)]:
        axis.margins(x=0.08)
        axis.xaxis.set_major_formatter("{x:,g}")
        axis.locator_params(axis="x", nbins=4)
        axis.set_xlabel("strength" if what == "degrade" else "images seen", fontsize=8)
        axis.set_ylabel("FD on lite0 features", fontsize=8)
        own = max(axis.lines[0].get_ydata())
        axis.set_ylim(0, 1.1 * (highest if together else own))
        axis.spines[["top", "right"]].set_visible(False)
    if together:
        axes.flat[0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
