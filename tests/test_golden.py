"""Our networks reproduce reference tensors of the public implementations.

Each file holds the weights, inputs and outputs of a public implementation, described by `about` in
its header. The plugin's `reference.py` loads the weights into our network and computes the outputs.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

FILES = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))
TOLERANCE = 1e-4  # relative to the largest value of an output


def read(path: Path) -> tuple[dict, dict[str, dict[str, torch.Tensor]]]:
    """The description in the file's header, and its tensors by part: param, in, out."""
    parts: dict[str, dict[str, torch.Tensor]] = {"param": {}, "in": {}, "out": {}}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - it is not a mapping
            part, _, name = key.partition("/")
            parts[part][name] = file.get_tensor(key)
        return json.loads(file.metadata()["about"]), parts


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_our_network_is_the_published_one(path: Path):
    about, parts = read(path)
    plugin = {"ada": "stylegan2"}.get(about["model"], about["model"])
    reference = importlib.import_module(f"zoo_{plugin}.reference")
    network = reference.network_from_reference(about, parts["param"])
    found = reference.replay(about, network, parts["in"])
    assert parts["out"]
    assert found.keys() >= parts["out"].keys()
    for name, expected in parts["out"].items():
        assert found[name].shape == expected.shape, name
        error = (found[name].detach() - expected).abs().max() / expected.abs().max()
        assert float(error) < TOLERANCE, f"{name}: {float(error):.1e}"


def test_every_kind_of_network_has_a_reference():
    assert {path.stem.split("_")[0] for path in FILES} >= {
        "ada", "dcgan", "pix2pix", "progan", "r3gan", "stylegan2",
    }  # fmt: skip
