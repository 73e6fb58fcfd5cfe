"""The training loop: resume, signals, non-finite numbers, phases, observers."""

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
import pytest
import torch
import toys

from zoo_core.config import Resolved
from zoo_core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    InputError,
    Interrupted,
    NonFiniteError,
    RunError,
)
from zoo_core.interfaces import Batch, Phase, Progress
from zoo_core.noise import SeededNoise
from zoo_core.runtime import Runtime
from zoo_core.training.ada import ADA
from zoo_core.training.engine import step, train
from zoo_core.training.estimate import estimate, random_batch
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.state import blueprint, build
from zoo_core.weights.header import parse_metadata, read_header, trained_classes

RUNTIME = Runtime(torch.device("cpu"), torch.float32, torch.channels_last)
TESTS = Path(__file__).parents[1]
GENERATOR_ALONE = msgspec.structs.replace(toys.TOY, build_discriminator=None)


def run(place: Path, name: str = "run", spec=toys.TOY, data=None, notify=None, **settings):
    """Train the toy model in a folder of that name, with 4 images per step."""
    folder = RunFolder(place / name)
    train(
        spec,
        toys.resolved(**settings),
        data or toys.packed(place),
        folder,
        licence="CC0-1.0",
        trained_on="toys",
        notify=notify or (lambda hook, **arguments: None),
    )
    return folder


def last_checkpoint(folder: RunFolder) -> dict[str, bytes]:
    path = max(folder.checkpoints.iterdir())
    return {
        name: (path / name).read_bytes() for name in ("weights.safetensors", "optim.safetensors")
    }


def contents(folder: RunFolder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def logged(folder: RunFolder) -> list[dict]:
    return [json.loads(line) for line in folder.log.read_text().splitlines()]


@pytest.mark.parametrize("first", [4, 8, 12, 20, 28])
def test_a_run_in_two_parts_equals_one_in_one(tmp_path: Path, first: int):
    whole = run(tmp_path, "whole", images=32)
    run(tmp_path, "parts", images=first)
    parts = run(tmp_path, "parts", images=32)
    assert last_checkpoint(whole) == last_checkpoint(parts)
    assert whole.weights("generator").read_bytes() == parts.weights("generator").read_bytes()


def test_an_interrupted_run_leaves_the_same_log_and_samples_and_a_grid_of_each_stop(
    tmp_path: Path,
):
    whole = run(tmp_path, "whole", images=32)
    for stop in (12, 20):
        with pytest.raises(Interrupted, match=f"after {stop} images"):
            run(tmp_path, "parts", images=32, notify=interrupt_at(stop))
    parts = run(tmp_path, "parts", images=32)
    assert last_checkpoint(whole) == last_checkpoint(parts)
    assert whole.log.read_bytes() == parts.log.read_bytes()
    drawn = {path.name: path.read_bytes() for path in whole.samples.iterdir()}
    left = {path.name: path.read_bytes() for path in parts.samples.iterdir()}
    assert drawn.items() <= left.items()
    assert left.keys() - drawn.keys() == {f"{stop:012d}.png" for stop in (12, 20)}


def test_the_grid_of_a_stop_is_drawn_once_everything_is_saved(tmp_path: Path):
    heard = []

    def notify(hook: str, **arguments) -> None:
        heard.append((hook, arguments.get("images")))
        interrupt_at(12)(hook, **arguments)

    with pytest.raises(Interrupted):
        run(tmp_path, images=32, notify=notify)
    assert heard[-4:-1] == [
        ("zoo_checkpoint_saved", 12), ("zoo_samples", 12), ("zoo_progress", 12),
    ]  # fmt: skip


def interrupt_at(images: int):
    def notify(hook: str, **arguments) -> None:
        if hook == "zoo_progress" and arguments["images"] == images - 4:
            os.kill(os.getpid(), signal.SIGTERM)

    return notify


@pytest.mark.parametrize("workers", [0, 2])
def test_twenty_kills_leave_the_bytes_of_an_uninterrupted_run(workers: int):
    command = [sys.executable, str(TESTS / "kill.py"), "--kills", "20", "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 kills" in done.stdout.splitlines()[-1]


def test_a_finished_run_stays_as_it_is(tmp_path: Path):
    folder = run(tmp_path, images=16)
    before = contents(folder)
    run(tmp_path, images=16)
    assert contents(folder) == before


def test_a_kill_before_the_weights_file_is_made_good(tmp_path: Path):
    folder = run(tmp_path, images=16)
    expected = folder.weights("generator").read_bytes()
    folder.weights("generator").unlink()
    run(tmp_path, images=16)
    assert folder.weights("generator").read_bytes() == expected


def test_the_seed_decides_the_run(tmp_path: Path):
    assert last_checkpoint(run(tmp_path, "a")) != last_checkpoint(run(tmp_path, "b", seed=1))


def test_in_network_noise_is_renewed_every_step(tmp_path: Path):
    first = run(tmp_path, "a")
    torch.randn(100)  # other random draws of the process must not matter
    assert last_checkpoint(first) == last_checkpoint(run(tmp_path, "b"))


def test_workers_change_no_byte(tmp_path: Path):
    assert last_checkpoint(run(tmp_path, "a")) == last_checkpoint(run(tmp_path, "b", workers=2))


def test_the_log_has_means_and_no_times(tmp_path: Path):
    folder = run(tmp_path, images=16, log_every=8)
    lines = logged(folder)
    assert [line["images"] for line in lines] == [8, 16]
    expected = {"images", "penalty/loss", "penalty/r1", "generator/loss", "generator/drift"}
    expected |= {f"discriminator/{name}" for name in ("loss", "real_logits", "fake_logits")}
    expected |= {"discriminator/real_signs"}
    assert set(lines[0]) == expected
    timing = [json.loads(line) for line in folder.timing.read_text().splitlines()]
    assert [line["images"] for line in timing] == [8, 16]
    assert all(line["images_per_second"] > 0 for line in timing)


def test_a_logged_term_is_the_mean_over_its_steps(tmp_path: Path):
    every = logged(run(tmp_path, "every", images=8, log_every=4))
    both = logged(run(tmp_path, "both", images=8, log_every=8))
    mean = (every[0]["generator/loss"] + every[1]["generator/loss"]) / 2
    assert both[0]["generator/loss"] == pytest.approx(mean, rel=1e-6)


def test_the_weights_file_says_what_it_is(tmp_path: Path):
    folder = run(tmp_path, images=16)
    record = parse_metadata(read_header(folder.weights("generator")), "file")
    assert (record.model, record.role, record.images) == ("toy", "generator", 16)
    assert record.licence == "CC0-1.0"
    assert record.config["resolution"] == 16


def test_another_configuration_in_the_same_folder_is_refused(tmp_path: Path):
    run(tmp_path)
    with pytest.raises(InputError, match="width: 4 there, 8 here"):
        run(tmp_path, width=8)


def test_a_run_whose_networks_cannot_be_built_leaves_no_folder(tmp_path: Path):
    with pytest.raises(ConfigError, match="no discriminator"):
        run(tmp_path, spec=GENERATOR_ALONE, augment="diffaugment")
    assert not (tmp_path / "run").exists()


def test_a_run_whose_networks_cannot_be_built_leaves_the_folder_to_another(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match="no discriminator"):
        run(tmp_path, spec=GENERATOR_ALONE, augment="diffaugment")
    assert run(tmp_path, width=8).weights("generator").is_file()


def test_other_pictures_in_the_same_run_are_refused(tmp_path: Path):
    run(tmp_path)
    with pytest.raises(InputError, match="these are not the images that the run in"):
        run(tmp_path, data=toys.packed(tmp_path, count=24), images=32)


def test_a_run_that_is_refused_keeps_its_configuration(tmp_path: Path):
    folder = run(tmp_path)
    before = folder.config.read_bytes()
    with pytest.raises(InputError, match="these are not the images that the run in"):
        run(tmp_path, data=toys.packed(tmp_path, count=24), images=32)
    assert folder.config.read_bytes() == before


def test_a_damaged_newest_checkpoint_falls_back_and_ends_equal(tmp_path: Path, caplog):
    whole = run(tmp_path, "whole", images=32)
    folder = run(tmp_path, "parts", images=24)
    newest = max(folder.checkpoints.iterdir()) / "weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    run(tmp_path, "parts", images=32)
    assert "is damaged" in caplog.text
    assert last_checkpoint(whole) == last_checkpoint(folder)


@pytest.mark.parametrize("emptied", [True, False])
@pytest.mark.parametrize("kept", ["generator.safetensors", "best.safetensors"])
def test_trained_weights_without_a_checkpoint_are_never_overwritten(
    tmp_path: Path, emptied: bool, kept: str
):
    folder = run(tmp_path, images=16)
    folder.weights("generator").rename(folder.path / kept)
    shutil.rmtree(folder.checkpoints)
    if emptied:
        folder.checkpoints.mkdir()
    before = contents(folder)
    with pytest.raises(CheckpointError, match=rf"given: {kept} of 16 images.*--run-dir NEW"):
        run(tmp_path, images=32)
    assert contents(folder) == before
    assert folder.checkpoints.exists() == emptied


@pytest.mark.parametrize("published", [True, False])
def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(
    tmp_path: Path, published: bool
):
    def stop(hook: str, **arguments) -> None:
        if hook == "zoo_checkpoint_saved":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, notify=stop)
    folder = RunFolder(tmp_path / "run")
    shutil.rmtree(folder.checkpoints)
    folder.append(folder.log, {"images": 4})
    if not published:
        folder.weights("generator").unlink()
    run(tmp_path)
    whole = run(tmp_path, "whole")
    assert last_checkpoint(whole) == last_checkpoint(folder)
    assert whole.log.read_bytes() == folder.log.read_bytes()


def test_checkpoints_of_another_architecture_are_refused(tmp_path: Path):
    run(tmp_path)
    other = msgspec.structs.replace(
        toys.TOY, build_generator=lambda config: toys.ToyGenerator(replace_width(config, 6))
    )
    with pytest.raises(CheckpointError, match="do not fit"):
        run(tmp_path, spec=other, images=32)


def replace_width(config: toys.ToyConfig, width: int) -> toys.ToyConfig:
    return msgspec.structs.replace(config, width=width)


def spoiled(spec, phase_name: str, at: int, value: float):
    """The toy model, with the loss of one phase times `value` after `at` images."""

    def build_phases(networks, config) -> list[Phase]:
        def spoil(phase: Phase) -> Phase:
            def loss(batch: Batch, progress: Progress):
                terms = dict(phase.loss(batch, progress))
                if progress.images_seen >= at:
                    terms["loss"] = terms["loss"] * value
                return terms

            return replace(phase, loss=loss) if phase.name == phase_name else phase

        return [spoil(phase) for phase in toys.build_phases(networks, config)]

    return msgspec.structs.replace(spec, build_phases=build_phases)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_optimizer_moves(tmp_path: Path, value: float):
    bad = spoiled(toys.TOY, "generator", at=8, value=value)
    with pytest.raises(NonFiniteError) as caught:
        run(tmp_path, spec=bad, images=16)
    message = str(caught.value)
    assert "'generator'" in message
    assert "after 8 images" in message
    assert "toy " in message  # the name of an image
    good = run(tmp_path, "good", images=8)
    assert last_checkpoint(RunFolder(tmp_path / "run")) == last_checkpoint(good)


def test_a_gradient_that_is_not_finite_moves_nothing():
    training = build(toys.TOY, toys.resolved(), RUNTIME)
    generator = training.networks.generator
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    training.phases = [spoiled_gradient(phase) for phase in training.phases]
    with pytest.raises(NonFiniteError):
        step(training, random_batch(training, 4, RUNTIME), toys.resolved().run, RUNTIME)
    after = list(generator.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def spoiled_gradient(phase: Phase) -> Phase:
    """A finite loss whose gradient is infinite: the slope of a square root at 0."""
    if phase.name != "generator":
        return phase
    weight = next(phase.module.parameters())

    def loss(batch: Batch, progress: Progress):
        terms = phase.loss(batch, progress)
        return {**terms, "loss": terms["loss"] + (weight - weight.detach()).abs().sum().sqrt()}

    return replace(phase, loss=loss)


def test_a_phase_computes_gradients_of_its_own_network_only():
    training = build(toys.TOY, toys.resolved(), RUNTIME)
    training.phases = training.phases[:1]
    got = []
    for role, network in training.networks.named():
        for parameter in network.parameters():
            parameter.register_post_accumulate_grad_hook(lambda _, role=role: got.append(role))
    step(training, random_batch(training, 4, RUNTIME), toys.resolved().run, RUNTIME)
    assert set(got) == {"discriminator"}


def test_no_gradients_are_kept_between_phases():
    training = build(toys.TOY, toys.resolved(), RUNTIME)
    step(training, random_batch(training, 4, RUNTIME), toys.resolved().run, RUNTIME)
    for _, network in training.networks.named():
        assert all(parameter.grad is None for parameter in network.parameters())


def test_a_lazy_phase_runs_at_its_interval():
    training = build(toys.TOY, toys.resolved(), RUNTIME)
    batch = random_batch(training, 4, RUNTIME)
    for _ in range(4):
        step(training, batch, toys.resolved().run, RUNTIME)
    assert training.terms["penalty/loss"][1] == 2
    assert training.terms["generator/loss"][1] == 4


@pytest.mark.parametrize(("rampup", "half_lives"), [(0.0, [16, 16, 16]), (0.5, [2, 4, 6])])
def test_the_average_has_its_half_life_in_images(rampup: float, half_lives: list[int]):
    resolved = toys.resolved(ema_half_life=16, ema_rampup=rampup)
    training = build(toys.TOY, resolved, RUNTIME)
    batch = random_batch(training, 4, RUNTIME)
    expected = [weight.detach().clone() for weight in training.ema.network.parameters()]
    for half_life in half_lives:
        step(training, batch, resolved.run, RUNTIME)
        for average, live in zip(expected, training.networks.main.parameters(), strict=True):
            average.lerp_(live.detach(), 1 - 0.5 ** (4 / half_life))
    torch.testing.assert_close(list(training.ema.network.parameters()), expected)


def test_a_schedule_sets_the_optimizer_from_the_images_seen():
    training = build(toys.TOY, toys.resolved(), RUNTIME)
    last = replace(training.phases[-1], schedule=lambda images: {"lr": 1.0 / (1 + images)})
    training.phases[-1] = last
    batch = random_batch(training, 4, RUNTIME)
    for expected in (1.0, 1 / 5, 1 / 9):
        step(training, batch, toys.resolved().run, RUNTIME)
        assert last.optimizer.param_groups[0]["lr"] == expected


def test_latents_are_a_function_of_seed_and_position():
    seen = []
    training = build(toys.TOY, toys.resolved(seed=3), RUNTIME)
    phase = training.phases[0]

    def loss(batch: Batch, progress: Progress):
        seen.append(progress.noise.normal("latents", (2,)))
        return phase.loss(batch, progress)

    training.phases[0] = replace(phase, loss=loss)
    batch = random_batch(training, 4, RUNTIME)
    for _ in range(2):
        step(training, batch, toys.resolved(seed=3).run, RUNTIME)
    assert torch.equal(torch.cat(seen), SeededNoise(3, range(8)).normal("latents", (2,)))


def test_bfloat16_keeps_everything_that_lasts_in_float32(tmp_path: Path):
    whole = run(tmp_path, "whole", images=16, precision="bf16")
    run(tmp_path, "parts", images=8, precision="bf16")
    parts = run(tmp_path, "parts", images=16, precision="bf16")
    assert last_checkpoint(whole) == last_checkpoint(parts)
    header = read_header(max(whole.checkpoints.iterdir()) / "weights.safetensors")
    assert {info.dtype for info in header.tensors.values()} <= {"F32", "I64"}
    assert last_checkpoint(whole) != last_checkpoint(run(tmp_path, "fp32", images=16))


def test_without_an_average_the_live_generator_is_published(tmp_path: Path):
    folder = run(tmp_path, images=8, ema_half_life=0)
    header = read_header(max(folder.checkpoints.iterdir()) / "weights.safetensors")
    assert not any(name.startswith("ema.") for name in header.tensors)
    assert folder.weights("generator").is_file()


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({"num_classes": 2}, {}, "no labels"),
        ({"num_classes": 3}, {"num_classes": 2}, "different numbers of classes"),
        ({"paired": True}, {}, "needs pairs"),
    ],
)
def test_pictures_that_do_not_fit_are_refused_before_training(
    tmp_path: Path, settings: dict, given: dict, message: str
):
    with pytest.raises(DataError, match=message):
        run(tmp_path, data=toys.packed(tmp_path, **given), **settings)
    assert not (tmp_path / "run").exists()


def test_auto_takes_the_classes_of_the_data(tmp_path: Path):
    data = toys.packed(tmp_path, num_classes=3)
    folder = run(tmp_path, data=data, images=4, num_classes="auto")
    assert folder.read_config()["config"]["num_classes"] == 3
    assert trained_classes(folder.weights("generator")) == data.classes


def test_unused_labels_are_said(tmp_path: Path, caplog):
    run(tmp_path, data=toys.packed(tmp_path, num_classes=2), images=4)
    assert "2 classes, which toy does not use" in caplog.text


@pytest.mark.parametrize("kind", [{"num_classes": 2}, {"paired": True}])
def test_conditional_models_resume_exactly_too(tmp_path: Path, kind: dict):
    data = toys.packed(tmp_path, **kind)
    whole = run(tmp_path, "whole", data=data, images=16, **kind)
    run(tmp_path, "parts", data=data, images=8, **kind)
    parts = run(tmp_path, "parts", data=data, images=16, **kind)
    assert last_checkpoint(whole) == last_checkpoint(parts)


def test_observers_hear_of_everything_in_order(tmp_path: Path):
    heard = []
    run(tmp_path, images=8, notify=lambda hook, **a: heard.append((hook, a["images"])))
    assert heard[0] == ("zoo_run_started", 0)
    assert heard[-1] == ("zoo_run_ended", 8)
    hooks = [hook for hook, _ in heard]
    assert hooks.count("zoo_progress") == 2
    assert hooks.count("zoo_samples") == hooks.count("zoo_checkpoint_saved") == 2


def test_an_observer_hears_of_a_failure(tmp_path: Path):
    heard = {}

    def notify(hook: str, **arguments) -> None:
        heard[hook] = arguments.get("error")

    with pytest.raises(NonFiniteError):
        run(tmp_path, spec=spoiled(toys.TOY, "generator", 0, float("nan")), notify=notify)
    assert isinstance(heard["zoo_run_ended"], NonFiniteError)


def test_a_full_disk_ends_the_run_and_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch):
    folder = run(tmp_path, images=8)
    before = last_checkpoint(folder)
    full = OSError(28, "No space left on device")

    def fail(*arguments) -> None:
        raise full

    with monkeypatch.context() as broken:
        broken.setattr("zoo_core.training.checkpoint.write_synced", fail)
        with pytest.raises(CheckpointError, match="No space left"):
            run(tmp_path, images=16)
    assert last_checkpoint(folder) == before
    with monkeypatch.context() as broken:
        broken.setattr(RunFolder, "append", fail)
        with pytest.raises(RunError, match="No space left"):
            run(tmp_path, images=16)
    whole = run(tmp_path, "whole", images=16)
    assert last_checkpoint(run(tmp_path, images=16)) == last_checkpoint(whole)


WITH_A_LOADER = """
import multiprocessing, subprocess, sys, time
from pathlib import Path
import toys
from zoo_core.training.engine import train
from zoo_core.training.run_folder import RunFolder

def kill_the_loader():
    for worker in multiprocessing.active_children():
        worker.kill()

def end_every_process():
    subprocess.run(["kill", "-TERM", "0"])  # sent by a process other than the parent
    time.sleep(0.5)

def notify(hook, **arguments):
    if hook == "zoo_progress" and arguments["images"] == 4:
        globals()[sys.argv[2]]()

if __name__ == "__main__":
    place = Path(sys.argv[1])
    multiprocessing.set_start_method(sys.argv[3])
    settings = toys.resolved(images=40_000, workers=1)
    origin = {"licence": "CC0-1.0", "trained_on": "toys"}
    train(toys.TOY, settings, toys.packed(place), RunFolder(place / "run"), notify=notify, **origin)
"""


def last_word_with_a_loader(place: Path, what_happens: str, start_method: str = "fork") -> str:
    """The last line of a run with one loader process, to which this happens after a step."""
    script = place / "with_a_loader.py"
    script.write_text(WITH_A_LOADER)
    done = subprocess.run(
        [sys.executable, str(script), str(place), what_happens, start_method],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        start_new_session=True,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_a_loader_process_that_dies_ends_the_run_with_a_reason(tmp_path: Path):
    last = last_word_with_a_loader(tmp_path, "kill_the_loader")
    assert "RunError: a loader process is gone" in last


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the sender of a signal is unknown")
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_signal_to_all_processes_of_a_run_stops_it_at_a_step_s_end(
    tmp_path: Path, start_method: str
):
    last = last_word_with_a_loader(tmp_path, "end_every_process", start_method)
    assert "Interrupted: stopped after 8 images" in last


@pytest.mark.parametrize("said", ["CUDA out of memory. Tried", "can't allocate memory: you tried"])
def test_too_little_memory_is_one_line(tmp_path: Path, said: str):
    def notify(hook: str, **arguments) -> None:
        if hook == "zoo_progress":
            raise RuntimeError(said)

    with pytest.raises(RunError, match=r"out of memory.*batch_size"):
        run(tmp_path, images=16, notify=notify)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory: you tried")])
def test_too_little_memory_for_the_networks_is_one_line_too(tmp_path: Path, error: Exception):
    def build_generator(config):
        if torch.get_default_device().type == "meta":
            return toys.ToyGenerator(config)
        raise error

    spec = msgspec.structs.replace(toys.TOY, build_generator=build_generator)
    with pytest.raises(RunError, match="out of memory"):
        run(tmp_path, spec=spec)


def test_a_batch_of_one_that_cannot_be_normalized_is_one_line(tmp_path: Path):
    def notify(hook: str, **arguments) -> None:
        if hook == "zoo_progress":
            torch.nn.BatchNorm1d(2)(torch.zeros(1, 2))

    with pytest.raises(ConfigError, match=r"at least two images.*--change batch_size=2"):
        run(tmp_path, notify=notify)


def test_a_second_signal_leaves_at_once(tmp_path: Path):
    def notify(hook: str, **arguments) -> None:
        if hook == "zoo_progress":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, images=16, notify=notify)


def test_signal_handlers_are_put_back(tmp_path: Path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(tmp_path, images=4)
    assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_a_blueprint_takes_no_memory():
    generator = blueprint(toys.TOY, toys.resolved().config)
    assert {parameter.device.type for parameter in generator.parameters()} == {"meta"}


def test_an_estimate_counts_parameters_and_operations():
    found = estimate(toys.TOY, toys.resolved())
    generator = toys.ToyGenerator(toys.ToyConfig())
    assert found["parameters"]["generator"] == sum(p.numel() for p in generator.parameters())
    stem, paint = 2 * 8 * 4 * 4 * 4, 2 * 4 * 3 * 16 * 16  # multiplications and additions
    assert found["generator_flops_per_image"] == stem + paint
    assert found["images_per_second"] > 0
    assert found["peak_memory_bytes"] > 0


def test_an_estimate_says_in_one_line_that_memory_ran_out(monkeypatch):
    def build(*arguments):
        raise RuntimeError("can't allocate memory: you tried")

    monkeypatch.setattr("zoo_core.training.estimate.build", build)
    with pytest.raises(RunError, match="out of memory"):
        estimate(toys.TOY, toys.resolved())


def test_an_estimate_counts_what_adaptive_augmentation_will_cost(monkeypatch):
    seen = []
    monkeypatch.setattr(ADA, "augment", lambda self, images, draws: seen.append(images) or images)
    assert estimate(toys.TOY, toys.resolved(augment="ada"))["augment_prob"] == 0.5
    assert seen
    assert "augment_prob" not in estimate(toys.TOY, toys.resolved())


def test_resolved_settings_are_written_into_the_run(tmp_path: Path):
    folder = run(tmp_path, images=4, precision="fp32")
    resolved: Resolved = toys.resolved(images=4, precision="fp32")
    assert folder.read_config() == resolved.to_json()


def test_a_run_keeps_the_precision_that_it_began_with(tmp_path: Path, monkeypatch):
    def on_hardware(with_units: bool, images: int) -> RunFolder:
        monkeypatch.setattr("zoo_core.runtime.has_bfloat16_units", lambda device: with_units)
        return run(tmp_path, images=images, precision="auto")

    on_hardware(with_units=False, images=8)
    moved = on_hardware(with_units=True, images=16)
    assert moved.read_config()["run"]["precision"] == "fp32"
    whole = run(tmp_path, "whole", images=16, precision="fp32")
    assert last_checkpoint(moved) == last_checkpoint(whole)
    with pytest.raises(InputError, match="precision: 'fp32' there, 'bf16' here"):
        run(tmp_path, images=24, precision="bf16")


ADAPTIVE = {"augment": "ada", "ada_images": 64, "ada_target": -1.0}  # every change raises p by 0.25


@pytest.mark.parametrize("first", [12, 20])
def test_adaptive_augmentation_goes_on_exactly(tmp_path: Path, first: int):
    whole = run(tmp_path, "whole", images=32, **ADAPTIVE)
    run(tmp_path, "parts", images=first, **ADAPTIVE)
    parts = run(tmp_path, "parts", images=32, **ADAPTIVE)
    assert last_checkpoint(whole) == last_checkpoint(parts)
    assert last_checkpoint(whole) != last_checkpoint(run(tmp_path, "without", images=32))
    assert [line["augment/p"] for line in logged(whole)][::4] == [0.0, 0.25]


def test_augmentation_changes_what_the_discriminator_sees_and_nothing_else(tmp_path: Path):
    settings = {"augment": "fixed", "augment_prob": 1.0}
    training = build(toys.TOY, toys.resolved(**settings), RUNTIME)
    seen = []
    look = training.networks.discriminator.look
    look.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    batch = random_batch(training, 4, RUNTIME)
    before = batch.images.clone()
    step(training, batch, toys.resolved(**settings).run, RUNTIME)
    assert torch.equal(batch.images, before)
    assert not any(torch.equal(images, before) for images in seen)


def test_pairs_are_augmented_alike(tmp_path: Path):
    data = toys.packed(tmp_path, paired=True)
    folder = run(tmp_path, data=data, paired=True, augment="diffaugment")
    assert all(line["discriminator/loss"] > 0 for line in logged(folder))


def test_without_a_discriminator_there_is_nothing_to_augment():
    with pytest.raises(ConfigError, match="no discriminator"):
        build(GENERATOR_ALONE, toys.resolved(augment="diffaugment"), RUNTIME)


def test_adaptive_augmentation_needs_a_phase_that_reports_how_sure_the_discriminator_is(
    tmp_path: Path,
):
    def silent(networks, config):
        def mute(loss):
            return lambda batch, progress: {"loss": loss(batch, progress)["loss"]}

        return [replace(p, loss=mute(p.loss)) for p in toys.build_phases(networks, config)]

    spec = msgspec.structs.replace(toys.TOY, build_phases=silent)
    with pytest.raises(ConfigError, match="real_signs"):
        run(tmp_path, spec=spec, images=32, **ADAPTIVE)


# A run folder that is moved while it is trained


def moving(at: int, move):
    """An observer that moves the run folder once so many images have been logged."""

    def notify(hook, **arguments):
        if hook == "zoo_progress" and arguments["images"] == at:
            move(arguments["run"].directory)

    return notify


def moved(place: Path, move, at: int = 24, **settings) -> str:
    """What is said of a run that is moved while it is trained."""
    with pytest.raises(RunError) as caught:
        run(place, notify=moving(at, move), images=64, checkpoint_every=16, log_every=8, **settings)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


needs_places = pytest.mark.skipif(sys.platform == "win32", reason="open folders cannot be moved")


@needs_places
def test_a_run_folder_that_was_moved_is_found_and_goes_on_from_its_last_checkpoint(tmp_path: Path):
    whole = run(tmp_path, "whole", images=64, checkpoint_every=16, log_every=8)
    there = tmp_path / "better name"
    said = moved(tmp_path, lambda folder: folder.rename(there))
    assert f"the run folder {tmp_path / 'run'} was moved to {there} while it was trained" in said
    assert "its last checkpoint is that of 16 images" in said
    assert said.endswith(f"try: --run-dir '{there}'")
    assert not (tmp_path / "run").exists()
    again = run(tmp_path, there.name, images=64, checkpoint_every=16, log_every=8)
    assert last_checkpoint(again) == last_checkpoint(whole)


@needs_places
def test_a_run_folder_that_was_removed_is_said_to_be_gone(tmp_path: Path):
    said = moved(tmp_path, shutil.rmtree)
    assert f"the run folder {tmp_path / 'run'} is gone: it was removed, or moved to" in said
    assert not (tmp_path / "run").exists()


@needs_places
def test_a_run_that_was_moved_writes_nothing_into_another_one_in_its_place(tmp_path: Path):
    def replaced(folder: Path) -> None:
        folder.rename(tmp_path / "first")
        run(tmp_path, images=8)
        (folder / ".lock").write_text("1")  # of another process

    alone = run(tmp_path, "alone", images=8)
    assert f"was moved to {tmp_path / 'first'}" in moved(tmp_path, replaced)
    second = RunFolder(tmp_path / "run")
    assert last_checkpoint(second) == last_checkpoint(alone)
    assert second.log.read_bytes() == alone.log.read_bytes()


@needs_places
def test_a_run_that_was_moved_before_it_could_save_makes_no_new_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(RunFolder, "_is_in_place", lambda folder: folder.path.exists())
    there = tmp_path / "there"

    def late(hook, **arguments):
        if hook == "zoo_samples":  # the checkpoint comes next
            arguments["run"].directory.rename(there)

    with pytest.raises(RunError, match=r"was moved to .*there while .*; no checkpoint"):
        run(tmp_path, notify=late, images=16)
    assert not (tmp_path / "run").exists()
