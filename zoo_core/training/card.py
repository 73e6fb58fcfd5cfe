"""The card of published weights: README.md with the front matter that the Hugging Face hub reads.

Its text says how to load the weights, what they were trained on, by which command and at what cost,
and how good they are by which protocol. Every line comes from a record; nothing is praised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zoo_core.config import NUM_CLASSES
from zoo_core.metrics.protocol import HIGHER_IS_BETTER
from zoo_core.spec import Metric, ModelSpec, Task, WeightsEntry
from zoo_core.strict_yaml import as_yaml
from zoo_core.training.provenance import Cost
from zoo_core.weights.header import WeightsMetadata
from zoo_core.weights.licences import front_matter

GRID = "samples.png"
PIPELINES: dict[Task, str] = {  # what the hub calls the tasks
    "unconditional": "unconditional-image-generation",
    "class-conditional": "unconditional-image-generation",
    "image-to-image": "image-to-image",
    "classifier": "image-classification",
}

# What other real images would have, with very many of both.
REAL = dict.fromkeys(("fd", "fid", "kd", "kid", "l1", "lpips", "loss"), 0)
REAL |= dict.fromkeys(("precision", "recall", "density", "coverage", "ssim", "accuracy"), 1)


class About(NamedTuple):
    """What a card tells of weights beside their entry."""

    spec: ModelSpec
    record: WeightsMetadata
    cost: Cost
    precision: str  # "" if it is not recorded
    drawn: str  # what the grid shows; "" without one
    address: str  # what `zoo.load` takes
    dataset: str  # name on the hub of the data; "" for others


def card(entry: WeightsEntry, about: About) -> str:
    """The text of README.md."""
    parts = [
        f"# {entry.name}",
        f"{entry.summary}: `{entry.model}`, {about.spec.summary} ({about.spec.paper}).",
        _grid(about),
        "## Use",
        _use(entry, about),
        "## Training",
        _list(_training(entry, about)),
        "## Metrics",
        _metrics(entry.metrics),
        "## Licence",
        f"Weights: {entry.licence}. Code of the model: {about.spec.licence}.{_sources(about)}",
    ]
    text = "\n\n".join(part for part in parts if part)
    return f"---\n{as_yaml(_front_matter(entry, about))}---\n\n{text}\n"


def _front_matter(entry: WeightsEntry, about: About) -> dict[str, Any]:
    pipeline = PIPELINES[about.spec.task]
    datasets = {"datasets": [about.dataset]} if about.dataset else {}
    return {
        **front_matter(entry.licence),
        "library_name": "zoo-core",
        "pipeline_tag": pipeline,
        "tags": ["zoo-core", entry.model],
        **datasets,
        "model-index": [{"name": entry.name, "results": _results(entry.metrics, pipeline)}],
    }


def _results(metrics: Sequence[Metric], pipeline: str) -> list[dict[str, Any]]:
    """One result for each data set and split, as the hub wants them."""
    found: dict[tuple[str, str], list[Metric]] = {}
    for metric in metrics:
        data = str(metric.protocol.get("data") or "none")
        found.setdefault((data, str(metric.protocol.get("split", ""))), []).append(metric)
    return [
        {
            "task": {"type": pipeline},
            "dataset": {
                "name": data,
                "type": data.partition(",")[0],
                **({"split": split} if split else {}),
            },
            "metrics": [
                {"type": each.name, "value": each.value, "args": dict(each.protocol)}
                for each in own
            ],
        }
        for (data, split), own in found.items()
    ]


def _grid(about: About) -> str:
    return f"![{about.drawn}]({GRID})\n\n*{about.drawn}, not selected.*" if about.drawn else ""


def _use(entry: WeightsEntry, about: About) -> str:
    if about.spec.role == "classifier":
        call = [f'features = zoo.load_features("{about.address}")(images)']
    elif about.spec.task == "image-to-image":
        call = [
            f'generator = zoo.load("{about.address}")',
            "channels, side, _ = generator.source_shape",
            'source = zoo.read_pictures("FOLDER", resolution=side, channels=channels)',
            "images = generator.sample(range(len(source)), source=source)",
        ]
    else:
        labels = ", labels=[0] * 16" if entry.config.get(NUM_CLASSES) else ""
        call = [
            f'generator = zoo.load("{about.address}")',
            f"images = generator.sample(range(16){labels})  # in [-1, 1]; image i is its seed",
        ]
    return "\n".join(["```python", "import zoo_core as zoo", "", *call, "```"])


def _training(entry: WeightsEntry, about: About) -> dict[str, str]:
    record, cost = about.record, about.cost
    said = {
        "images": entry.trained_on,
        "seen": f"{entry.images:,} images" if entry.images else "",
        "time": f"{_duration(cost.seconds)} between log lines" if cost.seconds else "not recorded",
        "device": " and ".join(cost.devices) or "not recorded",
        "precision": about.precision,
        "command": f"`{entry.command}`",
        "classes": ", ".join(record.classes),
        "zoo-core": record.zoo_version,
    }
    if record.started_from:
        start = record.started_from
        said["started from"] = f"{start.name} ({start.images:,} images, sha256 {start.sha256})"
    if record.origin:
        origin = record.origin
        said["imported from"] = f"{origin.file} (sha256 {origin.sha256}) {origin.source}".strip()
    return said


def _list(said: Mapping[str, str]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in said.items() if value)


def _metrics(metrics: Sequence[Metric]) -> str:
    """A table with what differs between the protocols, and a list of what does not."""
    first = metrics[0].protocol
    shared = {
        key: str(first[key])
        for key in first
        if all(each.protocol.get(key) == first[key] for each in metrics)
    }
    rows = ["| metric | value | measured with |", "|---|---|---|"]
    for each in metrics:
        own = [f"{key} {each.protocol[key]}" for key in each.protocol if key not in shared]
        rows.append(f"| {each.name} | {each.value:.6g} | {', '.join(own).replace('|', ' ')} |")
    commands = dict.fromkeys(f"    {each.command}" for each in metrics)
    said = ["\n".join(rows), what_is_good(metrics), _list(shared), "Measured by"]
    return "\n\n".join([*filter(None, said), "\n".join(commands)])


def what_is_good(metrics: Sequence[Metric]) -> str:
    """In which direction each number is better, and what the real images would have."""
    said = []
    for direction, higher in (("Lower", False), ("Higher", True)):
        names = dict.fromkeys(m.name for m in metrics if HIGHER_IS_BETTER.get(m.name) is higher)
        if names:
            known = [f"{name} ({REAL[name]})" if name in REAL else name for name in names]
            said.append(f"{direction} is better for {', '.join(known)}.")
    if any(metric.name in REAL for metric in metrics):
        said.append("In parentheses: what the real images themselves tend to.")
    return " ".join([*said, "Compare numbers of one protocol only."] if said else [])


def _sources(about: About) -> str:
    """The licence of what the weights were made from, where it is recorded."""
    for made_from in (about.record.started_from, about.record.origin):
        if made_from:
            return f" They were made from weights under {made_from.licence}."
    return ""


def _duration(seconds: float) -> str:
    """`25 s`, `14 min` or `3.2 h`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
