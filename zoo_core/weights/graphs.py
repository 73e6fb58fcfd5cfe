"""Graphs in files: ONNX, TorchScript and torch.export's pt2, each written and run.

A function is recorded with the tensors that `Function.inputs` makes, and called by their names.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo_core.errors import InputError, OfflineError
from zoo_core.weights.functions import Function, Inputs, axes

ABOUT = "zoo.json"  # the record inside TorchScript and pt2 files; in ONNX the property "zoo"
PROPERTY = "zoo"
MAX_REASON = 160  # characters of torch's explanation
RECORDED = range(2)  # seeds; torch takes a single row for a fixed one

Run = Callable[[Inputs], Tensor]


class Recording(NamedTuple):
    """What to record, and how."""

    function: Function
    count: int | None  # images of every call; None: any number
    about: Mapping[str, Any]  # what the file says about itself

    @property
    def seeds(self) -> range:
        """Seeds of the inputs to record with."""
        return range(self.count) if self.count else RECORDED

    @property
    def inputs(self) -> Inputs:
        """Inputs to record with."""
        return self.function.inputs(self.seeds, self.function.sizes()[0])


class Format(NamedTuple):
    """How graphs are written to a file, and run from it."""

    suffix: str
    runtime: str  # that runs the file
    write: Callable[[Recording, Path], None]
    open: Callable[[Path], Run]


def exported(recording: Recording) -> torch.export.ExportedProgram:
    """The function as a graph of torch.export. Raises InputError if it cannot be recorded."""
    function = recording.function
    free = axes(function, recording.count)
    with _explaining(function, "recorded as a graph"):
        return torch.export.export(function, (), recording.inputs, dynamic_shapes=free)


@contextmanager
def _explaining(function: Function, what: str) -> Iterator[None]:
    """Raise InputError with the first line of what torch says when something cannot be done."""
    try:
        with _quiet():
            yield
    except OSError:  # of the file
        raise
    except Exception as error:  # torch raises anything
        name = type(function.network).__name__
        raise InputError(f"{name} cannot be {what}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of a message of torch or onnxruntime, which write pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:MAX_REASON]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of torch's exporters, and what they print: pages if they fail."""
    nowhere = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        yield


def _write_onnx(recording: Recording, path: Path) -> None:
    check_onnx()
    program, function = exported(recording), recording.function
    with _explaining(function, "written as ONNX"):
        made = torch.onnx.export(
            program,
            (),
            kwargs=recording.inputs,
            dynamic_shapes=axes(function, recording.count),
            output_names=[function.output],
            dynamo=True,
            verbose=False,
        )
        model = made.model_proto
        _without_traces(model)
        model.metadata_props.add(key=PROPERTY, value=json.dumps(recording.about))
        data = model.SerializeToString()
    path.write_bytes(data)


def _without_traces(model: Any) -> None:
    """Drop what torch notes of every operation: lines of source and folders of this machine."""
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]


def _open_onnx(path: Path) -> Run:
    onnxruntime = check_onnx()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; not that it has no float16 of its own on a CPU
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Tensor:
        given = {name: tensor.numpy() for name, tensor in inputs.items()}
        return torch.from_numpy(session.run(None, given)[0])

    return run


def check_onnx() -> Any:
    """The module onnxruntime. Raises OfflineError if a package of ONNX is not installed.

    From 1.29 on it reports to its maker, and keeps a number for this machine, unless told not to
    before it is imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise OfflineError(
            f"ONNX needs the package {error.name}", hint="pip install 'zoo-core[export]'"
        ) from None
    return onnxruntime


def _write_torchscript(recording: Recording, path: Path) -> None:
    with _explaining(recording.function, "written as TorchScript"):
        traced = torch.jit.trace(
            recording.function, example_kwarg_inputs=recording.inputs, check_trace=False
        )
        frozen = torch.jit.freeze(traced)
        with path.open("wb") as file:
            torch.jit.save(frozen, file, _extra_files={ABOUT: json.dumps(recording.about)})


def _open_torchscript(path: Path) -> Run:
    with _quiet():
        graph = torch.jit.load(path)
    return lambda inputs: graph(**inputs)


def _write_pt2(recording: Recording, path: Path) -> None:
    program = exported(recording)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines of source and folders of this machine
    file = io.BytesIO()  # torch ends the process where a disk is full
    with _explaining(recording.function, "written as pt2"):
        torch.export.save(program, file, extra_files={ABOUT: json.dumps(recording.about)})
    path.write_bytes(file.getbuffer())


def _open_pt2(path: Path) -> Run:
    with _quiet(), path.open("rb") as file:
        graph = torch.export.load(file).module()
    return lambda inputs: graph(**inputs)


FORMATS: Mapping[str, Format] = {
    "onnx": Format(".onnx", "onnxruntime", _write_onnx, _open_onnx),
    "torchscript": Format(".pt", "torchscript", _write_torchscript, _open_torchscript),
    "pt2": Format(".pt2", "pt2", _write_pt2, _open_pt2),
}
