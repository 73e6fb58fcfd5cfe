"""How a classifier is trained: cross entropy, by He et al. 2019, "Bag of tricks for image
classification with convolutional neural networks", arXiv:1812.01187.

Section 3.1 in code: warm-up, no weight decay of biases and normalizations (the last scale of a
residual block starts at 0 in timm's networks). Section 5.1: half a cosine; section 5.2: smoothed
labels.

Departures: the warm-up is half a cosine too, where the paper has a line; a smoothed label is spread
over all classes (Szegedy et al. 2016), where the paper leaves out the right one; no mixup and no
distillation; and AdamW by default.
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
        """Cross entropy with smoothed labels, and the share of the batch that is told rightly."""
        assert batch.labels is not None
        logits = self.classifier(batch.images)
        loss = cross_entropy(logits, batch.labels, label_smoothing=self.config.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch.labels).float().mean()}

    def schedule(self, images: int) -> dict[str, float]:
        """The learning rate after so many images: up and down, along half a cosine each."""
        low, high = self.config.learning_rate_end, self.config.learning_rate
        warmup = self.config.warmup_images
        if images < warmup:
            return {"lr": cosine(images, low, high, warmup)}
        return {"lr": cosine(images - warmup, high, low, self.config.schedule_images - warmup)}


def build_phases(networks: Networks, config: ClassifierConfig) -> list[Phase]:
    """One: cross entropy."""
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
    """AdamW or SGD. A parameter of less than two dimensions is a bias or scales feature maps."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True, fused=True)
    return AdamW(groups, lr=config.learning_rate, fused=True)
