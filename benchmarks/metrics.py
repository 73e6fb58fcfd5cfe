"""Measure the speed of distances between sets of images, relative to other libraries.

    python benchmarks/metrics.py [--quick] [--pictures 5000] [--rounds 5]

Linear algebra alone: the trace of the square root of the product of two covariances of 1280
features, for 5000 images per side and for 500, by `scipy.linalg.sqrtm` and as the zoo computes it.
`cached` is the usual case: the factor of the real side is known. `apart` is the relative difference
from the zoo's value; with fewer images than features, sqrtm is the inexact one.

The kernel distance (KID): of two sets of 5000 images with 1280 features, 100 subsets of 1000, by
torch-fidelity and by the zoo, which computes the kernel of all pairs once.

The whole evaluation: from a folder of 64-pixel PNG files to the Frechet distance on
`timm/tf_efficientnet_lite0.in1k`, with the statistics of the real side known. All sides use the
same weights, the others in timm's own network. Each reads, resizes and compares in its own way:
torch-fidelity through a registered extractor with torch's antialiased resize, clean-fid (if
installed) with Pillow's. The first two measure the same distance; clean-fid's resize clips.

Sides take turns, so that a busy machine slows all of them alike. Read the ratios: the seconds of a
side divided by the zoo's in the same round, as median, minimum and maximum over rounds. Seconds are
not comparable across machines.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

import zoo_core as zoo
from zoo_core.data.files import PictureFiles
from zoo_core.data.packing import pack
from zoo_core.errors import ZooError
from zoo_core.metrics.distributions import kernel_distance
from zoo_core.metrics.feature_sets import extract
from zoo_core.metrics.frechet import Statistics, frechet_distance
from zoo_core.metrics.picture_sets import packed_pictures
from zoo_timm.packaged import read

EXTRACTOR = "timm/tf_efficientnet_lite0.in1k"
WIDTH, RESOLUTION, BATCH = 1280, 64, 64
ALGEBRA, KERNEL, EVALUATION = 5.0, 5.0, 2.0  # required speedup over the others

Side = Callable[[], float]


def main() -> None:
    arguments = parse()
    logging.getLogger("zoo").setLevel(logging.ERROR)  # 500 images are few on purpose
    warnings.simplefilter("ignore")  # of the other libraries: loaders, singular matrices
    width = 128 if arguments.quick else WIDTH
    verdicts = []
    for count in (4 * width, 2 * width // 5) if arguments.quick else (5000, 500):
        print(f"linear algebra, {width} features of {count} images per side")
        speed = compare(algebra(count, width), "cached", arguments.rounds)["sqrtm"]
        verdicts.append((f"sqrtm, {count} images", speed, ALGEBRA))
    count = 600 if arguments.quick else 5000
    print(f"kernel distance, {width} features of {count} images per side")
    speed = compare(kernel(count, width), "zoo", arguments.rounds)["torch-fidelity"]
    verdicts.append((f"torch-fidelity's kernel distance, {count} images", speed, KERNEL))
    with tempfile.TemporaryDirectory() as folder:
        try:
            sides = evaluation(Path(folder), arguments.pictures)
        except ZooError as error:
            print(f"the whole evaluation is skipped: {error}")
            sides = {}
        if sides:
            print(f"the whole evaluation, {arguments.pictures} images of {RESOLUTION} pixels")
            found = compare(sides, "zoo", arguments.evaluations)
            verdicts += [(other, speed, EVALUATION) for other, speed in found.items()]
    for other, speed, least in () if arguments.quick else verdicts:
        verdict = "ok" if speed >= least else "NOT ok"
        print(f"{speed:.1f} x {other}: {verdict} (at least {least:g} x)")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of distances, relative to other libraries.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the linear algebra [5]")
    parser.add_argument("--evaluations", type=int, default=1, help="rounds of the evaluation [1]")
    parser.add_argument("--pictures", type=int, default=5000, help="images per folder [5000]")
    parser.add_argument("--quick", action="store_true", help="small sizes, to check that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.pictures = 2, 32
    return arguments


def compare(sides: Mapping[str, Side], own: str, rounds: int) -> dict[str, float]:
    """Print the table, and return the zoo's speedup over each of the others."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    values = {}
    for _ in range(rounds):
        for name, side in sides.items():
            started = time.perf_counter()
            values[name] = side()
            seconds[name].append(time.perf_counter() - started)
    print(f"{'':16}{'seconds':>9}{'times as long':>26}{'value':>14}{'apart':>10}")
    ratios = {}
    for name, spent in seconds.items():
        times = [theirs / ours for theirs, ours in zip(spent, seconds[own], strict=True)]
        ratios[name] = statistics.median(times)
        spread = f"{ratios[name]:.2f} ({min(times):.2f} .. {max(times):.2f})"
        apart = abs(values[name] / values[own] - 1)
        row = f"{statistics.median(spent):9.2f}{spread:>26}{values[name]:14.6f}{apart:10.1e}"
        print(f"{name:16}{row}")
    print()
    return {name: ratio for name, ratio in ratios.items() if name in ("sqrtm", *OTHERS)}


# The linear algebra


def algebra(count: int, width: int) -> dict[str, Side]:
    """Sides that compare random features with a falling spectrum, like a network's."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -2, width, dtype=torch.float64)
    rows = [
        torch.randn(count, width, generator=generator, dtype=torch.float64) * scales
        for _ in range(2)
    ]
    real, fake = map(Statistics.of, rows)
    covariances = [side.covariance.numpy() for side in (real, fake)]
    frechet_distance(real, fake)  # caches the factor of the real side
    within = float(real.covariance.trace() + fake.covariance.trace())
    shift = float((real.mean - fake.mean).square().sum())

    def sqrtm() -> float:
        root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
        return shift + within - 2 * float(np.trace(root).real)

    def anew() -> float:
        sides = (
            side
            if side.is_rank_deficient
            else Statistics(side.num_pictures, side.mean, side.covariance)
            for side in (real, fake)
        )
        return frechet_distance(*sides)

    return {"sqrtm": sqrtm, "anew": anew, "cached": lambda: frechet_distance(real, fake)}


# The kernel distance


def kernel(count: int, width: int) -> dict[str, Side]:
    """Sides that compare random features, positive ones like those of a network."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    generator = torch.Generator().manual_seed(0)
    real, fake = (
        torch.randn(count, width, generator=generator).relu() * scale for scale in (1, 1.05)
    )
    size = min(1000, count // 2)
    options = {"kid_subsets": 100, "kid_subset_size": size, "rng_seed": 0, "verbose": False}

    def theirs() -> float:
        result = kid_features_to_metric(fake.double(), real.double(), **options)
        return float(result["kernel_inception_distance_mean"])

    return {
        "torch-fidelity": theirs,
        "zoo": lambda: kernel_distance(real, fake, subset_size=size)[0],
    }


# The whole evaluation


def evaluation(folder: Path, count: int) -> dict[str, Side]:
    """Sides that compare the images in one folder with the known statistics of another."""
    extractor = zoo.load_features(EXTRACTOR)
    real, fake = (draw_pictures(folder / name, count, seed) for seed, name in enumerate("rf"))
    plain = Plain(extractor)
    sides = {"zoo": ours(extractor, real, fake)}
    sides["torch-fidelity"] = torch_fidelity(plain, real, fake, folder / "cache")
    try:
        sides["clean-fid"] = clean_fid(plain, real, fake)
    except ImportError as error:
        print(f"clean-fid is skipped: {error}")
    return sides


def draw_pictures(folder: Path, count: int, seed: int) -> Path:
    """Fill a folder with images of soft blots, a little darker for every seed."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for number in range(count):
        small = random.integers(0, 256 - 30 * seed, (8, 8, 3), dtype=np.uint8)
        blots = Image.fromarray(small).resize((RESOLUTION, RESOLUTION), Image.Resampling.BICUBIC)
        blots.save(folder / f"{number:05d}.png")
    return folder


def ours(extractor: Any, real: Path, fake: Path) -> Side:
    """The zoo's side; nothing about the second folder is cached between rounds."""

    def measured(folder: Path) -> Statistics:
        with tempfile.TemporaryDirectory() as cache:
            data = pack(PictureFiles(folder), RESOLUTION, 3, cache=Path(cache))
            return extract(packed_pictures(data), extractor, keep=False).statistics

    reference = measured(real)
    return lambda: frechet_distance(reference, measured(fake))


class Plain(nn.Module):
    """The same weights in timm's own network, for pixels that are already resized."""

    def __init__(self, extractor: Any):
        import timm

        super().__init__()
        self.network = timm.create_model(EXTRACTOR.removeprefix("timm/").partition(".")[0]).eval()
        weights = zip(self.network.state_dict(), read(EXTRACTOR).values(), strict=True)
        self.network.load_state_dict(dict(weights))
        self.size = (extractor.input_size, extractor.input_size)
        self.mean, self.std = extractor.mean, extractor.std

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels, float32 [N, 3, S, S] in 0..1, to features [N, D]."""
        maps = self.network.forward_features((pixels - self.mean) / self.std)
        return self.network.forward_head(maps, pre_logits=True)


def torch_fidelity(plain: Plain, real: Path, fake: Path, cache: Path) -> Side:
    """torch-fidelity's public function, with its own cache for the real features."""
    from torch_fidelity import (
        FeatureExtractorBase,
        calculate_metrics,
        register_feature_extractor,
    )

    class Registered(FeatureExtractorBase):
        def __init__(self, name: str, features_list: Sequence[str], **_: Any):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("pooled",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "pooled"

        def forward(self, pictures: Tensor) -> tuple[Tensor]:
            pixels = pictures.float() / 255
            return (plain(interpolate(pixels, plain.size, mode="bicubic", antialias=True)),)

    register_feature_extractor("lite0", Registered)
    options = {
        "input1": str(fake), "input2": str(real), "fid": True, "feature_extractor": "lite0",
        "batch_size": BATCH, "cuda": False, "verbose": False, "cache_root": str(cache),
        "input2_cache_name": "real",
    }  # fmt: skip

    def side() -> float:
        return float(calculate_metrics(**options)["frechet_inception_distance"])

    side()
    return side


def clean_fid(plain: Plain, real: Path, fake: Path) -> Side:
    """clean-fid's functions for custom networks, at the network's input size."""
    from cleanfid import fid, resize

    resizer = resize.make_resizer("PIL", False, "bicubic", plain.size)

    def measured(folder: Path) -> tuple[Any, Any]:
        features = fid.get_folder_features(
            str(folder),
            model=lambda pixels: plain(pixels / 255),
            num_workers=os.cpu_count() or 1,
            batch_size=BATCH,
            device=torch.device("cpu"),
            custom_fn_resize=resizer,
            verbose=False,
        )
        return features.mean(0), np.cov(features, rowvar=False)

    reference = measured(real)
    return lambda: float(fid.frechet_distance(*reference, *measured(fake)))


OTHERS = ("torch-fidelity", "clean-fid")

if __name__ == "__main__":
    main()
