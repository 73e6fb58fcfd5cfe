"""A toy model and toy images, for tests of the core that need some model, no matter which.

The model is small, yet has everything that a resume can lose: a lazy phase that shares an
optimizer, a phase with state of its own, batch statistics, and noise inside a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, max_pool2d, softplus
from torch.optim import Adam

from zoo_core.config import ModelConfig, Resolved, resolve, setting
from zoo_core.data.packing import PackedData, pack
from zoo_core.generators import Generator
from zoo_core.interfaces import Batch, Classifier, Discriminator, Networks, Phase, Progress
from zoo_core.nn.features import Backbone, BackboneExtractor
from zoo_core.pictures import Picture, PictureDataset
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import DatasetSpec, FeatureExtractorSpec, ModelSpec
from zoo_core.training.losses import LOSSES
from zoo_core.training.regularizers import r1_penalty

LATENT = 8
WIDTH = 12  # of random features made without a network


class ToyConfig(ModelConfig, frozen=True, kw_only=True):
    resolution: Annotated[int, setting("pixels a side", ge=8)] = 16
    channels: Annotated[Literal[1, 3], setting("1 for gray images, 3 for RGB")] = 3
    width: Annotated[int, setting("feature maps", ge=1)] = 4
    num_classes: Annotated[int, setting("number of classes; 0 ignores labels", ge=0)] = 0
    paired: Annotated[bool, setting("image-to-image: start from source images")] = False
    learning_rate: Annotated[
        float, setting("learning rate of both networks", gt=0, group="optimizer")
    ] = 1e-2


class ToyGenerator(Generator):
    """Latents (or source images) through two convolutions, with noise between them in training."""

    def __init__(self, config: ToyConfig):
        super().__init__()
        side, width = config.resolution, config.width
        self.image_shape = (config.channels, side, side)
        self.num_classes = config.num_classes
        self.source_shape = self.image_shape if config.paired else None
        self.latent_shape = None if config.paired else (LATENT, 1, 1)
        self.stem: nn.Module = (
            nn.Conv2d(config.channels, width, 4, 4, bias=False)
            if config.paired
            else nn.ConvTranspose2d(LATENT, width, side // 4, bias=False)
        )  # [N, W, R / 4, R / 4]
        self.embed = nn.Embedding(config.num_classes, width) if config.num_classes else None
        self.norm = nn.BatchNorm2d(width)
        self.paint = nn.ConvTranspose2d(width, config.channels, 4, 4)

    def forward(
        self, start: Tensor, labels: Tensor | None = None, truncation: float = 1.0
    ) -> Tensor:
        features = self.stem(start * truncation)
        if self.embed is not None:
            assert labels is not None
            features = features + self.embed(labels)[:, :, None, None]
        features = self.norm(features)
        if self.training:
            features = features + 0.1 * torch.randn(features.shape, device=features.device)
        return torch.tanh(self.paint(features.relu()))


class ToyDiscriminator(Discriminator):
    def __init__(self, config: ToyConfig):
        super().__init__()
        seen = config.channels * (2 if config.paired else 1)
        self.look = nn.Conv2d(seen, config.width, 4, 4)
        self.embed = nn.Embedding(config.num_classes, config.width) if config.num_classes else None
        self.judge = nn.Linear(config.width, 1)

    def forward(
        self, images: Tensor, *, labels: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        images = images if source is None else torch.cat([images, source], 1)
        features = nn.functional.leaky_relu(self.look(images), 0.2).mean((2, 3))
        if self.embed is not None:
            features = features * (1 + self.embed(labels))
        return self.judge(features).float().flatten()


class RunningMean(nn.Module):
    """State of a phase: it changes at every step, and the next loss depends on it."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    @torch.no_grad()
    def update(self, value: Tensor) -> None:
        self.mean.lerp_(value.detach().float(), 0.1)


class ToyLoss:
    def __init__(self, networks: Networks):
        assert networks.discriminator is not None
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.brightness = RunningMean().to(next(self.generator.parameters()).device)
        self._fake: Tensor | None = None

    def discriminator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        self._fake = self.generator.generate(
            progress.noise, labels=batch.labels, source=batch.source
        )
        real = self._discriminate(batch.images, batch)
        fake = self._discriminate(self._fake.detach(), batch)
        return LOSSES["non-saturating"].discriminator_terms(real, fake)

    def penalty_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        r1 = r1_penalty(lambda images: self._discriminate(images, batch), batch.images)
        return {"loss": 0.1 * r1, "r1": r1}

    def generator_loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        assert self._fake is not None
        fake, self._fake = self._fake, None
        adversarial = softplus(-self._discriminate(fake, batch)).mean()
        drift = (fake.mean() - self.brightness.mean).square()
        self.brightness.update(fake.mean())
        return {"loss": adversarial + drift, "drift": drift}

    def _discriminate(self, images: Tensor, batch: Batch) -> Tensor:
        return self.discriminator(images, labels=batch.labels, source=batch.source)


def build_phases(networks: Networks, config: ToyConfig) -> list[Phase]:
    """Discriminator, its penalty in every second step with the same optimizer, and generator."""

    def adam(module: nn.Module) -> torch.optim.Adam:
        betas = (0.5, 0.99)
        return torch.optim.Adam(module.parameters(), config.learning_rate, betas, fused=True)

    losses = ToyLoss(networks)
    generator, discriminator = losses.generator, losses.discriminator
    d_optimizer = adam(discriminator)
    return [
        Phase("discriminator", discriminator, d_optimizer, losses.discriminator_loss),
        Phase("penalty", discriminator, d_optimizer, losses.penalty_loss, every=2),
        Phase(
            "generator",
            generator,
            adam(generator),
            losses.generator_loss,
            state=losses.brightness,
        ),
    ]


TOY = ModelSpec(
    name="toy",
    summary="the smallest model that has everything",
    task="unconditional",
    paper="none",
    licence="Apache-2.0",
    config=ToyConfig,
    presets={
        "tiny": {
            "batch_size": 4,
            "images": 16,
            "log_every": 4,
            "sample_every": 8,
            "checkpoint_every": 8,
            "ema_half_life": 16,
            "ema_rampup": 0.0,
            "device": "cpu",
            "precision": "fp32",
        }
    },
    run={"data": "toys"},
    latents="normal",
    build_generator=ToyGenerator,
    build_discriminator=ToyDiscriminator,
    build_phases=build_phases,
)


class ToyBackbone(Backbone):
    """Color and edge features in two maps; always the same weights."""

    strides, num_classes = (2, 4), 3

    def __init__(self):
        super().__init__()
        mixing = torch.Generator().manual_seed(0)
        self.mix = nn.Parameter(torch.randn(6, 3, 2, 2, generator=mixing))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.feature_maps(pixels)[-1].mean((2, 3))

    def feature_maps(self, pixels: Tensor) -> list[Tensor]:
        fine = conv2d(pixels, self.mix, stride=2)
        return [fine, max_pool2d(fine.abs(), 2)]

    def logits(self, pixels: Tensor) -> Tensor:
        return self(pixels)[:, :3]


FEATURES = FeatureExtractorSpec(
    name="toy-features",
    summary="colors and edges",
    licence="CC0-1.0",
    input_size=16,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    widths=(6, 6),
    build=lambda size: BackboneExtractor(
        ToyBackbone(),
        name="toy-features",
        weights="drawn",
        input_size=size,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
)


class SorterConfig(ModelConfig, frozen=True, kw_only=True):
    resolution: Annotated[int, setting("pixels a side", ge=8)] = 16
    num_classes: Annotated[int, setting("number of classes", ge=2)] = 4
    learning_rate: Annotated[float, setting("learning rate of Adam", gt=0)] = 1e-2


class Sorter(Classifier):
    """A convolution with batch normalization, and a linear layer."""

    def __init__(self, config: SorterConfig):
        super().__init__()
        self.image_shape = (3, config.resolution, config.resolution)
        self.num_classes, self.width = config.num_classes, 6
        self.channels, self.strides = (6,), (4,)
        self.look = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.BatchNorm2d(6))
        self.head = nn.Linear(6, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        return self.feature_maps(images)[0].relu().mean((2, 3))

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        return [self.look(images)]


def sorter_phases(networks: Networks, config: SorterConfig) -> list[Phase]:
    classifier = networks.classifier
    adam = Adam(classifier.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), fused=True)

    def loss(batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        return {"loss": cross_entropy(classifier(batch.images), batch.labels)}

    return [Phase("classifier", classifier, adam, loss)]


SORTER = ModelSpec(
    name="sorter",
    summary="a toy classifier",
    task="classifier",
    paper="none",
    licence="Apache-2.0",
    config=SorterConfig,
    presets={"tiny": {"batch_size": 4, "images": 16, "log_every": 4, "data": "sorted-toys"}},
    build_classifier=Sorter,
    build_phases=sorter_phases,
)


class ToyPictures(PictureDataset):
    """Bars whose position, color and thickness encode the index; the source is their outline."""

    def __init__(self, count: int, resolution: int = 16, classes: int = 0, paired: bool = False):
        self.count, self.resolution = count, resolution
        self.classes = tuple(f"class {i}" for i in range(classes))
        self.paired = paired
        self.fingerprint = f"toys:{count}:{resolution}:{classes}:{paired}"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Picture:
        side = self.resolution
        start, thickness = index % side, 1 + index // side % (side // 2)
        pixels = np.full((side, side, 3), 20, dtype=np.uint8)
        pixels[:, start : start + thickness] = (250, 40 * (index % 6), 255 - 30 * (index % 8))
        outline = np.zeros((side, side, 3), dtype=np.uint8)
        outline[:, start] = 255
        label = index % len(self.classes) if self.classes else None
        return Picture(f"toy {index}", pixels, label, outline if self.paired else None)


TOYS = DatasetSpec(
    name="toys",
    summary="bars",
    task="unconditional",
    licence="CC0-1.0",
    provenance="drawn by the tests",
    open=lambda resolution, split: ToyPictures(32, resolution),
)


SORTED_TOYS = DatasetSpec(
    name="sorted-toys",
    summary="bars in four classes",
    task="class-conditional",
    licence="CC0-1.0",
    provenance="drawn by the tests",
    open=lambda resolution, split: ToyPictures(32 if split == "train" else 8, resolution, 4),
)


class ToyPlugin:
    """The models `toy` and `sorter`, the data sets `toys` and `sorted-toys`, `toy-features`."""

    @hookimpl
    def zoo_models(self) -> list[ModelSpec]:
        return [TOY, SORTER]

    @hookimpl
    def zoo_datasets(self) -> list[DatasetSpec]:
        return [TOYS, SORTED_TOYS]

    @hookimpl
    def zoo_feature_extractors(self) -> list[FeatureExtractorSpec]:
        return [FEATURES]


def resolved(**settings: Any) -> Resolved:
    """The preset `tiny` (4 images per step, 16 in all), with other `settings` of either record."""
    layers = (("defaults", TOY.run), ("tiny", TOY.presets["tiny"]), ("test", settings))
    return resolve(TOY.name, ToyConfig, *layers, preset="tiny")


def toy_plugins() -> Plugins:
    """Plugins with only the toy plugin installed."""
    plugins = Plugins()
    plugins.register("toys", ToyPlugin())
    assert not plugins.problems
    return plugins


def packed(
    tmp_path: Path, count: int = 32, num_classes: int = 0, paired: bool = False, channels: int = 3
) -> PackedData:
    """`count` different images of 16 pixels a side, packed below `tmp_path`."""
    source = ToyPictures(count, classes=num_classes, paired=paired)
    return pack(source, 16, channels, cache=tmp_path / "cache")


def features(count: int, width: int = WIDTH, *, seed: int = 0, mean=0.0, scale=1.0) -> Tensor:
    """Correlated float64 features [count, width], with standard deviations from 0.1 to 2."""
    generator = torch.Generator().manual_seed(1000 * seed + count)
    rows = torch.randn(count, width, generator=generator, dtype=torch.float64)
    mixing = torch.eye(width).double() + 0.3 * torch.ones(width, width).double().tril(-1) / width
    return rows @ mixing * torch.linspace(0.1, 2, width).double() * scale + mean
