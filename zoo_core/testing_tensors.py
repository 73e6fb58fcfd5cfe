"""The part of the contract that is about networks as functions of plain tensors.

What torch and its users do with such a function: differentiate, trace and export it, copy and cast
it, call it from several threads, send it to another process.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo_core.errors import InputError

if TYPE_CHECKING:
    from zoo_core.generators import Generator
    from zoo_core.interfaces import Classifier
    from zoo_core.testing import Case

SEEDS, OTHERS = [3, 4, 5], [6, 7, 8, 9, 10]  # of two batches, of different sizes
TOLERANCE = 1e-3  # of a graph, whose operations may be rounded differently, times the largest value
WAIT = 120  # seconds for a process that imports torch


def check_latents(case: Case) -> None:
    """A latent generator says how its latents are distributed, and they follow from their seeds."""
    network = _trained(case)
    if case.spec.role == "classifier" or network.source_shape is not None:
        assert case.spec.latents is None, f"there are no {case.spec.latents} latents"
        return
    latents = network.latents(SEEDS)
    assert latents.shape == (3, *network.latent_shape), f"shape {tuple(latents.shape)}"
    assert latents.dtype == torch.float32, f"dtype {latents.dtype}"
    assert torch.equal(network.latents(SEEDS[1:2]), latents[1:2]), "they depend on other seeds"
    default = _default(case)
    assert case.spec.latents == default.latent_distribution, (
        f"stated {case.spec.latents}, built {default.latent_distribution}"
    )


def check_forward(case: Case) -> None:
    """`forward` makes the images of `sample`, always the same ones, and is differentiable."""
    network = _trained(case)
    start, *labels = case.inputs(network, SEEDS)
    start = start.requires_grad_()
    made = network(start, *labels)
    (gradient,) = torch.autograd.grad(made.float().square().sum(), start)
    assert bool(gradient.isfinite().all()) and bool(gradient.any()), "no gradient of the input"
    assert torch.equal(made, network(start, *labels)), "the second call gives something else"
    if network.source_shape is None:  # sources may be translated with dropout
        expected = case.answer(network, SEEDS)
        clamped = made if case.spec.role == "classifier" else made.float().clamp(-1, 1)
        assert torch.equal(clamped, expected), "`forward` and `sample` differ"


def check_trace(case: Case) -> None:
    """`torch.jit.trace` records the network, for batches of any size."""
    network = _trained(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, but in use
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the comparison below decides
        graph = torch.jit.trace(network, case.inputs(network, SEEDS))
        _compare(case, network, graph)


def check_export(case: Case) -> None:
    """`torch.export` records the network, for batches of any size."""
    network = _trained(case)
    inputs = case.inputs(network, SEEDS)
    batch = torch.export.Dim("batch")
    free = tuple({0: batch} for _ in inputs)
    _compare(case, network, torch.export.export(network, inputs, dynamic_shapes=free).module())


def check_copies(case: Case) -> None:
    """A deep copy, and another network with its state dict, give the same output."""
    network = _trained(case)
    torch.manual_seed(1)  # another birth than that of `network`
    loaded = case.main().to(memory_format=torch.channels_last).eval()
    loaded.load_state_dict(network.state_dict())
    for name, other in (("deep copy", copy.deepcopy(network)), ("state dict", loaded)):
        same = torch.equal(case.answer(other, SEEDS), case.answer(network, SEEDS))
        assert same, f"a {name} gives another output"


def check_dtypes(case: Case) -> None:
    """In half and double precision the output is similar, or the error is one of the zoo's."""
    network = _trained(case)
    if case.spec.role == "classifier":
        return
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        try:
            made = case.answer(copy.deepcopy(network).to(dtype), SEEDS)
        except InputError:
            continue
        assert made.dtype == torch.float32, f"{dtype} gives {made.dtype}"
        assert bool(made.isfinite().all()), f"{dtype} gives values that are not finite"


def check_threads(case: Case) -> None:
    """Two threads that use a network at once get what each gets alone."""
    network = _trained(case)
    expected = [case.answer(network, seeds) for seeds in (SEEDS, OTHERS)]
    made: dict[int, Tensor] = {}

    def work(place: int) -> None:
        for _ in range(4):
            made[place] = case.answer(network, (SEEDS, OTHERS)[place])

    threads = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2, "a thread failed"
    assert all(torch.equal(made[place], expected[place]) for place in range(2)), "outputs differ"


def check_worker_process(case: Case) -> None:
    """A network can be sent to a new process, which needs pickle, and gives the same output."""
    network = _trained(case)
    inputs = case.inputs(network, SEEDS)
    with torch.no_grad():
        expected = network(*inputs)
    torch.testing.assert_close(_elsewhere(network, inputs), expected, rtol=1e-4, atol=1e-4)


def _elsewhere(network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What a network makes of inputs in a new process."""
    context = torch.multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    numbers = [each.numpy() for each in inputs]  # tensors would be shared, until the process ends
    process = context.Process(target=_answer, args=(theirs, network, numbers), daemon=True)
    try:
        process.start()
    except Exception as error:  # pickle and `__reduce__` raise anything
        raise AssertionError(f"it cannot be sent to a process: {error}") from None
    theirs.close()
    try:
        assert ours.poll(WAIT), "the process does not answer"
        return torch.from_numpy(ours.recv())
    except EOFError:
        raise AssertionError("the process failed") from None
    finally:
        process.join()


@torch.no_grad()
def _answer(connection: Any, network: nn.Module, numbers: list[Any]) -> None:
    connection.send(network(*map(torch.from_numpy, numbers)).numpy())


def _trained(case: Case) -> Generator | Classifier:
    """The main network after two steps, in evaluation mode."""
    training = case.training()
    for _ in range(2):
        case.step(training)
    return training.networks.main.eval()


def _default(case: Case) -> Generator:
    from zoo_core.config import resolve

    default = resolve(case.spec.name, case.spec.config, ("defaults", case.spec.run))
    with torch.device("meta"):
        return case.spec.build_main(default.config)


@torch.no_grad()
def _compare(case: Case, network: Generator | Classifier, graph: Any) -> None:
    """Raise AssertionError unless a graph gives the output for any number of images."""
    for seeds in (SEEDS, OTHERS, SEEDS[:1]):
        inputs = case.inputs(network, seeds)
        expected, found = network(*inputs), graph(*inputs)
        far = float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))
        assert far < TOLERANCE, f"{len(seeds)} images differ by {far:.1e} of the largest value"


CHECKS: tuple[Callable[[Case], None], ...] = (
    check_latents,
    check_forward,
    check_trace,
    check_export,
    check_copies,
    check_dtypes,
    check_threads,
    check_worker_process,
)
