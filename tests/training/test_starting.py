"""A run that starts from weights: what it takes over, records and freezes, and its exact resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
import toys
from msgspec.structs import replace as replaced
from safetensors.torch import load_file
from torch import nn

from zoo_core.errors import ConfigError, InputError, Interrupted, WeightsError
from zoo_core.plugins.hookspecs import hookimpl
from zoo_core.plugins.loading import Plugins
from zoo_core.spec import ModelSpec
from zoo_core.training.launch import launch
from zoo_core.training.run_folder import RunFolder
from zoo_core.weights.header import parse_metadata, read_header
from zoo_core.weights.tensors import packed


def plugins(stop: int | None = None, spec: ModelSpec = toys.TOY) -> Plugins:
    told = []

    def zoo_progress(run, images, terms):
        if stop is not None and images >= stop and not told:
            told.append(os.kill(os.getpid(), signal.SIGTERM))

    found = Plugins()
    module = SimpleNamespace(
        zoo_models=hookimpl(lambda: [spec]),
        zoo_datasets=hookimpl(lambda: [toys.TOYS]),
        zoo_progress=hookimpl(zoo_progress),
    )
    found.register("toy", module)
    return found


def run(
    place: Path, name: str, stop: int | None = None, spec: ModelSpec = toys.TOY, **settings
) -> RunFolder:
    """Start or resume a run of the toy model in a folder of that name."""
    launch(spec, toys.resolved(**settings), plugins(stop), run_dir=place / name)
    return RunFolder(place / name)


def checkpoint(folder: RunFolder, images: int, file: str = "weights") -> dict[str, torch.Tensor]:
    return load_file(folder.checkpoints / f"{images:012d}" / f"{file}.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def owned(tensors: dict[str, torch.Tensor], owner: str) -> dict[str, torch.Tensor]:
    return {k: t for k, t in tensors.items() if k.startswith(f"{owner}.")}


def published(source: RunFolder, **other: Any) -> Path:
    """A folder with generator and discriminator of a run, the latter's record changed."""
    folder = source.path.with_name("published")
    folder.mkdir()
    shutil.copy(source.weights("generator"), folder)
    about = parse_metadata(read_header(source.weights("generator")), "")
    tensors = {
        key.partition(".")[2]: tensor
        for key, tensor in owned(checkpoint(source, 16), "discriminator").items()
    }
    record = replaced(about, **{"role": "discriminator", **other})
    (folder / "discriminator.safetensors").write_bytes(packed(tensors, record))
    return folder


SLOW = {"checkpoint_every": 8, "images": 8}  # checkpoints at 0 and 8 images


@pytest.fixture
def source(tmp_path) -> RunFolder:
    return run(tmp_path, "source", images=16)


def test_a_run_gives_networks_average_optimizers_and_what_phases_keep(tmp_path, source):
    tuned = run(tmp_path, "tuned", start_from=str(source.path), **SLOW)
    for file in ("weights", "optim"):
        assert same(checkpoint(tuned, 0, file), checkpoint(source, 16, file))
        assert not same(checkpoint(tuned, 8, file), checkpoint(source, 16, file))


def test_a_file_gives_the_generator_and_the_rest_begins_as_in_a_new_run(tmp_path, source, caplog):
    caplog.set_level("INFO")
    file = source.weights("generator")
    tuned = run(tmp_path, "tuned", start_from=str(file), **SLOW)
    fresh, start = checkpoint(run(tmp_path, "fresh", **SLOW), 0), checkpoint(tuned, 0)
    average = owned(checkpoint(source, 16), "ema")
    for owner in ("ema", "generator"):
        found = {key.partition(".")[2]: t for key, t in owned(start, owner).items()}
        assert same(found, {key.partition(".")[2]: t for key, t in average.items()})
    for owner in ("discriminator", "state"):
        assert same(owned(start, owner), owned(fresh, owner))
    assert checkpoint(tuned, 0, "optim") == {}
    assert f"discriminator of {file.as_posix()}: not in the source; begins anew" in caplog.text
    assert "the optimizers begin anew" in caplog.text


def test_a_folder_without_checkpoints_gives_the_discriminator_in_it(tmp_path, source):
    there = published(source)
    tuned = run(tmp_path, "tuned", start_from=str(there), **SLOW)
    theirs = owned(checkpoint(source, 16), "discriminator")
    assert same(owned(checkpoint(tuned, 0), "discriminator"), theirs)
    assert tuned.read_config()["started_from"]["networks"] == ["generator", "discriminator"]


def test_a_file_in_such_a_folder_is_taken_alone(tmp_path, source):
    file = published(source) / "generator.safetensors"
    tuned = run(tmp_path, "tuned", start_from=str(file), **SLOW)
    assert tuned.read_config()["started_from"]["networks"] == ["generator"]


@pytest.mark.parametrize("other", [{"role": "generator"}, {"model": "yot"}, {"config": {}}])
def test_a_discriminator_of_other_weights_is_refused(tmp_path, source, other):
    there = published(source, **other)
    expected = "is not the discriminator of .*; try: remove it, or give .*/generator.safetensors"
    with pytest.raises(WeightsError, match=expected):
        run(tmp_path, "tuned", start_from=str(there), **SLOW)


def test_a_resume_is_exact_and_does_not_need_the_source(tmp_path, source):
    settings = {"start_from": str(source.path), "images": 24}
    whole = run(tmp_path, "whole", **settings)
    with pytest.raises(Interrupted):
        run(tmp_path, "stopped", stop=12, **settings)
    shutil.rmtree(source.path)
    stopped = run(tmp_path, "stopped", **settings)
    for file in ("weights", "optim"):
        assert same(checkpoint(whole, 24, file), checkpoint(stopped, 24, file))
    ours, theirs = (folder.weights("generator") for folder in (whole, stopped))
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_run_and_its_weights_say_what_they_started_from(tmp_path, source):
    tuned = run(tmp_path, "tuned", start_from=str(source.path), images=8)
    recorded = tuned.read_config()["started_from"]
    manifest = json.loads((source.checkpoints / f"{16:012d}" / "MANIFEST.json").read_bytes())
    assert recorded == {
        "name": source.path.as_posix(),
        "sha256": manifest["weights.safetensors"]["sha256"],
        "images": 16,
        "licence": "CC0-1.0",
        "networks": ["generator", "discriminator"],
    }
    file = tuned.weights("generator")
    assert msgspec.to_builtins(parse_metadata(read_header(file), "").started_from) == {
        **recorded, "networks": ("generator", "discriminator"),
    }  # fmt: skip
    run(tmp_path, "tuned", start_from=str(source.path), images=16)
    assert tuned.read_config()["started_from"] == recorded
    assert "started_from" not in source.read_config()
    assert b"started_from" not in source.weights("generator").read_bytes()


def test_weights_that_changed_before_the_first_checkpoint_are_refused(tmp_path, source):
    settings = {"start_from": str(source.path), "images": 8}
    tuned = run(tmp_path, "tuned", **settings)
    shutil.rmtree(tuned.checkpoints)
    for file in ("generator.safetensors",):
        (tuned.path / file).unlink()
    run(tmp_path, "source", images=24)
    with pytest.raises(InputError, match=r"is not what the run in .* started from: it has changed"):
        run(tmp_path, "tuned", **settings)


def test_weights_that_moved_are_those_of_the_run(tmp_path, source):
    settings = {"images": 8}
    run(tmp_path, "tuned", start_from=str(source.path), **settings)
    moved = source.path.rename(tmp_path / "moved")
    run(tmp_path, "tuned", start_from=str(moved), images=16)


def test_another_start_is_another_run(tmp_path, source):
    run(tmp_path, "tuned", start_from=str(source.path), images=8)
    with pytest.raises(InputError, match="different configuration: start_from"):
        run(tmp_path, "tuned", images=16)


def test_weights_of_another_model_are_refused_and_nothing_is_left_behind(tmp_path, source):
    other = replaced(toys.TOY, name="yot")
    with pytest.raises(InputError, match=r"holds weights of toy, .*try: zoo train toy --from"):
        launch(
            other, msgspec.structs.replace(toys.resolved(start_from=str(source.path)), model="yot"),
            plugins(spec=other), run_dir=tmp_path / "tuned",
        )  # fmt: skip
    assert not (tmp_path / "tuned").exists()


def test_weights_that_do_not_fit_leave_nothing_behind(tmp_path, source):
    with pytest.raises(WeightsError, match="do not fit the generator"):
        run(tmp_path, "tuned", start_from=str(source.path), width=6)
    assert not (tmp_path / "tuned").exists()


def test_other_channels_are_adapted_when_that_is_asked_for(tmp_path, source):
    settings = {"start_from": str(source.path), "channels": 1, "images": 8}
    with pytest.raises(WeightsError, match="adapt=channels"):
        run(tmp_path, "tuned", **settings)
    tuned = run(tmp_path, "tuned", adapt=["channels"], **settings)
    judge = checkpoint(source, 16)["discriminator.look.weight"]
    found = checkpoint(tuned, 0)["discriminator.look.weight"]
    torch.testing.assert_close(found, judge.sum(1, keepdim=True))


def test_the_average_does_not_forget_what_it_started_from(tmp_path, source):
    """Without weights it follows the networks closely at first, to forget the random start."""
    settings = {"ema_half_life": 1_000_000, "ema_rampup": 0.05, **SLOW}
    tuned = run(tmp_path, "tuned", start_from=str(source.path), **settings)
    fresh = run(tmp_path, "fresh", **settings)
    moved = [
        (checkpoint(folder, 8)["ema.paint.weight"] - checkpoint(folder, 0)["ema.paint.weight"])
        .abs().max().item()
        for folder in (tuned, fresh)
    ]  # fmt: skip
    assert moved[0] < 1e-5 < 1e-3 < moved[1]


# Freezing


class Layered(toys.ToyDiscriminator):
    def layers(self) -> list[nn.Module]:
        return [self.look]


def test_frozen_layers_stay_and_the_others_learn(tmp_path, source):
    spec = replaced(toys.TOY, build_discriminator=Layered)
    tuned = run(tmp_path, "tuned", spec=spec, start_from=str(source.path), freeze_d=1, **SLOW)
    start, end = checkpoint(tuned, 0), checkpoint(tuned, 8)
    moved = {key for key in start if not torch.equal(start[key], end[key])}
    assert not {"discriminator.look.weight", "discriminator.look.bias"} & moved
    assert {"discriminator.judge.weight", "generator.paint.weight"} <= moved


def test_a_change_thaws_them(tmp_path, source):
    spec = replaced(toys.TOY, build_discriminator=Layered)
    settings = {"spec": spec, "start_from": str(source.path), "freeze_d": 1}
    tuned = run(tmp_path, "tuned", **settings, **SLOW)
    resolved = toys.resolved(start_from=str(source.path), freeze_d=1, checkpoint_every=8, images=16)
    launch(spec, resolved, plugins(), run_dir=tuned.path, change={"freeze_d": 0})
    frozen, thawed = (checkpoint(tuned, images)["discriminator.look.weight"] for images in (8, 16))
    assert not torch.equal(frozen, thawed)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"freeze_d": 1}, "no discriminator with layers to freeze"),
        ({"freeze_mapping": True}, "no mapping network to freeze"),
    ],
)
def test_what_cannot_be_frozen_is_said(tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        run(tmp_path, "run", **settings)
    assert not (tmp_path / "run").exists()


def test_more_layers_than_there_are_cannot_be_frozen(tmp_path):
    spec = replaced(toys.TOY, build_discriminator=Layered)
    with pytest.raises(ConfigError, match=r"given: freeze_d=2; allowed: 0..1"):
        run(tmp_path, "run", spec=spec, freeze_d=2)
