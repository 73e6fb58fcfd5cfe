"""Out of memory in the middle of a run: where it stands, and what to type."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import toys
from test_slices import build_phases as plain_phases
from test_slices import spec_of
from torch.nn.functional import avg_pool2d

from zoo_core.errors import RunError
from zoo_core.training.engine import train
from zoo_core.training.run_folder import RunFolder

SAYINGS = ["CUDA out of memory. Tried to allocate", "can't allocate memory: you tried"]
SHORTAGE = RuntimeError(SAYINGS[0])


def hungry(at: int, most: int, error=SHORTAGE, spec=toys.TOY, phases=None):
    """A model whose steps fit only `most` images into memory from `at` images on.

    Until then it is shown images of half the size, as a growing network is.
    """

    def build_phases(networks, config):
        first, *others = (phases or toys.build_phases)(networks, config)
        discriminator = networks.discriminator

        def loss(batch, progress):
            if progress.images_seen < at:
                discriminator(avg_pool2d(batch.images, 2))
            elif len(batch) > most:
                discriminator(batch.images)
                raise error
            return first.loss(batch, progress)

        return [replace(first, loss=loss), *others]

    return msgspec.structs.replace(spec, build_phases=build_phases)


def run(place: Path, spec, change=None, **settings) -> RunFolder:
    folder = RunFolder(place / "run")
    origin = {"licence": "CC0-1.0", "trained_on": "toys"}
    resolved = toys.resolved(images=32, **settings)
    train(spec, resolved, toys.packed(place), folder, **origin, change=change or {})
    return folder


def shortage(place: Path, spec, **settings) -> str:
    with pytest.raises(RunError) as error:
        run(place, spec, **settings)
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("error", [*map(RuntimeError, SAYINGS), MemoryError()])
def test_it_is_said_after_how_many_images_and_at_which_size(tmp_path, error):
    said = shortage(tmp_path, hungry(at=16, most=2, error=error))
    assert "out of memory after 16 images, in a step of 4 images of 16 x 16 pixels" in said


def test_a_stage_of_a_growing_network_is_named_by_its_size(tmp_path):
    def build_phases(networks, config):
        first, *others = toys.build_phases(networks, config)

        def loss(batch, progress):
            networks.discriminator(avg_pool2d(batch.images, 2))
            if progress.images_seen >= 8:
                raise SHORTAGE
            return first.loss(batch, progress)

        return [replace(first, loss=loss), *others]

    spec = msgspec.structs.replace(toys.TOY, build_phases=build_phases)
    assert "after 8 images, in a step of 4 images of 8 x 8 pixels" in shortage(tmp_path, spec)


def options(said: str) -> list[tuple[str, str]]:
    return re.findall(r"--change (\w+)=(\d+)", said)


def test_what_to_type_goes_on_from_there(tmp_path):
    spec = hungry(at=16, most=2)
    ((key, value),) = options(shortage(tmp_path, spec))
    assert (key, value) == ("batch_size", "2")  # batch normalization allows no slices
    folder = run(tmp_path, spec, change={key: value})
    assert max(path.name for path in folder.checkpoints.iterdir()) == f"{32:012d}"
    assert folder.read_config()["changes"][0]["images"] == 16


def plain(at: int, most: int):
    """The same, for a model in which no image affects one of another group."""
    return hungry(at, most, spec=spec_of(group=2), phases=plain_phases)


def test_slices_are_named_first_where_the_model_allows_them(tmp_path):
    spec = plain(at=16, most=4)
    (first, value), (other, half) = options(shortage(tmp_path, spec, batch_size=8))
    assert (first, value, other, half) == ("micro_batch", "4", "batch_size", "4")
    run(tmp_path, spec, change={first: value}, batch_size=8)


def test_smaller_slices_keep_groups_together(tmp_path):
    spec = plain(at=16, most=1)
    assert options(shortage(tmp_path, spec, batch_size=8, micro_batch=4)) == [
        ("micro_batch", "2"), ("batch_size", "4")
    ]  # fmt: skip


def test_where_nothing_smaller_is_left_that_is_said(tmp_path):
    said = shortage(tmp_path, hungry(at=8, most=0, spec=toys.TOY), batch_size=1)
    assert "try: a smaller network, in a new run" in said


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"batch_size": 10}, [("micro_batch", "2"), ("batch_size", "5")]),  # 4 divides no 10
        ({"batch_size": 4, "micro_batch": 4}, [("micro_batch", "2")]),  # 4 divides no 2
    ],
)
def test_only_what_the_command_would_take_is_named(tmp_path, settings, found):
    assert options(shortage(tmp_path, plain(at=0, most=1), **settings)) == found


def test_before_a_discriminator_has_seen_images_their_full_size_is_said(tmp_path):
    def build_phases(networks, config):
        first, *others = toys.build_phases(networks, config)

        def loss(batch, progress):
            raise SHORTAGE

        return [replace(first, loss=loss), *others]

    spec = msgspec.structs.replace(toys.TOY, build_phases=build_phases)
    assert "of 4 images of 16 x 16 pixels" in shortage(tmp_path, spec)
