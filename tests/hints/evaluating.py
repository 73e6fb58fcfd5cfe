"""Hints of `zoo evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hints.places import judge, pairs, photos, picture, run, translator, weights
from hints.scenario import Row, World

MEASURE = "zoo evaluate run --count 8 --extractor toy-features"
ALONE = weights("alone.safetensors")


def little_memory(w: World) -> None:
    w.patch.setattr("zoo_core.metrics.checks.available_memory", lambda: 20_000)


def without_logits(w: World) -> None:
    w.patch.setattr("toys.ToyBackbone.num_classes", 0)


def measured(path: str, options: str) -> Callable[[World], None]:
    """The numbers of the run, measured with these options, in a file."""

    def measure(w: World) -> None:
        command = f"evaluate run --extractor toy-features --json {options}"
        Path(path).write_text(w.zoo(*command.split()).out)

    return measure


def one_image(w: World) -> None:
    """A folder of images that are all the same."""
    for number in range(4):
        picture(f"same/{number}.png", size=(16, 16))


ROWS = (
    Row(
        "metrics/measuring.py _of_classifier",
        "zoo evaluate judge --metrics fd --truncation 0.5", judge,
    ),
    Row("config.py parse_assignments", f"{MEASURE} --set levels", run),
    Row("cli/numbers.py read_numbers", f"{MEASURE} --compare run", run,
        steps=(measured("run/numbers.json", "--count 8"),)),
    Row("spec.py difference", f"{MEASURE} --compare before.json",
        (run, measured("before.json", "--count 12"))),
    Row("spec.py _as_before", f"{MEASURE} --compare before.json",
        (run, measured("before.json", "--count 8 --resolution 24"))),
    Row("metrics/measuring.py _default_count",
        "zoo evaluate run --extractor toy-features --metrics fd", run,
        steps=("zoo evaluate run --extractor toy-features --metrics fd --count 5000",)),
    Row("metrics/checks.py check_resolution",
        "zoo evaluate translator --data ./pairs --extractor toy-features --resolution 32",
        (translator, pairs)),
    Row(
        ("data/reading.py read_settings", "metrics/measuring.py "),
        f"{MEASURE} --set fit=squeeze", run,
    ),
    Row(
        "metrics/sides.py _opened",
        "zoo evaluate alone.safetensors --count 8 --extractor toy-features", ALONE,
    ),
    Row("metrics/checks.py check_metrics", f"{MEASURE} --metrics psnr", run),
    Row(
        "metrics/checks.py check_metrics 2",
        "zoo evaluate photos --data toys --extractor toy-features --truncation 0.5", photos,
    ),
    Row(
        "metrics/checks.py check_metrics 2",
        "zoo evaluate translator --data ./pairs --extractor toy-features --truncation 0.5",
        (translator, pairs),
    ),
    Row("metrics/checks.py check_extractor", f"{MEASURE} --metrics is", (run, without_logits)),
    Row("metrics/checks.py _check_least", f"{MEASURE} --count 3 --metrics fd,pr", run),
    Row(
        ("metrics/checks.py _check_memory", "metrics/checks.py _check_memory 2"),
        f"{MEASURE} --metrics pr --count 1000", (run, little_memory),
    ),
    Row("metrics/frechet.py check_set", "zoo evaluate same --data toys --extractor toy-features",
        one_image, by_hand=lambda w: "zoo data check same",
    ),
)  # fmt: skip
