"""Training of a classifier: cross entropy, following He et al. 2019, "Bag of tricks for image
classification with convolutional neural networks", arXiv:1812.01187.

Section 3.1: warm-up, and no weight decay of biases and normalization layers (in timm's networks the
last scale of a residual block already starts at 0). Section 5.1: learning rate along half a cosine.
Section 5.2: label smoothing.

Departures: the warm-up also follows half a cosine (the paper: linear); label smoothing spreads over
all classes (Szegedy et al. 2016; the paper excludes the true one); no mixup, no distillation; AdamW
by default.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from zoo_classifier.config import ClassifierConfig
from zoo_core import Batch, Networks, Phase, Progress
from zoo_core.training import AdamW, cosine


class ClassifierLoss:
    """The loss and the learning rate."""

    def __init__(self, networks: Networks, config: ClassifierConfig):
        assert networks.classifier is not None
        self.classifier, self.config = networks.classifier, config

    def loss(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Cross entropy with smoothed labels, and the accuracy on the batch."""
        assert batch.labels is not None
        logits = self.classifier(batch.images)
        loss = cross_entropy(logits, batch.labels, label_smoothing=self.config.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch.labels).float().mean()}

    def schedule(self, images: int) -> dict[str, float]:
        """The learning rate after `images` images: up, then down, each along half a cosine."""
        low, high = self.config.learning_rate_end, self.config.learning_rate
        warmup = self.config.warmup_images
        if images < warmup:
            return {"lr": cosine(images, low, high, warmup)}
        return {"lr": cosine(images - warmup, high, low, self.config.schedule_images - warmup)}


def build_phases(networks: Networks, config: ClassifierConfig) -> list[Phase]:
    """The single phase, which minimizes cross entropy."""
    losses = ClassifierLoss(networks, config)
    optimizer = build_optimizer(losses.classifier, config)
    return [
        Phase(
            "classifier",
            losses.classifier,
            optimizer,
            losses.loss,
            schedule=losses.schedule,
        )
    ]


def build_optimizer(network: nn.Module, config: ClassifierConfig) -> torch.optim.Optimizer:
    """AdamW or SGD; parameters with fewer than two dimensions (biases, scales) are not decayed."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True, fused=True)
    return AdamW(groups, lr=config.learning_rate, fused=True)
