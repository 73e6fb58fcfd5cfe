"""Settings of a run that change on the way: `--change`, exactly and on the record."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import toys
from safetensors.torch import load_file

from zoo_core.data.packing import PackedData, pack
from zoo_core.errors import (
    CollapseError,
    ConfigError,
    InputError,
    Interrupted,
    NonFiniteError,
)
from zoo_core.metrics.protocol import Evaluation
from zoo_core.training.amend import other_networks
from zoo_core.training.data_record import describe
from zoo_core.training.engine import train
from zoo_core.training.maintenance import check_data
from zoo_core.training.run_folder import RunFolder
from zoo_core.weights.header import parse_metadata, read_header

TESTS = Path(__file__).parents[1]


def run(place: Path, name: str = "run", change=None, data=None, spec=toys.TOY, **settings):
    """Train the toy model in a folder of that name, with 4 images per step."""
    folder = RunFolder(place / name)
    notify = stop_at(settings.pop("stop", None))
    train(
        spec,
        toys.resolved(**settings),
        data or toys.packed(place),
        folder,
        licence="CC0-1.0",
        trained_on="toys",
        notify=notify,
        change=change or {},
    )
    return folder


def stop_at(images: int | None):
    """An observer that stops a run once it has seen so many images; -1: at its start."""
    told = []

    def notify(hook: str, **arguments) -> None:
        if images is None or told or hook not in ("zoo_run_started", "zoo_progress"):
            return
        if images < 0 or (hook == "zoo_progress" and arguments["images"] >= images):
            told.append(os.kill(os.getpid(), signal.SIGTERM))

    return notify


def stopped(*arguments, **settings) -> None:
    with pytest.raises(Interrupted):
        run(*arguments, **settings)


def results(folder: RunFolder) -> dict[str, bytes]:
    """Everything that has to be equal: tensors of the last checkpoint, log, weights."""
    last = max(folder.checkpoints.iterdir())
    files = [last / "weights.safetensors", last / "optim.safetensors", folder.log]
    return {path.name: path.read_bytes() for path in [*files, folder.weights("generator")]}


def logged(folder: RunFolder) -> list[dict]:
    return [line["change"] | {"images": line["images"]} for line in folder.read_log()
            if "change" in line]  # fmt: skip


def lr(folder: RunFolder) -> float:
    return folder.read_config()["config"]["learning_rate"]


SLOWER = {"learning_rate": "1e-3"}


def test_a_change_applies_from_the_last_checkpoint_on(tmp_path):
    run(tmp_path, "changed", images=16)
    shutil.copytree(tmp_path / "changed", tmp_path / "same")
    changed = run(tmp_path, "changed", SLOWER, images=24)
    same = run(tmp_path, "same", images=24)
    assert results(changed) != results(same)
    before = f"{16:012d}/weights.safetensors"
    ours, theirs = (folder.checkpoints / before for folder in (changed, same))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_change_is_on_the_record(tmp_path):
    run(tmp_path, images=16)
    folder = run(tmp_path, change={"batch_size": "2", **SLOWER}, images=24)
    settings = {"batch_size": 2, "learning_rate": 1e-3}
    change = {"settings": settings, "before": {"batch_size": 4, "learning_rate": 1e-2}}
    values = folder.read_config()
    assert (values["run"]["batch_size"], values["config"]["learning_rate"]) == (2, 1e-3)
    assert values["changes"] == [{"images": 16, **change}]
    assert logged(folder) == [{"images": 16, **change}]
    record = parse_metadata(read_header(folder.weights("generator")), "file")
    assert record.changes == ({"images": 16, **change},)
    assert record.config["learning_rate"] == 1e-3


def test_a_run_without_changes_says_nothing_of_them(tmp_path):
    folder = run(tmp_path, images=8)
    assert "changes" not in folder.read_config()
    assert b"changes" not in folder.weights("generator").read_bytes()


EVERYTHING = {
    "batch_size": "8",
    "learning_rate": "1e-3",
    "mirror": "true",
    "ema_half_life": "32",
    "augment": "diffaugment",
    "log_every": "8",
}


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("stop", [-1, 24, 32])
def test_a_changed_run_in_parts_equals_one_in_one(tmp_path, stop, repeated):
    run(tmp_path, "whole", images=16)
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    whole = run(tmp_path, "whole", EVERYTHING, images=48)
    stopped(tmp_path, "parts", EVERYTHING, images=48, stop=stop)
    parts = run(tmp_path, "parts", EVERYTHING if repeated else None, images=48)
    assert results(whole) == results(parts)
    assert whole.read_config() == parts.read_config()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("workers", [0, 2])
def test_ten_kills_of_a_changed_run_leave_the_bytes_of_an_uninterrupted_one(workers):
    command = [sys.executable, str(TESTS / "kill.py"), "--kills", "10", "--change"]
    done = subprocess.run([*command, "--workers", str(workers)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 kills" in done.stdout.splitlines()[-1]


def test_two_changes_in_a_row_are_exact_too(tmp_path):
    for name in ("whole", "parts"):
        run(tmp_path, name, images=16)
        run(tmp_path, name, {"batch_size": "2"}, images=24)
    whole = run(tmp_path, "whole", {"batch_size": "8"}, images=48)
    stopped(tmp_path, "parts", {"batch_size": "8"}, images=48, stop=32)
    parts = run(tmp_path, "parts", images=48)
    assert results(whole) == results(parts)
    assert [change["images"] for change in whole.read_config()["changes"]] == [16, 24]


@pytest.mark.parametrize("change", [EVERYTHING, {"ema_half_life": "0", "batch_size": "2"}])
def test_a_checkpoint_from_before_the_change_is_trained_up_to_it_as_before(tmp_path, change):
    run(tmp_path, "whole", images=20)  # where no checkpoint would be due
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    whole = run(tmp_path, "whole", change, images=48)
    stopped(tmp_path, "parts", change, images=48, stop=-1)
    damaged = max(RunFolder(tmp_path / "parts").checkpoints.iterdir()) / "optim.safetensors"
    assert damaged.parent.name == f"{20:012d}"
    damaged.write_bytes(b"")
    parts = run(tmp_path, "parts", images=48)
    assert results(whole) == results(parts)


def test_a_new_change_takes_back_those_that_were_to_follow(tmp_path):
    run(tmp_path, images=24)
    stopped(tmp_path, change={"batch_size": "2"}, images=40, stop=-1)
    folder = RunFolder(tmp_path / "run")
    (max(folder.checkpoints.iterdir()) / "optim.safetensors").write_bytes(b"")
    run(tmp_path, change={"mirror": "true"}, images=40)
    (change,) = folder.read_config()["changes"]
    assert change["images"] == 16
    assert change["settings"] == {"batch_size": 2, "mirror": True}


def test_a_change_that_is_made_already_changes_nothing(tmp_path):
    run(tmp_path, images=16)
    folder = run(tmp_path, change=SLOWER, images=24)
    before = results(folder), folder.config.read_bytes()
    run(tmp_path, change=SLOWER, images=24)
    assert (results(folder), folder.config.read_bytes()) == before


def test_a_change_can_be_taken_back(tmp_path):
    run(tmp_path, images=16)
    run(tmp_path, change=SLOWER, images=24)
    folder = run(tmp_path, change={"learning_rate": "1e-2"}, images=32)
    assert lr(folder) == 1e-2
    assert [change["images"] for change in folder.read_config()["changes"]] == [16, 24]


def test_a_command_may_say_the_settings_of_the_beginning_or_of_now(tmp_path):
    run(tmp_path, images=16)
    run(tmp_path, change=SLOWER, images=24)
    for rate in (1e-2, 1e-3):
        assert lr(run(tmp_path, images=24, learning_rate=rate)) == 1e-3
    with pytest.raises(InputError, match=r"learning_rate: 0\.001 there, 0\.5 here"):
        run(tmp_path, images=24, learning_rate=0.5)
    run(tmp_path, change={"learning_rate": "1e-4"}, images=32)
    for rate in (1e-2, 1e-4):
        assert lr(run(tmp_path, images=32, learning_rate=rate)) == 1e-4


def test_other_settings_are_refused_with_the_change_to_type(tmp_path):
    folder = run(tmp_path, images=16)
    before = folder.config.read_bytes()
    with pytest.raises(InputError, match=r"try: --change learning_rate=0\.5,batch_size=2 to go on"):
        run(tmp_path, images=24, learning_rate=0.5, batch_size=2)
    assert folder.config.read_bytes() == before
    change = {"learning_rate": "0.5", "batch_size": "2"}
    assert lr(run(tmp_path, images=24, learning_rate=0.5, batch_size=2, change=change)) == 0.5


@pytest.mark.parametrize("other", [{"width": 8}, {"seed": 1}, {"learning_rate": 0.5, "width": 8}])
def test_settings_that_may_not_change_are_refused_without_such_a_hint(tmp_path, other):
    run(tmp_path, images=8)
    with pytest.raises(InputError) as error:
        run(tmp_path, images=16, **other)
    assert "--change" not in str(error.value)
    assert "--run-dir NEW_FOLDER" in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": "8"}, ["width cannot change", "generator.stem.weight", "batch_size"]),
        ({"resolution": "32"}, ["resolution cannot change", "networks would be others"]),
        ({"num_classes": "auto"}, ["num_classes cannot change"]),
        ({"seed": "1"}, ["seed cannot change", "allowed: ", "--run-dir NEW_FOLDER"]),
        ({"fit": "pad"}, ["fit cannot change"]),
        ({"data": "./photos"}, ["images of a run cannot change", "--change data=accept"]),
        ({"batch_sise": "8"}, ["'batch_sise' in --change", "nearest: batch_size"]),
        ({"batch_size": "none"}, ["batch_size in --change", "integer >= 1"]),
        ({"micro_batch": "3"}, ["must be divisible"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_may_not_change_is_refused_in_words_and_nothing_is_written(tmp_path, change, words):
    folder = run(tmp_path, images=8)
    before = results(folder), folder.config.read_bytes()
    with pytest.raises(ConfigError) as error:
        run(tmp_path, change=change, images=16)
    for word in words:
        assert word in str(error.value)
    assert (results(folder), folder.config.read_bytes()) == before


def test_layers_of_another_kind_make_another_network_though_no_tensor_is_another(tmp_path):
    def with_a_layer(config):
        judge = toys.ToyDiscriminator(config)
        judge.last = torch.nn.Identity() if config.learning_rate > 5e-3 else torch.nn.ReLU()
        return judge

    spec = msgspec.structs.replace(toys.TOY, build_discriminator=with_a_layer)
    run(tmp_path, images=8, spec=spec)
    with pytest.raises(ConfigError, match=r"discriminator\.last: Identity there, ReLU here"):
        run(tmp_path, change=SLOWER, images=16, spec=spec)


def test_images_of_another_size_make_another_network_though_no_tensor_is_another():
    def of_a_size(config):
        painter = toys.ToyGenerator(config)
        painter.image_shape = (3, 16, 16) if config.learning_rate > 5e-3 else (3, 32, 32)
        return painter

    spec = msgspec.structs.replace(toys.TOY, build_generator=of_a_size)
    configs = toys.ToyConfig(), toys.ToyConfig(learning_rate=1e-3)
    assert other_networks(spec, *configs) == "images: (3, 16, 16) there, (3, 32, 32) here"


def test_there_must_be_a_run_to_change(tmp_path):
    with pytest.raises(InputError, match=r"no run in .* to change.*--set in place of --change"):
        run(tmp_path, change=SLOWER)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_changed(tmp_path):
    folder = run(tmp_path, images=16)
    before = folder.config.read_bytes()
    with pytest.raises(InputError, match=r"finished after 16 images.*try: --images 32 as well"):
        run(tmp_path, change=SLOWER, images=16)
    assert folder.config.read_bytes() == before


def test_free_settings_change_for_good_unless_a_command_says_otherwise(tmp_path):
    run(tmp_path, images=16)
    folder = run(tmp_path, change={"log_every": "8", "images": "32"})
    assert [line["images"] for line in folder.read_log() if "change" not in line][-2:] == [24, 32]
    run(tmp_path, images=16)
    assert folder.read_config()["run"]["images"] == 32
    run(tmp_path, images=40, log_every=2)
    assert [line["images"] for line in folder.read_log()][-2:] == [36, 40]


def test_a_change_of_a_free_setting_wins_over_what_the_same_command_says(tmp_path):
    run(tmp_path, images=16)
    run(tmp_path, change={"log_every": "8"}, images=24)
    folder = run(tmp_path, change={"log_every": "12"}, images=48, log_every=2)
    assert folder.read_config()["run"]["log_every"] == 12
    assert [line["images"] for line in folder.read_log() if "change" not in line][-2:] == [36, 48]


def test_a_setting_that_is_newer_than_the_run_has_its_default(tmp_path):
    folder = run(tmp_path, images=16)
    values = folder.read_config()
    del values["run"]["micro_batch"], values["config"]["paired"]
    folder.config.write_text(json.dumps(values))
    run(tmp_path, images=24)
    assert folder.read_config()["run"]["micro_batch"] == 0
    with pytest.raises(InputError, match="paired: False there, True here"):
        run(tmp_path, images=32, paired=True, data=toys.packed(tmp_path, paired=True))


def test_a_precision_that_an_older_run_left_open_is_decided_once(tmp_path):
    folder = run(tmp_path, images=16)
    values = folder.read_config()
    values["run"]["precision"] = "auto"
    folder.config.write_text(json.dumps(values))
    run(tmp_path, images=24, precision="auto")
    assert folder.read_config()["run"]["precision"] in ("fp32", "bf16")


def test_a_precision_that_changes_to_auto_is_decided_once(tmp_path):
    folder = run(tmp_path, images=16)
    run(tmp_path, change={"precision": "auto", **SLOWER}, images=24)
    assert folder.read_config()["run"]["precision"] in ("fp32", "bf16")


@pytest.mark.parametrize("changes", [3, [3], [{"images": "x"}], [{"settings": {"lr": 1}}]])
def test_damaged_changes_are_one_line(tmp_path, changes):
    folder = run(tmp_path, images=8)
    folder.config.write_text(json.dumps({**folder.read_config(), "changes": changes}))
    with pytest.raises(InputError, match=r"config\.json are damaged"):
        run(tmp_path, images=16)


def test_a_change_before_the_first_checkpoint_is_one_of_the_beginning(tmp_path):
    stopped(tmp_path, images=16, stop=-1)
    folder = RunFolder(tmp_path / "run")
    shutil.rmtree(folder.checkpoints)
    for stop in (-1, 4):
        stopped(tmp_path, change=SLOWER, images=16, stop=stop)
    run(tmp_path, images=16)
    assert [change["images"] for change in logged(folder)] == [0]
    whole = run(tmp_path, "whole", images=16, learning_rate=1e-3)
    ours, theirs = (
        (max(run.checkpoints.iterdir()) / "weights.safetensors").read_bytes()
        for run in (folder, whole)
    )
    assert ours == theirs


def test_what_log_and_weights_say_of_a_change_is_in_the_configuration(tmp_path, monkeypatch):
    """A kill in between must leave no record of a change that the next start does not know."""
    folder = run(tmp_path, images=16)
    before = results(folder)

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "start", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, change=SLOWER, images=24)
    assert results(folder) == before


# What is kept and what begins anew.


def optimizers(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(max(folder.checkpoints.iterdir()) / "optim.safetensors")


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(max(folder.checkpoints.iterdir()) / "weights.safetensors")


def test_optimizers_keep_their_moments(tmp_path):
    run(tmp_path, images=16)
    after = optimizers(run(tmp_path, change=SLOWER, images=20))
    assert after["generator/0/step"] == 5


def test_an_average_can_begin_and_end_on_the_way(tmp_path):
    run(tmp_path, images=16, ema_half_life=0)
    folder = run(tmp_path, change={"ema_half_life": "4"}, images=20, ema_half_life=0)
    found = weights(folder)
    live, average = found["generator.paint.weight"], found["ema.paint.weight"]
    (before,) = (path for path in folder.checkpoints.iterdir() if path.name == f"{16:012d}")
    began = load_file(before / "weights.safetensors")["generator.paint.weight"]
    torch.testing.assert_close(average, (began + live) / 2)  # half-life 4 after 4 images
    run(tmp_path, change={"ema_half_life": "0"}, images=24, ema_half_life=0)
    assert not any(key.startswith("ema.") for key in weights(folder))


ADAPTIVE = {"augment": "ada", "ada_images": "64", "ada_target": "-1"}  # each change of p is 0.25


def test_an_augmentation_begins_with_its_own_probability(tmp_path):
    run(tmp_path, images=16)
    folder = run(tmp_path, change={**ADAPTIVE, "augment_prob": "0.5"}, images=20)
    assert weights(folder)["augment.p"] == 0.5


def test_an_adaptive_probability_goes_on_unless_a_new_one_is_asked_for(tmp_path):
    run(tmp_path, images=32, augment="ada", ada_images=64, ada_target=-1.0)
    folder = RunFolder(tmp_path / "run")
    assert weights(folder)["augment.p"] == 0.5
    base = {"augment": "ada", "ada_images": 64, "ada_target": -1.0}
    run(tmp_path, change={"ada_target": "0.9"}, images=36, **base)
    assert weights(folder)["augment.p"] == 0.5
    run(tmp_path, change={"augment_prob": "0.125"}, images=40, **base)
    assert weights(folder)["augment.p"] == 0.125


def test_a_fixed_probability_follows_its_schedule_at_once(tmp_path):
    from zoo_core.training.schedules import cosine

    run(tmp_path, images=16)
    change = {"augment": "fixed", "augment_prob": "1", "augment_rampup": "32"}
    seen = []

    def note(self, images, draws):
        seen.append(float(self.p))
        return images

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo_core.training.ada.ADA.augment", note)
        run(tmp_path, change=change, images=20)
    assert seen[0] == pytest.approx(cosine(16, 0.0, 1.0, 32))


def variant(change_phases) -> msgspec.Struct:
    """The toy model with other phases where the learning rate is below 5e-3."""

    def build_phases(networks, config):
        phases = toys.build_phases(networks, config)
        return change_phases(phases, config) if config.learning_rate < 5e-3 else phases

    return msgspec.structs.replace(toys.TOY, build_phases=build_phases)


def in_parts(place: Path, spec, change=SLOWER, base=None) -> RunFolder:
    """Change a run of such a model; assert that it is exact from there."""
    base = base or {}
    run(place, "whole", spec=spec, images=16, **base)
    shutil.copytree(place / "whole", place / "parts")
    whole = run(place, "whole", change, spec=spec, images=40, **base)
    for stop in (-1, 32):
        stopped(place, "parts", change, spec=spec, images=40, stop=stop, **base)
    parts = run(place, "parts", spec=spec, images=40, **base)
    assert results(whole) == results(parts)
    return whole


def test_a_schedule_is_a_function_of_the_new_settings(tmp_path):
    rates = []

    def scheduled(phases, config):
        def schedule(images):
            rates.append((images, config.learning_rate / (1 + images)))
            return {"lr": rates[-1][1]}

        return [*phases[:-1], replace(phases[-1], schedule=schedule)]

    in_parts(tmp_path, variant(scheduled))
    assert rates[0] == (16, 1e-3 / 17)


def test_a_phase_can_end(tmp_path):
    folder = in_parts(tmp_path, variant(lambda phases, config: [phases[0], phases[2]]))
    assert [line["images"] for line in folder.read_log() if "penalty/loss" in line] == [4, 12]


def test_a_phase_can_begin(tmp_path):
    spec = variant(lambda phases, config: [phases[0], phases[2]])
    faster = {"learning_rate": "1e-2"}
    folder = in_parts(tmp_path, spec, faster, base={"learning_rate": 1e-3})
    assert [line["images"] for line in folder.read_log() if "penalty/loss" in line] == [20, 28, 36]


def renamed(phases, config):
    """The same optimizers under other names, with their parameters in the opposite order."""
    first, penalty, last = phases
    backwards = torch.optim.Adam(
        list(first.module.parameters())[::-1], config.learning_rate, (0.5, 0.99), fused=True
    )
    return [
        replace(first, name="judge", optimizer=backwards),
        replace(penalty, optimizer=backwards),
        last,
    ]


def test_moments_follow_their_weights_whatever_the_optimizer_is_called(tmp_path):
    in_parts(tmp_path, variant(renamed))
    run(tmp_path, images=16)
    before = optimizers(RunFolder(tmp_path / "run"))
    stopped(tmp_path, change=SLOWER, spec=variant(renamed), images=40, stop=20)
    after = optimizers(RunFolder(tmp_path / "run"))
    assert {key.split("/")[0] for key in after} == {"judge", "generator"}
    assert after["judge/0/step"] == before["discriminator/3/step"] + 2
    assert after["judge/0/exp_avg"].shape == before["discriminator/3/exp_avg"].shape


def another_kind(phases, config):
    def sgd(phase):
        return torch.optim.SGD(phase.module.parameters(), config.learning_rate, momentum=0.9)

    optimizer = sgd(phases[0])
    return [*(replace(phase, optimizer=optimizer) for phase in phases[:2]), phases[2]]


@pytest.mark.parametrize("backward", [False, True])
def test_an_optimizer_of_another_kind_begins_anew_and_that_is_said(tmp_path, caplog, backward):
    change, base = SLOWER, {}
    if backward:
        change, base = {"learning_rate": "1e-2"}, {"learning_rate": 1e-3}
    folder = in_parts(tmp_path, variant(another_kind), change, base)
    assert "optimizer of phase 'discriminator' begins anew" in caplog.text
    entries = {key.split("/")[2] for key in optimizers(folder) if key.startswith("discriminator")}
    assert entries == ({"step", "exp_avg", "exp_avg_sq"} if backward else {"momentum_buffer"})


class Other(torch.optim.Adam):
    """Adam by another author, whose tensors may mean something else."""


def test_an_optimizer_with_the_same_settings_may_be_another_kind(tmp_path, caplog):
    def others(phases, config):
        other = Other(phases[2].module.parameters(), config.learning_rate, (0.5, 0.99), fused=True)
        return [*phases[:2], replace(phases[2], optimizer=other)]

    folder = in_parts(tmp_path, variant(others))
    assert "optimizer of phase 'generator' begins anew" in caplog.text
    assert optimizers(folder)["generator/0/step"] == 6


def with_an_optimizer_of_its_own(phases, config):
    own = torch.optim.Adam(phases[1].module.parameters(), config.learning_rate, fused=True)
    return [phases[0], replace(phases[1], optimizer=own), phases[2]]


def test_an_optimizer_that_is_added_has_no_moments_of_another(tmp_path):
    folder = in_parts(tmp_path, variant(with_an_optimizer_of_its_own))
    found = optimizers(folder)
    assert found["penalty/0/step"] == 3  # every second of six steps
    assert found["discriminator/0/step"] == 4 + 2 + 6


def test_checkpoints_of_another_architecture_are_refused_at_a_change_too(tmp_path):
    from zoo_core.errors import CheckpointError

    run(tmp_path, images=8)
    spec = msgspec.structs.replace(
        toys.TOY,
        build_discriminator=lambda config: toys.ToyDiscriminator(replace_width(config)),
    )
    with pytest.raises(CheckpointError, match="do not fit"):
        run(tmp_path, change=SLOWER, spec=spec, images=16)


def replace_width(config: toys.ToyConfig) -> toys.ToyConfig:
    return msgspec.structs.replace(config, width=config.width + 1)


# Other images.


class Toys(toys.ToyPictures):
    """The toy images, decoded by something that rounds otherwise, or in other classes."""

    def __init__(self, count: int = 32, off: int = 0, names: str = "class {}", **settings):
        super().__init__(count, **settings)
        self.off, self.fingerprint = off, f"{self.fingerprint}:{off}:{names}"
        self.classes = tuple(names.format(i) for i in range(len(self.classes)))

    def __getitem__(self, index: int):
        picture = super().__getitem__(index)
        return picture._replace(pixels=np.minimum(picture.pixels, 240) + np.uint8(self.off))


def pictures(place: Path, *, resolution: int = 16, channels: int = 3, **settings) -> PackedData:
    return pack(Toys(**settings), resolution, channels, cache=place / "cache")


def test_images_decoded_otherwise_are_refused_in_words_and_accepted_when_told_to(tmp_path):
    folder = run(tmp_path, data=pictures(tmp_path), images=16)
    decoded_otherwise = pictures(tmp_path, off=1)
    with pytest.raises(InputError) as error:
        run(tmp_path, data=decoded_otherwise, images=24)
    assert "only pixel values: mean levels of 32 images compared differ by up to 1 of 255" in str(
        error.value
    )
    assert "--change data=accept to go on with these" in str(error.value)
    run(tmp_path, change={"data": "accept"}, data=decoded_otherwise, images=24)
    (change,) = folder.read_config()["changes"]
    assert change["images"] == 16
    assert change["data"]["before"] == pictures(tmp_path).fingerprint
    assert change["data"]["fingerprint"] == decoded_otherwise.fingerprint
    assert "only pixel values" in change["data"]["difference"]
    assert logged(folder) == [change]
    record = parse_metadata(read_header(folder.weights("generator")), "file")
    assert record.changes == (change,)


@pytest.mark.parametrize(
    ("settings", "other", "words"),
    [
        ({}, {"count": 24}, "32 images there, 24 here"),
        ({"classes": 2}, {"count": 24}, "given: 32 images there, 24 here; try"),  # not the labels
        ({}, {"off": 5}, "only pixel values: .* by up to 5 of 255"),
        ({}, {"resolution": 20}, "16 x 16 x 3 pixels and channels there, 20 x 20 x 3 here"),
        ({}, {"channels": 1}, "16 x 16 x 3 .* there, 16 x 16 x 1 here"),
        ({"classes": 2}, {"classes": 3}, "2 classes there, 3 here"),
        ({"classes": 2}, {"names": "x{}", "classes": 2}, "class 0 is 'class 0' there, 'x0' here"),
    ],
)
def test_what_differs_is_said(tmp_path, settings, other, words):
    folder = RunFolder(tmp_path / "run")
    run(tmp_path, data=pictures(tmp_path, **settings), images=8)
    with pytest.raises(InputError, match=words):
        check_data(folder, pictures(tmp_path, **{**settings, **other}))


def test_other_labels_of_the_same_images_are_said(tmp_path):
    data = pictures(tmp_path, classes=2)
    run(tmp_path, data=data, images=8)
    other = replace(data, labels=1 - data.labels, fingerprint="others")
    with pytest.raises(InputError, match="given: the labels of the images"):
        check_data(RunFolder(tmp_path / "run"), other)


@pytest.mark.parametrize("side", ["images", "source"])
def test_both_sides_of_pairs_are_compared(tmp_path, side):
    data = pictures(tmp_path, paired=True)
    folder = run(tmp_path, data=data, images=8, paired=True)
    other = replace(data, **{side: 255 - getattr(data, side)}, fingerprint="others")
    with pytest.raises(InputError, match=r"only pixel values: .* differ by up to \d\d"):
        check_data(folder, other)


@pytest.mark.parametrize("damage", [None, "", "[]", '{"fingerprint": 3}', "of others"])
def test_without_a_record_of_the_images_they_are_still_refused(tmp_path, damage):
    folder = run(tmp_path, data=pictures(tmp_path), images=8)
    if damage == "of others":
        folder.data.write_text(json.dumps(describe(pictures(tmp_path, count=24))))
    elif damage is None:
        folder.data.unlink()
    else:
        folder.data.write_text(damage)
    with pytest.raises(InputError, match=r"these are not the images.*given: other images"):
        run(tmp_path, data=pictures(tmp_path, off=1), images=16)


def test_accepted_images_are_those_of_the_run_from_then_on(tmp_path):
    old, new = pictures(tmp_path), pictures(tmp_path, off=1)
    for name in ("whole", "parts"):
        run(tmp_path, name, data=old, images=16)
    accept = {"data": "accept"}
    whole = run(tmp_path, "whole", accept, data=new, images=40)
    for stop in (-1, 32):
        stopped(tmp_path, "parts", accept, data=new, images=40, stop=stop)
    with pytest.raises(InputError, match="these are not the images"):
        run(tmp_path, "parts", data=old, images=40)
    parts = run(tmp_path, "parts", data=new, images=40)
    assert results(whole) == results(parts)


def test_images_can_be_accepted_again_and_only_the_last_are_those_of_the_run(tmp_path):
    first, second, third = (pictures(tmp_path, off=off) for off in range(3))
    run(tmp_path, data=first, images=16)
    run(tmp_path, change={"data": "accept"}, data=second, images=24)
    run(tmp_path, change={"data": "accept"}, data=third, images=32)
    with pytest.raises(InputError, match="these are not the images"):
        run(tmp_path, data=second, images=40)
    run(tmp_path, data=third, images=40)


def test_accepting_the_images_of_the_run_changes_nothing(tmp_path):
    folder = run(tmp_path, images=16)
    run(tmp_path, change={"data": "accept"}, images=24)
    assert "changes" not in folder.read_config()


# What the printed hints promise.


def test_a_collapsed_run_goes_on_with_a_change(tmp_path):
    """Its alarms end with the settings that raised them; a resume tells them no differently."""
    values = [2.0, 1.0, 9.0, 9.0, 9.0, 9.0]
    settings = {"images": 80, "evaluate_every": 8, "stop_collapsed": True}

    def measured(change=None, stop=None):
        origin = {"licence": "CC0-1.0", "trained_on": "toys"}
        measure = Evaluation(lambda network: {"fd": values.pop(0) if values else 1.0}, "fd", "")
        folder, data = RunFolder(tmp_path / "run"), toys.packed(tmp_path)
        options = {"evaluation": measure, "notify": stop_at(stop), "change": change or {}}
        train(toys.TOY, toys.resolved(**settings), data, folder, **origin, **options)
        return folder

    for _ in range(2):
        with pytest.raises(CollapseError, match="after 40 images"):
            measured()
    with pytest.raises(Interrupted, match=r"after 4[48] images"):
        measured(SLOWER, stop=44)
    folder = measured()
    assert max(path.name for path in folder.checkpoints.iterdir()) == f"{80:012d}"


def test_numbers_that_are_not_finite_name_the_change_to_type_and_that_works(tmp_path):
    def exploding(phases, config):
        def loss(batch, progress):
            terms = phases[2].loss(batch, progress)
            factor = float("inf") if config.learning_rate > 3e-3 else 1.0
            return {**terms, "loss": terms["loss"] * factor}

        return [*phases[:2], replace(phases[2], loss=loss)]

    spec = variant(exploding)
    with pytest.raises(
        NonFiniteError, match=r"try: a lower learning rate: --change (\S+)"
    ) as error:
        run(tmp_path, images=16, spec=spec, learning_rate=4e-3)
    key, value = error.value.hint.split()[-1].split("=")
    assert (key, value) == ("learning_rate", "0.002")
    run(tmp_path, images=16, spec=spec, change={key: value}, learning_rate=4e-3)
