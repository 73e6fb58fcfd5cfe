"""The contract that every model must meet, built-in or third-party, checked on its preset `tiny`.

    import pytest
    from zoo_core.testing import CHECKS, Case

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check, tmp_path):
        check(Case.of("mymodel", tmp_path))

`zoo plugin check mymodel` runs the same checks from the command line. Each check takes a Case and
raises AssertionError with a message that says what is broken. Checks run on the CPU, each in a few
seconds.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo_core import testing_tensors
from zoo_core.config import Resolved, read_config, resolve
from zoo_core.data.packing import PackedData
from zoo_core.data.preparation import prepare
from zoo_core.errors import WeightsError, ZooError, text_of
from zoo_core.generators import Generator, evaluating
from zoo_core.interfaces import Classifier, Phase
from zoo_core.pictures import Picture, PictureDataset
from zoo_core.plugins.loading import GROUP, load_plugins
from zoo_core.runtime import Runtime
from zoo_core.spec import NAME, ModelSpec
from zoo_core.training.engine import step, train
from zoo_core.training.estimate import parameter_count, random_batch
from zoo_core.training.run_folder import RunFolder
from zoo_core.training.state import TrainState, blueprint, build
from zoo_core.weights.header import WeightsMetadata
from zoo_core.weights.tensors import load_weights, save_weights

HEAVY = ("torch", "numpy", "torchvision", "timm", "PIL")
# What a plugin may import from the core: these modules and the names in their `__all__`.
PUBLIC_MODULES = (
    "zoo_core",
    "zoo_core.nn",
    "zoo_core.data",
    "zoo_core.training",
    "zoo_core.metrics",
)


@dataclass(frozen=True)
class Case:
    """A model under test: its spec, its resolved `tiny` configuration, and a folder to write to."""

    plugin: str
    spec: ModelSpec
    resolved: Resolved
    folder: Path

    @classmethod
    def of(cls, model: str, folder: Path) -> Case:
        """Build the case of an installed model."""
        plugins = load_plugins()
        spec = plugins.models.get(model)
        layers = (("defaults", spec.run), ("tiny", spec.presets["tiny"]))
        resolved = resolve(spec.name, spec.config, *layers, preset="tiny")
        run = msgspec.structs.replace(resolved.run, device="cpu", precision="fp32", workers=0)
        resolved = msgspec.structs.replace(resolved, run=run)
        return cls(plugins.models.find(model).plugin, spec, resolved, folder)

    def training(self) -> TrainState:
        """Build freshly initialized networks and phases."""
        return build(self.spec, self.resolved, RUNTIME)

    def step(self, training: TrainState) -> None:
        """Run one training step on random images."""
        torch.manual_seed(training.images_seen)
        batch = random_batch(training, self.resolved.run.batch_size, RUNTIME)
        step(training, batch, self.resolved.run, RUNTIME)

    @torch.no_grad()
    def answer(self, network: Generator | Classifier, seeds: list[int]) -> Tensor:
        """Return the images of seeds, or a classifier's logits of images made from the seeds.

        Labels and sources, where needed, also follow from the seed.
        """
        classes = network.num_classes
        if self.spec.role == "classifier":
            with evaluating(network):
                return network(_drawn_from(seeds, network.image_shape))
        shape = network.source_shape
        return network.sample(
            seeds,
            labels=[s % classes for s in seeds] if classes else None,
            source=None if shape is None else _drawn_from(seeds, shape),
        )

    def inputs(self, network: Generator | Classifier, seeds: list[int]) -> tuple[Tensor, ...]:
        """Return what `forward` takes to make the same answer, up to noise that is no latents."""
        if self.spec.role == "classifier":
            return (_drawn_from(seeds, network.image_shape),)
        shape, classes = network.source_shape, network.num_classes
        start = network.latents(seeds) if shape is None else _drawn_from(seeds, shape)
        labels = torch.tensor(seeds, dtype=torch.int64) % max(classes, 1)
        return (start, labels) if classes else (start,)

    def run(self, folder: str, images: int) -> RunFolder:
        """Train on synthetic images in a subfolder until `images` images were seen."""
        settings = msgspec.structs.replace(self.resolved.run, images=images)
        resolved = msgspec.structs.replace(self.resolved, run=settings)
        run = RunFolder(self.folder / folder)
        train(self.spec, resolved, self.data(), run, licence="CC0-1.0", trained_on="drawn pictures")
        return run

    def data(self) -> PackedData:
        """Return a few synthetic images of the shape that the model expects."""
        run, network = self.resolved.run, blueprint(self.spec, self.resolved.config)
        return prepare(
            _Drawn(2 * run.batch_size, network), network, run, cache=self.folder / "cache"
        )

    def main(self) -> nn.Module:
        """Build the generator or classifier, freshly initialized."""
        return self.spec.build_main(self.resolved.config)


RUNTIME = Runtime(torch.device("cpu"), torch.float32, torch.channels_last)


def check_names(case: Case) -> None:
    """The names of the model and its presets are valid; summary, licence and paper are given."""
    for name in (case.spec.name, *case.spec.presets):
        assert NAME.fullmatch(name), f"{name!r} is not a valid name"
    assert "\n" not in case.spec.summary, "the summary must be a single line"
    assert case.spec.summary and case.spec.licence and case.spec.paper, (
        "summary, licence and paper are required"
    )


def check_presets(case: Case) -> None:
    """Every preset is a valid configuration."""
    for name, values in case.spec.presets.items():
        resolve(case.spec.name, case.spec.config, ("defaults", case.spec.run), (name, values))


def check_config_round_trip(case: Case) -> None:
    """The configuration survives a round trip through JSON unchanged."""
    text = json.dumps(msgspec.to_builtins(case.resolved.config))
    assert read_config(case.spec.config, json.loads(text), "config") == case.resolved.config


def check_light_listing(case: Case) -> None:
    """Importing the plugin and listing its models imports no heavy library."""
    program = (
        "import sys; from zoo_core import load_plugins; plugins = load_plugins()\n"
        f"assert any(o.plugin == {case.plugin!r} for o in plugins.models), plugins.problems\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {**os.environ, "ZOO_PLUGINS": case.plugin}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout.strip(), (
        f"listing imports {done.stdout.strip()}; import it inside build_*"
    )


def check_public_imports(case: Case) -> None:
    """The plugin imports only public names of the core, and no other plugin."""
    (entry,) = [e for e in metadata.entry_points(group=GROUP) if e.name == case.plugin]
    others = {e.module.split(".")[0] for e in metadata.entry_points(group=GROUP)} - {
        entry.module.split(".")[0]
    }
    for path in _sources(entry.module):
        for module, name in _imports(path):
            imported = f"{module}.{name}" if name else module
            assert is_public(module, name), f"{path.name} imports {imported}, which is not public"
            assert module.split(".")[0] not in others, (
                f"{path.name} imports another plugin: {module}"
            )


def is_public(module: str, name: str) -> bool:
    """Whether a plugin may import `name` from `module` (empty: the module itself)."""
    if module.split(".")[0] != "zoo_core" or module == "zoo_core.testing":
        return True
    if module not in PUBLIC_MODULES:
        return False
    inside = f"{module}.{name}"
    return not name or inside in PUBLIC_MODULES or name in importlib.import_module(module).__all__


def check_parameter_count(case: Case) -> None:
    """The default configuration has the parameter counts that the model states, if it does."""
    stated = dict(case.spec.parameters)
    if stated:
        counts = parameters_of(case.spec)
        assert stated == counts, f"stated {stated}, built {counts}"


def parameters_of(spec: ModelSpec) -> dict[str, int]:
    """The trainable parameters of each network in the default configuration."""
    default = resolve(spec.name, spec.config, ("defaults", spec.run))
    with torch.device("meta"):
        networks = {role: make(default.config) for role, make in spec.builders().items()}
    return {role: parameter_count(network) for role, network in networks.items()}


def check_sample(case: Case) -> None:
    """Samples (or logits) have the right shape, dtype and range, are finite, without gradients."""
    network = case.training().networks.main
    answer = case.answer(network, [0, 1, 2])
    is_generator = case.spec.role == "generator"
    expected = (3, *(network.image_shape if is_generator else (network.num_classes,)))
    assert answer.shape == expected, f"shape {tuple(answer.shape)}"
    assert answer.dtype == torch.float32, f"dtype {answer.dtype}"
    assert bool(answer.isfinite().all()), "some values are not finite"
    if is_generator:
        assert answer.min() >= -1 and answer.max() <= 1, "some values are outside -1..1"
    assert not answer.requires_grad, "the output requires gradients"


def check_seed_determines_image(case: Case) -> None:
    """Seed 3 gives the same image alone and in a batch, and a different one than seed 4.

    The same holds for a classifier's logits.
    """
    network = case.training().networks.main
    batch, alone = case.answer(network, [4, 3, 5]), case.answer(network, [3])
    torch.testing.assert_close(batch[1:2], alone, rtol=1e-4, atol=1e-5)
    if network.source_shape is None:
        assert not torch.equal(batch[0], batch[1]), "seeds 3 and 4 give the same output"


def check_weights_round_trip(case: Case) -> None:
    """Saved and loaded weights give the same output; those of another architecture are rejected."""
    training = case.training()
    case.step(training)
    path, network = case.folder / "weights.safetensors", training.networks.main
    about = WeightsMetadata(
        model=case.spec.name,
        role=case.spec.role,
        config={},
        images=1,
        licence="CC0-1.0",
        trained_on="",
        zoo_version="0",
    )
    save_weights(path, network, about)
    loaded = RUNTIME.place(load_weights(path.read_bytes(), path.name, case.main))
    assert torch.equal(case.answer(loaded, [0, 1]), case.answer(network, [0, 1])), (
        "the output differs after loading"
    )
    save_weights(path, nn.Linear(2, 2), about)
    try:
        load_weights(path.read_bytes(), path.name, case.main)
    except WeightsError:
        return
    raise AssertionError("weights of another architecture were loaded")


def check_phases_update_their_own(case: Case) -> None:
    """A phase changes only parameters of its own module; every loss term is finite."""
    for name in (phase.name for phase in case.training().phases):
        training, phase = _isolated(case, name)
        own = {id(parameter) for parameter in phase.module.parameters()}
        before = {id(p): (p, p.detach().clone()) for p in _parameters(training).values()}
        case.step(training)
        moved = {key for key, (now, old) in before.items() if not torch.equal(now, old)}
        assert moved, f"phase {name!r} changes no parameters"
        assert moved <= own, f"phase {name!r} changes parameters of another network"
        assert all(np.isfinite(float(total)) for total, _ in training.terms.values()), (
            f"a loss term is not finite: {training.terms}"
        )


def check_every_weight_gets_a_gradient(case: Case) -> None:
    """Every trainable parameter gets a nonzero gradient within a few steps."""
    training = case.training()
    idle = {key for key, parameter in _parameters(training).items() if parameter.requires_grad}

    def note(key: str, parameter: Tensor) -> None:
        if bool(parameter.grad.any()):  # type: ignore[union-attr]
            idle.discard(key)

    for key, parameter in _parameters(training).items():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(partial(note, key))
    for _ in range(3 * max(phase.every for phase in training.phases)):
        case.step(training)
    assert not idle, f"these parameters never get a gradient: {', '.join(sorted(idle))}"


def check_groups(case: Case) -> None:
    """An image changes only logits of its own `stddev_group`, by which batches are sliced.

    Networks with batch normalization are not checked, as their batches are never sliced.
    """
    build_judge = case.spec.build_discriminator
    judge = None if build_judge is None else build_judge(case.resolved.config)
    if judge is None or any(isinstance(part, _BatchNorm) for part in judge.modules()):
        return
    size, main = 2 * judge.stddev_group, blueprint(case.spec, case.resolved.config)
    labels = torch.zeros(size, dtype=torch.int64) if main.num_classes else None
    source = main.source_shape and _drawn_from(list(range(size)), main.source_shape)
    images = _drawn_from(list(range(size)), main.image_shape)
    logits = []
    for scale in (1.0, 0.5):
        images[-1] *= scale
        torch.manual_seed(0)  # the same dropout
        fresh = copy.deepcopy(judge)  # without what a call leaves behind, as in spectral norms
        logits.append(fresh(images, labels=labels, source=source).detach())
    others = [row for row in range(size) if row % 2 != (size - 1) % 2]  # 2 groups: even, odd
    assert torch.allclose(logits[0][others], logits[1][others], rtol=1e-4, atol=1e-5), (
        "an image affects logits of others: state how many in `stddev_group`"
    )


def check_exact_resume(case: Case) -> None:
    """Four steps, and two + resume + two, leave the same bytes: networks, EMA, optimizers."""
    size = case.resolved.run.batch_size
    whole, parts = case.run("whole", 4 * size), case.run("parts", 2 * size)
    case.run("parts", 4 * size)
    for name in ("weights.safetensors", "optim.safetensors"):
        last = f"{4 * size:012d}/{name}"
        same = (whole.checkpoints / last).read_bytes() == (parts.checkpoints / last).read_bytes()
        assert same, f"{name} differs after resuming"


class _Drawn(PictureDataset):
    """Colored disks on a plain background, one class per color; the source is their outline."""

    def __init__(self, count: int, network: Generator | Classifier):
        channels, _, self._side = network.image_shape
        self._count = count
        self.classes = tuple(f"class {i}" for i in range(network.num_classes))
        self.paired = network.source_shape is not None
        self.fingerprint = (
            f"disks:{count}:{self._side}:{channels}:{len(self.classes)}:{self.paired}"
        )

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Picture:
        side = self._side
        y, x = np.mgrid[:side, :side] / side
        distance = np.hypot(x - 0.5, y - 0.3 - 0.4 * (index % 5) / 4)
        pixels = np.full((side, side, 3), 30, dtype=np.uint8)
        pixels[distance < 0.3] = (255 - 40 * (index % 6), 60 + 30 * (index % 4), 90)
        outline = (np.abs(distance - 0.3) < 0.05).astype(np.uint8) * 255
        label = index % len(self.classes) if self.classes else None
        return Picture(f"disk {index}", pixels, label, outline if self.paired else None)


def _drawn_from(seeds: list[int], shape: tuple[int, int, int]) -> Tensor:
    """Return an image [C, H, W] for each seed: a ramp shifted by the seed."""
    ramp = torch.linspace(-1, 1, math.prod(shape))
    return torch.stack([ramp.roll(seed).view(shape) for seed in seeds])


def _isolated(case: Case, name: str) -> tuple[TrainState, Phase]:
    """Build fresh networks of which only phase `name` changes parameters.

    Earlier phases still run, with a learning rate of 0, because it may use what they compute.
    """
    training = case.training()
    phases = [replace(phase, every=1) for phase in training.phases]
    position = [phase.name for phase in phases].index(name)
    idle = [
        replace(phase, optimizer=torch.optim.SGD(phase.module.parameters(), lr=0.0), schedule=None)
        for phase in phases[:position]
    ]
    return replace(training, phases=[*idle, phases[position]]), phases[position]


def _parameters(training: TrainState) -> dict[str, nn.Parameter]:
    return {
        f"{role}.{name}": parameter
        for role, network in training.networks.named()
        for name, parameter in network.named_parameters()
    }


def _sources(module: str) -> list[Path]:
    """Return the Python files of a plugin's package, without its tests."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    origin = Path(spec.origin)
    return sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


def _imports(path: Path) -> set[tuple[str, str]]:
    """Return (module, name) for every import anywhere in a source file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {(node.module, alias.name) for alias in node.names}
    return found


CHECKS: tuple[Callable[[Case], None], ...] = (
    *(function for name, function in list(globals().items()) if name.startswith("check_")),
    *testing_tensors.CHECKS,
)


def run_contract(model: str) -> list[tuple[str, str | None]]:
    """Run every check on an installed model; returns (check, None or what is broken) for each."""
    results: list[tuple[str, str | None]] = []
    for check in CHECKS:
        with tempfile.TemporaryDirectory() as folder:
            error = None
            try:
                check(Case.of(model, Path(folder)))
            except (AssertionError, ZooError, RuntimeError, ValueError, TypeError) as problem:
                error = text_of(problem) or type(problem).__name__
        results.append((check.__name__.removeprefix("check_").replace("_", " "), error))
    return results
